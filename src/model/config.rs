//! What the user's configuration adds to what objects say.

use glob::Pattern;
use jiff::civil::Date;

use super::{Rule, ServiceAccountRef};

/// What the user's configuration adds to what objects say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The audiences that the API server accepts; empty when not said.
    pub api_audiences: Vec<String>,
    /// Which tokens stay, and why.
    pub exemptions: Vec<ExemptionRule>,
    /// More systems that take the token of a pod for an identity.
    pub known_consumers: Vec<ConsumerRule>,
    /// What every account of this cluster has anyway: no need for a token follows from it.
    pub baseline: Vec<Rule>,
}

/// Tokens that stay, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExemptionRule {
    /// Why they stay.
    pub reason: Box<str>,
    /// The last day of it, in UTC.
    pub until: Option<Date>,
    /// Which namespaces.
    pub namespace: Pattern,
    /// The names of which ServiceAccounts.
    pub name: Pattern,
    /// Labels that a pod must have, all of them.
    pub labels: Vec<(Box<str>, Box<str>)>,
}

impl ExemptionRule {
    /// Whether it speaks of a pod of an account with these labels.
    #[must_use]
    pub fn applies_to(&self, account: &ServiceAccountRef, labels: &[(Box<str>, Box<str>)]) -> bool {
        self.namespace.matches(&account.namespace)
            && self.name.matches(&account.name)
            && self.labels.iter().all(|label| labels.contains(label))
    }
}

/// A system that takes the token of a pod for an identity, and how such a pod is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRule {
    /// The name of the system.
    pub name: Box<str>,
    /// Annotations of which a pod has one, with a value other than `false`.
    pub annotations: Vec<Box<str>>,
    /// Environment variables of which a container has one.
    pub variables: Vec<Box<str>>,
}

impl Config {
    /// Whether pods must be read anew to follow a change from `other` to this: what is kept of them
    /// depends on what is asked.
    #[must_use]
    pub fn reads_pods_as(&self, other: &Self) -> bool {
        self.known_consumers == other.known_consumers && self.label_keys().eq(other.label_keys())
    }

    /// The keys of labels that exemptions ask for.
    pub fn label_keys(&self) -> impl Iterator<Item = &str> {
        let labels = self.exemptions.iter().flat_map(|rule| &rule.labels);
        labels.map(|(key, _)| &**key)
    }
}
