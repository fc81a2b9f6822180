//! Which workload does a pod belong to, as far as its name shows it?

use crate::model::identity::may_be_random;

/// The kind of a workload, as far as the name of a pod shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::usage) enum OwnerKind {
    Deployment,
    CronJob,
    StatefulSet,
    /// A kind that appends one random word to its name: DaemonSet, Job, ReplicaSet and others.
    Other,
}

/// The workload of a pod, and its version or run, as the name of the pod shows them.
pub(in crate::usage) fn owner_by_name(pod: &str) -> Option<(OwnerKind, &str, &str)> {
    let (stem, suffix) = pod.rsplit_once('-')?;
    if suffix.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some((OwnerKind::StatefulSet, stem, ""));
    }
    if suffix.len() != 5 || !may_be_random(suffix) {
        return None;
    }
    if let Some((workload, version)) = stem.rsplit_once('-').filter(|(name, _)| !name.is_empty()) {
        if version.len() == 8 && version.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some((OwnerKind::CronJob, workload, version));
        }
        if (6..=10).contains(&version.len()) && may_be_random(version) {
            return Some((OwnerKind::Deployment, workload, version));
        }
    }
    Some((OwnerKind::Other, stem, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_pod_shows_its_workload() {
        for (pod, owner) in [
            (
                "web-7d4b9c5f6-x7k2p",
                Some((OwnerKind::Deployment, "web", "7d4b9c5f6")),
            ),
            (
                "backup-29412345-x7k2p",
                Some((OwnerKind::CronJob, "backup", "29412345")),
            ),
            ("my-db-0", Some((OwnerKind::StatefulSet, "my-db", ""))),
            ("agent-x7k2p", Some((OwnerKind::Other, "agent", ""))),
            ("my-cache-x7k2p", Some((OwnerKind::Other, "my-cache", ""))),
            ("my-cache", None),
            ("web", None),
            ("", None),
        ] {
            assert_eq!(owner_by_name(pod), owner, "{pod}");
        }
    }
}
