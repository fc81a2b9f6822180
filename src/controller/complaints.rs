//! What the log says of reports that cannot be written: an API server that fails concerns every account,
//! and thousands of lines would hide that it is one trouble.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::write::Error;
use crate::model::ServiceAccountRef;

/// How long a cause is not told again, of whichever accounts.
const SILENCE: Duration = Duration::from_mins(1);

/// What was told, and when.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    told: HashMap<&'static str, Instant>,
    /// The most reports that were not written at a time, since the trouble was told.
    most: usize,
}

impl Complaints {
    /// Tells that a report could not be written, if its cause was not told lately; `failing` of them are
    /// not.
    pub(super) fn not_written(
        &mut self,
        account: &ServiceAccountRef,
        error: &Error,
        retry_in: Duration,
        failing: usize,
    ) {
        let (namespace, service_account) = (&account.namespace, &account.name);
        let told = self.is_due(error.cause(), Instant::now());
        if told {
            tracing::warn!(%namespace, %service_account, %error, ?retry_in, failing, "report not written");
        } else {
            tracing::debug!(%namespace, %service_account, %error, failing, "report not written");
        }
        if told || self.most > 0 {
            self.most = self.most.max(failing);
        }
    }

    /// Tells that none is left, if trouble was told.
    pub(super) fn settled(&mut self) {
        let failed = std::mem::take(&mut self.most);
        if failed > 0 {
            tracing::info!(failed, "all reports are written again");
        }
    }

    fn is_due(&mut self, cause: &'static str, now: Instant) -> bool {
        let last = self.told.get(cause);
        let due = last.is_none_or(|last| now.saturating_duration_since(*last) >= SILENCE);
        if due {
            self.told.insert(cause, now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_once_a_minute() {
        let mut complaints = Complaints::default();
        let began = Instant::now();
        let mut told =
            |cause, seconds| complaints.is_due(cause, began + Duration::from_secs(seconds));
        assert!(told("server", 0) && told("timeout", 1));
        assert!(!told("server", 1) && !told("timeout", 59));
        assert!(told("server", 60) && !told("server", 61) && told("timeout", 61));
    }
}
