//! RBAC in the words of rbac.authorization.k8s.io/v1, reduced to what can concern a ServiceAccount.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    identity::{Name, ObjectKey, ServiceAccountRef},
    stray::Stray,
};

/// One `PolicyRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// `verbs`.
    pub verbs: Box<[Box<str>]>,
    /// `apiGroups`.
    pub api_groups: Box<[Box<str>]>,
    /// `resources`.
    pub resources: Box<[Box<str>]>,
    /// `resourceNames`; empty means any.
    pub resource_names: Box<[Box<str>]>,
    /// `nonResourceURLs`.
    pub non_resource_urls: Box<[Box<str>]>,
}

/// A Role or ClusterRole: the rules as stored. The cluster aggregates them, and for files
/// `rbac::aggregate` does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// `rules`.
    pub rules: Box<[Rule]>,
}

/// `roleRef` of a binding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleRef {
    /// Which kind it names.
    pub kind: RoleKind,
    /// `name`.
    pub name: Name,
}

/// The kind that a `roleRef` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleKind {
    /// A Role of the binding's namespace.
    Role,
    /// A ClusterRole.
    ClusterRole,
}

impl RoleRef {
    /// The key of the role, seen from a binding in `binding_namespace`.
    #[must_use]
    pub fn key(&self, binding_namespace: &Name) -> ObjectKey {
        match self.kind {
            RoleKind::Role => ObjectKey::new(binding_namespace.clone(), self.name.clone()),
            RoleKind::ClusterRole => ObjectKey::cluster(self.name.clone()),
        }
    }
}

impl fmt::Display for RoleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RoleKind::Role => write!(f, "Role {}", self.name),
            RoleKind::ClusterRole => write!(f, "ClusterRole {}", self.name),
        }
    }
}

/// A RoleBinding or ClusterRoleBinding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// `roleRef`.
    pub role_ref: RoleRef,
    /// The subjects that can reach a ServiceAccount, or everybody, and the first of those that may be meant for one;
    /// sorted. All others are left out.
    pub subjects: Box<[Subject]>,
}

impl Role {
    /// Whether it grants everything, as `cluster-admin` does.
    #[must_use]
    pub fn grants_everything(&self) -> bool {
        let has_all = |list: &[Box<str>]| list.iter().any(|entry| **entry == *"*");
        self.rules.iter().any(|rule| {
            has_all(&rule.verbs)
                && has_all(&rule.api_groups)
                && has_all(&rule.resources)
                && rule.resource_names.is_empty()
        })
    }
}

/// A subject that can reach a ServiceAccount, or everybody, parsed to what it matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Group `system:authenticated`: every authenticated user.
    Authenticated,
    /// Group `system:serviceaccounts`: every ServiceAccount of the cluster.
    AllServiceAccounts,
    /// Group `system:serviceaccounts:<namespace>`: every ServiceAccount of one namespace.
    NamespaceServiceAccounts(Name),
    /// User `system:serviceaccount:<namespace>:<name>`.
    User(ServiceAccountRef),
    /// Kind ServiceAccount.
    ServiceAccount(ServiceAccountRef),
    /// Group `system:unauthenticated`: requests without credentials. No account is in it.
    Unauthenticated,
    /// It matches nothing here, but may be meant for an account.
    Stray(Stray),
}

impl Subject {
    /// What a subject entry matches, if it can match a ServiceAccount or everybody.
    ///
    /// Mirrors `appliesToUser` (pkg/registry/rbac/validation/rule.go): kinds are case-sensitive,
    /// the namespace of a User or Group is ignored, and a ServiceAccount without a namespace gets
    /// that of the binding and matches no account in a ClusterRoleBinding (`binding_namespace` empty).
    #[must_use]
    pub fn of(kind: &str, namespace: &str, name: &str, binding_namespace: &str) -> Option<Self> {
        match kind {
            "User" => ServiceAccountRef::from_username(name).map(Self::User),
            "Group" => match name.strip_prefix("system:serviceaccounts") {
                Some("") => Some(Self::AllServiceAccounts),
                Some(rest) => {
                    let namespace = rest
                        .strip_prefix(':')
                        .filter(|namespace| !namespace.is_empty())?;
                    Some(Self::NamespaceServiceAccounts(namespace.into()))
                }
                None if name == "system:authenticated" => Some(Self::Authenticated),
                None => (name == "system:unauthenticated").then_some(Self::Unauthenticated),
            },
            "ServiceAccount" => {
                let namespace = if namespace.is_empty() {
                    binding_namespace
                } else {
                    namespace
                };
                let named = !namespace.is_empty() && !name.is_empty();
                named.then(|| Self::ServiceAccount(ServiceAccountRef::new(namespace, name)))
            }
            _ => None,
        }
    }

    /// The account that it names.
    #[must_use]
    pub const fn account(&self) -> Option<&ServiceAccountRef> {
        match self {
            Self::User(account) | Self::ServiceAccount(account) => Some(account),
            Self::Authenticated
            | Self::AllServiceAccounts
            | Self::NamespaceServiceAccounts(_)
            | Self::Unauthenticated
            | Self::Stray(_) => None,
        }
    }

    /// Whether the grant is to a group rather than to the account itself.
    #[must_use]
    pub const fn is_group(&self) -> bool {
        matches!(
            self,
            Self::Authenticated
                | Self::AllServiceAccounts
                | Self::NamespaceServiceAccounts(_)
                | Self::Unauthenticated
        )
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authenticated => f.write_str("Group system:authenticated"),
            Self::Unauthenticated => f.write_str("Group system:unauthenticated"),
            Self::AllServiceAccounts => f.write_str("Group system:serviceaccounts"),
            Self::NamespaceServiceAccounts(namespace) => {
                write!(f, "Group system:serviceaccounts:{namespace}")
            }
            Self::User(account) => write!(f, "User {}", account.username()),
            Self::ServiceAccount(account) => write!(f, "ServiceAccount {account}"),
            Self::Stray(stray) => stray.fmt(f),
        }
    }
}

/// What is known of the roles that bindings refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownRoles {
    /// All of them: a role that is missing does not exist.
    Complete,
    /// Some: a role that is missing may still exist.
    Partial,
}

/// Where a grant holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everywhere, cluster-scoped resources and URLs too.
    Cluster,
    /// In one namespace only.
    Namespace(Name),
}

/// How far a ServiceAccount's permissions go beyond the default permissions.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum Level {
    /// Nothing beyond the default permissions.
    #[default]
    None,
    /// Only through a group that all ServiceAccounts, or all of a namespace, are in.
    Inherited,
    /// Through a subject that names the account itself.
    Direct,
}

/// The effect of one binding on one account.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Effect {
    /// It grants something beyond the default permissions.
    Grants,
    /// All that it grants beyond the default permissions is `use` of PodSecurityPolicies or
    /// SecurityContextConstraints, which admission checks without the token.
    AdmissionOnly,
    /// Its role does not exist, or has no rules: it grants nothing until that changes.
    Latent,
    /// Its role is not in the input.
    Unresolved,
    /// It grants nothing beyond the default permissions, or has no effect here.
    Covered,
}

/// Why no request to this API server can use a grant. It is reported, and changes no verdict.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Caveat {
    /// No request can match its rules, such as `pods/*`, the group `core`, or nodes in a namespace.
    Unreachable,
    /// This API server never checks its verbs: other components may, with a SubjectAccessReview.
    ThirdParty,
}

/// One binding that reaches an account, with its provenance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// Its effect.
    pub effect: Effect,
    /// Why nothing that it grants can be used; `None` when something can be.
    pub caveat: Option<Caveat>,
    /// The RoleBinding, or with an empty namespace the ClusterRoleBinding.
    pub binding: ObjectKey,
    /// The role that it refers to.
    pub role_ref: RoleRef,
    /// Where it holds.
    pub scope: Scope,
    /// The subject that matched; where several do, the widest.
    pub via: Subject,
    /// Who grants it to all accounts, where that alone makes it a default permission: a distribution, an add-on, or
    /// the user's configuration.
    pub default_of: Option<Box<str>>,
    /// When audit logs last show that it allowed a request beyond the default permissions.
    pub last_used: Option<jiff::Timestamp>,
}

impl Grant {
    /// `RoleBinding` or `ClusterRoleBinding`.
    #[must_use]
    pub fn binding_kind(&self) -> &'static str {
        self.binding.binding_kind()
    }
}

impl fmt::Display for Grant {
    /// As its binding and role.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, binding, role) = (self.binding_kind(), &self.binding, &self.role_ref);
        write!(f, "{kind} {binding} ({role})")
    }
}

/// A grant with the effect of every rule of its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedGrant {
    /// The grant.
    pub grant: Grant,
    /// The rules, in the order of the role.
    pub rules: Vec<RuleUse>,
}

/// The effect of one rule on one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleUse {
    /// The rule.
    pub rule: Rule,
    /// Its effect.
    pub effect: Effect,
    /// Why nothing that it grants can be used.
    pub caveat: Option<Caveat>,
}

impl fmt::Display for Rule {
    /// As `get, list pods, deployments.apps` or `get /metrics`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.verbs.join(", "))?;
        let resources = self.resources.iter().flat_map(|resource| {
            self.api_groups.iter().map(move |group| match &**group {
                "" => resource.to_string(),
                group => format!("{resource}.{group}"),
            })
        });
        let urls = self.non_resource_urls.iter().map(ToString::to_string);
        let objects: Vec<_> = resources.chain(urls).collect();
        write!(f, " {}", objects.join(", "))?;
        if self.resource_names.is_empty() {
            return Ok(());
        }
        let names = self.resource_names.iter();
        let names: Vec<_> = names.map(|name| format!("{name:?}")).collect();
        write!(f, " named {}", names.join(", "))
    }
}

/// Everything that RBAC grants to one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// The highest level with an effect; `use` for admission alone does not raise it.
    pub level: Level,
    /// Every binding that reaches the account other than through `system:authenticated`, sorted.
    pub grants: Vec<Grant>,
    /// The bindings that grant `system:authenticated` more than Kubernetes itself does: they widen the
    /// default permissions.
    pub widened_defaults: Vec<Grant>,
    /// Whether a binding names the account and grants more than Kubernetes itself does, but no more than every
    /// authenticated user has.
    pub is_named_for_widened: bool,
}

impl Permissions {
    /// Who grants all accounts what was set aside, where more is granted than by Kubernetes itself.
    #[must_use]
    pub fn default_of(&self) -> Option<&str> {
        self.grants
            .iter()
            .find_map(|grant| grant.default_of.as_deref())
    }

    /// The first grant with this effect.
    #[must_use]
    pub fn first(&self, effect: Effect) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.effect == effect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_matches_as_the_authorizer_matches_it() {
        let account = |namespace: &str, name: &str| ServiceAccountRef::new(namespace, name);
        let cases = [
            (
                ("User", "", "system:serviceaccount:vb:s", ""),
                Some(Subject::User(account("vb", "s"))),
            ),
            (("User", "", "*", ""), None),
            (("User", "", "alice", ""), None),
            (
                ("ServiceAccount", "", "s", "vb"),
                Some(Subject::ServiceAccount(account("vb", "s"))),
            ),
            (
                ("ServiceAccount", "vc", "s", "vb"),
                Some(Subject::ServiceAccount(account("vc", "s"))),
            ),
            (("ServiceAccount", "", "s", ""), None),
            (("serviceaccount", "vb", "s", ""), None),
            (
                ("Group", "kube-system", "system:serviceaccounts", ""),
                Some(Subject::AllServiceAccounts),
            ),
            (
                ("Group", "", "system:serviceaccounts:vb", ""),
                Some(Subject::NamespaceServiceAccounts("vb".into())),
            ),
            (("Group", "", "system:serviceaccounts:", ""), None),
            (("Group", "", "system:serviceaccountsX", ""), None),
            (("Group", "", "system:serviceaccount:vb:s", ""), None),
            (
                ("Group", "", "system:authenticated", ""),
                Some(Subject::Authenticated),
            ),
            (
                ("Group", "", "system:unauthenticated", ""),
                Some(Subject::Unauthenticated),
            ),
            (("Group", "", "system:masters", ""), None),
        ];
        for ((kind, namespace, name, binding_namespace), expected) in cases {
            assert_eq!(
                Subject::of(kind, namespace, name, binding_namespace),
                expected,
                "{kind} {namespace}/{name}"
            );
        }
    }
}
