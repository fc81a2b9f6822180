//! What is remembered of one account.

use std::collections::BTreeMap;

use super::day;
use crate::{
    model::{ObjectKey, Workload},
    usage::{Micros, WorkloadUsage, record::Used},
};

/// How many bindings are remembered of one account: whoever may create bindings has as many as they like.
const MOST_BINDINGS: usize = 64;
/// How many pods of their own are remembered of one account.
const MOST_PODS: usize = 4_096;

/// When a token was last used, in each way that a verdict depends on. The order is that of the last use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Times {
    pub(super) last: Micros,
    pub(super) beyond: Option<Micros>,
    pub(super) denied: Option<Micros>,
}

impl From<&Used> for Times {
    fn from(used: &Used) -> Self {
        Self {
            last: used.last,
            beyond: used.last_beyond_defaults,
            denied: used.last_denied,
        }
    }
}

impl Times {
    /// Takes the later ones; whether a report shows that.
    fn join(&mut self, other: Self) -> bool {
        let before = *self;
        self.last = self.last.max(other.last);
        self.beyond = self.beyond.max(other.beyond);
        self.denied = self.denied.max(other.denied);
        self.days() != before.days()
    }

    /// The same of a token whose use may not have been seen yet.
    pub(super) fn join_known(own: &mut Option<Self>, other: Option<Self>) -> bool {
        match (own.as_mut(), other) {
            (_, None) => false,
            (Some(own), Some(other)) => own.join(other),
            (None, Some(other)) => {
                *own = Some(other);
                true
            }
        }
    }

    fn days(self) -> (i64, Option<i64>, Option<i64>) {
        (day(self.last), self.beyond.map(day), self.denied.map(day))
    }
}

/// What is remembered of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// By workload, those of kind Pod left out.
    pub(super) workloads: BTreeMap<Workload, Times>,
    /// By uid, with the name: pods of their own, and pods that are not known yet.
    pub(super) pods: BTreeMap<u128, (Box<str>, Times)>,
    /// Pods that are gone.
    pub(super) others: Option<Times>,
    /// Tokens that are bound to no pod.
    pub(super) unbound: Option<Times>,
    /// When each binding last allowed something beyond the default permissions.
    pub(super) bindings: BTreeMap<ObjectKey, Micros>,
    /// Who had a token of it reviewed.
    pub(super) reviewed_by: Option<Box<str>>,
}

impl Seen {
    pub(super) fn add_workload(&mut self, workload: Workload, times: Times) -> bool {
        let is_new = !self.workloads.contains_key(&workload);
        self.workloads.entry(workload).or_default().join(times) || is_new
    }

    pub(super) fn add_pod(&mut self, uid: u128, name: Box<str>, times: Times) -> bool {
        let is_new = !self.pods.contains_key(&uid);
        let (_, own) = self.pods.entry(uid).or_insert((name, times));
        own.join(times) || is_new
    }

    /// Adds what else was seen of the account; whether a report shows that.
    pub(super) fn join(&mut self, other: Self) -> bool {
        let mut moved = Times::join_known(&mut self.others, other.others);
        moved |= Times::join_known(&mut self.unbound, other.unbound);
        for (workload, times) in other.workloads {
            moved |= self.add_workload(workload, times);
        }
        for (uid, (name, times)) in other.pods {
            moved |= self.add_pod(uid, name, times);
        }
        for (binding, time) in other.bindings {
            let known = self.bindings.get(&binding).copied();
            moved |= known.is_none_or(|known| day(known) < day(time));
            self.bindings
                .insert(binding, known.map_or(time, |known| known.max(time)));
        }
        if self.reviewed_by.is_none() && other.reviewed_by.is_some() {
            self.reviewed_by = other.reviewed_by;
            moved = true;
        }
        self.trim();
        moved
    }

    /// Forgets the bindings that allowed something the longest ago, and which pods used a token that long ago, where there
    /// are too many.
    fn trim(&mut self) {
        if self.bindings.len() > MOST_BINDINGS {
            let mut bindings: Vec<_> = std::mem::take(&mut self.bindings).into_iter().collect();
            bindings.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
            // Some room, so that this is not done for each request.
            bindings.truncate(MOST_BINDINGS - MOST_BINDINGS / 8);
            self.bindings = bindings.into_iter().collect();
        }
        if self.pods.len() > MOST_PODS {
            let mut pods: Vec<_> = std::mem::take(&mut self.pods).into_iter().collect();
            pods.sort_by_key(|(_, (_, times))| std::cmp::Reverse(*times));
            for (_, (_, times)) in pods.split_off(MOST_PODS - MOST_PODS / 8) {
                Times::join_known(&mut self.others, Some(times));
            }
            self.pods = pods.into_iter().collect();
        }
    }

    /// How much of the common room it takes.
    pub(super) fn entries(&self) -> usize {
        1 + self.workloads.len() + self.pods.len() + self.bindings.len()
    }

    /// The use of each token.
    pub(super) fn all(&self) -> impl Iterator<Item = Times> {
        let pods = self.pods.values().map(|(_, times)| *times);
        let others = [self.others, self.unbound].into_iter().flatten();
        self.workloads.values().copied().chain(pods).chain(others)
    }

    /// When a token of the account was last used.
    pub(super) fn last(&self) -> Option<Micros> {
        self.all().map(|times| times.last).max()
    }
}

impl WorkloadUsage {
    /// Adds a use of which only the times are known, and perhaps the pod.
    pub(super) fn note(&mut self, times: Times, pod: &str) {
        if Some(times.last) > self.last {
            self.last = Some(times.last);
            self.last_pod = (!pod.is_empty()).then(|| pod.into());
        }
        self.last_beyond_defaults = self.last_beyond_defaults.max(times.beyond);
        self.last_denied = self.last_denied.max(times.denied);
    }
}
