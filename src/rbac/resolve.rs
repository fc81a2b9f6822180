//! Which bindings reach an account, and what does each grant beyond the default permissions?
//! Mirrors `DefaultRuleResolver.VisitRulesFor` (pkg/registry/rbac/validation/rule.go).

use super::{
    cover::{Atom, breakdown, covers},
    defaults::{default_rules, is_default_account_rule},
    reachable,
};
use crate::model::{
    Binding, Grant, KnownRoles, Level, ObjectKey, Permissions, Role, Rule, Scope,
    ServiceAccountRef, Subject,
    rbac::{Caveat, Effect, ExplainedGrant, RuleUse},
};

/// A binding with the role that its `roleRef` refers to.
#[derive(Clone, Copy, Debug)]
pub struct BoundRole<'a> {
    /// The binding's key; an empty namespace means a ClusterRoleBinding.
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

/// The subject by which a binding reaches the account; where several do, the widest, since each
/// member of a group has what the group has. Mirrors `appliesTo`.
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

/// A rule, with its scope, that may cover others.
struct Covering<'a> {
    scope: Scope,
    rule: &'a Rule,
}

/// What RBAC grants an account beyond the default permissions: those of `system:authenticated`, and the
/// `configured` rules, which every account of this cluster is granted.
///
/// An atom belongs to the widest group that has it: a binding that grants an account what all
/// accounts of its namespace already have adds nothing.
#[must_use]
pub fn permissions(
    account: &ServiceAccountRef,
    candidates: &[BoundRole<'_>],
    roles: KnownRoles,
    configured: &[Rule],
) -> Permissions {
    let reaching = reaching(account, candidates);
    let mut permissions = Permissions {
        widened_defaults: widened_defaults(&reaching),
        ..Permissions::default()
    };
    each_beyond_defaults(&reaching, configured, |via, bound, covering| {
        let grant = grant(via, bound, covering, roles);
        if grant.effect == Effect::Grants {
            let level = if via.is_group() {
                Level::Inherited
            } else {
                Level::Direct
            };
            permissions.level = permissions.level.max(level);
        }
        permissions.grants.push(grant);
    });
    permissions.grants.sort_unstable();
    permissions
}

/// The same, rule by rule: each grant with the effect of every rule of its role, widest first.
#[must_use]
pub fn explain(
    account: &ServiceAccountRef,
    candidates: &[BoundRole<'_>],
    roles: KnownRoles,
    configured: &[Rule],
) -> Vec<ExplainedGrant> {
    let mut explained = Vec::new();
    each_beyond_defaults(
        &reaching(account, candidates),
        configured,
        |via, bound, covering| {
            let of_rule = |rule: &Rule| {
                let (effect, caveat) = rules_effect([rule], &bound.scope(), covering);
                RuleUse {
                    rule: rule.clone(),
                    effect,
                    caveat,
                }
            };
            explained.push(ExplainedGrant {
                grant: grant(via, bound, covering, roles),
                rules: bound
                    .role
                    .map_or_else(Vec::new, |role| role.rules.iter().map(of_rule).collect()),
            });
        },
    );
    explained
}

/// A binding with the subject by which it reaches the account.
type Reaching<'a, 'b> = (&'b Subject, &'b BoundRole<'a>);

/// The bindings that reach the account, widest first.
fn reaching<'a, 'b>(
    account: &ServiceAccountRef,
    candidates: &'b [BoundRole<'a>],
) -> Vec<Reaching<'a, 'b>> {
    let mut reaching: Vec<_> = candidates
        .iter()
        .filter_map(|bound| Some((applies_to(account, &bound.binding.subjects)?, bound)))
        .collect();
    reaching.sort_by_key(|(via, bound)| (*via, bound.key));
    reaching
}

/// Visits every binding except those of `system:authenticated`, with the rules of all wider ones.
fn each_beyond_defaults<'a>(
    reaching: &[Reaching<'a, '_>],
    configured: &'a [Rule],
    mut visit: impl FnMut(&Subject, &BoundRole<'a>, &[Covering<'a>]),
) {
    let mut covering = default_permissions(reaching, configured);
    let beyond: Vec<_> = reaching
        .iter()
        .filter(|(via, _)| **via != Subject::Authenticated)
        .collect();
    for group in beyond.chunk_by(|(one, _), (other, _)| width(one) == width(other)) {
        for (via, bound) in group {
            visit(via, bound, &covering);
        }
        covering.extend(group.iter().flat_map(|(_, bound)| covering_rules(bound)));
    }
}

fn grant(
    via: &Subject,
    bound: &BoundRole<'_>,
    covering: &[Covering<'_>],
    roles: KnownRoles,
) -> Grant {
    let (effect, caveat) = effect(bound, covering, roles);
    Grant {
        effect,
        caveat,
        binding: bound.key.clone(),
        role_ref: bound.binding.role_ref.clone(),
        scope: bound.scope(),
        via: via.clone(),
    }
}

/// The bindings that grant every authenticated user more than Kubernetes itself does.
fn widened_defaults(reaching: &[Reaching<'_, '_>]) -> Vec<Grant> {
    let defaults: Vec<_> = default_rules()
        .iter()
        .map(|rule| Covering {
            scope: Scope::Cluster,
            rule,
        })
        .collect();
    let authenticated = reaching
        .iter()
        .filter(|(via, _)| **via == Subject::Authenticated);
    authenticated
        .map(|(via, bound)| grant(via, bound, &defaults, KnownRoles::Complete))
        .filter(|grant| matches!(grant.effect, Effect::Grants | Effect::AdmissionOnly))
        .collect()
}

/// How wide a subject is: 0 every authenticated user, 1 all accounts, 2 those of a namespace, 3 one account.
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

/// What every authenticated user is granted, what Kubernetes itself grants to every account, and what
/// the configuration adds.
fn default_permissions<'a>(
    reaching: &[Reaching<'a, '_>],
    configured: &'a [Rule],
) -> Vec<Covering<'a>> {
    let of = |subject: Subject| {
        reaching
            .iter()
            .filter(move |(via, _)| **via == subject)
            .flat_map(|(_, bound)| covering_rules(bound))
    };
    let of_all_accounts = of(Subject::AllServiceAccounts).filter(|covering| {
        covering.scope == Scope::Cluster && is_default_account_rule(covering.rule)
    });
    let configured = configured.iter().map(|rule| Covering {
        scope: Scope::Cluster,
        rule,
    });
    of(Subject::Authenticated)
        .chain(of_all_accounts)
        .chain(configured)
        .collect()
}

/// The effect of a binding beyond the covering rules, and why nothing of it can be used.
fn effect(
    bound: &BoundRole<'_>,
    covering: &[Covering<'_>],
    roles: KnownRoles,
) -> (Effect, Option<Caveat>) {
    let Some(role) = bound.role else {
        let effect = match roles {
            KnownRoles::Complete => Effect::Latent,
            KnownRoles::Partial => Effect::Unresolved,
        };
        return (effect, None);
    };
    if role.rules.is_empty() {
        return (Effect::Latent, None);
    }
    rules_effect(&role.rules, &bound.scope(), covering)
}

/// The effect of rules of one scope beyond the covering ones. Stops at the first atom that decides it.
fn rules_effect<'a>(
    rules: impl IntoIterator<Item = &'a Rule>,
    scope: &Scope,
    covering: &[Covering<'_>],
) -> (Effect, Option<Caveat>) {
    let covering: Vec<_> = covering
        .iter()
        .filter(|covering| covering.scope == Scope::Cluster || covering.scope == *scope)
        .map(|covering| covering.rule)
        .collect();
    let mut found = (Effect::Covered, None);
    for atom in rules.into_iter().flat_map(breakdown) {
        // A request for a non-resource URL has no namespace: no RoleBinding applies to it.
        let has_no_effect = *scope != Scope::Cluster && matches!(atom, Atom::Url { .. });
        if has_no_effect || covering.iter().any(|rule| covers(rule, &atom)) {
            continue;
        }
        if atom.is_admission_only() {
            if found.0 == Effect::Covered {
                found.0 = Effect::AdmissionOnly;
            }
            continue;
        }
        let Some(caveat) = reachable::caveat(&atom, scope) else {
            return (Effect::Grants, None);
        };
        found = (Effect::Grants, found.1.max(Some(caveat)));
    }
    found
}
