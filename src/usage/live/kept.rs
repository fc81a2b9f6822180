//! What is kept across restarts, and shared by replicas: the same in seconds, and as coarse as it need be, so that it
//! changes rarely. What is lost of it shortens the window.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Live, Micros, SECOND, Seen, Times, Touched,
    room::{Tenant, to_forget},
};
use crate::model::{ObjectKey, ServiceAccountRef, Workload};

/// The version of this form.
const VERSION: u32 = 1;

/// What is kept, as a value that can be written as JSON. Times are in seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Kept {
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    forgotten: Option<i64>,
    #[serde(skip_serializing_if = "is_zero")]
    refused: u64,
    #[serde(skip_serializing_if = "is_zero")]
    unreadable: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<i64>,
    #[serde(skip_serializing_if = "is_zero")]
    unreported: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<(i64, i64)>,
    /// The spans of time in which each API server showed signs of life.
    servers: BTreeMap<Box<str>, Vec<(i64, i64)>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    deleted: BTreeMap<Box<str>, i64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    reviewers: BTreeMap<Box<str>, i64>,
    /// By namespace and name.
    accounts: BTreeMap<Box<str>, BTreeMap<Box<str>, Account>>,
}

/// The last use, the last beyond the default permissions, the last that was denied; 0 if there was none.
type Seconds = (i64, i64, i64);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Account {
    /// By kind and name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    workloads: BTreeMap<Box<str>, BTreeMap<Box<str>, Seconds>>,
    /// By uid, with the name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pods: BTreeMap<Box<str>, (Box<str>, Seconds)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    others: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unbound: Option<Seconds>,
    /// By namespace and name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    bindings: BTreeMap<Box<str>, BTreeMap<Box<str>, i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reviewed_by: Option<Box<str>>,
}

/// Another version wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has version {0} instead of {VERSION}")]
pub struct Malformed(u32);

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How coarse times are, in seconds.
#[derive(Clone, Copy)]
struct Grain(i64);

impl Grain {
    fn floor(self, time: Micros) -> i64 {
        let grain = self.0.max(1);
        time.div_euclid(SECOND).div_euclid(grain) * grain
    }

    fn times(self, times: Times) -> Seconds {
        let floor = |time: Option<Micros>| time.map_or(0, |time| self.floor(time).max(1));
        (
            self.floor(times.last).max(1),
            floor(times.beyond),
            floor(times.denied),
        )
    }

    fn span(self, (from, to): (Micros, Micros)) -> (i64, i64) {
        let begin = ceil(from);
        (begin, self.floor(to).max(begin))
    }
}

fn ceil(time: Micros) -> i64 {
    time.div_euclid(SECOND) + i64::from(time.rem_euclid(SECOND) > 0)
}

const fn micros(seconds: i64) -> Micros {
    seconds.saturating_mul(SECOND)
}

fn times((last, beyond, denied): Seconds) -> Times {
    let known = |time: i64| (time > 0).then(|| micros(time));
    Times {
        last: micros(last),
        beyond: known(beyond),
        denied: known(denied),
    }
}

impl Kept {
    /// Forgets accounts that take about a quarter of the room; whether there was one. The window begins after what was
    /// forgotten.
    pub fn forget(&mut self) -> bool {
        let all = self.accounts.iter().flat_map(|(namespace, accounts)| {
            accounts.iter().map(|(name, account)| Tenant {
                namespace: namespace.clone(),
                last: account.last(),
                entries: account.entries(),
                key: (namespace.clone(), name.clone()),
            })
        });
        let accounts = self.accounts.values().flat_map(BTreeMap::values);
        let total: usize = accounts.map(Account::entries).sum();
        let forgotten = to_forget(all, total - total.div_ceil(4));
        for (namespace, name) in &forgotten {
            let of_namespace = self.accounts.get_mut(namespace);
            if let Some(account) = of_namespace.and_then(|accounts| accounts.remove(name)) {
                self.forgotten = self.forgotten.max(Some(account.last() + 1));
            }
        }
        self.accounts.retain(|_, accounts| !accounts.is_empty());
        !forgotten.is_empty()
    }
}

#[cfg(test)]
impl Kept {
    /// How many accounts of a namespace are kept.
    pub(super) fn accounts_of(&self, namespace: &str) -> usize {
        self.accounts.get(namespace).map_or(0, BTreeMap::len)
    }
}

impl Account {
    /// How much room it takes.
    fn entries(&self) -> usize {
        let workloads = self.workloads.values().map(BTreeMap::len);
        let bindings = self.bindings.values().map(BTreeMap::len);
        1 + self.pods.len() + workloads.chain(bindings).sum::<usize>()
    }

    fn last(&self) -> i64 {
        let workloads = self.workloads.values().flat_map(BTreeMap::values);
        let pods = self.pods.values().map(|(_, times)| times);
        let others = self.others.iter().chain(&self.unbound);
        let all = workloads.chain(pods).chain(others);
        all.map(|(last, ..)| *last).max().unwrap_or_default()
    }

    fn of(seen: &Seen, grain: Grain) -> Self {
        let mut account = Self {
            others: seen.others.map(|times| grain.times(times)),
            unbound: seen.unbound.map(|times| grain.times(times)),
            reviewed_by: seen.reviewed_by.clone(),
            ..Self::default()
        };
        for (workload, times) in &seen.workloads {
            let of_kind = account
                .workloads
                .entry((&*workload.kind).into())
                .or_default();
            of_kind.insert(workload.name.clone(), grain.times(*times));
        }
        for (uid, (name, times)) in &seen.pods {
            let entry = (name.clone(), grain.times(*times));
            account.pods.insert(format!("{uid:032x}").into(), entry);
        }
        for (binding, time) in &seen.bindings {
            let namespace = Box::from(&*binding.namespace);
            let of_namespace = account.bindings.entry(namespace).or_default();
            of_namespace.insert(Box::from(&*binding.name), grain.floor(*time));
        }
        account
    }

    fn seen(self) -> Seen {
        let mut seen = Seen {
            others: self.others.map(times),
            unbound: self.unbound.map(times),
            reviewed_by: self.reviewed_by,
            ..Seen::default()
        };
        for (kind, workloads) in self.workloads {
            for (name, seconds) in workloads {
                let workload = Workload::new(&kind, &name);
                seen.workloads.insert(workload, times(seconds));
            }
        }
        for (uid, (name, seconds)) in self.pods {
            if let Ok(uid) = u128::from_str_radix(&uid, 16) {
                seen.pods.insert(uid, (name, times(seconds)));
            }
        }
        for (namespace, bindings) in self.bindings {
            for (name, time) in bindings {
                let binding = ObjectKey::new(&*namespace, &*name);
                seen.bindings.insert(binding, micros(time));
            }
        }
        seen
    }
}

impl Live {
    /// What is kept of it, with times as coarse as `grain` seconds, rounded to the earlier one.
    #[must_use]
    pub fn kept(&self, grain: i64) -> Kept {
        let grain = Grain(grain);
        let mut accounts: BTreeMap<Box<str>, BTreeMap<_, _>> = BTreeMap::new();
        for (account, seen) in &self.accounts {
            let of_namespace = accounts.entry(Box::from(&*account.namespace)).or_default();
            of_namespace.insert(Box::from(&*account.name), Account::of(seen, grain));
        }
        let floor = |times: &BTreeMap<Box<str>, Micros>| {
            let times = times.iter();
            times
                .map(|(name, time)| (name.clone(), grain.floor(*time)))
                .collect()
        };
        let spans = self.servers.beats.iter();
        Kept {
            version: VERSION,
            forgotten: self.forgotten.map(ceil),
            refused: self.refused,
            unreadable: self.servers.unreadable,
            canary: self.canary.map(|time| grain.floor(time)),
            unreported: self.unreported,
            span: self.span.map(|span| grain.span(span)),
            servers: spans
                .map(|(server, spans)| {
                    let spans = spans.iter().map(|span| grain.span(span));
                    (server.clone(), spans.collect())
                })
                .collect(),
            deleted: floor(&self.servers.deleted),
            reviewers: floor(&self.reviewers),
            accounts,
        }
    }

    /// Adds what was kept, by an earlier run or by another replica.
    ///
    /// # Errors
    /// When another version wrote it.
    pub fn restore(&mut self, kept: Kept) -> Result<Touched, Malformed> {
        if kept.version != VERSION {
            return Err(Malformed(kept.version));
        }
        let before = self.window_in_days();
        let mut touched = Touched::default();
        for (namespace, accounts) in kept.accounts {
            for (name, account) in accounts {
                let account_ref = ServiceAccountRef::new(&*namespace, &*name);
                self.join(account_ref, account.seen(), &mut touched);
            }
        }
        for (server, spans) in kept.servers {
            let own = self.servers.beats.entry(server).or_default();
            for (from, to) in spans.into_iter().filter(|(from, to)| from <= to) {
                own.add(micros(from), micros(to));
            }
        }
        self.servers
            .beats
            .retain(|_, spans| spans.iter().next().is_some());
        for (server, time) in kept.deleted {
            let time = micros(time);
            let own = self.servers.deleted.entry(server).or_insert(time);
            *own = (*own).max(time);
        }
        let reviewers = kept.reviewers.into_iter();
        self.note_reviewers(reviewers.map(|(name, time)| (name, micros(time))).collect());
        self.note_span(kept.span.map(|(from, to)| (micros(from), micros(to))));
        self.forgotten = self.forgotten.max(kept.forgotten.map(micros));
        self.refused = self.refused.max(kept.refused);
        self.servers.unreadable = self.servers.unreadable.max(kept.unreadable);
        self.canary = self.canary.max(kept.canary.map(micros));
        self.unreported = self.unreported.max(kept.unreported);
        self.limit(super::MAX_ENTRIES, &mut touched);
        touched.all = self.window_in_days() != before;
        Ok(touched)
    }
}
