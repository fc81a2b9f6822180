//! What to do about a finding: the least change that switches the token off.

use super::Evidence;
use crate::model::{
    Carrier, Reason, Remediation, TokenSource, Verdict, WorkloadExposure, exposure::Patch,
    pod::Workload,
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
        Verdict::Unknown | Verdict::Needed | Verdict::NoToken => return None,
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
/// overrides it. Where a system takes the token of one workload for an identity, the others are
/// patched each by itself, and that one is left alone.
fn patches(evidence: &Evidence<'_>, automounted: &[&WorkloadExposure]) -> Vec<Patch> {
    let overrides = |workload: &WorkloadExposure| {
        let mut pods = evidence.pods.iter();
        pods.any(|(pod, _)| pod.workload == workload.workload && pod.automount == Some(true))
    };
    let (anonymous, known): (Vec<&WorkloadExposure>, Vec<_>) = automounted
        .iter()
        .copied()
        .partition(|workload| workload.consumers.is_empty());
    let (single, obeying): (Vec<&WorkloadExposure>, Vec<_>) = anonymous
        .into_iter()
        .partition(|workload| !known.is_empty() || overrides(workload));
    let account = (!obeying.is_empty()).then(|| Patch {
        target: Workload {
            kind: "ServiceAccount".into(),
            name: (&*evidence.account.name).into(),
        },
        patch: r#"{"automountServiceAccountToken":false}"#.to_owned(),
    });
    let workloads = single.into_iter().filter_map(|workload| {
        Some(Patch {
            target: workload.workload.clone(),
            patch: workload_patch(&workload.workload.kind)?.to_owned(),
        })
    });
    let mut patches: Vec<_> = account.into_iter().chain(workloads).collect();
    patches.sort_unstable();
    patches
}

/// The merge patch that switches the token off in a workload's template; `None` where the template
/// cannot be changed in place (a Pod, a Job) or where its place is not known (a custom kind).
fn workload_patch(kind: &str) -> Option<&'static str> {
    match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" => {
            Some(r#"{"spec":{"template":{"spec":{"automountServiceAccountToken":false}}}}"#)
        }
        "CronJob" => Some(
            r#"{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"automountServiceAccountToken":false}}}}}}"#,
        ),
        _ => None,
    }
}
