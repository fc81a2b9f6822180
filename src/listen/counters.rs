//! What arrives, and what is refused.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, IntCounter, IntCounterVec, Opts, Registry};

/// Counts batches and events.
#[derive(Clone, Debug)]
pub struct Counters {
    pub(super) events: IntCounter,
    batches: IntCounterVec,
    canaries: IntCounterVec,
    last: Gauge,
}

/// What becomes of a batch, as the label `result` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was read.
    Read,
    /// It was read before.
    Repeated,
    /// There was no room for it.
    Busy,
    /// It is larger than what is read.
    TooLarge,
    /// It is no list of events.
    Malformed,
    /// It did not arrive in time.
    Slow,
}

impl Outcome {
    const ALL: [Self; 6] = [
        Self::Read,
        Self::Repeated,
        Self::Busy,
        Self::TooLarge,
        Self::Malformed,
        Self::Slow,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Repeated => "repeated",
            Self::Busy => "busy",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Slow => "slow",
        }
    }
}

impl Counters {
    /// Creates the counters and registers them.
    ///
    /// # Errors
    /// When the registry already has a name.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counters = Self {
            events: IntCounter::new(
                "token_exposure_audit_events_total",
                "Audit events that API servers sent; those of repeated batches count once.",
            )?,
            batches: IntCounterVec::new(
                Opts::new(
                    "token_exposure_audit_batches_total",
                    "Batches of audit events that API servers sent, by result: read, repeated, and refused because the controller was busy, or because the batch was too_large, malformed or slow.",
                ),
                &["result"],
            )?,
            canaries: IntCounterVec::new(
                Opts::new(
                    "token_exposure_audit_canaries_total",
                    "Requests of the controller that should come back as audit events, by result: sent; heard (batches that have one, of any replica); missed (none came back within 15 minutes).",
                ),
                &["result"],
            )?,
            last: Gauge::new(
                "token_exposure_audit_last_batch_timestamp_seconds",
                "When the last batch of audit events arrived, as a Unix timestamp; 0 before the first.",
            )?,
        };
        // Series that exist from the start let `rate` see the first increase.
        for outcome in Outcome::ALL {
            counters.batches.with_label_values(&[outcome.name()]);
        }
        for result in ["sent", "heard", "missed"] {
            counters.canaries.with_label_values(&[result]);
        }
        registry.register(Box::new(counters.canaries.clone()))?;
        registry.register(Box::new(counters.events.clone()))?;
        registry.register(Box::new(counters.batches.clone()))?;
        registry.register(Box::new(counters.last.clone()))?;
        Ok(counters)
    }

    pub(super) fn canary(&self, result: &str) {
        self.canaries.with_label_values(&[result]).inc();
    }

    pub(super) fn batch(&self, outcome: Outcome) {
        self.batches.with_label_values(&[outcome.name()]).inc();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.last.set(now.unwrap_or_default().as_secs_f64());
    }
}
