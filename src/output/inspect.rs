//! The claims of one token, and what a cluster answers about it. The token itself is never printed.

use std::io;

use jiff::{SignedDuration, Timestamp};

use super::{explain, table::visible};
use crate::model::token::{BoundTo, TokenClaims, TokenPermissions, TokenStatus};

/// What a cluster answers about a token.
#[derive(Debug)]
pub struct ClusterAnswer {
    /// The URL of its API server.
    pub server: String,
    /// Whether that accepts the token.
    pub status: TokenStatus,
    /// What the token permits; `None` for a rejected one.
    pub permissions: Option<TokenPermissions>,
}

/// Writes the claims of a token as of `now`, and the answer of the cluster if it was asked.
///
/// # Errors
/// When the output cannot be written.
pub fn write(
    out: &mut impl io::Write,
    token: &TokenClaims,
    now: Timestamp,
    answer: Option<&ClusterAnswer>,
) -> io::Result<()> {
    let mut lines = vec![format!("Token of ServiceAccount {}", token.account)];
    let mut field = |name: &str, value: String| lines.push(format!("  {name:<9} {value}"));
    field("bound to", binding(token));
    if !token.audiences.is_empty() {
        field("audience", token.audiences.join(", "));
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
        field("id", format!("{id} (the credential id in audit logs)"));
    }
    let answer = answer.into_iter();
    lines.extend(answer.flat_map(|answer| cluster(token, now, answer)));
    for line in lines {
        writeln!(out, "{}", visible(&line))?;
    }
    Ok(())
}

/// The lines about the cluster's answer.
fn cluster(token: &TokenClaims, now: Timestamp, answer: &ClusterAnswer) -> Vec<String> {
    let mut lines = vec![String::new(), format!("API SERVER {}", answer.server)];
    match &answer.status {
        TokenStatus::Accepted(name, groups) => {
            lines.push(format!("  the API server accepts the token: user {name}"));
            lines.push(format!("  groups {}", groups.join(", ")));
        }
        TokenStatus::Rejected(why) => {
            lines.push(
                "  the API server rejects the token (401 Unauthorized): it cannot be used here"
                    .to_owned(),
            );
            lines.push(format!("  {}", rejection(token, now, why.as_deref())));
        }
        TokenStatus::Denied(words) => {
            lines.push(
                "  the API server accepts the token but denied this request (403 Forbidden): the token is valid"
                    .to_owned(),
            );
            lines.push(format!("  {words}"));
        }
    }
    match &answer.permissions {
        None => {}
        Some(TokenPermissions::Cluster(explanation)) => {
            lines.push(String::new());
            lines.extend(explain::permissions(explanation));
        }
        Some(TokenPermissions::Namespace(namespace, rules)) => {
            let what = if rules.is_empty() {
                "none beyond the default permissions of every authenticated user"
            } else {
                "beyond the default permissions of every authenticated user"
            };
            lines.push(String::new());
            lines.push(format!("PERMISSIONS in namespace {namespace}: {what}"));
            lines.extend(rules.iter().map(|rule| format!("  {rule}")));
            lines.push("  note: this is the API server's answer to the token itself: reading the bindings was denied, so permissions in other namespaces are not known".to_owned());
        }
        Some(TokenPermissions::Unknown(why)) => {
            lines.push(String::new());
            lines.push(format!("PERMISSIONS: not known: {why}"));
        }
    }
    lines
}

/// Why the token is rejected: from its own claims, else in the words of the API server.
fn rejection(token: &TokenClaims, now: Timestamp, why: Option<&str>) -> String {
    let now = now.as_second();
    if token.expires.is_some_and(|expires| expires <= now) {
        return "the token has expired".to_owned();
    }
    if token.issued.is_some_and(|issued| issued > now) {
        return "the token was issued in the future, according to the clock of this machine"
            .to_owned();
    }
    why.map_or_else(
        || "possible causes: another cluster issued the token, it is for another audience, or its ServiceAccount, pod, node or Secret was deleted".to_owned(),
        |why| format!("the API server answered: {why}"),
    )
}

fn binding(token: &TokenClaims) -> String {
    let node = token.node.as_deref();
    match &token.bound_to {
        Some(BoundTo::Pod(name, uid)) => {
            let node = node.map_or_else(String::new, |node| {
                format!(", on node {node} when it was issued")
            });
            format!("pod {name} (uid {uid}){node}: invalid once the pod is deleted")
        }
        Some(BoundTo::Secret(name, _)) if token.is_legacy() => {
            format!("Secret {name}: a legacy token, valid until the Secret is deleted")
        }
        Some(BoundTo::Secret(name, uid)) => {
            format!("Secret {name} (uid {uid}): invalid once the Secret is deleted")
        }
        Some(BoundTo::Node(name, uid)) => {
            format!("node {name} (uid {uid}): invalid once the node is deleted")
        }
        Some(BoundTo::Other(kind, name, uid)) => {
            let kind = match &**kind {
                "validatingwebhookconfiguration" => "ValidatingWebhookConfiguration",
                "mutatingwebhookconfiguration" => "MutatingWebhookConfiguration",
                other => other,
            };
            format!("{kind} {name} (uid {uid}): invalid once that is deleted")
        }
        None => "only its ServiceAccount: it cannot be revoked before it expires".to_owned(),
    }
}

fn expiry(token: &TokenClaims, now: Timestamp) -> String {
    let Some(expires) = token.expires else {
        return "never".to_owned();
    };
    let requested = token.refresh_after.zip(token.issued);
    let requested = requested.and_then(|(refresh, issued)| refresh.checked_sub(issued));
    let extended = requested.map_or_else(String::new, |requested| {
        format!(": extended by the API server, {requested} s were requested")
    });
    let outcome = if expires <= now.as_second() {
        ": the token has expired"
    } else {
        ""
    };
    moment(expires, now) + &extended + outcome
}

/// A time, and how far away it is.
fn moment(seconds: i64, now: Timestamp) -> String {
    let Ok(time) = Timestamp::from_second(seconds) else {
        return format!("Unix timestamp {seconds}, which is not a valid date");
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
    fn the_bound_object_and_the_expiry_of_a_token_are_shown() {
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
  bound to  pod web-0 (uid 2), on node n1 when it was issued: invalid once the pod is deleted
  audience  https://issuer
  issuer    https://issuer
  issued    2027-01-15T08:00:00Z (1 minute ago)
  renew by  2027-01-15T09:00:07Z (in 58 minutes)
  expires   2028-01-15T08:00:00Z (in 364 days): extended by the API server, 3607 s were requested
  id        3 (the credential id in audit logs)
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
        token.expires = Some(1_800_000_060);
        let expired = shown(&token);
        let says = "  expires   2027-01-15T08:01:00Z (30 seconds ago): the token has expired\n";
        assert!(expired.contains(says), "{expired}");
        token.expires = Some(i64::MAX);
        assert!(shown(&token).contains("which is not a valid date"));
    }
}
