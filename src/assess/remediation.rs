//! What to do about a finding: the smallest change that removes the token.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Evidence;
use crate::model::{
    Carrier, PodFacts, Reason, Remediation, TokenSource, Verdict, WorkloadExposure,
    exposure::Patch,
    pod::{ContainerKind, Origin, TOKEN_MOUNT_PATH},
    workload::{PodKind, Workload, pod_spec_path},
};

/// What to do about a finding; `None` where there is nothing to do, or it is not known.
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
        // The pod's own token, if it has one, may be needed.
        return without_patch(
            "replace the Secret with a projected serviceAccountToken, then delete the Secret"
                .to_owned(),
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
            "automount is already disabled: recreate the pods to remove the token".to_owned(),
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

/// One patch of the account for all workloads that leave automount to it, and one for each workload that
/// overrides it or reads the files beside the token. Each workload is patched instead of the account where
/// one must keep its token, or needs the files and cannot be patched, and where the account is not in the
/// input, so that its patch would find no object.
fn patches(evidence: &Evidence<'_>, automounted: &[&WorkloadExposure]) -> Vec<Patch> {
    let mut pods_of: BTreeMap<&Workload, Vec<&PodFacts>> = BTreeMap::new();
    for (pod, _) in &evidence.pods {
        pods_of.entry(&pod.workload).or_default().push(pod);
    }
    let (free, known): (Vec<&WorkloadExposure>, Vec<_>) =
        automounted.iter().copied().partition(|workload| {
            workload.consumers.is_empty() && workload.verdict != Verdict::Exempted
        });
    let mut account_is_safe = known.is_empty() && evidence.service_account.is_some();
    let mut follow_account = false;
    let mut patches = Vec::new();
    for workload in free {
        let pods = pods_of.remove(&workload.workload).unwrap_or_default();
        let reads_files = pods.iter().any(|pod| pod.reads_files);
        let overrides = pods.iter().any(|pod| pod.automount == Some(true));
        let in_manifest = pods.iter().all(|pod| pod.origin == Origin::Template);
        let kind = &workload.workload.kind;
        let api_version = api_version_of(kind, in_manifest);
        account_is_safe &= !reads_files || api_version.is_some();
        follow_account |= !overrides && !reads_files;
        let Some(api_version) = api_version else {
            continue;
        };
        let spec = spec_without_token(workload, &pods, reads_files);
        let patch = Patch {
            target: workload.workload.clone(),
            api_version,
            strategic: reads_files,
            patch: pod_spec_path(kind)
                .iter()
                .rev()
                .fold(spec, |inner, field| json!({ *field: inner })),
        };
        patches.push((overrides || reads_files, patch));
    }
    let by_account = account_is_safe && follow_account;
    let needed = patches
        .into_iter()
        .filter(|(needs_own, _)| *needs_own || !account_is_safe);
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

/// The part of a pod spec that disables automount. Where files beside the token are read, a volume that
/// has only those takes its place; a mount at exactly that path keeps admission from adding its own.
fn spec_without_token(workload: &WorkloadExposure, pods: &[&PodFacts], reads_files: bool) -> Value {
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

/// The `apiVersion` of a kind whose pod template can be changed; `None` where it cannot be changed
/// in place (a Pod, a Job) or is not known (a custom kind). In a manifest it can always be changed:
/// custom kinds are only read there if they have a template.
fn api_version_of(kind: &str, in_manifest: bool) -> Option<&'static str> {
    match PodKind::named(kind) {
        Some(kind) => (in_manifest || kind.is_mutable).then_some(kind.api_version),
        None => in_manifest.then_some(""),
    }
}
