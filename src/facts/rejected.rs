//! What in a role or binding would the API server reject? Only manifests can contain it: it grants
//! nothing, and a warning reports it. Mirrors pkg/apis/rbac/validation/validation.go.

use super::wire;
use crate::model::InputKind;

/// The API group of roles, bindings, users and groups; the default where it is left out
/// (`SetDefaults_RoleBinding`, `SetDefaults_Subject`).
const GROUP: &str = InputKind::Role.group();

/// Why a rule is rejected. Mirrors `ValidatePolicyRule`.
#[must_use]
pub fn rule(rule: &wire::PolicyRule, namespaced: bool) -> Option<&'static str> {
    let urls = !rule.non_resource_urls.is_empty();
    let resources = !rule.resources.is_empty()
        || !rule.api_groups.is_empty()
        || !rule.resource_names.is_empty();
    if rule.verbs.is_empty() {
        Some("has no `verbs`")
    } else if urls && namespaced {
        Some("has `nonResourceURLs`, which only a ClusterRole may have")
    } else if urls && resources {
        Some("has both `nonResourceURLs` and `resources`: split it into two rules")
    } else if urls {
        None
    } else if rule.api_groups.is_empty() {
        Some("has no `apiGroups`: the core group is `\"\"`")
    } else if rule.resources.is_empty() {
        Some("has no `resources`")
    } else {
        None
    }
}

/// Why the role that a binding refers to is rejected. Mirrors `ValidateRoleBinding` and
/// `ValidateClusterRoleBinding`.
#[must_use]
pub fn role_ref(binding: &wire::Binding) -> Option<&'static str> {
    let role_ref = &binding.role_ref;
    let namespaced = !binding.metadata.namespace.is_empty();
    match role_ref.kind.as_str() {
        _ if !matches!(role_ref.api_group.as_str(), "" | GROUP) => {
            Some("has a `roleRef.apiGroup` other than rbac.authorization.k8s.io")
        }
        _ if role_ref.name.is_empty() => Some("has no `roleRef.name`"),
        "ClusterRole" => None,
        "Role" if namespaced => None,
        "Role" => Some("refers to a Role: a ClusterRoleBinding can only refer to a ClusterRole"),
        _ => Some("has a `roleRef.kind` that is neither Role nor ClusterRole"),
    }
}

/// Why a subject of a binding is rejected. Mirrors `ValidateRoleBindingSubject`.
#[must_use]
pub fn subject(subject: &wire::Subject, binding_namespace: &str) -> Option<&'static str> {
    let group = subject.api_group.as_str();
    match subject.kind.as_str() {
        _ if subject.name.is_empty() => Some("has no `name`"),
        "ServiceAccount" if !group.is_empty() => {
            Some("has an `apiGroup`: that of a ServiceAccount is `\"\"`")
        }
        "ServiceAccount" if subject.namespace.is_empty() && binding_namespace.is_empty() => {
            Some("has no `namespace`, which a ServiceAccount needs in a ClusterRoleBinding")
        }
        "User" | "Group" if !matches!(group, "" | GROUP) => {
            Some("has an `apiGroup` other than rbac.authorization.k8s.io")
        }
        "ServiceAccount" | "User" | "Group" => None,
        _ => Some("has a `kind` other than ServiceAccount, User or Group"),
    }
}

/// Everything in the rules of a role that is rejected, with its index.
#[must_use]
pub fn in_rules(rules: &[wire::PolicyRule], namespaced: bool) -> Vec<String> {
    let rejected = |(index, wire): (usize, &wire::PolicyRule)| {
        let why = rule(wire, namespaced)?;
        Some(format!("`rules[{index}]` {why}"))
    };
    rules.iter().enumerate().filter_map(rejected).collect()
}

/// Everything in a binding that is rejected, with its index.
#[must_use]
pub fn in_binding(binding: &wire::Binding) -> Vec<String> {
    let rejected = |(index, wire): (usize, &wire::Subject)| {
        let why = subject(wire, &binding.metadata.namespace)?;
        Some(format!("`subjects[{index}]` ({}) {why}", wire.name))
    };
    let subjects = binding.subjects.iter().enumerate().filter_map(rejected);
    let role_ref = role_ref(binding).map(str::to_owned);
    role_ref.into_iter().chain(subjects).collect()
}
