//! Puts together what several readers learnt.

use std::collections::hash_map::Entry;

use super::{AccountRecord, MAX_ACTIONS, Record, Used, names::action_key, note_last};
use crate::model::usage::Tally;

impl Record {
    /// Adds what another reader learnt.
    pub fn merge(&mut self, other: Self) {
        self.servers.merge(other.servers);
        for (user, time) in other.reviewers {
            note_last(&mut self.reviewers, &user, time);
        }
        self.span = match (self.span, other.span) {
            (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
            (one, other) => one.or(other),
        };
        for (verb, time) in other.verbs {
            note_last(&mut self.verbs, &verb, time);
        }
        for (own, other) in [
            (&mut self.seen_pods, other.seen_pods),
            (&mut self.made, other.made),
        ] {
            for (owner, seen) in other {
                match own.entry(owner) {
                    Entry::Occupied(mut known) => known.get_mut().merge(seen),
                    Entry::Vacant(free) => drop(free.insert(seen)),
                }
            }
        }
        let actions: Vec<_> = other
            .actions
            .all
            .into_iter()
            .map(|known| {
                let key = action_key(&known.action);
                self.actions.of(&key, || known)
            })
            .collect();
        let mut bindings = vec![None; other.bindings.all.len()];
        for (reason, number) in other.bindings.by_key {
            let index = usize::try_from(number).unwrap_or_default();
            let binding = other.bindings.all.get(index).cloned().flatten();
            bindings[index] = self.bindings.of(&reason, || binding);
        }
        for (account, record) in other.accounts {
            let own = self.accounts.entry(account).or_default();
            own.merge(record, &actions, &bindings);
        }
    }
}

impl Used {
    fn merge(&mut self, other: Self, actions: &[Option<u32>]) {
        self.last = self.last.max(other.last);
        self.requests += other.requests;
        self.received += other.received;
        self.last_beyond_defaults = self.last_beyond_defaults.max(other.last_beyond_defaults);
        self.last_denied = self.last_denied.max(other.last_denied);
        self.has_more |= other.has_more;
        for (number, tally) in other.actions {
            let number = usize::try_from(number)
                .ok()
                .and_then(|number| *actions.get(number)?);
            let Some(number) = number.filter(|number| {
                self.actions.len() < MAX_ACTIONS || self.actions.contains_key(number)
            }) else {
                self.has_more = true;
                continue;
            };
            let own = self.actions.entry(number).or_insert(Tally {
                last: tally.last,
                count: 0,
            });
            own.last = own.last.max(tally.last);
            own.count += tally.count;
        }
    }
}

impl AccountRecord {
    fn merge(&mut self, other: Self, actions: &[Option<u32>], bindings: &[Option<u32>]) {
        self.reviewed_by = self.reviewed_by.take().or(other.reviewed_by);
        for (number, time) in other.bindings {
            let number = usize::try_from(number)
                .ok()
                .and_then(|number| *bindings.get(number)?);
            if let Some(number) = number {
                let last = self.bindings.entry(number).or_insert(time);
                *last = (*last).max(time);
            }
        }
        for (bearer, used) in other.tokens {
            let own = self.tokens.entry(bearer).or_insert_with(|| Used {
                pod: used.pod.clone(),
                last: used.last,
                ..Used::default()
            });
            own.merge(used, actions);
        }
    }
}
