//! What a stream of audit events says, kept small and for long: of each workload when its token was last used, in each
//! way that a verdict depends on. No request is counted, so that whatever arrives twice changes nothing, and what two
//! replicas learnt is put together in any order.

mod kept;
mod room;
mod seen;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use self::kept::{Kept, Malformed};
use self::{
    room::{Tenant, to_forget},
    seen::{Seen, Times},
};
use super::{
    AccountUsage, Micros, Record, SECOND, WorkloadUsage,
    attribution::may_own,
    coverage::{Servers, timestamp},
    record::Bearer,
};
use crate::model::{
    ServiceAccountRef, Workload,
    usage::{Grade, Hole, Window},
};

/// How many workloads, pods and bindings are remembered of all accounts together. A constant that users read about in
/// `deploy/sizing.md`.
pub const MAX_ENTRIES: usize = 100_000;
/// How many verbs, and how many callers of TokenReviews, are remembered.
const MAX_NAMES: usize = 64;
/// How many API servers are remembered, and how many spans of time of each.
const MAX_SERVERS: usize = 64;
/// How long a pod that nobody knows may still become known.
const UNKNOWN_FOR: Micros = 600 * SECOND;
const DAY: Micros = 86_400 * SECOND;
/// How events arrive.
pub const WEBHOOK: &str = "a webhook";

/// The workload of the living pod with this name and uid, in the namespace of the account.
pub type OwnerOf<'a> = &'a dyn Fn(&ServiceAccountRef, &str, u128) -> Option<Workload>;

/// What was learnt from a stream of audit events.
#[derive(Clone, Debug, Default)]
pub struct Live {
    accounts: HashMap<ServiceAccountRef, Seen>,
    servers: Servers,
    /// When each user last sent a TokenReview for a token of an unknown account.
    reviewers: BTreeMap<Box<str>, Micros>,
    verbs: BTreeSet<Box<str>>,
    /// The time of the first event, and of the last one, that names an account.
    span: Option<(Micros, Micros)>,
    /// What is older was forgotten, of some accounts.
    forgotten: Option<Micros>,
    /// How many batches of events were refused.
    refused: u64,
    /// When a request of ours last came back as an event.
    canary: Option<Micros>,
    /// How many of them did not.
    unreported: u64,
    /// For how many seconds a use counts.
    required: i64,
    /// At most this many entries are there.
    entries: usize,
}

/// The accounts whose answer may have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// These.
    pub accounts: BTreeSet<ServiceAccountRef>,
    /// All: the window is another one.
    pub all: bool,
}

impl Live {
    /// Nothing; a use counts for `required` seconds.
    #[must_use]
    pub fn new(required: i64) -> Self {
        Self {
            required,
            ..Self::default()
        }
    }

    /// Whether nothing was learnt yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.span.is_none() && self.servers.beats.is_empty()
    }

    /// Adds what a batch of events says.
    pub fn add(&mut self, mut batch: Record, owner_of: OwnerOf<'_>) -> Touched {
        let before = self.window_in_days();
        let mut touched = Touched::default();
        for (account, learnt) in std::mem::take(&mut batch.accounts) {
            let mut seen = Seen {
                reviewed_by: learnt.reviewed_by,
                ..Seen::default()
            };
            for (bearer, used) in learnt.tokens {
                let times = Times::from(&used);
                match bearer {
                    Bearer::Pod(uid) => match owner_of(&account, &used.pod, uid) {
                        Some(workload) if !is_single(&workload) => {
                            seen.add_workload(workload, times);
                        }
                        _ => {
                            seen.add_pod(uid, used.pod, times);
                        }
                    },
                    Bearer::Unbound | Bearer::Unknown => {
                        Times::join_known(&mut seen.unbound, Some(times));
                    }
                }
            }
            let bindings = learnt.bindings.into_iter();
            seen.bindings = bindings
                .filter_map(|(number, time)| Some((batch.binding(number)?.clone(), time)))
                .collect();
            self.join(account, seen, &mut touched);
        }
        self.servers.merge(batch.servers);
        self.note_reviewers(batch.reviewers);
        let verbs = batch.verbs.into_keys();
        let room = MAX_NAMES.saturating_sub(self.verbs.len());
        let new: Vec<_> = verbs.filter(|verb| !self.verbs.contains(verb)).collect();
        self.verbs.extend(new.into_iter().take(room));
        self.note_span(batch.span);
        self.limit(MAX_ENTRIES, &mut touched);
        touched.all = self.window_in_days() != before;
        touched
    }

    /// A batch of events was refused, and with it whatever it says.
    pub const fn refuse(&mut self) {
        self.refused = self.refused.saturating_add(1);
    }

    /// A request of ours came back as an event: those of accounts are recorded, and arrive. Whether that is news.
    pub fn hear(&mut self, canary: Micros) -> bool {
        let before = self.window_in_days();
        self.canary = self.canary.max(Some(canary));
        self.window_in_days() != before
    }

    /// When a request of ours last came back.
    #[must_use]
    pub const fn heard(&self) -> Option<Micros> {
        self.canary
    }

    /// A request of ours did not come back.
    pub const fn miss(&mut self) {
        self.unreported = self.unreported.saturating_add(1);
    }

    fn join(&mut self, account: ServiceAccountRef, seen: Seen, touched: &mut Touched) {
        let is_new = !self.accounts.contains_key(&account);
        let known = self.accounts.entry(account.clone()).or_default();
        let before = if is_new { 0 } else { known.entries() };
        if known.join(seen) {
            touched.accounts.insert(account);
        }
        self.entries = (self.entries + known.entries()).saturating_sub(before);
    }

    fn note_span(&mut self, span: Option<(Micros, Micros)>) {
        self.span = match (self.span, span) {
            (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
            (one, other) => one.or(other),
        };
    }

    fn note_reviewers(&mut self, reviewers: BTreeMap<Box<str>, Micros>) {
        for (name, time) in reviewers {
            let is_known = self.reviewers.contains_key(&name) || self.reviewers.len() < MAX_NAMES;
            let name = if is_known { name } else { "others".into() };
            let last = self.reviewers.entry(name).or_insert(time);
            *last = (*last).max(time);
        }
    }

    /// Forgets accounts until there are at most `max` entries. The window begins after what was forgotten.
    fn limit(&mut self, max: usize, touched: &mut Touched) {
        self.servers.limit(MAX_SERVERS);
        if self.entries <= max {
            return;
        }
        let all = self.accounts.iter().map(|(account, seen)| Tenant {
            namespace: Box::from(&*account.namespace),
            last: seen.last().unwrap_or_default(),
            entries: seen.entries(),
            key: account.clone(),
        });
        // Some room, so that this is not done for each batch.
        for account in to_forget(all, max - max / 8) {
            if let Some(seen) = self.accounts.remove(&account) {
                self.entries = self.entries.saturating_sub(seen.entries());
                self.forgotten = self.forgotten.max(seen.last());
                touched.accounts.insert(account);
            }
        }
    }

    /// Puts pods together that belong to one workload, or that are gone, and forgets what no longer counts. `workloads`
    /// are those of an account that exist; `None` if there is no such account.
    pub fn tidy(
        &mut self,
        owner_of: OwnerOf<'_>,
        workloads: &dyn Fn(&ServiceAccountRef) -> Option<BTreeSet<Workload>>,
    ) {
        let Some((_, now)) = self.span else { return };
        let expired = now.saturating_sub(self.required.saturating_mul(SECOND));
        self.entries = 0;
        self.accounts.retain(|account, seen| {
            let existing = workloads(account);
            if existing.is_none() && seen.last() < Some(expired) {
                return false;
            }
            let existing = existing.unwrap_or_default();
            for (uid, (name, times)) in std::mem::take(&mut seen.pods) {
                match owner_of(account, &name, uid) {
                    Some(workload) if !is_single(&workload) => {
                        seen.add_workload(workload, times);
                    }
                    None if now.saturating_sub(times.last) > UNKNOWN_FOR => {
                        let owners = existing.iter().filter(|owner| may_own(owner, &name));
                        let owners: Vec<_> = owners.cloned().collect();
                        if owners.is_empty() {
                            Times::join_known(&mut seen.others, Some(times));
                        }
                        for workload in owners {
                            seen.add_workload(workload, times);
                        }
                    }
                    _ => {
                        seen.add_pod(uid, name, times);
                    }
                }
            }
            seen.bindings.retain(|_, time| *time >= expired);
            seen.workloads
                .retain(|workload, times| times.last >= expired || existing.contains(workload));
            self.entries += seen.entries();
            true
        });
    }

    /// When a token of an account was last used.
    #[must_use]
    pub fn last_used(&self, account: &ServiceAccountRef) -> Option<Micros> {
        self.accounts.get(account)?.last()
    }

    /// What was learnt about an account whose pods are those of `workloads`; `None` if nothing was learnt at all.
    #[must_use]
    pub fn of<'a>(
        &self,
        account: &ServiceAccountRef,
        workloads: impl Iterator<Item = &'a Workload>,
        owner_of: OwnerOf<'_>,
    ) -> Option<AccountUsage> {
        if self.is_empty() {
            return None;
        }
        let window = self.window();
        let counted = window.to.as_microsecond() - self.required.saturating_mul(SECOND);
        let mut usage = AccountUsage {
            total: WorkloadUsage::default(),
            workloads: workloads
                .map(|workload| (workload.clone(), WorkloadUsage::default()))
                .collect(),
            others: WorkloadUsage::default(),
            unattributed: None,
            bindings: BTreeMap::new(),
            required: self.required,
            counts_from: Some(counted),
            reviewers: self.reviewers.clone(),
            reviewed_by: None,
            seen_verbs: self.verbs.clone(),
            window,
        };
        let Some(seen) = self.accounts.get(account) else {
            return Some(usage);
        };
        usage.reviewed_by.clone_from(&seen.reviewed_by);
        usage.bindings.clone_from(&seen.bindings);
        usage.unattributed = seen.unbound.map(|times| times.last);
        for times in seen.all() {
            usage.total.note(times, "");
        }
        for times in [seen.others, seen.unbound].into_iter().flatten() {
            usage.others.note(times, "");
        }
        for (workload, times) in &seen.workloads {
            let known = usage.workloads.get_mut(workload);
            known.unwrap_or(&mut usage.others).note(*times, "");
        }
        for (uid, (name, times)) in &seen.pods {
            let owner = owner_of(account, name, *uid);
            let mut is_owned = false;
            for (workload, known) in &mut usage.workloads {
                let owns = owner
                    .as_ref()
                    .map_or_else(|| may_own(workload, name), |owner| owner == workload);
                if owns {
                    known.note(*times, name);
                    is_owned = true;
                }
            }
            if !is_owned {
                usage.others.note(*times, name);
            }
        }
        Some(usage)
    }

    /// The time that the events cover. They never prove that nothing is missing: a webhook may lose some.
    #[must_use]
    pub fn window(&self) -> Window {
        let coverage = self.servers.coverage();
        let (from, to) = coverage.as_ref().map_or_else(
            || self.span.unwrap_or_default(),
            |coverage| (coverage.from, coverage.to),
        );
        let holes = coverage.as_ref().map_or_else(
            || {
                [Hole::NoHeartbeats]
                    .into_iter()
                    .chain(self.servers.flaws())
                    .collect()
            },
            |coverage| coverage.holes.clone(),
        );
        let refused = (self.refused > 0).then_some(Hole::Refused(self.refused));
        let unreported = (self.unreported > 0).then_some(Hole::Unreported(self.unreported));
        let more = [Hole::NoPolicy, Hole::Lossy(WEBHOOK)]
            .into_iter()
            .chain(refused)
            .chain(unreported);
        let holes: BTreeSet<Hole> = holes.into_iter().chain(more).collect();
        let from = self.forgotten.map_or(from, |time| time.max(from));
        Window {
            from: timestamp(from.min(to)),
            to: timestamp(to),
            grade: if coverage.is_some() || self.canary.is_some() {
                Grade::Partial
            } else {
                Grade::Unproven
            },
            holes: holes.into_iter().collect(),
        }
    }

    /// What reports have of the window, and never coarser.
    fn window_in_days(&self) -> Option<(Grade, i64)> {
        if self.is_empty() {
            return None;
        }
        let window = self.window();
        Some((window.grade, day(window.from.as_microsecond())))
    }
}

/// The day of a time: the times in reports are coarser.
const fn day(time: Micros) -> i64 {
    time.div_euclid(DAY)
}

/// Whether a workload is a single pod: another pod of its name is another workload.
fn is_single(workload: &Workload) -> bool {
    &*workload.kind == "Pod"
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests;
