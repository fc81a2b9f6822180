//! One token, as a person reads it. Nothing of the token itself is printed.

use std::io;

use jiff::{SignedDuration, Timestamp};

use super::table::visible;
use crate::model::token::{Anatomy, BoundTo};

/// Writes what a token says of itself, seen at a time.
///
/// # Errors
/// When the output cannot be written.
pub fn write(out: &mut impl io::Write, token: &Anatomy, now: Timestamp) -> io::Result<()> {
    let mut lines = vec![format!("Token of ServiceAccount {}", token.account)];
    let mut field = |name: &str, value: String| lines.push(format!("  {name:<9} {value}"));
    field("bound to", binding(token));
    if !token.audiences.is_empty() {
        field("for", token.audiences.join(", "));
    }
    field("issuer", token.issuer.clone());
    if let Some(issued) = token.issued {
        field("issued", moment(issued, now));
    }
    if let Some(refresh) = token.refresh_after {
        field("renew by", moment(refresh, now));
    }
    field("expires", expiry(token, now));
    if let Some(id) = &token.id {
        field("id", format!("{id} (credential id of audit logs)"));
    }
    for line in lines {
        writeln!(out, "{}", visible(&line))?;
    }
    Ok(())
}

fn binding(token: &Anatomy) -> String {
    let node = token.node.as_deref();
    match &token.bound_to {
        Some(BoundTo::Pod(name, uid)) => {
            let node = node.map_or_else(String::new, |node| format!(", which ran on node {node}"));
            format!("pod {name} (uid {uid}){node}: it ends with the pod")
        }
        Some(BoundTo::Secret(name, _)) if token.is_legacy() => {
            format!("Secret {name}: a legacy token, which works until the Secret is deleted")
        }
        Some(BoundTo::Secret(name, uid)) => {
            format!("Secret {name} (uid {uid}): it ends with the Secret")
        }
        Some(BoundTo::Node(name, uid)) => format!("node {name} (uid {uid}): it ends with the node"),
        None => "nothing but its account: it cannot be revoked before it expires".to_owned(),
    }
}

fn expiry(token: &Anatomy, now: Timestamp) -> String {
    let Some(expires) = token.expires else {
        return "never".to_owned();
    };
    let asked = token.refresh_after.zip(token.issued);
    let asked = asked.and_then(|(refresh, issued)| refresh.checked_sub(issued));
    let extended = asked.map_or_else(String::new, |asked| {
        format!(": extended by the API server, {asked} s were asked for")
    });
    moment(expires, now) + &extended
}

/// A time, and how far away it is.
fn moment(seconds: i64, now: Timestamp) -> String {
    let Ok(time) = Timestamp::from_second(seconds) else {
        return format!("{seconds} s after 1970, which is no date");
    };
    let away = time.duration_since(now);
    let distance = rounded(away.abs());
    if away.is_negative() {
        format!("{time} ({distance} ago)")
    } else {
        format!("{time} (in {distance})")
    }
}

/// A duration in its largest unit.
fn rounded(duration: SignedDuration) -> String {
    const UNITS: [(i64, &str); 4] = [
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let seconds = duration.as_secs();
    let unit = UNITS.iter().find(|(size, _)| seconds >= *size);
    let (size, name) = unit.unwrap_or(&(1, "second"));
    match seconds / size {
        1 => format!("1 {name}"),
        count => format!("{count} {name}s"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::model::ServiceAccountRef;

    #[test]
    fn a_token_is_told_by_what_it_is_bound_to_and_when_it_ends() {
        let mut token = Anatomy {
            account: ServiceAccountRef::new("shop", "web"),
            account_uid: "1".into(),
            issuer: "https://issuer".into(),
            audiences: vec!["https://issuer".into()],
            bound_to: Some(BoundTo::Pod("web-0".into(), "2".into())),
            node: Some("n1".into()),
            issued: Some(1_800_000_000),
            expires: Some(1_831_536_000),
            refresh_after: Some(1_800_003_607),
            id: Some("3".into()),
        };
        let shown = |token: &Anatomy| {
            let mut out = Vec::new();
            write(
                &mut out,
                token,
                Timestamp::from_second(1_800_000_090).unwrap(),
            )
            .unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            shown(&token),
            "\
Token of ServiceAccount shop/web
  bound to  pod web-0 (uid 2), which ran on node n1: it ends with the pod
  for       https://issuer
  issuer    https://issuer
  issued    2027-01-15T08:00:00Z (1 minute ago)
  renew by  2027-01-15T09:00:07Z (in 58 minutes)
  expires   2028-01-15T08:00:00Z (in 364 days): extended by the API server, 3607 s were asked for
  id        3 (credential id of audit logs)
"
        );
        token.bound_to = Some(BoundTo::Secret("robot\u{1b}".into(), String::new()));
        (token.expires, token.issued, token.refresh_after) = (None, None, None);
        let legacy = shown(&token);
        assert!(
            legacy.contains("Secret robot\\u{1b}: a legacy token"),
            "{legacy}"
        );
        assert!(legacy.contains("expires   never\n"), "{legacy}");
        token.expires = Some(i64::MAX);
        assert!(shown(&token).contains("which is no date"));
    }
}
