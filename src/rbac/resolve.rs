//! Which bindings reach an account, and what does each come to beyond what everybody has?
//! Mirrors `DefaultRuleResolver.VisitRulesFor` (pkg/registry/rbac/validation/rule.go).

use super::{
    baseline::is_upstream_account_rule,
    cover::{Atom, breakdown, covers},
};
use crate::model::{
    Binding, Grant, KnownRoles, Level, ObjectKey, Permissions, Role, Rule, Scope,
    ServiceAccountRef, Subject, rbac::Effect,
};

/// A binding with the role that its `roleRef` leads to.
#[derive(Clone, Copy, Debug)]
pub struct BoundRole<'a> {
    /// The binding's key; an empty namespace is a ClusterRoleBinding.
    pub key: &'a ObjectKey,
    /// The binding.
    pub binding: &'a Binding,
    /// The role; `None` when there is none of that name.
    pub role: Option<&'a Role>,
}

impl BoundRole<'_> {
    fn scope(&self) -> Scope {
        if self.key.is_cluster() {
            Scope::Cluster
        } else {
            Scope::Namespace(self.key.namespace.clone())
        }
    }
}

/// The subject by which a binding reaches the account; where several do, the widest, since what a
/// whole group has, each of its members has. Mirrors `appliesTo`.
#[must_use]
pub fn applies_to<'a>(account: &ServiceAccountRef, subjects: &'a [Subject]) -> Option<&'a Subject> {
    let applies = |subject: &&Subject| match subject {
        Subject::Authenticated | Subject::AllServiceAccounts => true,
        Subject::NamespaceServiceAccounts(namespace) => *namespace == account.namespace,
        Subject::User(named) | Subject::ServiceAccount(named) => named == account,
    };
    // `Subject` is ordered from wide to narrow.
    subjects.iter().filter(applies).min()
}

/// A rule in its scope that others are measured against.
struct Covering<'a> {
    scope: Scope,
    rule: &'a Rule,
}

/// What RBAC gives to an account beyond the baseline, which is what `system:authenticated` has.
///
/// An atom belongs to the widest group that has it: a binding that gives an account what all
/// accounts of its namespace have anyway adds nothing.
#[must_use]
pub fn permissions(
    account: &ServiceAccountRef,
    candidates: &[BoundRole<'_>],
    roles: KnownRoles,
) -> Permissions {
    let mut reaching: Vec<_> = candidates
        .iter()
        .filter_map(|bound| Some((applies_to(account, &bound.binding.subjects)?, bound)))
        .collect();
    reaching.sort_by_key(|(via, bound)| (*via, bound.key));

    let mut covering = baseline(&reaching);
    let mut permissions = Permissions::default();
    let beyond_baseline = reaching
        .iter()
        .filter(|(via, _)| **via != Subject::Authenticated);
    for group in beyond_baseline
        .collect::<Vec<_>>()
        .chunk_by(|(one, _), (other, _)| width(one) == width(other))
    {
        for (via, bound) in group {
            let effect = effect(bound, &covering, roles);
            if effect == Effect::Grants {
                let level = if via.is_group() {
                    Level::Inherited
                } else {
                    Level::Direct
                };
                permissions.level = permissions.level.max(level);
            }
            permissions.grants.push(Grant {
                effect,
                binding: bound.key.clone(),
                role_ref: bound.binding.role_ref.clone(),
                scope: bound.scope(),
                via: (*via).clone(),
            });
        }
        covering.extend(group.iter().flat_map(|(_, bound)| covering_rules(bound)));
    }
    permissions.grants.sort_unstable();
    permissions
}

/// How wide a subject is: 0 everybody, 1 all accounts, 2 those of a namespace, 3 one account.
const fn width(subject: &Subject) -> u8 {
    match subject {
        Subject::Authenticated => 0,
        Subject::AllServiceAccounts => 1,
        Subject::NamespaceServiceAccounts(_) => 2,
        Subject::User(_) | Subject::ServiceAccount(_) => 3,
    }
}

fn covering_rules<'a>(bound: &BoundRole<'a>) -> impl Iterator<Item = Covering<'a>> + use<'a> {
    let scope = bound.scope();
    bound
        .role
        .into_iter()
        .flat_map(|role| &role.rules)
        .map(move |rule| Covering {
            scope: scope.clone(),
            rule,
        })
}

/// What every identity has, and what upstream gives to every account on every cluster.
fn baseline<'a>(reaching: &[(&Subject, &BoundRole<'a>)]) -> Vec<Covering<'a>> {
    let of = |subject: Subject| {
        reaching
            .iter()
            .filter(move |(via, _)| **via == subject)
            .flat_map(|(_, bound)| covering_rules(bound))
    };
    let upstream = of(Subject::AllServiceAccounts).filter(|covering| {
        covering.scope == Scope::Cluster && is_upstream_account_rule(covering.rule)
    });
    of(Subject::Authenticated).chain(upstream).collect()
}

/// What a binding comes to beyond the covering rules. Stops at the first atom that settles it.
fn effect(bound: &BoundRole<'_>, covering: &[Covering<'_>], roles: KnownRoles) -> Effect {
    let Some(role) = bound.role else {
        return match roles {
            KnownRoles::Complete => Effect::Latent,
            KnownRoles::Partial => Effect::Unresolved,
        };
    };
    if role.rules.is_empty() {
        return Effect::Latent;
    }
    let scope = bound.scope();
    let covering: Vec<_> = covering
        .iter()
        .filter(|covering| covering.scope == Scope::Cluster || covering.scope == scope)
        .map(|covering| covering.rule)
        .collect();
    let mut effect = Effect::Covered;
    for atom in role.rules.iter().flat_map(breakdown) {
        // A request for a URL has no namespace: no RoleBinding is asked.
        let inert = scope != Scope::Cluster && matches!(atom, Atom::Url { .. });
        if inert || covering.iter().any(|rule| covers(rule, &atom)) {
            continue;
        }
        if !atom.is_admission_only() {
            return Effect::Grants;
        }
        effect = Effect::AdmissionOnly;
    }
    effect
}
