//! Which workloads the admission policy may change: those whose token was unneeded without a break for a grace period.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::behind::Behind;
use crate::{
    api::Curable,
    index::Index,
    model::{Exposure, Name, ServiceAccountRef, Target, Workload, summary::is_plain},
};

/// How long a workload without pods stays on the list: a pod that is recreated, or a Job that is scheduled again.
const ABSENT: Duration = Duration::from_hours(1);

/// The workloads of this replica's time as the leader.
#[derive(Debug)]
pub struct Cure {
    grace: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    namespaces: HashMap<Name, Entries>,
    /// The namespaces from whose list something was removed since they were asked for.
    withdrawn: HashSet<Name>,
    behind: Behind,
    /// The policy cannot be switched off: nothing may be listed.
    is_uncontrolled: bool,
}

/// The workloads of the accounts of one namespace.
type Entries = BTreeMap<(Box<str>, Workload), Entry>;

#[derive(Debug)]
struct Entry {
    /// The begin of the `uid` of the account.
    uid: Box<str>,
    /// Since when it is judged so.
    since: Instant,
    is_listed: bool,
    /// Since when it has no pod.
    absent: Option<Instant>,
}

impl Cure {
    /// Lists a workload after this time.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self {
            grace,
            state: Mutex::default(),
        }
    }

    /// How long a workload must be judged so.
    pub(super) const fn grace(&self) -> Duration {
        self.grace
    }

    /// Forgets all workloads: another replica leads.
    pub(super) fn forget(&self) {
        let mut state = self.state.lock();
        state.namespaces.clear();
        state.withdrawn.clear();
    }

    /// Starts anew for what is not listed yet: what is known may be old.
    pub(super) fn restart(&self) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let entries = state.namespaces.values_mut().flatten();
        entries.for_each(|(_, entry)| entry.since = now);
    }

    /// Whether the policy can be switched off; returns whether that is new.
    pub(super) fn control(&self, is_controlled: bool) -> bool {
        let mut state = self.state.lock();
        std::mem::replace(&mut state.is_uncontrolled, !is_controlled) == is_controlled
    }

    /// Notes the answer for an account.
    pub(super) fn note(&self, index: &Index, account: &ServiceAccountRef, exposure: &Exposure) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let state = &mut *state;
        let entries = state.namespaces.entry(account.namespace.clone());
        let entries = entries.or_insert_with(|| stored(index, &account.namespace, now));
        let facts = index.service_account(account);
        let uid = facts.map(|facts| short(&facts.uid));
        let is_free =
            exposure.keeps().is_empty() && facts.is_some_and(|facts| facts.exemption.is_none());
        let judged = exposure.workloads.iter();
        let judged: BTreeMap<_, _> = judged.map(|found| (&found.workload, found)).collect();
        let may = |workload: &Workload| {
            is_free
                && judged
                    .get(workload)
                    .is_some_and(|found| found.all_keeps().is_empty())
        };
        entries.retain(|(name, workload), entry| {
            if **name != *account.name {
                return true;
            }
            let is_same = Some(&*entry.uid) == uid;
            let keeps = is_same && may(workload);
            let is_gone = is_same && entry.is_listed && is_free && !judged.contains_key(workload);
            let absent = *entry.absent.get_or_insert(now);
            if keeps {
                entry.absent = None;
            }
            let stays = keeps || is_gone && now.duration_since(absent) < ABSENT;
            if !stays && entry.is_listed {
                state.withdrawn.insert(account.namespace.clone());
            }
            stays
        });
        let Some(uid) = uid else { return };
        for workload in judged.keys().filter(|workload| may(workload)) {
            let key = ((&*account.name).into(), (*workload).clone());
            entries.entry(key).or_insert_with(|| Entry {
                uid: uid.into(),
                since: now,
                is_listed: false,
                absent: None,
            });
        }
    }

    /// Whether something was removed from the list of a namespace since this was last asked.
    pub(super) fn take_withdrawn(&self, namespace: &Name) -> bool {
        self.state.lock().withdrawn.remove(namespace)
    }

    /// What is listed of a namespace.
    pub(super) fn listed(&self, index: &Index, namespace: &Name) -> Curable {
        let now = Instant::now();
        let mut state = self.state.lock();
        let mut curable = Curable::default();
        if state.is_uncontrolled {
            return curable;
        }
        let Some(entries) = state.namespaces.get_mut(namespace) else {
            return curable;
        };
        entries.retain(|(name, _), entry| {
            let account = ServiceAccountRef::new(namespace.clone(), &**name);
            let facts = index.service_account(&account);
            let is_over = |absent: Instant| now.duration_since(absent) >= ABSENT;
            facts.is_some_and(|facts| *short(&facts.uid) == *entry.uid)
                && !entry.absent.is_some_and(is_over)
        });
        for ((name, workload), entry) in entries {
            entry.is_listed |= now.duration_since(entry.since) >= self.grace;
            if entry.is_listed {
                curable.add(name, &entry.uid, workload);
            }
        }
        curable
    }

    /// How long until the next workload of a namespace is listed.
    pub(super) fn pause(&self, namespace: &Name) -> Option<Duration> {
        let state = self.state.lock();
        let entries = state.namespaces.get(namespace)?.values();
        let next = entries
            .filter(|entry| !entry.is_listed)
            .map(|entry| entry.since)
            .min();
        next.map(|since| (since + self.grace).saturating_duration_since(Instant::now()))
    }

    /// The answer for an account may have changed.
    pub(super) fn named(&self, target: &Target) {
        self.state.lock().behind.named(target, Instant::now());
    }

    /// It was computed.
    pub(super) fn assessed(&self, target: &Target) {
        self.state.lock().behind.assessed(target);
    }

    /// Notes whether names wait to be withdrawn from a summary.
    pub(super) fn withdraws(&self, target: &Target, withdraws: bool) {
        let behind = &mut self.state.lock().behind;
        behind.withdraws(target, withdraws, Instant::now());
    }

    /// For how long answers have been waiting to be computed, or names to be withdrawn.
    pub(super) fn waiting(&self) -> Duration {
        let since = self.state.lock().behind.since();
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// The part of a `uid` that tells an account from one with the same name that is created after it.
fn short(uid: &str) -> &str {
    const BYTES: usize = 13;
    uid.get(..BYTES).unwrap_or(uid)
}

/// What the stored summary of a namespace lists, until the answers for its accounts are known.
fn stored(index: &Index, namespace: &str, now: Instant) -> Entries {
    let Some(summary) = index.summary(namespace) else {
        return Entries::new();
    };
    let accounts = summary.curable_accounts.split('|');
    let uids: BTreeMap<&str, &str> = accounts.filter_map(|entry| entry.split_once('=')).collect();
    let entry = |entry: &str| {
        let mut parts = entry.splitn(3, '/');
        let (name, kind, workload) = (parts.next()?, parts.next()?, parts.next()?);
        let workload = Workload::new(kind, workload);
        let known = Entry {
            uid: (*uids.get(name)?).into(),
            since: now,
            is_listed: true,
            absent: Some(now),
        };
        is_plain(&workload).then(|| ((name.into(), workload), known))
    };
    summary.curable.split('|').filter_map(entry).collect()
}
