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
    config::DefaultPermission,
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
        Subject::Unauthenticated | Subject::Stray(_) => false,
    };
    // `Subject` is ordered from wide to narrow.
    subjects.iter().filter(applies).min()
}

/// A rule, with its scope, that may cover others.
#[derive(Clone)]
struct Covering<'a> {
    scope: Scope,
    rule: &'a Rule,
}

/// What RBAC grants an account beyond the default permissions: those of `system:authenticated`, and those that
/// `further` says all accounts are granted through a group.
///
/// An atom belongs to the widest group that has it: a binding that grants an account what all
/// accounts of its namespace already have adds nothing.
#[must_use]
pub fn permissions(
    account: &ServiceAccountRef,
    candidates: &[BoundRole<'_>],
    roles: KnownRoles,
    further: &[DefaultPermission],
) -> Permissions {
    let reaching = reaching(account, candidates);
    let mut permissions = Permissions {
        widened_defaults: widened_defaults(account, &reaching, further),
        ..Permissions::default()
    };
    each_beyond_defaults(&reaching, |via, bound, covering| {
        let mut grant = grant(via, bound, covering, roles);
        set_aside(&mut grant, account, bound, covering, further);
        if grant.effect == Effect::Grants {
            let level = if via.is_group() {
                Level::Inherited
            } else {
                Level::Direct
            };
            permissions.level = permissions.level.max(level);
        }
        let is_named = grant.effect == Effect::Covered && !via.is_group();
        permissions.is_named_for_widened |= is_named
            && grant.default_of.is_none()
            && effect(bound, &of_kubernetes(), roles).0 != Effect::Covered;
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
    further: &[DefaultPermission],
) -> Vec<ExplainedGrant> {
    let mut explained = Vec::new();
    each_beyond_defaults(&reaching(account, candidates), |via, bound, covering| {
        let mut grant = grant(via, bound, covering, roles);
        set_aside(&mut grant, account, bound, covering, further);
        let covering = with(
            covering,
            &applicable(&grant, account, further),
            &grant.scope,
        );
        let of_rule = |rule: &Rule| {
            let (effect, caveat) = rules_effect([rule], &bound.scope(), &covering);
            RuleUse {
                rule: rule.clone(),
                effect,
                caveat,
            }
        };
        explained.push(ExplainedGrant {
            grant,
            rules: bound
                .role
                .map_or_else(Vec::new, |role| role.rules.iter().map(of_rule).collect()),
        });
    });
    explained
}

/// Where a grant is a default permission of a distribution, an add-on or the configuration, says so.
fn set_aside(
    grant: &mut Grant,
    account: &ServiceAccountRef,
    bound: &BoundRole<'_>,
    covering: &[Covering<'_>],
    further: &[DefaultPermission],
) {
    if !matches!(grant.effect, Effect::Grants | Effect::AdmissionOnly) {
        return;
    }
    let applicable = applicable(grant, account, further);
    let gives = |default: &&&DefaultPermission| {
        let rules = bound.role.iter().flat_map(|role| &role.rules);
        rules
            .flat_map(breakdown)
            .any(|atom| default.rules.iter().any(|rule| covers(rule, &atom)))
    };
    let Some(default) = applicable.iter().find(gives) else {
        return;
    };
    let covering = with(covering, &applicable, &grant.scope);
    (grant.effect, grant.caveat) = effect(bound, &covering, KnownRoles::Complete);
    if grant.effect == Effect::Covered {
        grant.default_of = Some(default.name.clone());
    }
}

/// The default permissions that may make up a grant.
fn applicable<'a>(
    grant: &Grant,
    account: &ServiceAccountRef,
    further: &'a [DefaultPermission],
) -> Vec<&'a DefaultPermission> {
    let applies =
        |default: &&DefaultPermission| default.applies_to(account, &grant.via, &grant.scope);
    further.iter().filter(applies).collect()
}

/// The covering rules, and those of further default permissions in a scope.
fn with<'a>(
    covering: &[Covering<'a>],
    further: &[&'a DefaultPermission],
    scope: &Scope,
) -> Vec<Covering<'a>> {
    let rules = further.iter().flat_map(|default| &default.rules);
    let further = rules.map(|rule| Covering {
        scope: scope.clone(),
        rule,
    });
    covering.iter().cloned().chain(further).collect()
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
    mut visit: impl FnMut(&Subject, &BoundRole<'a>, &[Covering<'a>]),
) {
    let mut covering = default_permissions(reaching);
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
        default_of: None,
        last_used: None,
    }
}

/// What Kubernetes itself grants to every authenticated user.
fn of_kubernetes() -> Vec<Covering<'static>> {
    let rules = default_rules().iter();
    rules
        .map(|rule| Covering {
            scope: Scope::Cluster,
            rule,
        })
        .collect()
}

/// The bindings that grant every authenticated user more than Kubernetes itself does.
fn widened_defaults(
    account: &ServiceAccountRef,
    reaching: &[Reaching<'_, '_>],
    further: &[DefaultPermission],
) -> Vec<Grant> {
    let defaults = of_kubernetes();
    let authenticated = reaching
        .iter()
        .filter(|(via, _)| **via == Subject::Authenticated);
    authenticated
        .map(|(via, bound)| {
            let mut grant = grant(via, bound, &defaults, KnownRoles::Complete);
            set_aside(&mut grant, account, bound, &defaults, further);
            grant
        })
        .filter(|grant| matches!(grant.effect, Effect::Grants | Effect::AdmissionOnly))
        .collect()
}

/// How wide a subject is: 0 every authenticated user, 1 all accounts, 2 those of a namespace, 3 one account.
const fn width(subject: &Subject) -> u8 {
    match subject {
        Subject::Authenticated | Subject::Unauthenticated => 0,
        Subject::AllServiceAccounts => 1,
        Subject::NamespaceServiceAccounts(_) => 2,
        Subject::User(_) | Subject::ServiceAccount(_) | Subject::Stray(_) => 3,
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

/// What every authenticated user is granted, and what Kubernetes itself grants to every account.
fn default_permissions<'a>(reaching: &[Reaching<'a, '_>]) -> Vec<Covering<'a>> {
    let of = |subject: Subject| {
        reaching
            .iter()
            .filter(move |(via, _)| **via == subject)
            .flat_map(|(_, bound)| covering_rules(bound))
    };
    let of_all_accounts = of(Subject::AllServiceAccounts).filter(|covering| {
        covering.scope == Scope::Cluster && is_default_account_rule(covering.rule)
    });
    of(Subject::Authenticated).chain(of_all_accounts).collect()
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
