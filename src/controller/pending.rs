//! Reports that wait to be written: each once, the worst findings first, and those that change all the time ever
//! more rarely.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    client::doubled,
    model::{ServiceAccountRef, Verdict},
};

/// How many writes of one report are not delayed.
const FREE_WRITES: u32 = 20;
/// After this time without a write, one write more is not delayed.
const FORGETS: Duration = Duration::from_secs(10);
/// The pause before a further write; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause: the end of a series of changes shows within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// What waits, and what was written lately.
#[derive(Debug, Default)]
pub(super) struct Pending {
    order: BTreeSet<(Verdict, u64, ServiceAccountRef)>,
    places: HashMap<ServiceAccountRef, (Verdict, u64)>,
    arrivals: u64,
    written: HashMap<ServiceAccountRef, Written>,
    pruned: Option<Instant>,
}

/// The writes of one report.
#[derive(Debug)]
struct Written {
    writes: u32,
    last: Instant,
}

impl Pending {
    /// A report waits. One that waits already keeps its place, unless the verdict changed. Returns whether it
    /// did not wait before.
    pub(super) fn add(&mut self, account: &ServiceAccountRef, verdict: Verdict) -> bool {
        let known = self.places.get(account).map(|(known, _)| *known);
        if known == Some(verdict) {
            return false;
        }
        self.remove(account);
        self.arrivals += 1;
        self.places
            .insert(account.clone(), (verdict, self.arrivals));
        self.order.insert((verdict, self.arrivals, account.clone()));
        known.is_none()
    }

    /// Nothing is to be written any more.
    pub(super) fn remove(&mut self, account: &ServiceAccountRef) {
        if let Some((verdict, arrival)) = self.places.remove(account) {
            self.order.remove(&(verdict, arrival, account.clone()));
        }
    }

    /// The next report to write.
    pub(super) fn pop(&mut self) -> Option<ServiceAccountRef> {
        let (_, _, account) = self.order.pop_first()?;
        self.places.remove(&account);
        Some(account)
    }

    /// How many reports wait.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// A report was written, or that was tried.
    pub(super) fn wrote(&mut self, account: &ServiceAccountRef, now: Instant) {
        let known = self.written.get(account);
        let written = Written {
            writes: known
                .map_or(0, |known| known.remembered(now))
                .saturating_add(1),
            last: now,
        };
        self.written.insert(account.clone(), written);
        if self
            .pruned
            .is_none_or(|pruned| now.saturating_duration_since(pruned) >= FORGETS)
        {
            self.written
                .retain(|_, written| written.remembered(now) > 0);
            self.written.shrink_to_fit();
            self.pruned = Some(now);
        }
    }

    /// How long the next write of a report has to wait, because it was written often.
    pub(super) fn pause(&self, account: &ServiceAccountRef, now: Instant) -> Duration {
        let Some(written) = self.written.get(account) else {
            return Duration::ZERO;
        };
        let Some(more) = written.remembered(now).checked_sub(FREE_WRITES) else {
            return Duration::ZERO;
        };
        let since = now.saturating_duration_since(written.last);
        doubled(FIRST_PAUSE, more, LONGEST_PAUSE).saturating_sub(since)
    }
}

impl Written {
    /// The writes that count at a time.
    fn remembered(&self, now: Instant) -> u32 {
        let forgotten = now.saturating_duration_since(self.last).as_secs() / FORGETS.as_secs();
        self.writes
            .saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> ServiceAccountRef {
        ServiceAccountRef::new("shop", name)
    }

    #[test]
    fn the_worst_come_first_and_each_once() {
        let mut pending = Pending::default();
        pending.add(&account("gone"), Verdict::NoToken);
        pending.add(&account("b"), Verdict::Unneeded);
        pending.add(&account("review"), Verdict::Review);
        pending.add(&account("a"), Verdict::Unneeded);
        pending.add(&account("b"), Verdict::Unneeded);
        pending.add(&account("gone"), Verdict::Unknown);
        pending.add(&account("removed"), Verdict::Unneeded);
        pending.remove(&account("removed"));
        assert_eq!(pending.len(), 4);
        let order: Vec<_> = std::iter::from_fn(|| pending.pop())
            .map(|next| next.name.to_string())
            .collect();
        assert_eq!(order, ["b", "a", "review", "gone"]);
    }

    #[test]
    fn a_report_that_changes_all_the_time_is_written_ever_more_rarely() {
        let (mut pending, began) = (Pending::default(), Instant::now());
        let mut now = began;
        let mut writes = 0;
        while now < began + Duration::from_mins(10) {
            now += pending
                .pause(&account("flapping"), now)
                .max(Duration::from_millis(20));
            pending.wrote(&account("flapping"), now);
            writes += 1;
        }
        // 20 at once, then fewer and fewer until as many are forgotten as are written.
        assert!((50..=80).contains(&writes), "{writes}");
        assert!(pending.pause(&account("flapping"), now) <= LONGEST_PAUSE);
        assert_eq!(pending.pause(&account("other"), now), Duration::ZERO);
        now += Duration::from_mins(5);
        assert_eq!(pending.pause(&account("flapping"), now), Duration::ZERO);
        pending.wrote(&account("other"), now);
        assert_eq!(pending.written.len(), 1, "what is calm is forgotten");
    }
}
