//! Which workload owns this pod? The outermost owner, determined from the pod alone, so that no
//! permissions on ReplicaSets or Jobs are needed.

use super::wire::{Metadata, OwnerReference};
use crate::model::Workload;

/// The label with the hash that a Deployment appends to the names of its ReplicaSets.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// The label with the hash that an Argo Rollout appends to the names of its ReplicaSets.
const ROLLOUT_HASH: &str = "rollouts-pod-template-hash";

/// The outermost owner of a pod, else the pod itself.
pub(super) fn workload(pod: &Metadata) -> Workload {
    let owner = pod
        .owner_references
        .iter()
        .find(|owner| owner.controller && owner.kind != "Node");
    let (kind, name) = match owner {
        Some(owner) => outermost(owner, pod),
        None => ("Pod", pod.name.as_str()),
    };
    Workload {
        kind: kind.into(),
        name: name.into(),
    }
}

fn outermost<'a>(owner: &'a OwnerReference, pod: &Metadata) -> (&'a str, &'a str) {
    let before_hash = |label| -> Option<&'a str> {
        let hash = pod.labels.get(label).unwrap_or_default();
        let name = owner.name.strip_suffix(hash)?.strip_suffix('-')?;
        (!hash.is_empty() && !name.is_empty()).then_some(name)
    };
    match owner.kind.as_str() {
        "ReplicaSet" => before_hash(TEMPLATE_HASH)
            .map(|name| ("Deployment", name))
            .or_else(|| before_hash(ROLLOUT_HASH).map(|name| ("Rollout", name)))
            .unwrap_or(("ReplicaSet", &owner.name)),
        "Job" => scheduled_by(&owner.name).map_or(("Job", &*owner.name), |name| ("CronJob", name)),
        kind => (kind, &owner.name),
    }
}

/// The CronJob that created a Job of this name: it appends the scheduled time in minutes since 1970
/// (`getJobName` of the CronJob controller). A date like `20261124` is not in that range.
fn scheduled_by(job: &str) -> Option<&str> {
    let (name, minutes) = job.rsplit_once('-')?;
    let minutes: u32 = minutes.parse().ok().filter(|_| minutes.len() == 8)?;
    ((25_000_000..60_000_000).contains(&minutes) && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_owner_is_determined_from_the_pod_alone() {
        let cases = [
            ("ReplicaSet", "web-7d4b9c", "7d4b9c", "Deployment/web"),
            ("ReplicaSet", "web-7d4b9c", "", "ReplicaSet/web-7d4b9c"),
            ("ReplicaSet", "7d4b9c", "7d4b9c", "ReplicaSet/7d4b9c"),
            ("Job", "backup-29412345", "", "CronJob/backup"),
            ("Job", "backup-20261124", "", "Job/backup-20261124"),
            ("Job", "migrate", "", "Job/migrate"),
            ("StatefulSet", "db", "", "StatefulSet/db"),
            ("Kafka", "events", "", "Kafka/events"),
            ("Node", "node-1", "", "Pod/pod"),
        ];
        for (kind, name, hash, expected) in cases {
            let mut pod = Metadata {
                name: "pod".into(),
                ..Metadata::default()
            };
            pod.labels = [(TEMPLATE_HASH, hash)].into();
            let owner = OwnerReference {
                kind: kind.into(),
                name: name.into(),
                controller: true,
                ..Default::default()
            };
            pod.owner_references.push(owner);
            assert_eq!(workload(&pod).to_string(), expected);
        }
    }

    #[test]
    fn an_argo_rollout_is_recognised_by_its_own_label() {
        let mut pod = Metadata {
            name: "pod".into(),
            ..Metadata::default()
        };
        pod.labels = [(ROLLOUT_HASH, "5f6d")].into();
        let owner = OwnerReference {
            kind: "ReplicaSet".into(),
            name: "web-5f6d".into(),
            controller: true,
            ..Default::default()
        };
        pod.owner_references.push(owner);
        assert_eq!(workload(&pod).to_string(), "Rollout/web");
    }
}
