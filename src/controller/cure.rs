//! Which workloads the admission policy may change: those whose token was unneeded without a break for a grace period.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    api::{Curable, workload_entry},
    index::Index,
    model::{Exemption, Exposure, Level, ServiceAccountRef, Verdict, Workload, summary::is_plain},
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
    namespaces: HashMap<Arc<str>, Entries>,
    /// The namespaces from whose list something was removed since they were asked for.
    withdrawn: HashSet<Arc<str>>,
    /// Since when names wait to be withdrawn from a summary.
    waiting: Option<Instant>,
}

/// The workloads of the accounts of one namespace.
type Entries = BTreeMap<(Box<str>, Workload), Entry>;

#[derive(Debug)]
struct Entry {
    /// `uid` of the account.
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

    /// Forgets everything: another replica leads.
    pub(super) fn forget(&self) {
        *self.state.lock() = State::default();
    }

    /// Starts anew for what is not listed yet: what is known may be old.
    pub(super) fn restart(&self) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let entries = state.namespaces.values_mut().flatten();
        entries.for_each(|(_, entry)| entry.since = now);
    }

    /// Notes the answer for an account.
    pub(super) fn note(&self, index: &Index, account: &ServiceAccountRef, exposure: &Exposure) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let state = &mut *state;
        let entries = state.namespaces.entry(account.namespace.clone());
        let entries = entries.or_insert_with(|| stored(index, &account.namespace, now));
        let facts = index.service_account(account);
        let uid = facts.map(|facts| &*facts.uid);
        let is_free = exposure.permissions.level == Level::None
            && exposure.gaps.is_empty()
            && facts.is_some_and(|facts| facts.exemption.is_none());
        let judged = exposure.workloads.iter();
        let judged: BTreeMap<_, _> = judged.map(|found| (&found.workload, found)).collect();
        let may = |workload: &Workload| {
            let found = judged.get(workload).filter(|found| {
                let is_unneeded = matches!(found.verdict, Verdict::Unneeded | Verdict::Withheld);
                let is_exempted = found.exemption.as_ref().is_some_and(Exemption::is_active);
                is_unneeded && !is_exempted && !found.is_fragile && is_plain(&found.workload)
            });
            found.is_some() && is_free
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
    pub(super) fn take_withdrawn(&self, namespace: &Arc<str>) -> bool {
        self.state.lock().withdrawn.remove(namespace)
    }

    /// What is listed of a namespace.
    pub(super) fn listed(&self, index: &Index, namespace: &Arc<str>) -> Curable {
        let now = Instant::now();
        let mut state = self.state.lock();
        let Some(entries) = state.namespaces.get_mut(namespace) else {
            return Curable::default();
        };
        let uid = |name: &str| {
            let account = ServiceAccountRef::new(namespace.clone(), name);
            index
                .service_account(&account)
                .map(|facts| facts.uid.clone())
        };
        entries.retain(|(name, _), entry| {
            let is_over = |absent: Instant| now.duration_since(absent) >= ABSENT;
            uid(name).as_deref() == Some(&*entry.uid) && !entry.absent.is_some_and(is_over)
        });
        let mut curable = Curable::default();
        for ((name, workload), entry) in entries {
            entry.is_listed |= now.duration_since(entry.since) >= self.grace;
            if entry.is_listed {
                curable.workloads.insert(workload_entry(name, workload));
                curable.accounts.insert(format!("{name}={}", entry.uid));
            }
        }
        curable
    }

    /// How long until the next workload of a namespace is listed.
    pub(super) fn pause(&self, namespace: &Arc<str>) -> Option<Duration> {
        let state = self.state.lock();
        let entries = state.namespaces.get(namespace)?.values();
        let next = entries
            .filter(|entry| !entry.is_listed)
            .map(|entry| entry.since)
            .min();
        next.map(|since| (since + self.grace).saturating_duration_since(Instant::now()))
    }

    /// Notes whether names wait to be withdrawn.
    pub(super) fn waits(&self, waits: bool) {
        let waiting = &mut self.state.lock().waiting;
        *waiting = waits.then(|| waiting.unwrap_or_else(Instant::now));
    }

    /// How long names have been waiting to be withdrawn.
    pub(super) fn waiting(&self) -> Duration {
        let waiting = self.state.lock().waiting;
        waiting.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// What the stored summary of a namespace lists, until the answers for its accounts are known.
fn stored(index: &Index, namespace: &str, now: Instant) -> Entries {
    let Some(summary) = index.summary(namespace) else {
        return Entries::new();
    };
    let accounts = summary.curable_accounts.split('|');
    let uids: BTreeMap<&str, &str> = accounts.filter_map(|entry| entry.split_once('=')).collect();
    let entries: BTreeSet<&str> = summary.curable.split('|').collect();
    let entry = |entry: &str| {
        let mut parts = entry.splitn(3, '/');
        let (name, kind, workload) = (parts.next()?, parts.next()?, parts.next()?);
        let workload = Workload {
            kind: kind.into(),
            name: workload.into(),
        };
        let known = Entry {
            uid: (*uids.get(name)?).into(),
            since: now,
            is_listed: true,
            absent: Some(now),
        };
        is_plain(&workload).then(|| ((name.into(), workload), known))
    };
    entries.into_iter().filter_map(entry).collect()
}
