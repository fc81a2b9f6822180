//! Which workload owns this pod? The outermost owner, determined from the pod alone, so that no
//! permissions on ReplicaSets or Jobs are needed.

use std::borrow::Cow;

use super::wire::{Labels, Metadata, OwnerReference};
use crate::model::{Workload, workload::named};

/// The label with the hash that a Deployment appends to the names of its ReplicaSets.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// The label with the hash that an Argo Rollout appends to the names of its ReplicaSets.
const ROLLOUT_HASH: &str = "rollouts-pod-template-hash";

/// Labels of pods that name an owner further out than their controller: the kind of that controller, the label, and the
/// kind that it names.
const OUTER: [(&str, &str, &str); 11] = [
    // knative/serving: pkg/apis/serving/register.go
    (
        "Deployment",
        "serving.knative.dev/service",
        "Service.serving.knative.dev",
    ),
    // kubernetes-sigs/jobset: api/jobset/v1alpha2
    ("Job", "jobset.sigs.k8s.io/jobset-name", "JobSet"),
    // kedacore/keda: pkg/scaling/executor/scale_jobs.go
    ("Job", "scaledjob.keda.sh/name", "ScaledJob"),
    // openshift/api: apps/v1, DeploymentConfigLabel
    (
        "ReplicationController",
        "deploymentconfig",
        "DeploymentConfig",
    ),
    // actions/actions-runner-controller: controllers/actions.github.com/constants.go
    (
        "EphemeralRunner",
        "actions.github.com/scale-set-name",
        "AutoscalingRunnerSet",
    ),
    // kubernetes-sigs/lws: api/leaderworkerset/v1
    (
        "StatefulSet",
        "leaderworkerset.sigs.k8s.io/name",
        "LeaderWorkerSet",
    ),
    // actions/actions-runner-controller: controllers/actions.summerwind.net
    ("Runner", "runner-deployment-name", "RunnerDeployment"),
    // elastic/cloud-on-k8s: pkg/controller/{elasticsearch,kibana}/label
    (
        "StatefulSet",
        "elasticsearch.k8s.elastic.co/cluster-name",
        "Elasticsearch",
    ),
    ("Deployment", "kibana.k8s.elastic.co/name", "Kibana"),
    // tektoncd/pipeline: pkg/apis/pipeline/register.go
    ("TaskRun", "tekton.dev/pipelineRun", "PipelineRun"),
    // kubeflow/spark-operator: executors belong to the pod of their driver
    ("Pod", "sparkoperator.k8s.io/app-name", "SparkApplication"),
];

/// The outermost owner of a pod, else the pod itself.
pub(super) fn workload(pod: &Metadata) -> Workload {
    let owner = pod
        .owner_references
        .iter()
        .find(|owner| owner.controller && owner.kind != "Node");
    let (kind, name) = match owner {
        Some(owner) => outermost(owner, pod),
        None => ("Pod".into(), pod.name.as_str()),
    };
    Workload::new(&kind, name)
}

fn outermost<'a>(owner: &'a OwnerReference, pod: &'a Metadata) -> (Cow<'a, str>, &'a str) {
    let (kind, name) = controller(owner, pod);
    outer(&kind, &pod.labels).map_or((kind, name), |(kind, name)| (kind.into(), name))
}

/// The workload that the labels of a pod, or of a pod template, name as the owner of its controller.
pub(crate) fn outer<'a>(controller: &str, labels: &'a Labels) -> Option<(&'static str, &'a str)> {
    let mut outer = OUTER.iter().filter(|(inner, ..)| *inner == controller);
    let named = outer.find_map(|(_, label, outer)| Some((*outer, labels.get(label)?)));
    named.filter(|(_, name)| !name.is_empty())
}

/// The controller of a pod, or the Deployment, Rollout or CronJob that created that.
fn controller<'a>(owner: &'a OwnerReference, pod: &Metadata) -> (Cow<'a, str>, &'a str) {
    let before_hash = |label| -> Option<&'a str> {
        let hash = pod.labels.get(label).unwrap_or_default();
        let name = owner.name.strip_suffix(hash)?.strip_suffix('-')?;
        (!hash.is_empty() && !name.is_empty()).then_some(name)
    };
    let kind = named(&owner.api_version, &owner.kind);
    let outer = match &*kind {
        "ReplicaSet" => before_hash(TEMPLATE_HASH)
            .map(|name| ("Deployment", name))
            .or_else(|| before_hash(ROLLOUT_HASH).map(|name| ("Rollout", name))),
        "Job" => scheduled_by(&owner.name).map(|name| ("CronJob", name)),
        _ => None,
    };
    outer.map_or((kind, &owner.name), |(kind, name)| (kind.into(), name))
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
    fn the_owner_is_named_as_users_know_it() {
        let knative = "serving.knative.dev/service";
        let elastic = "elasticsearch.k8s.elastic.co/cluster-name";
        let (job_set, scaled) = ("jobset.sigs.k8s.io/jobset-name", "scaledjob.keda.sh/name");
        let (runner, tekton) = ("runner-deployment-name", "tekton.dev/pipelineRun");
        for (owner, label, expected) in [
            (
                "apps/v1 ReplicaSet k-1-deployment-5f6d",
                knative,
                "Service.serving.knative.dev/x",
            ),
            ("batch/v1 Job x-w-0", job_set, "JobSet/x"),
            ("batch/v1 Job x-abcde", scaled, "ScaledJob/x"),
            (
                "batch.volcano.sh/v1alpha1 Job v-29412345",
                "a",
                "Job.batch.volcano.sh/v-29412345",
            ),
            (
                "apps.kruise.io/v1beta1 StatefulSet s",
                "a",
                "StatefulSet.apps.kruise.io/s",
            ),
            (
                "v1 ReplicationController x-1",
                "deploymentconfig",
                "DeploymentConfig/x",
            ),
            (
                "v1 ReplicationController x-1",
                "a",
                "ReplicationController/x-1",
            ),
            (
                "actions.summerwind.dev/v1alpha1 Runner x-abc",
                runner,
                "RunnerDeployment/x",
            ),
            (
                "apps/v1 StatefulSet x-es-default",
                elastic,
                "Elasticsearch/x",
            ),
            ("tekton.dev/v1 TaskRun x-build", tekton, "PipelineRun/x"),
            ("ray.io/v1 RayCluster r", "a", "RayCluster/r"),
        ] {
            let words: Vec<_> = owner.split(' ').map(str::to_owned).collect();
            let mut pod = Metadata {
                name: "pod".into(),
                ..Metadata::default()
            };
            pod.labels = [(label, "x"), (TEMPLATE_HASH, "5f6d")].into();
            pod.owner_references.push(OwnerReference {
                api_version: words[0].clone(),
                kind: words[1].clone(),
                name: words[2].clone(),
                controller: true,
                ..Default::default()
            });
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
