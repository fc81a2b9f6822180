//! What was used of what is granted, and the smallest rules that would have been enough.

use std::collections::{BTreeMap, BTreeSet};

use super::Evidence;
use crate::{
    model::{
        ObjectKey, Rule, Scope,
        rbac::{Effect, ExplainedGrant},
        usage::{Action, Grade, UsageDetail},
    },
    rbac::{
        self,
        cover::{Atom, breakdown, covers},
    },
};

/// What each binding grants, rule by rule.
pub(super) fn grants(evidence: &Evidence<'_>) -> Vec<ExplainedGrant> {
    rbac::explain(
        evidence.account,
        &evidence.bindings,
        evidence.roles,
        &evidence.config.default_permissions,
    )
}

/// What was seen in detail; `None` without audit logs.
pub(super) fn detail(evidence: &Evidence<'_>, grants: &[ExplainedGrant]) -> Option<UsageDetail> {
    let usage = evidence.usage.as_ref()?;
    let own = usage.workloads.iter();
    let own = own.map(|(workload, used)| (Some(workload.clone()), used));
    let all: Vec<_> = own.chain([(None, &usage.others)]).collect();
    let mut remarks = Vec::new();
    if all.iter().any(|(_, used)| used.has_more) {
        remarks.push("there were more kinds of requests than are kept".to_owned());
    }
    let proposal = proposal(usage.total.actions.keys(), grants, &mut remarks);
    let is_certain = usage.window.grade == Grade::Complete
        && usage.window.to.as_second() - usage.window.from.as_second() >= usage.required;
    let actions = all.into_iter().filter(|(_, used)| !used.actions.is_empty());
    Some(UsageDetail {
        actions: actions
            .map(|(workload, used)| (workload, used.actions.clone()))
            .collect(),
        unused_bindings: if is_certain {
            unused(evidence, grants)
        } else {
            Vec::new()
        },
        proposal,
        remarks,
    })
}

/// The bindings that grant something and were not used, unless used ones cover all of it: of several that allow a
/// request, the authorizer names one.
fn unused(evidence: &Evidence<'_>, grants: &[ExplainedGrant]) -> Vec<ObjectKey> {
    let Some(usage) = &evidence.usage else {
        return Vec::new();
    };
    let grants = grants
        .iter()
        .filter(|grant| grant.grant.effect == Effect::Grants);
    let (used, not_used): (Vec<_>, Vec<_>) =
        grants.partition(|grant| usage.bindings.contains_key(&grant.grant.binding));
    let may_be_used = |grant: &&ExplainedGrant| {
        let scope = &grant.grant.scope;
        let covering = used
            .iter()
            .filter(|used| used.grant.scope == Scope::Cluster || used.grant.scope == *scope);
        let rules: Vec<_> = covering
            .flat_map(|used| &used.rules)
            .map(|used| &used.rule)
            .collect();
        let granting = grant
            .rules
            .iter()
            .filter(|used| used.effect == Effect::Grants);
        let mut atoms = granting.flat_map(|used| breakdown(&used.rule));
        !atoms.any(|atom| !rules.iter().any(|rule| covers(rule, &atom)))
    };
    let unused = not_used.into_iter().filter(|grant| !may_be_used(grant));
    unused.map(|grant| grant.grant.binding.clone()).collect()
}

/// A group, a resource and the names that a grant is limited to.
type Target = (Box<str>, Box<str>, Vec<Box<str>>);

/// The smallest rules that cover the actions, by namespace. They never go beyond what is granted: where a grant is
/// limited to names, so is the proposal.
fn proposal<'a>(
    actions: impl Iterator<Item = &'a Action>,
    grants: &[ExplainedGrant],
    remarks: &mut Vec<String>,
) -> BTreeMap<Box<str>, Vec<Rule>> {
    let mut verbs: BTreeMap<Box<str>, BTreeMap<Target, BTreeSet<Box<str>>>> = BTreeMap::new();
    let mut urls: BTreeMap<BTreeSet<Box<str>>, BTreeSet<Box<str>>> = BTreeMap::new();
    for action in actions.filter(|action| !action.is_denied) {
        if &*action.verb == "impersonate" {
            remarks.push(
                "requests on behalf of other users need `impersonate`, which is not proposed"
                    .to_owned(),
            );
            continue;
        }
        let granting = grants
            .iter()
            .filter(|explained| holds_in(&explained.grant.scope, action));
        let mut rules = granting.flat_map(|explained| &explained.rules);
        let is_granting =
            |rule: &Rule, effect| effect == Effect::Grants && allows(rule, action, &action.verb);
        let Some(used) = rules.find(|used| is_granting(&used.rule, used.effect)) else {
            continue;
        };
        let rule = &used.rule;
        if action.resource.is_empty() {
            let verb = [action.verb.clone()].into();
            urls.entry(verb).or_default().insert(action.url.clone());
            continue;
        }
        let names = rule.resource_names.to_vec();
        let target = (action.group.clone(), action.resource.clone(), names);
        let of_namespace = verbs.entry(action.namespace.clone()).or_default();
        let wanted = of_namespace.entry(target).or_default();
        wanted.insert(action.verb.clone());
        // A client that keeps a list up to date needs both, whichever was seen.
        for (one, other) in [("list", "watch"), ("watch", "list")] {
            if *action.verb == *one && allows(rule, action, other) {
                wanted.insert(other.into());
            }
        }
    }
    remarks.sort_unstable();
    remarks.dedup();
    let mut proposal: BTreeMap<Box<str>, Vec<Rule>> = verbs
        .into_iter()
        .map(|(namespace, targets)| (namespace, merged(targets)))
        .collect();
    for (verbs, urls) in urls {
        proposal.entry("".into()).or_default().push(Rule {
            verbs: verbs.into_iter().collect(),
            non_resource_urls: urls.into_iter().collect(),
            ..Rule::default()
        });
    }
    proposal
}

/// Whether a grant holds for a request: one without a namespace is only allowed for the whole cluster.
fn holds_in(scope: &Scope, action: &Action) -> bool {
    match scope {
        Scope::Cluster => true,
        Scope::Namespace(namespace) => **namespace == *action.namespace,
    }
}

/// Whether a rule allows the action with this verb, for one of its names if it is limited to some.
fn allows(rule: &Rule, action: &Action, verb: &str) -> bool {
    let atom = if action.resource.is_empty() {
        Atom::Url {
            verb,
            url: &action.url,
        }
    } else {
        Atom::Resource {
            verb,
            group: &action.group,
            resource: &action.resource,
            name: rule.resource_names.first().map(|name| &**name),
        }
    };
    covers(rule, &atom)
}

/// Rules with all resources of a group that have the same verbs and names.
fn merged(targets: BTreeMap<Target, BTreeSet<Box<str>>>) -> Vec<Rule> {
    let mut resources: BTreeMap<_, Vec<Box<str>>> = BTreeMap::new();
    for ((group, resource, names), verbs) in targets {
        resources
            .entry((group, names, verbs))
            .or_default()
            .push(resource);
    }
    let rules = resources.into_iter();
    let rules = rules.map(|((group, names, verbs), resources)| Rule {
        verbs: verbs.into_iter().collect(),
        api_groups: [group].into(),
        resources: resources.into(),
        resource_names: names.into(),
        non_resource_urls: Box::default(),
    });
    rules.collect()
}
