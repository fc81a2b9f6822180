//! The state of reading one kind.

/// The state of reading one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Every object of it was read once.
    pub synced: bool,
    /// What is known of it belongs to another history: it must be read again.
    pub outdated: bool,
    /// The API server denies listing it.
    pub forbidden: bool,
    /// How often reading it failed.
    pub errors: u64,
    /// When the last event arrived, as a Unix timestamp; 0 before the first.
    pub last_event_seconds: f64,
    /// When the API server last confirmed that everything known of the kind is current, in seconds of the
    /// reader's own time; `None` before the first complete list.
    pub confirmed_seconds: Option<f64>,
    /// How often the history of the kind went back to an older state.
    pub regressions: u64,
}

impl Reading {
    /// Whether what is known of the kind is complete and of one history.
    pub(super) const fn is_current(&self) -> bool {
        self.synced && !self.outdated
    }

    /// How long ago the API server last confirmed what is known, at this time of the reader; before the first
    /// complete list, how long the reader has been waiting for it.
    #[must_use]
    pub fn stale_seconds(&self, now: f64) -> f64 {
        (now - self.confirmed_seconds.unwrap_or_default()).max(0.0)
    }
}
