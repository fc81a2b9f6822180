//! The report of an exposure: its lists are capped, so that it never exceeds 64 KiB.

use std::collections::BTreeSet;

use super::{
    Carrier, Condition, ConditionStatus, EVALUATED, Exemption, Grant, Note, Patch, Permissions,
    Remediation, TokenExposureReport, TokenExposureReportSpec, TokenExposureReportStatus, Workload,
    usage,
};
use crate::model::{
    self, Exposure, Scope, Verdict,
    rbac::{Effect, RoleKind},
};

/// How many entries each list of a report may have.
const MAX_ENTRIES: usize = 50;
/// How many containers, carriers and notes a workload may have, and how many consumers a report.
const MAX_INNER_ENTRIES: usize = 20;
/// How many bindings that widen the default permissions: all reports of a cluster have the same.
const MAX_DEFAULT_ENTRIES: usize = 10;
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

/// A status whose lists have at most `limit` entries, with the number of entries left out.
fn status(exposure: &Exposure, limit: usize) -> TokenExposureReportStatus {
    let mut cut = Cut::default();
    let mut status = TokenExposureReportStatus {
        verdict: Some(exposure.verdict),
        reason: Some(exposure.reason),
        message: clipped(&exposure.message, MAX_MESSAGE_CHARACTERS),
        pods: exposure.pods,
        // As in a new report; a write that changes one sets it.
        observed_generation: Some(1),
        workload_names: workload_names(&exposure.workloads),
        permissions: permissions(exposure, limit, &mut cut),
        consumers: cut.list(&exposure.consumers, MAX_INNER_ENTRIES, |consumer| {
            name(consumer)
        }),
        notes: cut.list(&exposure.notes, MAX_INNER_ENTRIES, |note| Note {
            type_: note.type_().name().to_owned(),
            message: clipped(&note.to_string(), MAX_MESSAGE_CHARACTERS),
        }),
        usage: exposure
            .usage
            .as_ref()
            .map(|used| usage::coarse(&exposure.account, used)),
        exemption: exposure.exemption.as_ref().map(Exemption::from),
        remediation: exposure
            .remediation
            .as_ref()
            .map(|remediation| Remediation {
                summary: remediation.summary.clone(),
                patches: cut.list(&remediation.patches, limit, Patch::from),
            }),
        conditions: vec![evaluated(exposure)],
        ..TokenExposureReportStatus::default()
    };
    let mut inner = Cut::default();
    status.workloads = cut.list(&exposure.workloads, limit, |found| {
        workload(&exposure.account, found, &mut inner)
    });
    let truncated = u32::try_from(cut.left_out + inner.left_out).ok();
    status.truncated = truncated.filter(|count| *count > 0);
    status
}

/// Caps lists, and counts the entries that it leaves out.
#[derive(Default)]
struct Cut {
    left_out: usize,
}

impl Cut {
    /// The first entries of a list, converted.
    fn list<'a, T: 'a, U>(
        &mut self,
        entries: impl IntoIterator<Item = &'a T, IntoIter: ExactSizeIterator>,
        limit: usize,
        convert: impl FnMut(&'a T) -> U,
    ) -> Vec<U> {
        let entries = entries.into_iter();
        self.left_out += entries.len().saturating_sub(limit);
        entries.take(limit).map(convert).collect()
    }
}

fn permissions(exposure: &Exposure, limit: usize, cut: &mut Cut) -> Permissions {
    let permissions = &exposure.permissions;
    let grant = |grant: &model::Grant| Grant {
        last_used: grant
            .last_used
            .map(|last| usage::coarse_time(&exposure.account, last)),
        ..Grant::from(grant)
    };
    // Left out: what a group grants and the default permissions cover. Every cluster has two such bindings.
    let shown = |grant: &&model::Grant| !(grant.via.is_group() && grant.effect == Effect::Covered);
    let grants = permissions.grants.iter().filter(shown);
    let (inherited, direct): (Vec<_>, Vec<_>) = grants.partition(|grant| grant.via.is_group());
    Permissions {
        level: permissions.level,
        direct: cut.list(&direct, limit, |direct| grant(direct)),
        inherited: cut.list(&inherited, limit, |inherited| grant(inherited)),
        widened_defaults: cut.list(
            &permissions.widened_defaults,
            MAX_DEFAULT_ENTRIES,
            Grant::from,
        ),
    }
}

/// The condition that says whether a verdict could be reached.
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

fn workload(
    account: &model::ServiceAccountRef,
    exposure: &model::WorkloadExposure,
    cut: &mut Cut,
) -> Workload {
    Workload {
        kind: name(&exposure.workload.kind),
        name: name(&exposure.workload.name),
        pods: exposure.pods,
        verdict: exposure.verdict,
        reason: Some(exposure.reason),
        containers: cut.list(&containers(exposure), MAX_INNER_ENTRIES, |container| {
            name(container)
        }),
        carriers: cut.list(&exposure.carriers, MAX_INNER_ENTRIES, Carrier::from),
        notes: cut.list(&exposure.notes, MAX_INNER_ENTRIES, |note| {
            clipped(&note.to_string(), MAX_CHARACTERS)
        }),
        usage: exposure
            .usage
            .as_deref()
            .map(|used| usage::coarse(account, used)),
        left_out_since: exposure.left_out_since.map(|day| day.to_string()),
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
            last_used: None,
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

impl From<&model::patch::Patch> for Patch {
    fn from(patch: &model::patch::Patch) -> Self {
        Self {
            api_version: patch.api_version.to_string(),
            kind: name(&patch.target.kind),
            name: name(&patch.target.name),
            type_: patch.kind().to_owned(),
            patch: patch.patch.to_string(),
        }
    }
}

/// The kinds and names of the workloads in one line.
fn workload_names(workloads: &[model::WorkloadExposure]) -> String {
    // More names would be clipped anyway.
    let names: Vec<_> = workloads
        .iter()
        .take(MAX_CHARACTERS)
        .map(|workload| workload.workload.to_string())
        .collect();
    name(&names.join(", "))
}

/// A name; `None` where it is empty.
fn present(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| name(text))
}

/// A name, or other text with the same limit.
fn name(text: &str) -> String {
    clipped(text, MAX_CHARACTERS)
}

/// A string of at most `limit` characters.
pub(super) fn clipped(text: &str, limit: usize) -> String {
    if text.chars().nth(limit).is_none() {
        return text.to_owned();
    }
    text.chars().take(limit - 1).chain(['…']).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::model::{Reason, ServiceAccountRef, TokenSource, WorkloadExposure};

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
            workload: model::Workload::new("Deployment", &format!("w{n:05}")),
            pods: 1,
            carriers: vec![carrier.clone(); 30],
            consumers: Vec::new(),
            exemption: None,
            notes: Vec::new(),
            usage: None,
            left_out_since: None,
            keeps: BTreeSet::new(),
        };
        Exposure {
            usage: None,
            notes: Vec::new(),
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
    fn a_report_never_exceeds_64_kib_and_counts_what_it_leaves_out() {
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
