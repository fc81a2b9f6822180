//! One audit event, as far as it matters.

use super::Micros;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// Its namespace; empty for a ClusterRoleBinding.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Whether its subject is every authenticated user.
    pub is_for_all: bool,
}

impl<'a> Binding<'a> {
    /// Reads `RBAC: allowed by RoleBinding "b/ns" of Role "r" to ServiceAccount "a/ns"`
    /// (`authorizer.Authorize` of plugin/pkg/auth/authorizer/rbac).
    #[must_use]
    pub fn of_reason(reason: &'a str) -> Option<Self> {
        let mut words = reason.strip_prefix("RBAC: allowed by ")?.split('"');
        let kind = words.next()?.trim_end();
        let name = words.next()?;
        let subject = words.nth(3)?;
        let is_for_all = matches!(subject, "system:authenticated" | "system:unauthenticated");
        let (name, namespace) = match kind {
            "ClusterRoleBinding" => (name, ""),
            "RoleBinding" => name.rsplit_once('/')?,
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
    /// Why the authorizer allowed it.
    pub reason: &'a str,
    /// The account whose token a TokenReview is about, where its response is in the event.
    pub reviewed: Option<&'a str>,
    /// The latest time in the event.
    pub time: Micros,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_names_the_binding() {
        let reason = r#"RBAC: allowed by RoleBinding "reader/shop" of Role "reader" to ServiceAccount "mail/shop""#;
        let binding = Binding {
            namespace: "shop",
            name: "reader",
            is_for_all: false,
        };
        assert_eq!(Binding::of_reason(reason), Some(binding));
        let reason = r#"RBAC: allowed by ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" to Group "system:authenticated""#;
        let binding = Binding {
            namespace: "",
            name: "system:discovery",
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
