//! What to do about a finding: the smallest change that removes the token.

mod custom;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::{Value, json};

use super::{Evidence, configs};
use crate::model::{
    Carrier, PodFacts, Reason, Remediation, TokenSource, Verdict, WorkloadExposure,
    patch::{Patch, PatchType},
    pod::{
        ContainerKind, INJECTED_VOLUME_PREFIX, Origin, ROOT_CA, SERVICE_CA, TOKEN_MOUNT_PATH,
        WITHHELD_AUDIENCE,
    },
    summary::is_name,
    workload::{PodKind, Workload},
};

/// How many workloads a sentence has commands for.
const MOST_COMMANDS: usize = 5;

const DISABLE: &str = "set automountServiceAccountToken: false";
const RECREATE: &str = "automount is already disabled: recreate the pods";

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
        Verdict::Withheld => "to make it last without the policy, ",
        Verdict::Unknown | Verdict::Exempted | Verdict::Needed | Verdict::NoToken => {
            return None;
        }
    };
    let is_withheld = verdict == Verdict::Withheld;
    let automounted: Vec<_> = workloads
        .iter()
        .filter(|workload| {
            automounts(workload).next().is_some() || is_withheld && workload.verdict == verdict
        })
        .collect();
    let without_patch = |summary: String| {
        Some(Remediation {
            summary,
            patches: Vec::new(),
        })
    };
    if reason == Reason::MissingToken {
        return without_patch(recreation(evidence, workloads));
    }
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
    match removal(evidence, workloads) {
        Removal::Recreation if !is_withheld => {
            return without_patch(format!("{RECREATE} to remove the token"));
        }
        Removal::ChangeFirst(what) => {
            return without_patch(format!(
                "{condition}{what}, then {DISABLE} and recreate the pods"
            ));
        }
        Removal::Recreation | Removal::Disabling => {}
    }
    let patches = patches(evidence, workloads, &automounted);
    let left = custom::left_to_operators(&automounted, &patches);
    let starts_client = evidence.pods.iter().any(|(pod, _)| pod.starts_client);
    let client = if starts_client {
        "; a Kubernetes client opens the token when it starts and may not start without the file: first replace it by \
         one that the API server rejects, as the patch does, then remove that too"
    } else {
        ""
    };
    Some(Remediation {
        summary: format!(
            "{condition}{DISABLE} and recreate the pods; where a container \
             reads ca.crt or namespace, mount a projected volume without the token instead{client}{left}"
        ),
        patches,
    })
}

/// What removes the auto-mounted tokens of an account.
#[derive(Debug)]
enum Removal {
    /// The pods are older than the field that disables automount.
    Recreation,
    /// What has to be changed before automount is disabled.
    ChangeFirst(String),
    Disabling,
}

fn removal(evidence: &Evidence<'_>, workloads: &[WorkloadExposure]) -> Removal {
    if are_older(workloads.iter().flat_map(automounts)) {
        return Removal::Recreation;
    }
    let pods = evidence.pods.iter();
    let before: BTreeSet<Cow<'_, str>> = pods
        .flat_map(|(pod, _)| {
            let before = pod.rare.before_removal.iter();
            let before = before.map(|what| Cow::from(&**what));
            before.chain(copied_volume(pod).map(Cow::from))
        })
        .collect();
    if before.is_empty() {
        return Removal::Disabling;
    }
    let before: Vec<_> = before.into_iter().collect();
    Removal::ChangeFirst(before.join("; "))
}

/// What to do first where a manifest was copied from a live pod, with the volume that admission had added: that stays
/// when automount is disabled.
fn copied_volume(pod: &PodFacts) -> Option<String> {
    let mounts = pod
        .containers
        .iter()
        .flat_map(|container| &container.mounts);
    let mut mounted = mounts.map(|mount| &mount.volume);
    let copied = mounted.find(|name| {
        let mut volumes = pod.volumes.iter();
        pod.origin == Origin::Template
            && name.starts_with(INJECTED_VOLUME_PREFIX)
            && volumes.any(|volume| volume.name == **name && !volume.tokens.is_empty())
    })?;
    Some(format!(
        "remove the volume {copied}, which was copied from a pod, and its mounts"
    ))
}

/// What removes the auto-mounted tokens of an account, in a few words.
pub(super) fn in_short(evidence: &Evidence<'_>, workloads: &[WorkloadExposure]) -> String {
    match removal(evidence, workloads) {
        Removal::Recreation => RECREATE.to_owned(),
        Removal::ChangeFirst(what) => format!("{what}, then {DISABLE}"),
        Removal::Disabling => DISABLE.to_owned(),
    }
}

/// The commands that recreate pods which lack their token.
fn recreation(evidence: &Evidence<'_>, workloads: &[WorkloadExposure]) -> String {
    let missing = workloads
        .iter()
        .filter(|workload| workload.reason == Reason::MissingToken);
    let namespace = &evidence.account.namespace;
    let command = |workload: &WorkloadExposure| {
        let Workload { kind, name } = &workload.workload;
        // Anything else is no word of a shell.
        let are_names = is_name(name) && is_name(namespace);
        match &**kind {
            "Deployment" | "StatefulSet" | "DaemonSet" if are_names => {
                format!(
                    "kubectl -n {namespace} rollout restart {}/{name}",
                    kind.to_lowercase()
                )
            }
            "Pod" if are_names => {
                format!("kubectl -n {namespace} delete pod {name}, and create it again")
            }
            _ => format!("delete those of {kind}/{name}"),
        }
    };
    let commands: Vec<_> = missing.take(MOST_COMMANDS).map(command).collect();
    format!("recreate the pods: {}", commands.join("; "))
}

fn automounts(workload: &WorkloadExposure) -> impl Iterator<Item = &Carrier> {
    workload
        .carriers
        .iter()
        .filter(|carrier| carrier.source == TokenSource::Automount)
}

/// One patch of the account for all workloads that leave automount to it, and one for each workload that
/// overrides it or reads the files beside the token. Each workload is patched instead of the account where
/// one must keep its token, or needs the files and cannot be patched, where not all pods of the account are known, and
/// where the account is not in the input, so that its patch would find no object. What is only to be recreated has none.
fn patches(
    evidence: &Evidence<'_>,
    workloads: &[WorkloadExposure],
    automounted: &[&WorkloadExposure],
) -> Vec<Patch> {
    let mut pods_of: BTreeMap<&Workload, Vec<&PodFacts>> = BTreeMap::new();
    for (pod, _) in &evidence.pods {
        pods_of.entry(&pod.workload).or_default().push(pod);
    }
    let (free, known): (Vec<&WorkloadExposure>, Vec<_>) = automounted
        .iter()
        .copied()
        .filter(|workload| !are_older(automounts(workload)))
        .partition(|workload| workload.consumers.is_empty() && !keeps(workload));
    // Which tokens a workload that exceeds a limit carries is not known.
    let mut others = workloads.iter();
    let is_any_kept = others.any(|other| keeps(other) || other.reason == Reason::LimitExceeded);
    let mut account_is_safe =
        known.is_empty() && !is_any_kept && evidence.service_account.is_some() && evidence.all_pods;
    let mut follow_account = false;
    let mut patches = Vec::new();
    for workload in free {
        let pods = pods_of.remove(&workload.workload).unwrap_or_default();
        let kept = kept(evidence, &pods);
        let reads_files = kept != Kept::Nothing;
        let overrides = pods.iter().any(|pod| pod.automount == Some(true));
        let patch = own_patch(workload, &pods, kept);
        account_is_safe &= !reads_files || patch.is_some();
        follow_account |= !overrides && !reads_files;
        let needs_own = overrides || reads_files;
        patches.extend(patch.map(|patch| (needs_own, patch)));
    }
    let by_account = account_is_safe && follow_account;
    let needed = patches
        .into_iter()
        .filter(|(needs_own, _)| *needs_own || !account_is_safe);
    let account = by_account.then(|| Patch::disabling_automount(evidence.account));
    let mut patches: Vec<_> = account
        .into_iter()
        .chain(needed.map(|(_, patch)| patch))
        .collect();
    patches.sort_unstable_by(|one, other| one.target.cmp(&other.target));
    patches
}

/// Whether a workload must keep its token.
const fn keeps(workload: &WorkloadExposure) -> bool {
    matches!(workload.verdict, Verdict::Exempted | Verdict::Needed)
}

/// Whether these are auto-mounted tokens of pods that are all older than the field that disables automount.
fn are_older<'a>(carriers: impl Iterator<Item = &'a Carrier>) -> bool {
    let mut carriers = carriers.peekable();
    carriers.peek().is_some() && carriers.all(|carrier| carrier.drift.is_some())
}

/// What takes the place of the token where admission mounts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Nothing,
    /// `ca.crt` and `namespace`, which containers read.
    Files(ServiceCa),
    /// These, and a token that no API server accepts: clients open it when they start.
    UselessToken(ServiceCa),
}

/// Whether containers also read `service-ca.crt`, which OpenShift adds.
type ServiceCa = bool;

fn kept(evidence: &Evidence<'_>, pods: &[&PodFacts]) -> Kept {
    let mut all = pods.iter();
    let service_ca = all.any(|pod| configs::reads_service_ca(evidence, pod));
    let is_neutered = |pod: &&PodFacts| {
        pod.rare
            .withheld
            .is_some_and(|withheld| withheld.is_neutered)
    };
    if pods.iter().any(|pod| pod.starts_client || is_neutered(pod)) {
        Kept::UselessToken(service_ca)
    } else if pods.iter().any(|pod| configs::reads_files(evidence, pod)) {
        Kept::Files(service_ca)
    } else {
        Kept::Nothing
    }
}

/// The name of the volume that takes the place of the token.
const VOLUME: &str = "service-account-files";

/// The volume that has the files beside the token.
fn volume(kept: Kept) -> Value {
    let mut sources = vec![
        json!({ "configMap": { "name": ROOT_CA, "items": [{ "key": "ca.crt", "path": "ca.crt" }] } }),
        json!({ "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": { "fieldPath": "metadata.namespace" } }] } }),
    ];
    if matches!(kept, Kept::Files(true) | Kept::UselessToken(true)) {
        sources.push(json!({ "configMap": { "name": SERVICE_CA, "items": [{ "key": "service-ca.crt", "path": "service-ca.crt" }] } }));
    }
    if matches!(kept, Kept::UselessToken(_)) {
        sources.push(
            json!({ "serviceAccountToken": { "audience": WITHHELD_AUDIENCE, "path": "token" } }),
        );
    }
    json!({ "name": VOLUME, "projected": { "sources": sources } })
}

/// Its mount, where admission would mount the token.
fn mount() -> Value {
    json!({ "name": VOLUME, "mountPath": TOKEN_MOUNT_PATH, "readOnly": true })
}

/// The containers that see the auto-mounted token, or would if a policy had not withheld it.
fn seeing<'a>(workload: &'a WorkloadExposure, pods: &[&'a PodFacts]) -> BTreeSet<&'a str> {
    let containers = automounts(workload).flat_map(|carrier| &carrier.containers);
    let withheld = pods.iter().filter(|pod| pod.rare.withheld.is_some());
    let withheld = withheld.flat_map(|pod| pod.containers.iter());
    let mounting = withheld.filter(|container| {
        let mut mounts = container.mounts.iter();
        mounts.any(|mount| mount.volume.starts_with(INJECTED_VOLUME_PREFIX))
    });
    let mounting = mounting.map(|container| &*container.name);
    containers.map(AsRef::as_ref).chain(mounting).collect()
}

/// The part of a pod spec that disables automount. Where files beside the token are read, a volume that
/// has only those takes its place; a mount at exactly that path keeps admission from adding its own.
fn spec_without_token(workload: &WorkloadExposure, pods: &[&PodFacts], kept: Kept) -> Value {
    let mut spec = json!({ "automountServiceAccountToken": false });
    if kept == Kept::Nothing {
        return spec;
    }
    spec["volumes"] = json!([volume(kept)]);
    let seeing = seeing(workload, pods);
    for (list, kind) in [
        ("initContainers", ContainerKind::Init),
        ("containers", ContainerKind::Regular),
    ] {
        let containers = pods.iter().flat_map(|pod| pod.containers.iter());
        let containers = containers.filter(|container| container.kind == kind);
        let names: BTreeSet<_> = containers
            .map(|container| &container.name)
            .filter(|name| seeing.contains(&***name))
            .collect();
        let with_mount = |name| json!({ "name": name, "volumeMounts": [mount()] });
        if !names.is_empty() {
            spec[list] = names.into_iter().map(with_mount).collect();
        }
    }
    spec
}

/// The patch of a workload itself; `None` where it cannot be changed in place (a Pod, a Job), or only its operator
/// knows how.
fn own_patch(workload: &WorkloadExposure, pods: &[&PodFacts], kept: Kept) -> Option<Patch> {
    let reads_files = kept != Kept::Nothing;
    let target = &workload.workload;
    let templates: BTreeSet<_> = pods
        .iter()
        .filter_map(|pod| pod.rare.template.as_deref())
        .collect();
    if let Some(first) = templates.first() {
        let (type_, patch) = if reads_files {
            custom::with_files(&templates, &volume(kept), &mount(), &seeing(workload, pods))?
        } else {
            custom::patch(&templates)?
        };
        return Some(Patch {
            target: target.clone(),
            api_version: first.api_version.clone(),
            type_,
            patch: patch.into(),
        });
    }
    let kind = PodKind::named(&target.kind)?;
    let in_manifest = pods.iter().all(|pod| pod.origin == Origin::Template);
    let spec = spec_without_token(workload, pods, kept);
    (in_manifest || kind.is_mutable).then(|| Patch {
        target: target.clone(),
        api_version: kind.api_version.into(),
        type_: if reads_files {
            PatchType::Strategic
        } else {
            PatchType::Merge
        },
        patch: kind.object_with(spec).into(),
    })
}
