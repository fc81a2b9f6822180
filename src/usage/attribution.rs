//! Which workload used its token? By the uid of the pod where the event has it, else by name, else the account alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Micros, Record,
    coverage::timestamp,
    record::{Bearer, OwnerKind, SeenPods, Used},
};
use crate::model::{
    ObjectKey, PodKind, ServiceAccountRef, Workload,
    usage::{Action, Grade, Hole, Tally, Window},
};

/// How much of a name is compared: names of pods are cut where that of their workload is long.
const COMPARED: usize = 40;

/// A pod that runs as an account, or a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivePod {
    /// Its workload.
    pub workload: Workload,
    /// Its name; of a template that of the workload.
    pub name: Box<str>,
    /// Its uid; `None` for a template.
    pub uid: Option<u128>,
    /// When it was created.
    pub created: Option<Micros>,
    /// When it began to run; `None` unless it is known to run, or to have run.
    pub started: Option<Micros>,
    /// Whether it is known to run.
    pub is_running: bool,
}

/// What a workload used its token for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadUsage {
    /// The last request.
    pub last: Option<Micros>,
    /// Which pod sent it.
    pub last_pod: Option<Box<str>>,
    /// How many requests.
    pub requests: u64,
    /// The last request that was allowed beyond the default permissions.
    pub last_beyond_defaults: Option<Micros>,
    /// The last request that was denied.
    pub last_denied: Option<Micros>,
    /// What it asked for.
    pub actions: BTreeMap<Action, Tally>,
    /// Whether it asked for more than that.
    pub has_more: bool,
    /// When the first of its pods was created that are known.
    pub created: Option<Micros>,
    /// Since when it is known to run; of a CronJob, since when runs are seen.
    pub since: Option<Micros>,
    /// How many versions of its pod template are seen.
    pub versions: usize,
    /// How many runs of a CronJob are seen in the window, up to 4.
    pub runs: u32,
}

/// What logs say about one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountUsage {
    /// All of its tokens.
    pub total: WorkloadUsage,
    /// By workload that exists.
    pub workloads: BTreeMap<Workload, WorkloadUsage>,
    /// Tokens of pods that are gone, or of none.
    pub others: WorkloadUsage,
    /// When it was last used by a workload that is not known.
    pub unattributed: Option<Micros>,
    /// When each binding last allowed a request that the default permissions do not allow.
    pub bindings: BTreeMap<ObjectKey, Micros>,
    /// The time that the logs cover.
    pub window: Window,
    /// How many seconds of it are asked for.
    pub required: i64,
    /// Since when a use counts for a verdict; `None` if all of it does.
    pub counts_from: Option<Micros>,
    /// Who had tokens reviewed, whose are not known, and when last.
    pub reviewers: BTreeMap<Box<str>, Micros>,
    /// Who had a token of this account reviewed.
    pub reviewed_by: Option<Box<str>>,
    /// The verbs that accounts are seen to use.
    pub seen_verbs: BTreeSet<Box<str>>,
}

impl Record {
    /// What the logs say about an account, whose pods are `pods`; `required` is how many seconds they should cover.
    #[must_use]
    pub fn of(&self, account: &ServiceAccountRef, pods: &[LivePod], required: i64) -> AccountUsage {
        let window = self.window(account);
        let mut usage = AccountUsage {
            total: WorkloadUsage::default(),
            workloads: BTreeMap::new(),
            others: WorkloadUsage::default(),
            unattributed: None,
            bindings: BTreeMap::new(),
            required,
            counts_from: None,
            reviewers: self.reviewers.clone(),
            reviewed_by: None,
            seen_verbs: self.verbs.keys().cloned().collect(),
            window,
        };
        for pod in pods {
            let workload = usage.workloads.entry(pod.workload.clone()).or_default();
            workload.created = earlier(workload.created, pod.created);
            // A pod that waits, or has ended, says nothing about the time between.
            let counts = pod.is_running || &*pod.workload.kind == "CronJob";
            workload.since = earlier(workload.since, pod.started.filter(|_| counts));
        }
        for (workload, used) in &mut usage.workloads {
            self.add_history(account, workload, pods, &usage.window, used);
        }
        if let Some(record) = self.accounts.get(account) {
            usage.reviewed_by.clone_from(&record.reviewed_by);
            for (bearer, used) in &record.tokens {
                usage.total.add(self, used);
                self.attribute(&mut usage, *bearer, used, pods);
            }
            // A binding that was used may be among those that are not kept.
            usage.others.has_more |= self.lacks_bindings();
            let bindings = record.bindings.iter();
            usage.bindings = bindings
                .filter_map(|(number, time)| Some((self.binding(*number)?.clone(), *time)))
                .collect();
        }
        usage
    }

    fn attribute(&self, usage: &mut AccountUsage, bearer: Bearer, used: &Used, pods: &[LivePod]) {
        let (found, is_certain) = match bearer {
            Bearer::Pod(uid) => owners(uid, &used.pod, pods),
            // Legacy tokens of the log's format are told apart: this one is most likely the only workload's.
            Bearer::Unknown if usage.workloads.len() == 1 => {
                (usage.workloads.keys().cloned().collect(), true)
            }
            Bearer::Unbound | Bearer::Unknown => (BTreeSet::new(), false),
        };
        if found.is_empty() {
            usage.others.add(self, used);
        }
        // Its workload may still exist, out of sight: left out of the scan, or in no dump. That one of a custom kind may
        // have owned the pod does not say that no other did.
        let is_only_one = !found.is_empty() && usage.workloads.len() <= found.len();
        if !is_certain && !is_only_one {
            usage.unattributed = usage.unattributed.max(Some(used.last));
        }
        for workload in found {
            usage.workloads.entry(workload).or_default().add(self, used);
        }
    }

    /// Adds what the logs show of earlier pods of a workload.
    fn add_history(
        &self,
        account: &ServiceAccountRef,
        workload: &Workload,
        pods: &[LivePod],
        window: &Window,
        used: &mut WorkloadUsage,
    ) {
        let (from, to) = (window.from.as_microsecond(), window.to.as_microsecond());
        let kind = match &*workload.kind {
            "Deployment" | "Rollout" => OwnerKind::Deployment,
            "CronJob" => OwnerKind::CronJob,
            "StatefulSet" => OwnerKind::StatefulSet,
            // A bare pod has no others, and names of other pods do not tell their kinds apart.
            _ => return,
        };
        let own = || pods.iter().filter(|pod| pod.workload == *workload);
        let of = |name: &str| (Box::from(&*account.namespace), kind, Box::from(name));
        let seen = self.seen_pods.get(&of(&workload.name));
        let made = self.made.get(&of(&workload.name));
        let running: Vec<&LivePod> = own().filter(|pod| pod.is_running).collect();
        let first = match kind {
            // A pod made anew has the same name, which no other pod has meanwhile.
            OwnerKind::StatefulSet => {
                let seen = running.iter();
                let seen = seen.filter_map(|pod| self.seen_pods.get(&of(&pod.name)));
                seen.map(|seen| seen.first).min()
            }
            // Without a pod that runs, nothing shows that others ran ever since.
            OwnerKind::Deployment if running.is_empty() => None,
            OwnerKind::Deployment => {
                let present = running.into_iter().filter_map(version);
                let present =
                    present.filter_map(|version| Some(seen?.versions.get(&version)?.first));
                earlier(present.min(), made_first(seen, made))
            }
            OwnerKind::CronJob => made_first(seen, made),
            OwnerKind::Other => None,
        };
        used.since = earlier(used.since, first);
        let mut versions = seen.map_or_else(BTreeSet::new, |seen| seen.versions_since(from));
        if kind == OwnerKind::CronJob {
            // Whoever names a pod could make it look like a run.
            versions.retain(|version| made.is_some_and(|made| made.versions.contains_key(version)));
            let (ran, others): (Vec<_>, Vec<_>) = own()
                .filter(|pod| pod.uid.is_some())
                .partition(|pod| pod.started.is_some_and(|time| time <= to));
            for version in others.into_iter().filter_map(version) {
                versions.remove(&version);
            }
            // One that ran before shows nothing of this time.
            let ran = ran.into_iter().filter(|pod| pod.started >= Some(from));
            versions.extend(ran.filter_map(version));
            used.runs = u32::try_from(versions.len()).unwrap_or(u32::MAX);
        } else {
            versions.extend(own().filter_map(version));
        }
        used.versions = versions.len();
    }

    /// The time that the logs cover for an account.
    fn window(&self, account: &ServiceAccountRef) -> Window {
        let Some(coverage) = self.servers.coverage() else {
            let (from, to) = self.span.unwrap_or_default();
            let holes = [Hole::NoHeartbeats].into_iter().chain(self.servers.flaws());
            return Window {
                from: timestamp(from),
                to: timestamp(to),
                grade: Grade::Unproven,
                holes: holes.collect(),
            };
        };
        let mut holes = coverage.holes;
        let mut from = coverage.from;
        match &self.policy {
            None => holes.push(Hole::NoPolicy),
            Some(policy) => {
                let since = self.policy_since.or(self.servers.last_start);
                from = from.max(since.unwrap_or(from));
                let dropped = policy
                    .drops(account)
                    .into_iter()
                    .chain(policy.drops_reviews());
                holes.extend(dropped.map(|rule| Hole::Dropped(rule.into())));
                holes.dedup();
            }
        }
        if self.servers.may_have_open(from, coverage.to) {
            holes.push(Hole::OpenRequests);
        }
        let window = Window {
            from: timestamp(from.min(coverage.to)),
            to: timestamp(coverage.to),
            grade: Grade::Complete,
            holes,
        };
        // A workload may be as old as the logs.
        window.since(timestamp(coverage.from))
    }
}

impl WorkloadUsage {
    fn add(&mut self, record: &Record, used: &Used) {
        if Some(used.last) > self.last {
            self.last = Some(used.last);
            self.last_pod = (!used.pod.is_empty()).then(|| used.pod.clone());
        }
        self.requests += used.requests;
        self.last_beyond_defaults = self.last_beyond_defaults.max(used.last_beyond_defaults);
        self.last_denied = self.last_denied.max(used.last_denied);
        // What was received and never ended is of no known kind.
        self.has_more |= used.has_more || used.received > used.requests;
        for (number, tally) in &used.actions {
            if let Some(action) = record.action(*number) {
                let own = self.actions.entry(action.clone()).or_default();
                own.last = own.last.max(tally.last);
                own.count += tally.count;
            }
        }
    }
}

/// The part of a pod's name that tells its template version, or its run, apart.
fn version(pod: &LivePod) -> Option<Box<str>> {
    let (_, _, version) = super::record::owner_by_name(&pod.name)?;
    (!version.is_empty()).then(|| version.into())
}

/// Since when pods of a workload are seen that its controller made: pods of others may have such names.
fn made_first(seen: Option<&SeenPods>, made: Option<&SeenPods>) -> Option<Micros> {
    Some(seen?.first.max(made?.first))
}

fn earlier(one: Option<Micros>, other: Option<Micros>) -> Option<Micros> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The workloads that a pod belongs, or may have belonged, to; and whether more says so than that pods of custom kinds have
/// any name.
fn owners(uid: u128, name: &str, pods: &[LivePod]) -> (BTreeSet<Workload>, bool) {
    let living = pods.iter().find(|pod| pod.uid == Some(uid));
    if let Some(pod) = living {
        return ([pod.workload.clone()].into(), true);
    }
    // A pod that is gone.
    let may_own = |pod: &&LivePod| match &*pod.workload.kind {
        "Pod" => pod.uid.is_none() && *pod.name == *name,
        _ => may_own(&pod.workload, name),
    };
    let owners = pods.iter().filter(may_own);
    let owners: BTreeSet<_> = owners.map(|pod| pod.workload.clone()).collect();
    let is_certain = owners.iter().any(|workload| !has_any_names(workload));
    (owners, is_certain)
}

/// Whether a pod that is gone may have belonged to a workload; those of kind Pod have no successors.
pub(super) fn may_own(workload: &Workload, pod: &str) -> bool {
    match &*workload.kind {
        "Pod" => false,
        _ if has_any_names(workload) => true,
        _ => begins_with(pod, &workload.name),
    }
}

/// Whether the pods of a workload may have any name: those of custom kinds.
fn has_any_names(workload: &Workload) -> bool {
    PodKind::named(&workload.kind).is_none() && &*workload.kind != "Rollout"
}

/// Whether the name of a pod begins with that of a workload and a dash.
fn begins_with(pod: &str, workload: &str) -> bool {
    match workload.get(..COMPARED) {
        Some(begin) => pod.starts_with(begin),
        None => pod
            .strip_prefix(workload)
            .is_some_and(|rest| rest.starts_with('-')),
    }
}
