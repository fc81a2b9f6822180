//! The claims of a ServiceAccount token, and how a cluster treats it.

use super::{Explanation, Rule, ServiceAccountRef};

/// The claims of a ServiceAccount token. Times are Unix timestamps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenClaims {
    /// The account that it identifies.
    pub account: ServiceAccountRef,
    /// The uid of that account: an account that is recreated with the same name has another.
    pub account_uid: String,
    /// Who issued it.
    pub issuer: String,
    /// Its audiences; none for a legacy token, which is for the API server.
    pub audiences: Vec<String>,
    /// The object that it is bound to: the token is invalid once that is deleted.
    pub bound_to: Option<BoundTo>,
    /// The node that its pod ran on when it was issued.
    pub node: Option<String>,
    /// When it was issued; `None` for a legacy token.
    pub issued: Option<i64>,
    /// When it expires; `None` for a legacy token, which never does.
    pub expires: Option<i64>,
    /// When its client should have renewed it: the API server has extended the requested lifetime, and
    /// counts later uses as stale.
    pub refresh_after: Option<i64>,
    /// `jti`, which audit logs call the credential id; since Kubernetes 1.30.
    pub id: Option<String>,
}

/// The object that a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundTo {
    /// A pod, by name and uid.
    Pod(String, String),
    /// A Secret, by name and uid; a legacy token does not have the uid.
    Secret(String, String),
    /// A node, by name and uid.
    Node(String, String),
    /// An object of another kind, by the name of its claim, its name and its uid: for example the configuration
    /// of a webhook (KEP-6060).
    Other(String, String, String),
}

/// How an API server authenticates a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenStatus {
    /// It accepts the token as this user, in these groups.
    Accepted(String, Vec<String>),
    /// It rejects the token (401); why, where it says so.
    Rejected(Option<String>),
    /// It accepts the token, but denies the request that asks for the user (403); its message.
    Denied(String),
}

/// What a token may do beyond the default permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPermissions {
    /// According to all bindings of the cluster.
    Cluster(Box<Explanation>),
    /// In one namespace, as the API server answers the token itself: used where bindings cannot be read.
    Namespace(Box<str>, Vec<Rule>),
    /// Not known; why.
    Unknown(String),
}

impl TokenClaims {
    /// Whether it comes from a Secret and never expires.
    #[must_use]
    pub const fn is_legacy(&self) -> bool {
        self.expires.is_none()
    }

    /// Its lifetime in seconds; `None` when it never expires.
    #[must_use]
    pub fn lifetime(&self) -> Option<i64> {
        self.expires?.checked_sub(self.issued?)
    }
}
