//! What waits to be written: each once, what must be withdrawn first, then the worst findings, and what changes all the
//! time ever more rarely. Each namespace has its turn in between: one that changes all the time delays itself.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    client::doubled,
    model::{Name, Target, Verdict},
};

/// Every how many writes a namespace has its turn, whatever its rank.
const TURN: u32 = 4;
/// How many writes of one target are not delayed.
const FREE_WRITES: u32 = 20;
/// After this time without a write, one write more is not delayed.
const FORGETS: Duration = Duration::from_secs(10);
/// The pause before a further write; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause: the end of a series of changes shows within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// The longest pause before names are withdrawn again from a summary that changes all the time.
const LONGEST_WITHDRAWAL: Duration = Duration::from_secs(1);

/// What goes before what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Names that a summary has and must not have: outside of the budget.
    Withdrawal,
    /// A report with this verdict.
    Report(Verdict),
    /// Any other change of a summary.
    Summary,
}

/// What waits, and what was written lately.
#[derive(Debug, Default)]
pub(super) struct Pending {
    order: BTreeSet<(Rank, u64, Target)>,
    /// The same by namespace and arrival.
    namespaces: BTreeMap<Name, BTreeMap<u64, Target>>,
    /// How many were taken.
    taken: u32,
    /// The namespace that had its turn last.
    last: Option<Name>,
    places: HashMap<Target, (Rank, u64)>,
    arrivals: u64,
    written: HashMap<Target, Written>,
    pruned: Option<Instant>,
}

/// The writes of one target.
#[derive(Debug)]
struct Written {
    writes: u32,
    last: Instant,
}

impl Pending {
    /// Something waits. What waits already keeps its place, unless its rank changed. Returns whether it did not wait
    /// before.
    pub(super) fn add(&mut self, target: &Target, rank: Rank) -> bool {
        let known = self.places.get(target).map(|(known, _)| *known);
        if known == Some(rank) {
            return false;
        }
        self.remove(target);
        self.arrivals += 1;
        self.places.insert(target.clone(), (rank, self.arrivals));
        self.order.insert((rank, self.arrivals, target.clone()));
        let of_namespace = self.namespaces.entry(target.namespace().into());
        of_namespace
            .or_default()
            .insert(self.arrivals, target.clone());
        known.is_none()
    }

    /// Nothing is to be written any more.
    pub(super) fn remove(&mut self, target: &Target) {
        if let Some((rank, arrival)) = self.places.remove(target) {
            self.order.remove(&(rank, arrival, target.clone()));
            if let Some(of_namespace) = self.namespaces.get_mut(target.namespace()) {
                of_namespace.remove(&arrival);
                if of_namespace.is_empty() {
                    self.namespaces.remove(target.namespace());
                }
            }
        }
    }

    /// The next one to write: the first by rank, and each fourth time what has waited longest in the next namespace.
    pub(super) fn pop(&mut self) -> Option<Target> {
        self.taken = self.taken.wrapping_add(1);
        let has_turn = self.taken.is_multiple_of(TURN) && !self.withdraws();
        let target = if has_turn {
            self.in_turn()
        } else {
            self.order.first().map(|(_, _, target)| target.clone())
        }?;
        self.remove(&target);
        Some(target)
    }

    /// What has waited longest in the namespace after the one that had its turn last.
    fn in_turn(&mut self) -> Option<Target> {
        let after = self.last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let mut following = self.namespaces.range((after, Bound::Unbounded));
        let (namespace, waiting) = following.next().or_else(|| self.namespaces.iter().next())?;
        self.last = Some(namespace.clone());
        waiting.values().next().cloned()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether something must be withdrawn.
    pub(super) fn withdraws(&self) -> bool {
        let first = self.order.first();
        first.is_some_and(|(rank, ..)| *rank == Rank::Withdrawal)
    }

    /// Something was written, or that was tried.
    pub(super) fn wrote(&mut self, target: &Target, now: Instant) {
        let known = self.written.get(target);
        let written = Written {
            writes: known
                .map_or(0, |known| known.remembered(now))
                .saturating_add(1),
            last: now,
        };
        self.written.insert(target.clone(), written);
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

    /// How long the next write of a target has to wait, because it was written often: what must be withdrawn, until a
    /// second after the last write.
    pub(super) fn pause(&self, target: &Target, rank: Rank, now: Instant) -> Duration {
        let longest = match rank {
            Rank::Withdrawal => LONGEST_WITHDRAWAL,
            Rank::Report(_) | Rank::Summary => LONGEST_PAUSE,
        };
        let Some(written) = self.written.get(target) else {
            return Duration::ZERO;
        };
        let Some(more) = written.remembered(now).checked_sub(FREE_WRITES) else {
            return Duration::ZERO;
        };
        let since = now.saturating_duration_since(written.last);
        doubled(FIRST_PAUSE, more, longest).saturating_sub(since)
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
    use crate::model::ServiceAccountRef;

    fn target(name: &str) -> Target {
        Target::Report(ServiceAccountRef::new("shop", name))
    }

    #[test]
    fn the_worst_come_first_and_each_once() {
        let mut pending = Pending::default();
        pending.add(&target("gone"), Rank::Report(Verdict::NoToken));
        pending.add(&target("b"), Rank::Report(Verdict::Unneeded));
        pending.add(&target("review"), Rank::Report(Verdict::Review));
        pending.add(&target("a"), Rank::Report(Verdict::Unneeded));
        pending.add(&target("b"), Rank::Report(Verdict::Unneeded));
        pending.add(&target("gone"), Rank::Report(Verdict::Unknown));
        pending.add(&target("removed"), Rank::Report(Verdict::Unneeded));
        pending.remove(&target("removed"));
        let summary = |name: &str| Target::Summary(name.into());
        pending.add(&summary("adds"), Rank::Summary);
        assert!(!pending.withdraws());
        pending.add(&summary("withdraws"), Rank::Withdrawal);
        assert!(pending.withdraws());
        assert_eq!(pending.len(), 6);
        let order: Vec<_> = std::iter::from_fn(|| pending.pop())
            .map(|next| next.to_string())
            .collect();
        // The fourth is that of a namespace.
        let expected = [
            "withdraws",
            "shop/b",
            "shop/a",
            "adds",
            "shop/review",
            "shop/gone",
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn a_namespace_with_many_findings_delays_itself() {
        let mut pending = Pending::default();
        for number in 0..1_000 {
            let account = ServiceAccountRef::new("flood", number.to_string());
            pending.add(&Target::Report(account), Rank::Report(Verdict::Unneeded));
        }
        for namespace in ["a", "z"] {
            let account = ServiceAccountRef::new(namespace, "gone");
            pending.add(&Target::Report(account), Rank::Report(Verdict::NoToken));
        }
        pending.add(&Target::Summary("b".into()), Rank::Summary);
        let first: BTreeSet<_> = (0..5 * TURN).filter_map(|_| pending.pop()).collect();
        let of_others = first.iter().filter(|next| next.namespace() != "flood");
        assert_eq!(of_others.count(), 3, "{first:?}");
        let rest = std::iter::from_fn(|| pending.pop());
        assert_eq!(rest.count() + first.len(), 1_003);
        assert!(pending.namespaces.is_empty() && pending.places.is_empty());
    }

    #[test]
    fn a_report_that_changes_all_the_time_is_written_ever_more_rarely() {
        let (mut pending, began) = (Pending::default(), Instant::now());
        let mut now = began;
        let mut writes = 0;
        while now < began + Duration::from_mins(10) {
            now += pending
                .pause(&target("flapping"), Rank::Summary, now)
                .max(Duration::from_millis(20));
            pending.wrote(&target("flapping"), now);
            writes += 1;
        }
        // 20 at once, then fewer and fewer until as many are forgotten as are written.
        assert!((50..=80).contains(&writes), "{writes}");
        let pause = |name, rank, now| pending.pause(&target(name), rank, now);
        assert!(pause("flapping", Rank::Summary, now) <= LONGEST_PAUSE);
        assert!(pause("flapping", Rank::Summary, now + LONGEST_WITHDRAWAL) > Duration::ZERO);
        assert!(pause("flapping", Rank::Withdrawal, now) > Duration::ZERO);
        let later = now + LONGEST_WITHDRAWAL;
        assert_eq!(pause("flapping", Rank::Withdrawal, later), Duration::ZERO);
        assert_eq!(pause("other", Rank::Summary, now), Duration::ZERO);
        now += Duration::from_mins(5);
        assert_eq!(pause("flapping", Rank::Summary, now), Duration::ZERO);
        pending.wrote(&target("other"), now);
        assert_eq!(pending.written.len(), 1, "what is calm is forgotten");
    }
}
