//! Which workloads the admission policy may change: those whose token was unneeded without a break for a grace period.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
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

/// How long to wait at least until a list is looked at again.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

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
    /// Why the policy cannot be switched off for sure: with any of these nothing may be listed.
    uncontrolled: BTreeSet<Uncontrolled>,
}

/// Why the policy cannot be switched off for sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Uncontrolled {
    /// Something other than the switch grants its permission.
    GrantedElsewhere,
    /// The API server denies a request that sets the switch.
    Denied,
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

    /// Notes whether the policy cannot be switched off for this reason; returns whether that changes what may be listed.
    pub(super) fn note_control(&self, why: Uncontrolled, is_so: bool) -> bool {
        let uncontrolled = &mut self.state.lock().uncontrolled;
        let was_controlled = uncontrolled.is_empty();
        if is_so {
            uncontrolled.insert(why);
        } else {
            uncontrolled.remove(&why);
        }
        uncontrolled.is_empty() != was_controlled
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
        if !state.uncontrolled.is_empty() {
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

    /// Forgets a namespace that has no workload here, and nothing in a stored summary either.
    pub(super) fn forget_empty(&self, namespace: &Name) {
        let namespaces = &mut self.state.lock().namespaces;
        if namespaces.get(namespace).is_some_and(BTreeMap::is_empty) {
            namespaces.remove(namespace);
        }
    }

    /// How long until the time alone changes what is [listed](Self::listed) of a namespace; `None` if it does not.
    pub(super) fn pause(&self, namespace: &Name) -> Option<Duration> {
        let state = self.state.lock();
        if !state.uncontrolled.is_empty() {
            return None;
        }
        let entries = state.namespaces.get(namespace)?.values();
        let changes = entries.filter_map(|entry| {
            if entry.is_listed {
                entry.absent.map(|since| since + ABSENT)
            } else {
                Some(entry.since + self.grace)
            }
        });
        let left = changes.min()?.saturating_duration_since(Instant::now());
        Some(left.max(SHORTEST_PAUSE))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::{Kind, Pods, ServiceAccounts, wire},
        model::{Config, ObjectKey, ServiceAccountFacts},
    };

    /// An account with an unneeded token in a pod.
    fn index() -> (Index, ServiceAccountRef, ObjectKey) {
        let mut index = Index::new(&[]);
        let (account, pod) = (
            ServiceAccountRef::new("shop", "web"),
            ObjectKey::new("shop", "p"),
        );
        let facts = ServiceAccountFacts {
            uid: "1".into(),
            ..ServiceAccountFacts::default()
        };
        index.apply::<ServiceAccounts>(ObjectKey::new("shop", "web"), facts);
        let spec = wire::PodSpec {
            service_account_name: "web".to_owned(),
            containers: vec![wire::ContainerFields::default().into()],
            ..wire::PodSpec::default()
        };
        let metadata = wire::Metadata {
            name: "p".into(),
            ..wire::Metadata::default()
        };
        let wire = wire::Pod {
            metadata,
            spec,
            ..wire::Pod::default()
        };
        index.apply::<Pods>(pod.clone(), Pods::facts(&wire, &Config::default()));
        (index, account, pod)
    }

    fn note(cure: &Cure, index: &Index, account: &ServiceAccountRef) {
        cure.note(index, account, &index.assess(account));
    }

    #[test]
    fn a_list_that_cannot_change_yet_is_not_looked_at_all_the_time() {
        let (index, account, _) = index();
        let namespace = &account.namespace;
        // It is past its grace period, and nobody has asked for the list.
        let cure = Cure::new(Duration::ZERO);
        note(&cure, &index, &account);
        assert_eq!(cure.pause(namespace), Some(SHORTEST_PAUSE));
        for why in [Uncontrolled::Denied, Uncontrolled::GrantedElsewhere] {
            let is_first = why == Uncontrolled::Denied;
            assert_eq!(cure.note_control(why, true), is_first, "{why:?}");
            assert!(!cure.note_control(why, true), "{why:?}");
            assert_eq!(cure.pause(namespace), None);
            assert!(cure.listed(&index, namespace).is_empty());
        }
        // One reason that ends leaves the other.
        assert!(!cure.note_control(Uncontrolled::Denied, false));
        assert!(cure.listed(&index, namespace).is_empty());
        assert!(cure.note_control(Uncontrolled::GrantedElsewhere, false));
        assert!(!cure.listed(&index, namespace).is_empty());
        assert_eq!(cure.pause(namespace), None);
    }

    #[test]
    fn a_workload_without_a_pod_is_looked_at_when_its_hour_ends() {
        let (mut index, account, pod) = index();
        let namespace = &account.namespace;
        let cure = Cure::new(Duration::ZERO);
        note(&cure, &index, &account);
        assert!(!cure.listed(&index, namespace).is_empty());
        index.delete::<Pods>(&pod);
        note(&cure, &index, &account);
        let pause = cure.pause(namespace).unwrap_or_default();
        assert!(pause > ABSENT / 2 && pause <= ABSENT, "{pause:?}");
        assert!(!cure.listed(&index, namespace).is_empty());
    }

    #[test]
    fn a_namespace_without_workloads_is_forgotten() {
        let (mut index, account, pod) = index();
        let cure = Cure::new(Duration::from_mins(1));
        note(&cure, &index, &account);
        cure.forget_empty(&account.namespace);
        assert_eq!(cure.state.lock().namespaces.len(), 1);
        index.delete::<Pods>(&pod);
        note(&cure, &index, &account);
        cure.forget_empty(&account.namespace);
        assert_eq!(cure.state.lock().namespaces.len(), 0);
    }
}
