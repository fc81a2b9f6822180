//! What a ServiceAccount token says of itself.

use super::{Explanation, Rule, ServiceAccountRef};

/// The claims of a ServiceAccount token. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anatomy {
    /// Whom it speaks for.
    pub account: ServiceAccountRef,
    /// The uid of that account: one of the same name that was made later is another.
    pub account_uid: String,
    /// Who issued it.
    pub issuer: String,
    /// Whom it is for; none for a legacy token, which is for the API server.
    pub audiences: Vec<String>,
    /// What it is bound to: it ends with that object.
    pub bound_to: Option<BoundTo>,
    /// The node that its pod ran on when it was issued.
    pub node: Option<String>,
    /// When it was issued; `None` for a legacy token.
    pub issued: Option<i64>,
    /// When it ends; `None` for a legacy token, which never does.
    pub expires: Option<i64>,
    /// When its client should have fetched another: the API server has extended the lifetime that was
    /// asked for, and counts later uses as stale.
    pub refresh_after: Option<i64>,
    /// `jti`, which audit logs call the credential id; since Kubernetes 1.32.
    pub id: Option<String>,
}

/// The object that a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundTo {
    /// A pod, by name and uid.
    Pod(String, String),
    /// A Secret, by name and uid; that of a legacy token has none.
    Secret(String, String),
    /// A node, by name and uid.
    Node(String, String),
}

/// What an API server makes of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes it for this user, in these groups.
    Accepted(String, Vec<String>),
    /// It does not accept it (401); why, where it says so.
    Rejected(Option<String>),
    /// It accepts it, and does not let its user ask who it is (403); its words.
    Silenced(String),
}

/// What a token may do beyond what everybody may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Powers {
    /// By all bindings of the cluster.
    Cluster(Box<Explanation>),
    /// In one namespace, as the API server answers to the token itself: where bindings may not be read.
    Namespace(Box<str>, Vec<Rule>),
    /// Nothing could be learned; why.
    NotKnown(String),
}

impl Anatomy {
    /// Whether it comes from a Secret and never ends.
    #[must_use]
    pub const fn is_legacy(&self) -> bool {
        self.expires.is_none()
    }

    /// How long it lives, in seconds; `None` for ever.
    #[must_use]
    pub fn lifetime(&self) -> Option<i64> {
        self.expires?.checked_sub(self.issued?)
    }
}
