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
    /// None.
    #[default]
    Unsaid,
    /// `Pending`, as the API server writes it into a new pod: neither the scheduler nor a kubelet has said anything.
    New,
    /// `Pending`.
    Pending,
    /// `Failed`, or not known.
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
            "" => Self::Unsaid,
            "Pending" => Self::Pending,
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
        let counts = matches!(phase, Phase::Unsaid | Phase::New | Phase::Running);
        let is_known = started > 0 || counts;
        let delay = u16::try_from(minutes).ok().filter(|_| is_known);
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

    /// Whether its status shows that its cluster has a scheduler or kubelets. Where no pod does, new pods count as
    /// running.
    #[must_use]
    pub const fn is_attended(&self) -> bool {
        !matches!(self.phase, Phase::Unsaid | Phase::New)
    }

    /// When its containers began to run, as a Unix timestamp, and never earlier; `None` unless they are known to run, or
    /// to have run.
    #[must_use]
    pub fn started(&self, is_attended: bool) -> Option<i64> {
        let has_run = self.is_running(is_attended) || self.phase == Phase::Succeeded;
        let is_known = has_run && self.delay != u16::MAX;
        let created = self.created().filter(|_| is_known)?;
        Some(created + i64::from(self.delay) * 60)
    }

    /// Whether its containers are known to run, in a cluster that has, or has no, scheduler and kubelets.
    #[must_use]
    pub const fn is_running(&self, is_attended: bool) -> bool {
        match self.phase {
            Phase::Running | Phase::Unsaid => true,
            Phase::New => !is_attended,
            Phase::Pending | Phase::Succeeded | Phase::Other => false,
        }
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
            instance.started(true)
        };
        assert_eq!(started("Running", 1000, 1000), Some(1000));
        // To the minute.
        assert_eq!(started("Running", 1000, 1001), Some(1060));
        assert_eq!(started("Succeeded", 1000, 1060), Some(1060));
        // The clock of the node is behind.
        assert_eq!(started("Running", 1000, 900), Some(1000));
        // Nobody has said when, or whether.
        assert_eq!(started("Running", 1000, 0), Some(1000));
        assert_eq!(started("", 1000, 0), Some(1000));
        assert_eq!(started("Succeeded", 1000, 0), None);
        for phase in ["Pending", "Failed", "Unknown"] {
            assert_eq!(started(phase, 1000, 1000), None, "{phase}");
        }
        assert_eq!(started("Running", 0, 1000), None);
        // Later than is kept.
        assert_eq!(started("Running", 1000, 4_000_000_000), None);
    }

    #[test]
    fn what_a_pod_is_known_by_is_small() {
        assert_eq!(size_of::<crate::model::pod::Pod>(), 16);
    }
}
