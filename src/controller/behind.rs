//! For how long policies have been acting by what may not be so any more: answers that are not computed yet, and names
//! that are not withdrawn yet.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

use crate::model::Target;

/// What waits, each once, since it was first named.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// The accounts that were named, in order; of those that were assessed since, some are left.
    order: VecDeque<(Target, Instant)>,
    /// Those that were not assessed since.
    named: HashMap<Target, Instant>,
    /// The summaries that names must be withdrawn from.
    withdrawals: HashMap<Target, Instant>,
}

impl Behind {
    /// The answer for an account may have changed.
    pub(super) fn named(&mut self, target: &Target, now: Instant) {
        if matches!(target, Target::Report(_)) && !self.named.contains_key(target) {
            self.named.insert(target.clone(), now);
            self.order.push_back((target.clone(), now));
        }
    }

    /// It was computed.
    pub(super) fn assessed(&mut self, target: &Target) {
        self.named.remove(target);
        while let Some((first, since)) = self.order.front()
            && self.named.get(first) != Some(since)
        {
            self.order.pop_front();
        }
    }

    /// Whether names must be withdrawn from a summary.
    pub(super) fn withdraws(&mut self, target: &Target, withdraws: bool, now: Instant) {
        if withdraws {
            self.withdrawals.entry(target.clone()).or_insert(now);
        } else {
            self.withdrawals.remove(target);
        }
    }

    /// Since when the first waits.
    pub(super) fn since(&self) -> Option<Instant> {
        let first = self.order.front().map(|(_, since)| *since);
        let withdrawal = self.withdrawals.values().min().copied();
        [first, withdrawal].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::ServiceAccountRef;

    #[test]
    fn it_waits_since_the_first_that_is_neither_assessed_nor_withdrawn() {
        let mut behind = Behind::default();
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let account = |name| Target::Report(ServiceAccountRef::new("shop", name));
        let summary = Target::Summary("shop".into());
        assert_eq!(behind.since(), None);
        behind.named(&account("a"), at(0));
        behind.named(&account("b"), at(1));
        behind.named(&account("a"), at(2));
        behind.named(&summary, at(2));
        assert_eq!(behind.since(), Some(at(0)));
        behind.assessed(&account("a"));
        assert_eq!(behind.since(), Some(at(1)));
        behind.named(&account("a"), at(3));
        behind.assessed(&account("b"));
        assert_eq!(behind.since(), Some(at(3)), "it was named again");
        behind.withdraws(&summary, true, at(4));
        behind.withdraws(&summary, true, at(5));
        behind.assessed(&account("a"));
        assert_eq!(behind.since(), Some(at(4)));
        behind.withdraws(&summary, false, at(6));
        assert_eq!(behind.since(), None);
        assert!(behind.order.is_empty());
    }
}
