//! What could not be written: when each is tried again, and what the log says of it.

use std::{collections::HashMap, time::Duration};

use super::write::Error;
use crate::{client::doubled, log::LogLimiter, model::Target};

/// The pause after the first failed write; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause after failed writes.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// What fails, as the log limiter remembers it.
const REPORTS: &str = "reports";

/// The reports and summaries that could not be written.
#[derive(Debug)]
pub(super) struct Failures {
    /// How often in a row each failed.
    in_a_row: HashMap<Target, u32>,
    log: LogLimiter,
}

impl Failures {
    pub(super) fn new(log: LogLimiter) -> Self {
        Self {
            in_a_row: HashMap::new(),
            log,
        }
    }

    /// Notes that something could not be written, and returns how long to wait before the next attempt.
    pub(super) fn failed(&mut self, target: &Target, error: &Error) -> Duration {
        let failures = self.in_a_row.entry(target.clone()).or_default();
        let retry_in = doubled(FIRST_PAUSE, *failures, LONGEST_PAUSE);
        *failures += 1;
        let failing = self.in_a_row.len();
        let (what, namespace) = (target.what(), target.namespace());
        let service_account = target.service_account();
        if self.log.failed(REPORTS, error.cause()) {
            tracing::warn!(%namespace, service_account, %error, ?retry_in, failing, "{what} not written");
        } else {
            tracing::debug!(%namespace, service_account, %error, ?retry_in, failing, "{what} not written");
        }
        retry_in
    }

    /// Notes that something is as it should be.
    pub(super) fn written(&mut self, target: &Target) {
        if self.in_a_row.remove(target).is_some()
            && self.in_a_row.is_empty()
            && let Some(failures) = self.log.recovered(REPORTS)
        {
            tracing::info!(failures, "all reports are written again");
        }
    }
}
