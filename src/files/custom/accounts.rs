//! Which accounts does an object of a custom kind name, beside those of its pod specs?

use std::collections::BTreeSet;

use serde_json::Value;

use super::{MAX_DEPTH, embedded};
use crate::model::InputKind;

/// Where kinds say in which namespace they create objects.
const TARGETS: [&str; 3] = [
    // helm.toolkit.fluxcd.io HelmRelease
    "/spec/targetNamespace",
    // argoproj.io Application
    "/spec/destination/namespace",
    // olm.operatorframework.io ClusterExtension
    "/spec/namespace",
];

/// The namespace in which an object says that its operator creates others.
pub(in crate::files) fn target_namespace(object: &Value) -> Option<&str> {
    let mut found = TARGETS.iter().filter_map(|at| object.pointer(at)?.as_str());
    found.find(|namespace| !namespace.is_empty())
}

/// Whether the operator of a kind runs the pods of a template as an account that it creates, with permissions for what
/// they do.
pub(super) fn runs_as_another(group: &str, kind: &str, object: &Value, at: &str) -> bool {
    match (group, kind) {
        // ray-project/kuberay: the head with an autoscaler, unless it names an account
        ("ray.io", _) => at
            .rsplit_once("/headGroupSpec/")
            .is_some_and(|(cluster, _)| {
                let cluster = object.pointer(cluster).unwrap_or(&Value::Null);
                cluster["enableInTreeAutoscaling"] == true && head_account(cluster).is_none()
            }),
        // googleforgames/agones: the server beside the game's container (pkg/gameservers/controller.go)
        ("agones.dev", _) => {
            let spec = object.pointer(at);
            !spec.is_some_and(|spec| spec["serviceAccountName"].is_string())
        }
        // kubeflow/training-operator: the launcher runs `kubectl exec` (pkg/controller.v1/mpi); that of
        // kubeflow/mpi-operator, v2beta1, uses SSH.
        ("kubeflow.org", "MPIJob") => {
            let is_launcher = at.split('/').any(|step| step == "Launcher");
            is_launcher && object["apiVersion"] != "kubeflow.org/v2beta1"
        }
        // kserve/kserve: the scheduler reads pods (pkg/controller/v1alpha1/llmisvc/scheduler.go)
        ("serving.kserve.io", "LLMInferenceService") => at.starts_with("/spec/router/scheduler/"),
        _ => false,
    }
}

/// The account that the head of a Ray cluster names.
pub(super) fn head_account(cluster: &Value) -> Option<&str> {
    let spec = &cluster["headGroupSpec"]["template"]["spec"];
    spec["serviceAccountName"]
        .as_str()
        .filter(|name| !name.is_empty())
}

/// The names of accounts in an object, each with its namespace where it has one.
pub(in crate::files) fn accounts(object: &Value) -> BTreeSet<(Option<String>, String)> {
    let mut names = BTreeSet::new();
    // Reports of this program are about accounts, and create nothing.
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let group = api_version.split_once('/').map(|(group, _)| group);
    if group != Some(InputKind::TokenExposureReport.group()) {
        collect_accounts(object, 0, &mut names);
    }
    names
}

fn collect_accounts(value: &Value, depth: usize, names: &mut BTreeSet<(Option<String>, String)>) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(fields) if depth > 0 && embedded::is_object(fields) => {}
        Value::Object(fields) => {
            for (field, value) in fields {
                let lower = field.to_ascii_lowercase();
                let is_account = ["serviceaccountname", "serviceaccount", "serviceaccountref"]
                    .iter()
                    .any(|end| lower.ends_with(end));
                let text = |value: &Value| value.as_str().map(str::to_owned);
                let name = text(value).or_else(|| text(&value["name"]));
                if let Some(name) = name.filter(|name| is_account && !name.is_empty()) {
                    names.insert((text(&value["namespace"]), name));
                }
                collect_accounts(value, depth + 1, names);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect_accounts(item, depth + 1, names);
            }
        }
        _ => {}
    }
}
