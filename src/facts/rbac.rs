//! What is kept of roles and bindings.

use super::{ClusterRoleBindings, ClusterRoles, Kind, RoleBindings, Roles, wire};
use crate::model::{Binding, InputKind, Role, RoleRef, Rule, Subject, rbac::RoleKind};

/// Implements [`Kind`] for a kind of role.
macro_rules! role {
    ($kind:ty, $input:expr) => {
        impl Kind for $kind {
            type Wire = wire::Role;
            type Facts = Role;
            const INPUT: InputKind = $input;

            fn metadata(wire: &Self::Wire) -> &wire::Metadata {
                &wire.metadata
            }

            fn facts(wire: &Self::Wire) -> Self::Facts {
                Role {
                    rules: wire.rules.iter().map(rule).collect(),
                }
            }
        }
    };
}

/// Implements [`Kind`] for a kind of binding.
macro_rules! binding {
    ($kind:ty, $input:expr) => {
        impl Kind for $kind {
            type Wire = wire::Binding;
            type Facts = Binding;
            const INPUT: InputKind = $input;

            fn metadata(wire: &Self::Wire) -> &wire::Metadata {
                &wire.metadata
            }

            fn facts(wire: &Self::Wire) -> Self::Facts {
                binding(wire)
            }
        }
    };
}

role!(Roles, InputKind::Role);
role!(ClusterRoles, InputKind::ClusterRole);
binding!(RoleBindings, InputKind::RoleBinding);
binding!(ClusterRoleBindings, InputKind::ClusterRoleBinding);

/// One rule, as written.
#[must_use]
pub fn rule(wire: &wire::PolicyRule) -> Rule {
    let list = |list: &[Box<str>]| list.to_vec().into_boxed_slice();
    Rule {
        verbs: list(&wire.verbs),
        api_groups: list(&wire.api_groups),
        resources: list(&wire.resources),
        resource_names: list(&wire.resource_names),
        non_resource_urls: list(&wire.non_resource_urls),
    }
}

/// A binding with the subjects that can reach a ServiceAccount. One whose `roleRef` the API server
/// would refuse (another kind, or a Role for the whole cluster) reaches nobody.
fn binding(wire: &wire::Binding) -> Binding {
    let namespace = wire.metadata.namespace.as_str();
    let kind = match wire.role_ref.kind.as_str() {
        "ClusterRole" => Some(RoleKind::ClusterRole),
        "Role" if !namespace.is_empty() => Some(RoleKind::Role),
        _ => None,
    };
    let subjects = wire.subjects.iter().filter(|_| kind.is_some());
    let mut subjects: Vec<_> = subjects
        .filter_map(|subject| {
            Subject::of(&subject.kind, &subject.namespace, &subject.name, namespace)
        })
        .collect();
    subjects.sort_unstable();
    subjects.dedup();
    Binding {
        role_ref: RoleRef {
            kind: kind.unwrap_or(RoleKind::ClusterRole),
            name: wire.role_ref.name.as_str().into(),
        },
        subjects: subjects.into(),
    }
}
