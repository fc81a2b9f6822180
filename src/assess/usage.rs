//! What does the use of a token, or its absence, change about a verdict?

use std::collections::BTreeSet;

use jiff::{Timestamp, civil::Date};

use super::{Evidence, proposal::grants};
use crate::{
    model::{
        Carrier, Note, ObjectKey, Permissions, Reason, Rule, TokenSource, Verdict, Workload,
        rbac::Effect,
        usage::{Doubt, Grade, Hole, Use, Window},
    },
    usage::{AccountUsage, WorkloadUsage},
};

/// The verbs without which a policy proves nothing about what is read.
const READING: [&str; 3] = ["get", "list", "watch"];
/// Those that change something: a policy rarely tells them apart.
const WRITING: [&str; 4] = ["create", "update", "patch", "delete"];
/// How many callers of TokenReviews are named.
const MAX_REVIEWERS: usize = 3;

/// What the account is granted beyond the default permissions, as far as the absence of use depends on it.
#[derive(Debug, Default)]
pub(super) struct Granted {
    verbs: BTreeSet<Box<str>>,
    /// The bindings that reach it.
    bindings: BTreeSet<ObjectKey>,
    /// Those of them that name it.
    own: BTreeSet<ObjectKey>,
    /// Whether it may ask kubelets, or URLs that other servers have too.
    other_servers: bool,
}

/// What allowed requests of an account that has no permission of its own; what decides is last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum AllowedBy {
    /// A binding of every authenticated user, or something other than RBAC; events may not say what.
    Other,
    /// A present binding of a group, which a distribution or the configuration has by default.
    Default,
    /// A binding that has reached the account and does no more.
    Lost,
    /// A present binding that names the account.
    Own,
}

impl Granted {
    /// What the account is granted; nothing where no audit logs were given.
    pub(super) fn of(evidence: &Evidence<'_>) -> Self {
        let mut granted = Self::default();
        if evidence.usage.is_none() {
            return granted;
        }
        for explained in grants(evidence) {
            granted.bindings.insert(explained.grant.binding.clone());
            if !explained.grant.via.is_group() {
                granted.own.insert(explained.grant.binding.clone());
            }
            let rules = explained.rules.iter();
            for used in rules.filter(|used| used.effect == Effect::Grants) {
                let rule = &used.rule;
                granted.verbs.extend(rule.verbs.iter().cloned());
                let is_effective =
                    rule.non_resource_urls.is_empty() || explained.grant.binding.is_cluster();
                granted.other_servers |= is_effective && is_for_other_servers(rule);
            }
        }
        granted
    }

    /// What allowed requests beyond the default permissions of Kubernetes, the last of them at this time.
    fn allowed_by(&self, evidence: &Evidence<'_>, last: Option<Timestamp>) -> AllowedBy {
        let Some(usage) = &evidence.usage else {
            return AllowedBy::Default;
        };
        let used = usage.bindings.iter();
        let used = used.filter(|(_, time)| Some(**time) >= usage.counts_from);
        let last = last.map(Timestamp::as_microsecond);
        let mut by = AllowedBy::Other;
        for (binding, time) in used {
            by = by.max(if self.own.contains(binding) {
                AllowedBy::Own
            } else if !self.bindings.contains(binding) {
                AllowedBy::Lost
            } else if Some(*time) >= last {
                AllowedBy::Default
            } else {
                AllowedBy::Other
            });
        }
        by
    }

    /// The verbs that it is granted and that no account is seen to use.
    fn never_seen(&self, usage: &AccountUsage) -> Vec<Hole> {
        let has = |verb: &str| self.verbs.contains("*") || self.verbs.contains(verb);
        let is_seen = |verb: &&str| usage.seen_verbs.contains(*verb);
        let reading = READING.iter().filter(|verb| has(verb) && !is_seen(verb));
        let mut holes: Vec<_> = reading
            .map(|verb| Hole::NeverSeen((*verb).into()))
            .collect();
        let is_any_seen = WRITING.iter().any(is_seen);
        let unseen = WRITING.iter().find(|verb| has(verb) && !is_any_seen);
        holes.extend(unseen.map(|verb| Hole::NeverSeen((*verb).into())));
        holes
    }
}

/// Whether a rule also counts at servers that keep no audit log: `nodes/*` at kubelets, URLs at metrics ports.
pub(super) fn is_for_other_servers(rule: &Rule) -> bool {
    let mut groups = rule.api_groups.iter();
    let is_core = groups.any(|group| matches!(&**group, "" | "*"));
    let mut resources = rule.resources.iter();
    let has_nodes = resources.any(|resource| {
        &**resource == "*" || resource.starts_with("nodes/") || resource.starts_with("*/")
    });
    !rule.non_resource_urls.is_empty() || (is_core && has_nodes)
}

/// Notes which bindings allowed requests, and when last.
pub(super) fn note_last_use(evidence: &Evidence<'_>, permissions: &mut Permissions) {
    let Some(usage) = &evidence.usage else {
        return;
    };
    for grant in &mut permissions.grants {
        let last = usage.bindings.get(&grant.binding);
        grant.last_used = last.copied().and_then(time);
    }
}

/// The use of all tokens of the account.
pub(super) fn of_account(evidence: &Evidence<'_>) -> Option<Use> {
    let day = evidence.secret_used.and_then(begin);
    let Some(usage) = &evidence.usage else {
        return day.map(of_label);
    };
    let mut all = used(&usage.total, usage.window.clone(), Vec::new());
    if day > all.last {
        all.last = day;
        all.last_pod = None;
    }
    Some(all)
}

/// The begin of a day, in UTC.
fn begin(day: Date) -> Option<Timestamp> {
    let begin = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(begin.timestamp())
}

/// The use on a day that the label of a Secret says.
fn of_label(day: Timestamp) -> Use {
    let window = Window {
        from: day,
        to: day,
        grade: Grade::Unproven,
        holes: vec![Hole::LabelOnly],
    };
    Use {
        last: Some(day),
        ..used(&WorkloadUsage::default(), window, Vec::new())
    }
}

/// The use of the tokens of one workload.
pub(super) fn of_workload(
    evidence: &Evidence<'_>,
    granted: &Granted,
    workload: &Workload,
    consumers: &BTreeSet<Box<str>>,
    carriers: &[Carrier],
) -> Option<Use> {
    let usage = evidence.usage.as_ref()?;
    let unknown = WorkloadUsage::default();
    let own = usage.workloads.get(workload).unwrap_or(&unknown);
    let mut window = usage.window.clone();
    window.holes.extend(granted.never_seen(usage));
    let since = own.since.and_then(time).unwrap_or(Timestamp::MIN);
    // A pod of its own has no predecessors, whose use a hole may hide.
    let is_single = &*workload.kind == "Pod";
    let created = own.created.filter(|_| is_single).and_then(time);
    let mut window = window.since(created.unwrap_or(Timestamp::MIN));
    window.from = window.from.max(since).min(window.to);
    let mut doubts = doubts(usage, own, workload, granted);
    // It was used at some time of that day.
    let end = evidence
        .secret_used
        .and_then(|day| begin(day.tomorrow().ok()?));
    if end > Some(usage.window.from) && !doubts.contains(&Doubt::Unattributed) {
        doubts.push(Doubt::Unattributed);
    }
    doubts.extend(consumers.iter().cloned().map(Doubt::Consumer));
    let mut sources = carriers.iter().map(|carrier| carrier.source);
    if sources.any(|source| source != TokenSource::Automount) {
        doubts.push(Doubt::Explicit);
    }
    doubts.sort_unstable();
    Some(used(own, window, doubts))
}

/// Whether a binding that was not used may be needed all the same: tokens were reviewed, or a workload has not run for long
/// enough.
pub(super) fn may_need_more(usage: &AccountUsage) -> bool {
    // Tokens of an account without workloads may be reviewed too.
    let mut reviews = usage.reviewers.values();
    let is_reviewed =
        reviews.any(|at| *at >= usage.window.from.as_microsecond()) || usage.reviewed_by.is_some();
    is_reviewed
        || usage.workloads.iter().any(|(workload, own)| {
            let doubts = doubts(usage, own, workload, &Granted::default());
            doubts
                .iter()
                .any(|doubt| !matches!(doubt, Doubt::Unattributed))
        })
}

/// Why a token may be in use although none is seen.
fn doubts(
    usage: &AccountUsage,
    own: &WorkloadUsage,
    workload: &Workload,
    granted: &Granted,
) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    let (from, to) = (usage.window.from, usage.window.to);
    let covered = to.as_second() - from.as_second();
    if covered < usage.required {
        doubts.push(Doubt::Short(covered));
    }
    match own.since.and_then(time) {
        None => doubts.push(Doubt::NotRunning),
        Some(since)
            if to.as_second() - since.as_second() < usage.required && covered >= usage.required =>
        {
            doubts.push(Doubt::Young(to.as_second() - since.as_second()));
        }
        Some(_) => {}
    }
    if &*workload.kind == "CronJob" && own.runs < 3 {
        doubts.push(Doubt::FewRuns(own.runs));
    }
    // What used it before the workload's first pod was created is another one.
    let first = own.created.min(own.since);
    if usage.unattributed.is_some() && usage.unattributed >= first {
        doubts.push(Doubt::Unattributed);
    }
    if granted.other_servers {
        doubts.push(Doubt::OtherServers);
    }
    let reviewers = usage.reviewers.iter();
    let reviewers = reviewers.filter(|(_, last)| **last >= from.as_microsecond());
    let reviewers = reviewers.take(MAX_REVIEWERS);
    doubts.extend(reviewers.map(|(name, _)| Doubt::Reviewed(name.clone())));
    doubts.extend(usage.reviewed_by.clone().map(Doubt::ReviewedHere));
    doubts
}

fn used(own: &WorkloadUsage, window: Window, doubts: Vec<Doubt>) -> Use {
    Use {
        last: own.last.and_then(time),
        last_beyond_defaults: own.last_beyond_defaults.and_then(time),
        last_denied: own.last_denied.and_then(time),
        requests: own.requests,
        last_pod: own.last_pod.clone(),
        window,
        doubts,
    }
}

fn time(micros: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(micros).ok()
}

/// What the use changes: it can show that a permission is used, or that none is.
pub(super) fn judge(
    evidence: &Evidence<'_>,
    granted: &Granted,
    judged: (Verdict, Reason),
    used: &Use,
) -> (Verdict, Reason) {
    // A use of long ago shows no need, and no lack.
    let from = evidence.usage.as_ref().and_then(|usage| usage.counts_from);
    let counts =
        |last: Option<Timestamp>| last.is_some_and(|last| Some(last.as_microsecond()) >= from);
    let is_beyond = counts(used.last_beyond_defaults);
    let is_denied = counts(used.last_denied);
    let reason = match judged.1 {
        Reason::DirectGrant | Reason::InheritedOnly | Reason::GrantedElsewhere if is_beyond => {
            Reason::InUse
        }
        Reason::DirectGrant | Reason::InheritedOnly | Reason::GrantedElsewhere
            if used.is_never() =>
        {
            Reason::NeverUsed
        }
        Reason::NoPermissions | Reason::AdmissionOnly | Reason::UnresolvedRole => {
            let by = is_beyond.then(|| granted.allowed_by(evidence, used.last_beyond_defaults));
            match by {
                Some(AllowedBy::Own) => Reason::InUse,
                _ if judged.1 == Reason::UnresolvedRole => return judged,
                // Without the token the same request is anonymous, and denied.
                Some(AllowedBy::Other) => Reason::InUse,
                Some(AllowedBy::Lost) => Reason::UsedWithoutPermission,
                // What a distribution grants to all accounts counts as a default permission: using it needs no other one.
                Some(AllowedBy::Default) | None if is_denied => Reason::UsedWithoutPermission,
                Some(AllowedBy::Default) | None => return judged,
            }
        }
        _ => return judged,
    };
    (reason.verdict(), reason)
}

/// What else the logs show of a workload.
pub(super) fn notes(
    evidence: &Evidence<'_>,
    workload: &Workload,
    reason: Reason,
    used: &Use,
) -> Vec<Note> {
    let usage = evidence.usage.as_ref();
    let own = usage.and_then(|usage| usage.workloads.get(workload));
    let is_default =
        used.last.is_some() && used.last_denied.is_none() && used.last_beyond_defaults.is_none();
    let is_token_at_stake = !matches!(reason.verdict(), Verdict::NoToken);
    let versions = own.map_or(0, |own| own.versions);
    let changed = versions > 1 && &*workload.kind != "CronJob" && reason == Reason::NeverUsed;
    let only_defaults = (is_default && is_token_at_stake).then_some(Note::OnlyDefaultsUsed);
    only_defaults
        .into_iter()
        .chain(changed.then_some(Note::Changed(versions)))
        .collect()
}
