//! What identifies a pod among all that ever had its name, and whether it is known to run.

use std::num::NonZeroU32;

/// What identifies a pod among all that ever had its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    /// `metadata.uid`, see [`super::uid`], as bytes.
    uid: [u8; 16],
    /// `metadata.creationTimestamp` as a Unix timestamp; `None` if it is not known, or no 32 bits hold it.
    created: Option<NonZeroU32>,
    /// How many minutes later it started, rounded up; [`u16::MAX`] if it is not known, or more.
    delay: u16,
    phase: Phase,
}

/// Whether the containers of a pod are known to run, or to have run. Every other phase leaves it open: a pod that failed
/// may never have started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// `Pending`, `Failed`, or not known.
    #[default]
    Other,
    /// `Running`.
    Running,
    /// `Succeeded`.
    Succeeded,
}

impl Phase {
    /// The phase that `status.phase` names.
    #[must_use]
    pub fn named(text: &str) -> Self {
        match text {
            "Running" => Self::Running,
            "Succeeded" => Self::Succeeded,
            _ => Self::Other,
        }
    }
}

impl Instance {
    /// The instance with this `uid`, created and started at these Unix timestamps, which are 0 if they are not known;
    /// `None` without a uid.
    #[must_use]
    pub fn new(uid: &str, created: i64, phase: Phase, started: i64) -> Option<Self> {
        let uid = super::uid(uid)?.to_be_bytes();
        let created = u32::try_from(created).ok().and_then(NonZeroU32::new);
        // Clocks of nodes differ from that of the API server.
        let delay = started.saturating_sub(created.map_or(0, |created| created.get().into()));
        let minutes = delay.max(0).saturating_add(59) / 60;
        let delay = u16::try_from(minutes).ok().filter(|_| started > 0);
        Some(Self {
            uid,
            created,
            delay: delay.unwrap_or(u16::MAX),
            phase,
        })
    }

    /// Its uid, see [`super::uid`].
    #[must_use]
    pub const fn uid(&self) -> u128 {
        u128::from_be_bytes(self.uid)
    }

    /// When it was created, as a Unix timestamp.
    #[must_use]
    pub fn created(&self) -> Option<i64> {
        self.created.map(|created| created.get().into())
    }

    /// When its containers began to run, as a Unix timestamp, and never earlier; `None` unless they are known to run, or
    /// to have run.
    #[must_use]
    pub fn started(&self) -> Option<i64> {
        let is_known = self.phase != Phase::Other && self.delay != u16::MAX;
        let created = self.created().filter(|_| is_known)?;
        Some(created + i64::from(self.delay) * 60)
    }

    /// Whether its containers are known to run.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "00000000-0000-4000-8000-000000000001";

    #[test]
    fn a_pod_has_run_since_no_earlier_than_it_started() {
        let started = |phase: &str, created, started| {
            let instance = Instance::new(UID, created, Phase::named(phase), started)
                .unwrap_or_else(|| unreachable!());
            instance.started()
        };
        assert_eq!(started("Running", 1000, 1000), Some(1000));
        // To the minute.
        assert_eq!(started("Running", 1000, 1001), Some(1060));
        assert_eq!(started("Succeeded", 1000, 1060), Some(1060));
        // The clock of the node is behind.
        assert_eq!(started("Running", 1000, 900), Some(1000));
        for phase in ["Pending", "Failed", "Unknown", ""] {
            assert_eq!(started(phase, 1000, 1000), None, "{phase}");
        }
        assert_eq!(started("Running", 1000, 0), None);
        assert_eq!(started("Running", 0, 1000), None);
        // Later than is kept.
        assert_eq!(started("Running", 1000, 4_000_000_000), None);
    }

    #[test]
    fn what_a_pod_is_known_by_is_small() {
        assert_eq!(size_of::<crate::model::pod::Pod>(), 32);
    }
}
