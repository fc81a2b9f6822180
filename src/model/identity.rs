//! Which account a token identifies, and how objects are named.

use std::fmt;

/// The prefix of the username of every ServiceAccount
/// (`serviceaccount.ServiceAccountUsernamePrefix` upstream).
pub const USERNAME_PREFIX: &str = "system:serviceaccount:";

/// Whether a word has only the characters of random parts of names; mirrors the alphabet of `rand.SafeEncodeString`
/// upstream.
#[must_use]
pub fn may_be_random(word: &str) -> bool {
    word.bytes()
        .all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte))
}

/// A name that many keys share. Where `Arc<str>` is two words, it is one: large clusters have hundreds of thousands of keys.
pub type Name = arcstr::ArcStr;

/// Namespace and name of an object of a known kind; cluster-scoped objects have an empty namespace.
///
/// Cheap to clone: both parts are shared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The namespace; empty for a cluster-scoped object.
    pub namespace: Name,
    /// `metadata.name`.
    pub name: Name,
}

impl ObjectKey {
    /// The key of an object in a namespace.
    pub fn new(namespace: impl Into<Name>, name: impl Into<Name>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of a cluster-scoped object.
    pub fn cluster(name: impl Into<Name>) -> Self {
        Self::new("", name)
    }

    /// The key of a further object, where files have several under this name.
    #[must_use]
    pub fn beside(&self, what: &str) -> Self {
        Self::new(self.namespace.clone(), format!("{}#{what}", self.name))
    }

    /// Whether the object has no namespace.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.namespace.is_empty()
    }

    /// Of a binding: `RoleBinding` or `ClusterRoleBinding`.
    #[must_use]
    pub fn binding_kind(&self) -> &'static str {
        if self.is_cluster() {
            "ClusterRoleBinding"
        } else {
            "RoleBinding"
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_cluster() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// A ServiceAccount by name: what bindings match, whether the object exists or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAccountRef {
    /// The namespace of the ServiceAccount.
    pub namespace: Name,
    /// The name of the ServiceAccount.
    pub name: Name,
}

impl ServiceAccountRef {
    /// A ServiceAccount by namespace and name.
    pub fn new(namespace: impl Into<Name>, name: impl Into<Name>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// `system:serviceaccount:<namespace>:<name>`; mirrors `serviceaccount.MakeUsername`.
    #[must_use]
    pub fn username(&self) -> String {
        format!("{USERNAME_PREFIX}{}:{}", self.namespace, self.name)
    }

    /// The ServiceAccount that a username names; mirrors `serviceaccount.SplitUsername`.
    #[must_use]
    pub fn from_username(username: &str) -> Option<Self> {
        let (namespace, name) = username.strip_prefix(USERNAME_PREFIX)?.split_once(':')?;
        let valid = !namespace.is_empty() && !name.is_empty() && !name.contains(':');
        valid.then(|| Self::new(namespace, name))
    }
}

impl fmt::Display for ServiceAccountRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What the controller writes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The report of an account.
    Report(ServiceAccountRef),
    /// The summary of a namespace.
    Summary(Name),
}

impl Target {
    /// What it is called.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        match self {
            Self::Report(_) => "report",
            Self::Summary(_) => "summary",
        }
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self {
            Self::Report(account) => &account.namespace,
            Self::Summary(namespace) => namespace,
        }
    }

    /// The name of the account that it is about; `None` for a summary.
    #[must_use]
    pub fn service_account(&self) -> Option<&str> {
        match self {
            Self::Report(account) => Some(&account.name),
            Self::Summary(_) => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Report(account) => account.fmt(f),
            Self::Summary(namespace) => f.write_str(namespace),
        }
    }
}

impl From<ObjectKey> for ServiceAccountRef {
    fn from(key: ObjectKey) -> Self {
        Self {
            namespace: key.namespace,
            name: key.name,
        }
    }
}

impl From<ServiceAccountRef> for ObjectKey {
    fn from(account: ServiceAccountRef) -> Self {
        Self {
            namespace: account.namespace,
            name: account.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_username_of_a_service_account_names_an_account() {
        let account = ServiceAccountRef::new("shop", "cart");
        assert_eq!(account.username(), "system:serviceaccount:shop:cart");
        assert_eq!(
            ServiceAccountRef::from_username("system:serviceaccount:shop:cart"),
            Some(account)
        );
        for other in [
            "cart",
            "system:serviceaccount:shop",
            "system:serviceaccount::cart",
            "system:serviceaccount:a:b:c",
        ] {
            assert_eq!(ServiceAccountRef::from_username(other), None, "{other}");
        }
    }
}
