//! What is kept of roles and bindings.

use super::{ClusterRoleBindings, ClusterRoles, Kind, RoleBindings, Roles, rejected, wire};
use crate::model::{
    Binding, Config, InputKind, Role, RoleRef, Rule, Subject, rbac::RoleKind, stray::Stray,
};

/// How many subjects of a binding are kept that match no ServiceAccount but may be meant for one.
const MAX_STRAYS: usize = 16;

/// Implements [`Kind`] for a kind of role or binding.
macro_rules! kind {
    ($kind:ty, $input:expr, $wire:ty => $facts:ty, $read:expr) => {
        impl Kind for $kind {
            type Wire = $wire;
            type Facts = $facts;
            const INPUT: InputKind = $input;

            fn facts(wire: &Self::Wire, _: &Config) -> Self::Facts {
                $read(wire)
            }
        }
    };
}
kind!(Roles, InputKind::Role, wire::Role => Role, |wire| role(wire, true));
kind!(ClusterRoles, InputKind::ClusterRole, wire::Role => Role, |wire| role(wire, false));
kind!(RoleBindings, InputKind::RoleBinding, wire::Binding => Binding, binding);
kind!(ClusterRoleBindings, InputKind::ClusterRoleBinding, wire::Binding => Binding, binding);

fn role(wire: &wire::Role, namespaced: bool) -> Role {
    Role {
        rules: rules(&wire.rules, namespaced).collect(),
    }
}

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

/// The rules of a role without those that the API server would reject.
pub fn rules(wire: &[wire::PolicyRule], namespaced: bool) -> impl Iterator<Item = Rule> {
    let valid = move |wire: &&wire::PolicyRule| rejected::rule(wire, namespaced).is_none();
    wire.iter().filter(valid).map(rule)
}

/// A binding with the subjects that can reach a ServiceAccount; what the API server would
/// reject reaches no account.
fn binding(wire: &wire::Binding) -> Binding {
    let namespace = wire.metadata.namespace.as_str();
    let kind = if wire.role_ref.kind == "Role" {
        RoleKind::Role
    } else {
        RoleKind::ClusterRole
    };
    let valid = |subject: &&wire::Subject| rejected::subject(subject, namespace).is_none();
    let subjects = wire.subjects.iter();
    let subjects = subjects.filter(|_| rejected::role_ref(wire).is_none());
    let mut strays: Vec<_> = subjects
        .clone()
        .filter_map(|subject| {
            Stray::of(&subject.kind, &subject.namespace, &subject.name, namespace)
        })
        .map(Subject::Stray)
        .collect();
    strays.sort_unstable();
    strays.truncate(MAX_STRAYS);
    let mut subjects: Vec<_> = subjects
        .filter(valid)
        .filter_map(|subject| {
            Subject::of(&subject.kind, &subject.namespace, &subject.name, namespace)
        })
        .chain(strays)
        .collect();
    subjects.sort_unstable();
    subjects.dedup();
    Binding {
        role_ref: RoleRef {
            kind,
            name: wire.role_ref.name.as_str().into(),
        },
        subjects: subjects.into(),
    }
}
