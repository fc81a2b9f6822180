//! The state of reading each kind.

use std::collections::BTreeSet;

use super::Index;
use crate::model::{Gap, InputKind};

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
    /// Since when reading it fails, in seconds of the reader's own time; `None` while it does not.
    pub failing_since: Option<f64>,
    /// How often the history of the kind went back to an older state.
    pub regressions: u64,
    /// The `resourceVersion` up to which everything is known that became of the kind; `None` before the first complete
    /// list, or if it is no number.
    pub version: Option<u64>,
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

impl Index {
    /// The state of reading each expected kind.
    pub fn readings(&self) -> impl Iterator<Item = (InputKind, &Reading)> {
        self.readings.iter().map(|(kind, reading)| (*kind, reading))
    }

    /// Whether the API server denies listing accounts: then an account that is not known may exist.
    #[must_use]
    pub fn is_forbidden_to_list_accounts(&self) -> bool {
        self.readings
            .get(&InputKind::ServiceAccount)
            .is_some_and(|reading| reading.forbidden)
    }

    /// Whether every object of a kind in a namespace is known: one that is not known does not exist.
    pub(super) fn knows_all(&self, kind: InputKind, namespace: &str) -> bool {
        self.reads(kind) && !self.is_denied(kind, namespace)
    }

    /// Whether a kind was read.
    pub(super) fn reads(&self, kind: InputKind) -> bool {
        let reading = self.readings.get(&kind);
        reading.is_some_and(|reading| reading.synced && !reading.forbidden)
    }

    /// What could not be read.
    pub(super) fn gaps(&self) -> BTreeSet<Gap> {
        let forbidden = self
            .readings()
            .filter(|(_, reading)| reading.forbidden)
            .map(|(kind, _)| Gap::Forbidden(kind));
        forbidden
            .chain((!self.rbac_enforced).then_some(Gap::RbacNotEnforced))
            .collect()
    }
}
