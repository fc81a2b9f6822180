//! What was used of what is granted, and the smallest rules that would have been enough.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Evidence,
    usage::{is_for_other_servers, may_need_more},
};
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
    token::redact::INSTEAD,
    usage::{NO_VERB, is_default},
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
    let has_more = all.iter().any(|(_, used)| used.has_more);
    if has_more {
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
        unused_bindings: if is_certain && !has_more && !may_need_more(usage) {
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
    let actions = usage.total.actions.keys();
    let needing: Vec<_> = actions.filter(|action| may_need_create(action)).collect();
    let is_besides = |grant: &ExplainedGrant, rule: &Rule| {
        let mut needing = needing.iter();
        needing.any(|action| holds_in(&grant.grant.scope, action) && allows(rule, action, "create"))
    };
    let is_unseen = |grant: &&ExplainedGrant| {
        let rules = grant.rules.iter();
        let mut granting = rules.filter(|used| used.effect == Effect::Grants);
        granting.any(|used| is_used_unseen(&used.rule) || is_besides(grant, &used.rule))
    };
    let unused = not_used.into_iter();
    let unused = unused.filter(|grant| !may_be_used(grant) && !is_unseen(grant));
    unused.map(|grant| grant.grant.binding.clone()).collect()
}

/// Why more is proposed than was seen.
const TOGETHER: &str =
    "`list` and `watch` are proposed together: a client that keeps a list up to date needs both";

const STREAMS: &str = "`create` is proposed with `get` for `exec`, `attach` and `portforward`: an API server since 1.35 asks for both";

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
    for action in actions.filter(|action| !action.is_denied && !is_default(action)) {
        if let Some(why) = left_out(action) {
            remarks.push(why.to_owned());
            continue;
        }
        remarks.extend(hidden_need(action).map(str::to_owned));
        let rules = granting(action, grants);
        if rules.is_empty() {
            remarks.push(format!(
                "`{action}` was allowed, and no present binding is found that grants it: it is not proposed"
            ));
            continue;
        }
        if action.resource.is_empty() {
            let verb = [action.verb.clone()].into();
            urls.entry(verb).or_default().insert(action.url.clone());
            continue;
        }
        // Which objects were asked for is not kept: a rule for all of them covers what was seen, and so do all names.
        let unnamed = rules.iter().find(|rule| rule.resource_names.is_empty());
        let rules = unnamed.map_or_else(|| rules.clone(), |rule| vec![*rule]);
        let names = granted_names(&rules, remarks);
        let target = (action.group.clone(), action.resource.clone(), names);
        let of_namespace = verbs.entry(action.namespace.clone()).or_default();
        let wanted = of_namespace.entry(target).or_default();
        wanted.insert(action.verb.clone());
        for (verb, remark) in besides(action, &rules) {
            if wanted.insert(verb.into()) {
                remarks.push(remark.to_owned());
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

/// The verbs that are proposed with that of an action, as far as it is granted, and why.
fn besides(action: &Action, rules: &[&Rule]) -> impl Iterator<Item = (&'static str, &'static str)> {
    let verbs = [
        // A client that keeps a list up to date needs both, whichever was seen.
        (&*action.verb == "list", "watch", TOGETHER),
        (&*action.verb == "watch", "list", TOGETHER),
        (is_stream(action), "create", STREAMS),
    ];
    let is_granted = |verb: &str| rules.iter().all(|rule| allows(rule, action, verb));
    let verbs = verbs.into_iter();
    let verbs = verbs.filter(move |(applies, verb, _)| *applies && is_granted(verb));
    verbs.map(|(_, verb, remark)| (verb, remark))
}

/// The names of objects that rules are limited to; a remark says so where there are several.
fn granted_names(rules: &[&Rule], remarks: &mut Vec<String>) -> Vec<Box<str>> {
    let names = rules.iter().flat_map(|rule| rule.resource_names.iter());
    let names: BTreeSet<_> = names.cloned().collect();
    if names.len() > 1 {
        let remark =
            "names of objects are all those that are granted: which of them were used is not kept";
        remarks.push(remark.to_owned());
    }
    names.into_iter().collect()
}

/// Why a request is not proposed, whatever was granted.
fn left_out(action: &Action) -> Option<&'static str> {
    if &*action.verb == NO_VERB {
        return Some(
            "requests without a verb are not proposed: no rule but one with `*` allows them",
        );
    }
    if action.to_string().contains(INSTEAD) {
        return Some("requests with a token in their path are not proposed");
    }
    let parts = [&action.verb, &action.group, &action.resource, &action.url];
    if parts.iter().any(|part| part.contains('*')) {
        return Some(
            "requests with `*` in their path are not proposed: in a rule it stands for everything",
        );
    }
    (&*action.verb == "impersonate")
        .then_some("requests on behalf of other users need `impersonate`, which is not proposed")
}

/// Whether it opens a stream to a pod with `get`, as clients do by WebSocket.
fn is_stream(action: &Action) -> bool {
    let is_of_pods = action.group.is_empty()
        && matches!(
            &*action.resource,
            "pods/exec" | "pods/attach" | "pods/portforward"
        );
    is_of_pods && &*action.verb == "get"
}

/// Whether the authorizer may have asked for `create` besides, and no event names the binding that allows it: of an object
/// that did not exist yet, or a stream.
fn may_need_create(action: &Action) -> bool {
    let is_writing = matches!(&*action.verb, "update" | "patch") && !action.resource.is_empty();
    !action.is_denied && (is_writing || is_stream(action))
}

/// The rules of the grants that allow an action.
fn granting<'a>(action: &Action, grants: &'a [ExplainedGrant]) -> Vec<&'a Rule> {
    let grants = grants.iter();
    let grants = grants.filter(|explained| holds_in(&explained.grant.scope, action));
    let rules = grants.flat_map(|explained| &explained.rules);
    let rules = rules.filter(|used| used.effect == Effect::Grants);
    let rules = rules.map(|used| &used.rule);
    rules
        .filter(|rule| allows(rule, action, &action.verb))
        .collect()
}

/// What a request may have needed besides its verb, which no event shows.
fn hidden_need(action: &Action) -> Option<&'static str> {
    let is_writing = matches!(&*action.verb, "create" | "update" | "patch");
    match (&*action.group, &*action.resource) {
        ("rbac.authorization.k8s.io", _) if is_writing => Some(
            "who writes roles or bindings may need `bind` or `escalate`, which are not proposed",
        ),
        ("certificates.k8s.io", _) if is_writing => Some(
            "who approves or signs certificates needs `approve` or `sign` for signers, which are not proposed",
        ),
        _ => None,
    }
}

/// Whether a rule grants something whose use does not name the binding: verbs that are checked besides that of the
/// request, and what is asked for at other servers.
fn is_used_unseen(rule: &Rule) -> bool {
    const BESIDES: [&str; 8] = [
        "*",
        "bind",
        "escalate",
        "impersonate",
        "approve",
        "sign",
        "attest",
        "use",
    ];
    let verbs = rule.verbs.iter();
    let mut verbs = verbs.map(|verb| verb.split(':').next().unwrap_or(verb));
    let has_verb = verbs.any(|verb| BESIDES.contains(&verb) || verb.starts_with("impersonate-"));
    has_verb || is_for_other_servers(rule)
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
    // These requests have no name: a rule for names never allows them.
    let is_nameless =
        verb == "deletecollection" || (verb == "create" && !action.resource.contains('/'));
    if is_nameless && !rule.resource_names.is_empty() {
        return false;
    }
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
