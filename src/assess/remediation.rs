//! What to do about a finding: the least change that switches the token off.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Evidence;
use crate::model::{
    Carrier, PodFacts, Reason, Remediation, TokenSource, Verdict, WorkloadExposure,
    exposure::Patch,
    pod::{ContainerKind, TOKEN_MOUNT_PATH, Workload},
};

/// What to do about a finding; `None` where nothing is to be done, or cannot be told.
pub(super) fn remediation(
    verdict: Verdict,
    reason: Reason,
    evidence: &Evidence<'_>,
    workloads: &[WorkloadExposure],
) -> Option<Remediation> {
    let condition = match verdict {
        Verdict::Unneeded => "",
        Verdict::Review => "if nothing needs the token, ",
        Verdict::Unknown | Verdict::Exempted | Verdict::Needed | Verdict::NoToken => {
            return None;
        }
    };
    let automounted: Vec<_> = workloads
        .iter()
        .filter(|workload| automounts(workload).next().is_some())
        .collect();
    let without_patch = |summary: String| {
        Some(Remediation {
            summary,
            patches: Vec::new(),
        })
    };
    if reason == Reason::LegacyToken {
        // The pod's own token, if it has one, may well be needed.
        return without_patch(
            "project a serviceAccountToken in place of the Secret, then delete it".to_owned(),
        );
    }
    if automounted.is_empty() {
        return without_patch(format!(
            "{condition}remove the serviceAccountToken source from the volume"
        ));
    }
    let mut carriers = automounted.iter().flat_map(|workload| automounts(workload));
    if carriers.all(|carrier| carrier.drift.is_some()) {
        return without_patch(
            "already switched off: recreate the pods and the token is gone".to_owned(),
        );
    }
    Some(Remediation {
        summary: format!(
            "{condition}set automountServiceAccountToken: false and recreate the pods; where a container \
             reads ca.crt or namespace, mount a projected volume without the token instead"
        ),
        patches: patches(evidence, &automounted),
    })
}

fn automounts(workload: &WorkloadExposure) -> impl Iterator<Item = &Carrier> {
    workload
        .carriers
        .iter()
        .filter(|carrier| carrier.source == TokenSource::Automount)
}

/// One patch of the account for all workloads that leave the decision to it, and one for each that
/// overrides it or reads what lies beside the token. Where a workload must not lose its token, or its
/// files and cannot be patched, the others are patched each by itself.
fn patches(evidence: &Evidence<'_>, automounted: &[&WorkloadExposure]) -> Vec<Patch> {
    let pods_of = |workload: &WorkloadExposure| {
        let pods = evidence.pods.iter().map(|(pod, _)| *pod);
        let pods = pods.filter(|pod| pod.workload == workload.workload);
        pods.collect::<Vec<_>>()
    };
    let (free, known): (Vec<&WorkloadExposure>, Vec<_>) =
        automounted.iter().copied().partition(|workload| {
            workload.consumers.is_empty() && workload.verdict != Verdict::Exempted
        });
    let mut account_is_safe = known.is_empty();
    let mut obeying = false;
    let mut patches = Vec::new();
    for workload in free {
        let pods = pods_of(workload);
        let reads_files = pods.iter().any(|pod| pod.reads_files);
        let overrides = pods.iter().any(|pod| pod.automount == Some(true));
        let template = template_of(&workload.workload.kind);
        account_is_safe &= !reads_files || template.is_some();
        obeying |= !overrides && !reads_files;
        let (Some(template), spec) = (template, switched_off(workload, &pods, reads_files)) else {
            continue;
        };
        let patch = Patch {
            target: workload.workload.clone(),
            api_version: template.api_version,
            strategic: reads_files,
            patch: template
                .path
                .iter()
                .rev()
                .fold(spec, |inner, field| json!({ *field: inner })),
        };
        patches.push((overrides || reads_files, patch));
    }
    let by_account = account_is_safe && obeying;
    let needed = patches
        .into_iter()
        .filter(|(alone, _)| *alone || !account_is_safe);
    let account = by_account.then(|| Patch {
        target: Workload {
            kind: "ServiceAccount".into(),
            name: (&*evidence.account.name).into(),
        },
        api_version: "v1",
        strategic: false,
        patch: json!({ "automountServiceAccountToken": false }),
    });
    let mut patches: Vec<_> = account
        .into_iter()
        .chain(needed.map(|(_, patch)| patch))
        .collect();
    patches.sort_unstable_by(|one, other| one.target.cmp(&other.target));
    patches
}

/// What switches the token off in the spec of a pod. Where files beside it are read, a volume takes
/// its place that has them and no token; a mount at that very path keeps admission from adding its own.
fn switched_off(workload: &WorkloadExposure, pods: &[&PodFacts], reads_files: bool) -> Value {
    const VOLUME: &str = "service-account-files";
    let mut spec = json!({ "automountServiceAccountToken": false });
    if !reads_files {
        return spec;
    }
    spec["volumes"] = json!([{ "name": VOLUME, "projected": { "sources": [
        { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
        { "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": { "fieldPath": "metadata.namespace" } }] } },
    ] } }]);
    let seeing: BTreeSet<_> = automounts(workload)
        .flat_map(|carrier| &carrier.containers)
        .collect();
    for (list, kind) in [
        ("initContainers", ContainerKind::Init),
        ("containers", ContainerKind::Regular),
    ] {
        let containers = pods.iter().flat_map(|pod| &pod.containers);
        let containers = containers.filter(|container| container.kind == kind);
        let names: BTreeSet<_> = containers
            .map(|container| &container.name)
            .filter(|name| seeing.contains(name))
            .collect();
        let mount = |name| json!({ "name": name, "volumeMounts": [{ "name": VOLUME, "mountPath": TOKEN_MOUNT_PATH, "readOnly": true }] });
        if !names.is_empty() {
            spec[list] = names.into_iter().map(mount).collect();
        }
    }
    spec
}

/// Where a kind has the spec of its pods.
struct Template {
    api_version: &'static str,
    path: &'static [&'static str],
}

/// Where a kind has the spec of its pods; `None` where it cannot be changed in place (a Pod, a Job) or
/// is not known (a custom kind).
fn template_of(kind: &str) -> Option<Template> {
    const USUAL: &[&str] = &["spec", "template", "spec"];
    let (api_version, path) = match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => ("apps/v1", USUAL),
        "ReplicationController" => ("v1", USUAL),
        "CronJob" => (
            "batch/v1",
            &["spec", "jobTemplate", "spec", "template", "spec"][..],
        ),
        _ => return None,
    };
    Some(Template { api_version, path })
}
