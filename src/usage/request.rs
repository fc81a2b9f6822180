//! One audit event, as far as it matters.

use std::borrow::Cow;

use super::Micros;

/// What stands for the verb of a request whose method is none of HTTP: such an event has an empty one.
pub const NO_VERB: &str = "(no verb)";

/// A stage of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It was received: nothing is known of its outcome.
    Received,
    /// A long request, such as a watch, has begun.
    Started,
    /// It has ended.
    Complete,
}

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller<'a> {
    /// Whoever holds a token of an account.
    Token {
        /// The account's namespace.
        namespace: &'a str,
        /// The account's name.
        name: &'a str,
        /// The pod that the token is bound to.
        pod: PodName<'a>,
    },
    /// An API server itself.
    ApiServer,
    /// A kubelet.
    Kubelet,
    /// Somebody else.
    Other(&'a str),
}

/// What an event says about the pod of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PodName<'a> {
    /// The token is bound to this pod.
    Bound {
        /// Its uid, see [`crate::model::pod::uid`].
        uid: u128,
        /// Its name.
        name: &'a str,
    },
    /// The token is bound to no pod, or comes from a Secret.
    Unbound,
    /// The log does not say.
    Unknown,
}

/// The object of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Object<'a> {
    /// The API group.
    pub group: &'a str,
    /// The resource; empty for a request to a URL.
    pub resource: &'a str,
    /// The subresource.
    pub subresource: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// The name.
    pub name: &'a str,
}

/// The binding that allowed a request, as the authorizer names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// Its namespace; empty for a ClusterRoleBinding.
    pub namespace: Cow<'a, str>,
    /// Its name.
    pub name: Cow<'a, str>,
    /// Whether its subject is every authenticated user.
    pub is_for_all: bool,
}

impl<'a> Binding<'a> {
    /// Reads `RBAC: allowed by RoleBinding "b/ns" of Role "r" to ServiceAccount "a/ns"`
    /// (`authorizer.Authorize` of plugin/pkg/auth/authorizer/rbac).
    #[must_use]
    pub fn of_reason(reason: &'a str) -> Option<Self> {
        let (kind, name, rest) = quoted(reason.strip_prefix("RBAC: allowed by ")?)?;
        let (_, _, rest) = quoted(rest)?;
        let (_, subject, _) = quoted(rest)?;
        let is_for_all = matches!(&*subject, "system:authenticated" | "system:unauthenticated");
        let (name, namespace) = match (kind.trim_end(), name) {
            ("ClusterRoleBinding", name) => (name, "".into()),
            ("RoleBinding", Cow::Borrowed(name)) => {
                let (name, namespace) = name.rsplit_once('/')?;
                (name.into(), namespace.into())
            }
            ("RoleBinding", Cow::Owned(name)) => {
                let (name, namespace) = name.rsplit_once('/')?;
                (name.to_owned().into(), namespace.to_owned().into())
            }
            _ => return None,
        };
        Some(Self {
            namespace,
            name,
            is_for_all,
        })
    }
}

/// One audit event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// `auditID`.
    pub id: &'a str,
    /// `stage`.
    pub stage: Stage,
    /// `user`, never `impersonatedUser`.
    pub caller: Caller<'a>,
    /// Whether the caller acts as somebody else: then the authorizer speaks of that user.
    pub impersonates: bool,
    /// `verb`.
    pub verb: &'a str,
    /// `objectRef`.
    pub object: Object<'a>,
    /// The path of `requestURI`.
    pub path: &'a str,
    /// Whether the authorizer denied it.
    pub is_denied: bool,
    /// The HTTP status code of the answer; 0 if it is not known.
    pub code: u16,
    /// Why the authorizer allowed it.
    pub reason: &'a str,
    /// The account whose token a TokenReview is about, where its response is in the event.
    pub reviewed: Option<&'a str>,
    /// The latest time in the event.
    pub time: Micros,
}

/// A text up to its first quoted part, that part, and what follows. It is quoted as Go's `%q` does, which is as JSON does
/// for printable characters.
fn quoted(text: &str) -> Option<(&str, Cow<'_, str>, &str)> {
    let (before, rest) = text.split_once('"')?;
    let mut is_escaped = false;
    let end = rest.find(|character| {
        let is_end = character == '"' && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        is_end
    })?;
    let (part, after) = (&rest[..end], &rest[end + 1..]);
    let part = if part.contains('\\') {
        serde_json::from_str::<String>(&format!("\"{part}\""))
            .ok()?
            .into()
    } else {
        part.into()
    };
    Some((before, part, after))
}

impl Request<'_> {
    /// Whether the authorizer was asked: it says why it decided, or the code is one that only a handler after it gives.
    /// What is throttled, fails or takes too long may not have come so far.
    #[must_use]
    pub(super) const fn was_decided(&self) -> bool {
        let is_handled = matches!(self.code, 0 | 200..=399 | 404 | 405 | 409..=412 | 415 | 422);
        !self.reason.is_empty() || self.is_denied || is_handled
    }

    /// Whether it has ended, and changed what it should.
    #[must_use]
    pub fn has_succeeded(&self) -> bool {
        self.stage == Stage::Complete && (200..300).contains(&self.code)
    }

    /// The same as a request to create the object: the authorizer asks for that too where an update or a patch creates it.
    pub(super) fn creates_besides(&self) -> Option<Self> {
        let creates = self.has_succeeded()
            && self.code == 201
            && matches!(self.verb, "update" | "patch")
            && !self.impersonates;
        creates.then_some(Self {
            verb: "create",
            ..*self
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_names_the_binding() {
        let reason = r#"RBAC: allowed by RoleBinding "reader/shop" of Role "reader" to ServiceAccount "mail/shop""#;
        let binding = |name: &'static str| Binding {
            namespace: "shop".into(),
            name: name.into(),
            is_for_all: false,
        };
        assert_eq!(Binding::of_reason(reason), Some(binding("reader")));
        let reason = r#"RBAC: allowed by RoleBinding "re\"ad\\er/shop" of Role "reader" to ServiceAccount "mail/shop""#;
        assert_eq!(Binding::of_reason(reason), Some(binding(r#"re"ad\er"#)));
        let reason = r#"RBAC: allowed by ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" to Group "system:authenticated""#;
        let binding = Binding {
            namespace: "".into(),
            name: "system:discovery".into(),
            is_for_all: true,
        };
        assert_eq!(Binding::of_reason(reason), Some(binding));
        for other in [
            "",
            "webhook says so",
            "RBAC: allowed by RoleBinding \"x\"",
            "RBAC: allowed by ",
        ] {
            assert_eq!(Binding::of_reason(other), None, "{other}");
        }
    }
}
