//! Which events are repetitions, or another stage of a request that was counted?

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
};

use crate::usage::{Request, Stage};

/// How many events are remembered to recognise their repetition.
const MAX_RECENT: usize = 1 << 16;

/// The last events, to recognise their repetition.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    hasher: RandomState,
    set: HashSet<u64>,
    order: VecDeque<u64>,
    /// Long requests that have begun, and were counted.
    started: HashSet<u64>,
}

impl Recent {
    /// Whether a request is seen for the first time.
    pub(super) fn is_new(&mut self, request: &Request<'_>) -> bool {
        let id = self.hasher.hash_one(request.id);
        if request.stage == Stage::Started {
            let room = self.started.len() < MAX_RECENT;
            return room && self.started.insert(id) && !self.set.contains(&id);
        }
        if !self.set.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > MAX_RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        !self.started.remove(&id)
    }
}
