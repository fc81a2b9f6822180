//! One token, as a person reads it. Nothing of the token itself is printed.

use std::io;

use jiff::{SignedDuration, Timestamp};

use super::{explain, table::visible};
use crate::model::token::{BoundTo, TokenClaims, TokenPermissions, TokenStatus};

/// What a cluster says of a token.
#[derive(Debug)]
pub struct Seen {
    /// Where its API server is.
    pub server: String,
    /// What that makes of the token.
    pub standing: TokenStatus,
    /// What the token may do; `None` for one that is not accepted.
    pub powers: Option<TokenPermissions>,
}

/// Writes what a token says of itself, seen at a time, and what a cluster says of it if it was asked.
///
/// # Errors
/// When the output cannot be written.
pub fn write(
    out: &mut impl io::Write,
    token: &TokenClaims,
    now: Timestamp,
    seen: Option<&Seen>,
) -> io::Result<()> {
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
    lines.extend(seen.into_iter().flat_map(|seen| cluster(token, now, seen)));
    for line in lines {
        writeln!(out, "{}", visible(&line))?;
    }
    Ok(())
}

/// What a cluster says of it.
fn cluster(token: &TokenClaims, now: Timestamp, seen: &Seen) -> Vec<String> {
    let mut lines = vec![String::new(), format!("API SERVER {}", seen.server)];
    match &seen.standing {
        TokenStatus::Accepted(name, groups) => {
            lines.push(format!("  accepts it as {name}"));
            lines.push(format!("  in the groups {}", groups.join(", ")));
        }
        TokenStatus::Rejected(why) => {
            lines.push(
                "  does not accept it: 401 Unauthorized, whoever holds it can do nothing here"
                    .to_owned(),
            );
            lines.push(format!("  {}", rejection(token, now, why.as_deref())));
        }
        TokenStatus::Denied(words) => {
            lines.push(
                "  accepts it, but not this question: 403 Forbidden, so it is no dead token"
                    .to_owned(),
            );
            lines.push(format!("  {words}"));
        }
    }
    match &seen.powers {
        None => {}
        Some(TokenPermissions::Cluster(explanation)) => {
            lines.push(String::new());
            lines.extend(explain::permissions(explanation));
        }
        Some(TokenPermissions::Namespace(namespace, rules)) => {
            let what = if rules.is_empty() {
                "nothing beyond what every identity may"
            } else {
                "beyond what every identity may"
            };
            lines.push(String::new());
            lines.push(format!("PERMISSIONS in namespace {namespace}: {what}"));
            lines.extend(rules.iter().map(|rule| format!("  {rule}")));
            lines.push("  note: that is the API server's answer to the token itself; bindings may not be read, so other namespaces are not known".to_owned());
        }
        Some(TokenPermissions::Unknown(why)) => {
            lines.push(String::new());
            lines.push(format!("PERMISSIONS: not known: {why}"));
        }
    }
    lines
}

/// Why it is not accepted: by its own claims, else in the words of the API server.
fn rejection(token: &TokenClaims, now: Timestamp, why: Option<&str>) -> String {
    let now = now.as_second();
    if token.expires.is_some_and(|expires| expires <= now) {
        return "it has expired".to_owned();
    }
    if token.issued.is_some_and(|issued| issued > now) {
        return "it was issued in the future, by the clock of this machine".to_owned();
    }
    why.map_or_else(
        || "another cluster issued it, its audience is another, or its account, pod, node or Secret is gone".to_owned(),
        |why| format!("the API server says: {why}"),
    )
}

fn binding(token: &TokenClaims) -> String {
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

fn expiry(token: &TokenClaims, now: Timestamp) -> String {
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
        let mut token = TokenClaims {
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
        let shown = |token: &TokenClaims| {
            let mut out = Vec::new();
            write(
                &mut out,
                token,
                Timestamp::from_second(1_800_000_090).unwrap(),
                None,
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
