//! What a report says of an exposure: bounded, so that it never passes 64 KiB.

use std::collections::BTreeSet;

use super::{
    Carrier, Condition, ConditionStatus, EVALUATED, Exemption, Grant, Patch, Permissions,
    Remediation, TokenExposureReport, TokenExposureReportSpec, TokenExposureReportStatus, Workload,
};
use crate::model::{
    self, Exposure, Scope, Verdict,
    rbac::{Effect, RoleKind},
};

/// How many entries each list of a report may have.
const MAX_ENTRIES: usize = 50;
/// How many containers a carrier names, and how many carriers a workload.
const MAX_INNER_ENTRIES: usize = 20;
/// How many bindings of everybody: all reports of a cluster say the same of them.
const MAX_BASELINE_ENTRIES: usize = 10;
/// How long a name, a path or an audience may be, in characters.
const MAX_CHARACTERS: usize = 256;
/// How long a message may be, in characters.
const MAX_MESSAGE_CHARACTERS: usize = 2048;
/// How large a status may be, in bytes of JSON: a report stays below 64 KiB with its metadata.
const MAX_BYTES: usize = 48 * 1024;

impl From<&Exposure> for TokenExposureReport {
    fn from(exposure: &Exposure) -> Self {
        let name = exposure.account.name.to_string();
        let mut report = Self::new(
            &name,
            TokenExposureReportSpec {
                service_account_name: name.clone(),
            },
        );
        report.metadata.namespace = Some(exposure.account.namespace.to_string());
        report.status = Some(exposure.into());
        report
    }
}

impl From<&Exposure> for TokenExposureReportStatus {
    fn from(exposure: &Exposure) -> Self {
        let mut limit = MAX_ENTRIES;
        loop {
            let status = status(exposure, limit);
            let bytes = serde_json::to_vec(&status).map_or(0, |json| json.len());
            if bytes <= MAX_BYTES || limit == 1 {
                return status;
            }
            limit /= 2;
        }
    }
}

/// A status whose lists have at most `limit` entries; it says how many it left out.
fn status(exposure: &Exposure, limit: usize) -> TokenExposureReportStatus {
    let left_out = |entries: usize, limit: usize| entries.saturating_sub(limit);
    // What a group gives that everybody has anyway is no news: every cluster has two such bindings.
    let news = |grant: &&model::Grant| !(grant.via.is_group() && grant.effect == Effect::Covered);
    let (inherited, direct): (Vec<_>, Vec<_>) = exposure
        .permissions
        .grants
        .iter()
        .filter(news)
        .partition(|grant| grant.via.is_group());
    let patches = exposure
        .remediation
        .as_ref()
        .map_or(0, |remediation| remediation.patches.len());
    let shown = exposure.workloads.iter().take(limit);
    let truncated = [
        exposure.workloads.len(),
        inherited.len(),
        direct.len(),
        patches,
    ]
    .map(|entries| left_out(entries, limit));
    let inner = shown.clone().map(|workload| {
        left_out(workload.carriers.len(), MAX_INNER_ENTRIES)
            + left_out(containers(workload).len(), MAX_INNER_ENTRIES)
            + left_out(workload.notes.len(), MAX_INNER_ENTRIES)
    });
    let widened = &exposure.permissions.widened_defaults;
    let truncated = truncated
        .into_iter()
        .chain(inner)
        .chain([left_out(widened.len(), MAX_BASELINE_ENTRIES)])
        .sum::<usize>();
    let grants = |grants: &[&model::Grant]| {
        grants
            .iter()
            .take(limit)
            .map(|grant| Grant::from(*grant))
            .collect()
    };
    TokenExposureReportStatus {
        verdict: Some(exposure.verdict),
        reason: Some(exposure.reason),
        message: clipped(&exposure.message, MAX_MESSAGE_CHARACTERS),
        pods: exposure.pods,
        // The spec never changes, so there is only the first generation.
        observed_generation: Some(1),
        workload_names: workload_names(&exposure.workloads),
        workloads: shown.map(Workload::from).collect(),
        permissions: Permissions {
            level: exposure.permissions.level,
            direct: grants(&direct),
            inherited: grants(&inherited),
            baseline: widened
                .iter()
                .take(MAX_BASELINE_ENTRIES)
                .map(Grant::from)
                .collect(),
        },
        consumers: exposure
            .consumers
            .iter()
            .take(MAX_INNER_ENTRIES)
            .map(|consumer| name(consumer))
            .collect(),
        exemption: exposure.exemption.as_ref().map(Exemption::from),
        remediation: exposure
            .remediation
            .as_ref()
            .map(|remediation| Remediation {
                summary: remediation.summary.clone(),
                patches: remediation
                    .patches
                    .iter()
                    .take(limit)
                    .map(Patch::from)
                    .collect(),
            }),
        truncated: u32::try_from(truncated).ok().filter(|count| *count > 0),
        conditions: vec![evaluated(exposure)],
    }
}

/// Whether a verdict could be reached.
fn evaluated(exposure: &Exposure) -> Condition {
    let reached = exposure.verdict != Verdict::Unknown;
    Condition {
        type_: EVALUATED.to_owned(),
        status: if reached {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        },
        reason: exposure.reason.name().to_owned(),
        message: clipped(&exposure.message, MAX_MESSAGE_CHARACTERS),
        last_transition_time: None,
        observed_generation: Some(1),
    }
}

/// The containers of a workload that see a token, each once.
fn containers(workload: &model::WorkloadExposure) -> BTreeSet<&str> {
    workload
        .carriers
        .iter()
        .flat_map(|carrier| &carrier.containers)
        .map(|name| &**name)
        .collect()
}

impl From<&model::WorkloadExposure> for Workload {
    fn from(exposure: &model::WorkloadExposure) -> Self {
        Self {
            kind: name(&exposure.workload.kind),
            name: name(&exposure.workload.name),
            pods: exposure.pods,
            verdict: exposure.verdict,
            containers: containers(exposure)
                .into_iter()
                .take(MAX_INNER_ENTRIES)
                .map(name)
                .collect(),
            carriers: exposure
                .carriers
                .iter()
                .take(MAX_INNER_ENTRIES)
                .map(Carrier::from)
                .collect(),
            notes: exposure
                .notes
                .iter()
                .take(MAX_INNER_ENTRIES)
                .map(|note| clipped(&note.to_string(), MAX_CHARACTERS))
                .collect(),
        }
    }
}

impl From<&model::Carrier> for Carrier {
    fn from(carrier: &model::Carrier) -> Self {
        Self {
            source: carrier.source,
            audience: present(&carrier.audience),
            expiration_seconds: carrier.expiration_seconds,
            mount_path: present(&carrier.mount_path),
            provider: present(&carrier.provider),
            verifier: carrier.verifier.map(str::to_owned),
            drift: carrier.drift,
        }
    }
}

impl From<&model::Grant> for Grant {
    fn from(grant: &model::Grant) -> Self {
        let role_kind = match grant.role_ref.kind {
            RoleKind::Role => "Role",
            RoleKind::ClusterRole => "ClusterRole",
        };
        Self {
            binding_kind: grant.binding_kind().to_owned(),
            binding_name: name(&grant.binding.name),
            role_kind: role_kind.to_owned(),
            role_name: name(&grant.role_ref.name),
            namespace: match &grant.scope {
                Scope::Cluster => None,
                Scope::Namespace(namespace) => Some(namespace.to_string()),
            },
            subject: name(&grant.via.to_string()),
            effect: grant.effect,
            caveat: grant.caveat,
        }
    }
}

impl From<&model::Exemption> for Exemption {
    fn from(exemption: &model::Exemption) -> Self {
        Self {
            state: exemption.state,
            reason: name(&exemption.reason),
            until: exemption.until.map(|day| day.to_string()),
            by: name(&exemption.by.to_string()),
            message: present(&exemption.fault),
        }
    }
}

impl From<&model::exposure::Patch> for Patch {
    fn from(patch: &model::exposure::Patch) -> Self {
        Self {
            api_version: patch.api_version.to_owned(),
            kind: name(&patch.target.kind),
            name: name(&patch.target.name),
            type_: patch.kind().to_owned(),
            patch: patch.patch.to_string(),
        }
    }
}

/// The workloads in one line.
fn workload_names(workloads: &[model::WorkloadExposure]) -> String {
    // No more than can be shown are spelled out.
    let names: Vec<_> = workloads
        .iter()
        .take(MAX_CHARACTERS)
        .map(|workload| workload.workload.to_string())
        .collect();
    name(&names.join(", "))
}

/// A name that may be empty, which means that there is none.
fn present(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| name(text))
}

/// A name, or anything as long as one.
fn name(text: &str) -> String {
    clipped(text, MAX_CHARACTERS)
}

/// A string of at most `limit` characters.
fn clipped(text: &str, limit: usize) -> String {
    if text.chars().nth(limit).is_none() {
        return text.to_owned();
    }
    text.chars().take(limit - 1).chain(['…']).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::model::{Reason, ServiceAccountRef, TokenSource, WorkloadExposure, pod};

    fn exposure(workloads: usize, path: &str) -> Exposure {
        let carrier = model::Carrier {
            source: TokenSource::Explicit,
            reach: model::Reach::Api,
            audience: "a".repeat(1_000).into(),
            verifier: None,
            expiration_seconds: Some(3600),
            provider: "".into(),
            mount_path: path.into(),
            containers: (0..30)
                .map(|n| format!("{n}-{}", "c".repeat(60)).into())
                .collect(),
            drift: None,
        };
        let workload = |n: usize| WorkloadExposure {
            verdict: Verdict::Review,
            reason: Reason::ExplicitToken,
            workload: pod::Workload {
                kind: "Deployment".into(),
                name: format!("w{n:05}").into(),
            },
            pods: 1,
            carriers: vec![carrier.clone(); 30],
            consumers: Vec::new(),
            exemption: None,
            notes: Vec::new(),
        };
        Exposure {
            account: ServiceAccountRef::new("ns", "sa"),
            verdict: Verdict::Review,
            reason: Reason::ExplicitToken,
            message: String::new(),
            pods: 1,
            workloads: (0..workloads).map(workload).collect(),
            permissions: model::Permissions::default(),
            consumers: std::collections::BTreeSet::new(),
            exemption: None,
            remediation: None,
            gaps: std::collections::BTreeSet::new(),
        }
    }

    #[test]
    fn a_report_never_passes_64_kib_and_says_what_it_left_out() {
        let report = TokenExposureReport::from(&exposure(500, &"ü".repeat(1_000)));
        assert!(serde_json::to_vec(&report).unwrap().len() < 64 * 1024);
        let status = report.status.unwrap();
        let kept = status.workloads.len();
        assert!(kept >= 1);
        let inner = kept * (10 + 10);
        assert_eq!(
            status.truncated,
            Some(u32::try_from(500 - kept + inner).unwrap())
        );
    }

    #[test]
    fn a_small_report_is_whole() {
        let status = TokenExposureReport::from(&exposure(0, "/p"))
            .status
            .unwrap();
        assert_eq!((status.truncated, status.workloads.len()), (None, 0));
    }
}
