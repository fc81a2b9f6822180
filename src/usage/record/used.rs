//! Adds a request to what one token was used for.

use super::{MAX_ACTIONS, Used};
use crate::{
    model::usage::Tally,
    usage::{Micros, Request, Stage, coverage::timestamp},
};

impl Used {
    pub(super) fn add(&mut self, request: &Request<'_>, is_beyond: bool, is_new: bool) {
        self.last = self.last.max(request.time);
        self.requests += u64::from(is_new);
        self.received += u64::from(request.stage == Stage::Received);
        if is_beyond {
            self.last_beyond_defaults = self.last_beyond_defaults.max(Some(request.time));
        }
        if request.is_denied {
            self.last_denied = self.last_denied.max(Some(request.time));
        }
    }

    /// What was asked for: its number, if it has one.
    pub(super) fn add_action(&mut self, time: Micros, action: Option<u32>, is_new: bool) {
        match action
            .filter(|number| self.actions.len() < MAX_ACTIONS || self.actions.contains_key(number))
        {
            None => self.has_more = true,
            Some(number) => {
                let time = timestamp(time);
                let tally = self.actions.entry(number).or_insert(Tally {
                    last: time,
                    count: 0,
                });
                tally.last = tally.last.max(time);
                tally.count += u64::from(is_new);
            }
        }
    }
}
