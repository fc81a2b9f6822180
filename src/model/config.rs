//! What the user's configuration adds to the facts of objects.

use glob::Pattern;
use jiff::civil::Date;

use super::{Rule, Scope, Selection, ServiceAccountRef, Subject, consumer::Consumers};

/// What the user's configuration adds to the facts of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The audiences that the API server accepts; empty when not configured.
    pub api_audiences: Vec<String>,
    /// Which tokens are exempted, and why.
    pub exemptions: Vec<ExemptionRule>,
    /// Further systems that accept the token of a pod as an identity.
    pub known_consumers: Consumers,
    /// What a distribution, an add-on or the user grants to all accounts: no token is needed for it.
    pub default_permissions: Vec<DefaultPermission>,
    /// How permissions are judged that only other namespaces grant.
    pub grants_elsewhere: GrantsElsewhere,
    /// Which namespaces of a cluster are judged.
    pub namespaces: Selection,
}

/// Permissions that all accounts are granted beyond those of Kubernetes, through a group that they are in. A binding
/// that names the account is never one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultPermission {
    /// Who grants them.
    pub name: Box<str>,
    /// The group that is granted them.
    pub to: DefaultGroup,
    /// The namespace of the RoleBindings that grant them; by default that of the account for
    /// [`DefaultGroup::OwnNamespace`], and else the whole cluster.
    pub namespace: Option<Box<str>>,
    /// What is granted.
    pub rules: Vec<Rule>,
}

/// A group that all accounts are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultGroup {
    /// `system:authenticated`.
    Authenticated,
    /// `system:serviceaccounts`.
    AllServiceAccounts,
    /// The group of the accounts of the account's own namespace.
    OwnNamespace,
    /// Each of them, in any namespace: the old form of the configuration.
    Any,
}

impl DefaultPermission {
    /// Whether it may be granted to the account through this subject and in this scope.
    #[must_use]
    pub fn applies_to(&self, account: &ServiceAccountRef, via: &Subject, scope: &Scope) -> bool {
        let group = match via {
            Subject::Authenticated => DefaultGroup::Authenticated,
            Subject::AllServiceAccounts => DefaultGroup::AllServiceAccounts,
            Subject::NamespaceServiceAccounts(_) => DefaultGroup::OwnNamespace,
            Subject::User(_)
            | Subject::ServiceAccount(_)
            | Subject::Unauthenticated
            | Subject::Stray(_) => return false,
        };
        if self.to == DefaultGroup::Any {
            return true;
        }
        let namespace = match (&self.namespace, self.to) {
            (Some(namespace), _) => Some(&**namespace),
            (None, DefaultGroup::OwnNamespace) => Some(&*account.namespace),
            (None, _) => None,
        };
        let holds = match scope {
            Scope::Cluster => None,
            Scope::Namespace(namespace) => Some(&**namespace),
        };
        self.to == group && namespace == holds
    }
}

/// How permissions are judged that an account has only in namespaces other than its own: whoever administers one of
/// them can grant them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantsElsewhere {
    /// Whether they are a finding, `Review`; else they make a token needed.
    pub is_reviewed: bool,
    /// The namespaces whose grants count as those of the account's own.
    pub trusted: Vec<Pattern>,
}

impl Default for GrantsElsewhere {
    fn default() -> Self {
        let system = Pattern::new("kube-system").unwrap_or_default();
        Self {
            is_reviewed: false,
            trusted: vec![system],
        }
    }
}

/// An exemption for the tokens of all pods that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExemptionRule {
    /// Why the tokens stay.
    pub reason: Box<str>,
    /// The last day of the exemption, in UTC.
    pub until: Option<Date>,
    /// The namespaces that it applies to.
    pub namespace: Pattern,
    /// The names of the ServiceAccounts that it applies to.
    pub name: Pattern,
    /// Labels that a pod must have, all of them.
    pub labels: Vec<(Box<str>, Box<str>)>,
}

impl ExemptionRule {
    /// Whether it applies to a pod of the account that has these labels.
    #[must_use]
    pub fn applies_to(&self, account: &ServiceAccountRef, labels: &[(Box<str>, Box<str>)]) -> bool {
        self.namespace.matches(&account.namespace)
            && self.name.matches(&account.name)
            && self.labels.iter().all(|label| labels.contains(label))
    }
}

impl Config {
    /// Whether the facts of objects stay the same when the configuration changes from `other` to this;
    /// otherwise they must be read again.
    #[must_use]
    pub fn reads_objects_as(&self, other: &Self) -> bool {
        self.known_consumers == other.known_consumers
            && self.namespaces == other.namespaces
            && self.label_keys().eq(other.label_keys())
    }

    /// The label keys that exemptions match.
    pub fn label_keys(&self) -> impl Iterator<Item = &str> {
        let labels = self.exemptions.iter().flat_map(|rule| &rule.labels);
        labels.map(|(key, _)| &**key)
    }
}
