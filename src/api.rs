//! The custom resource `TokenExposureReport`: what users read with `kubectl`.
#![allow(
    clippy::duplicated_attributes,
    reason = "each printer column has a type and a path"
)]
#![allow(
    unreachable_pub,
    reason = "the derive puts code into a module of its own"
)]

use std::collections::BTreeSet;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{
    self, Drift, Exposure, Level, Reason, Scope, TokenSource, Verdict,
    rbac::{Effect, RoleKind},
};

/// The condition that says whether a verdict could be reached.
pub const EVALUATED: &str = "Evaluated";

/// How many entries each list of a report may have.
const MAX_ENTRIES: usize = 50;
/// How many containers a carrier names, and how many carriers a workload.
const MAX_INNER_ENTRIES: usize = 20;
/// How long a name, a path or an audience may be, in characters.
const MAX_CHARACTERS: usize = 256;
/// How long a message may be, in characters.
const MAX_MESSAGE_CHARACTERS: usize = 2048;
/// How large a status may be, in bytes of JSON: a report stays below 64 KiB with its metadata.
const MAX_BYTES: usize = 48 * 1024;

/// Reports the token that the pods of one ServiceAccount carry, and whether RBAC gives it any use.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, CustomResource, KubeSchema,
)]
#[kube(
    group = "tokenexposure.io",
    version = "v1alpha1",
    kind = "TokenExposureReport",
    plural = "tokenexposurereports",
    namespaced,
    status = "TokenExposureReportStatus",
    shortname = "ter",
    shortname = "ters",
    doc = "Reports the token that the pods of one ServiceAccount carry, and whether RBAC gives it any use. Its name is the name of the ServiceAccount.",
    printcolumn(
        name = "Verdict",
        type_ = "string",
        json_path = ".status.verdict",
        description = "What to think of the token."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.reason",
        description = "Why."
    ),
    printcolumn(
        name = "Pods",
        type_ = "integer",
        json_path = ".status.pods",
        description = "How many pods the verdict is about."
    ),
    printcolumn(
        name = "Permissions",
        type_ = "string",
        json_path = ".status.permissions.level",
        description = "How far the permissions go beyond what every identity has."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "How long ago the report was made."
    ),
    printcolumn(
        name = "Workloads",
        type_ = "string",
        json_path = ".status.workloadNames",
        description = "Whose pods they are.",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        description = "What to do.",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct TokenExposureReportSpec {
    /// The ServiceAccount that this report is about, in the same namespace. It cannot be changed.
    #[schemars(length(max = 253))]
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("serviceAccountName cannot be changed"))]
    pub service_account_name: String,
}

/// What was found, written by the controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenExposureReportStatus {
    /// The verdict: the worst of the ServiceAccount's workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Why the verdict is what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// One sentence that a person can act on.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub message: String,
    /// How many pods the verdict is about; in files, a template counts as one.
    #[serde(default)]
    #[schemars(extend("format" = "int32"))]
    pub pods: u32,
    /// The generation of this report that the status was computed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The kinds and names of the workloads in one line, worst first.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub workload_names: String,
    /// The workloads that run as the ServiceAccount, worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub workloads: Vec<Workload>,
    /// What RBAC gives to the ServiceAccount beyond what every identity has.
    #[serde(default)]
    pub permissions: Permissions,
    /// What to do about a finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<Remediation>,
    /// How many list entries were left out to keep the report small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int32"))]
    pub truncated: Option<u32>,
    /// The state of the report itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// One aspect of the state of a report.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The aspect: `Evaluated` says whether a verdict could be reached.
    #[serde(rename = "type")]
    #[schemars(length(max = 316))]
    pub type_: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// The reason of the verdict.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// The same in a sentence.
    #[schemars(length(max = 4096))]
    pub message: String,
    /// When `status` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: Option<String>,
    /// The generation of the report that the condition was set for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It is not known.
    Unknown,
}

/// What one workload carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// The kind of the outermost owner of the pods, for example Deployment.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How many pods it has; in files, a template counts as one.
    #[schemars(extend("format" = "int32"))]
    pub pods: u32,
    /// The verdict on this workload alone.
    pub verdict: Verdict,
    /// The containers that see a token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub containers: Vec<String>,
    /// The tokens that they see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub carriers: Vec<Carrier>,
}

/// One token as containers see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Carrier {
    /// How the token got into the pod: Automount by admission, Explicit by the pod spec.
    pub source: TokenSource,
    /// Whom the token is for; absent for the API server itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The lifetime that was asked for, in seconds.
    pub expiration_seconds: i64,
    /// The directory or file at which containers see the token.
    pub mount_path: String,
    /// How the pod differs from one made today: RemovedOnRecreate, the token is switched off by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

/// What RBAC gives to a ServiceAccount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Permissions {
    /// None: nothing beyond what every identity has. Inherited: only through groups of
    /// ServiceAccounts. Direct: a binding names the ServiceAccount.
    #[serde(default)]
    pub level: Level,
    /// The bindings that name the ServiceAccount itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub direct: Vec<Grant>,
    /// The bindings that reach it through a group of ServiceAccounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub inherited: Vec<Grant>,
}

/// One binding that reaches a ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// RoleBinding or ClusterRoleBinding.
    pub binding_kind: String,
    /// The name of the binding.
    pub binding_name: String,
    /// Role or ClusterRole.
    pub role_kind: String,
    /// The name of the role.
    pub role_name: String,
    /// The namespace that the grant holds in, which is the binding's; absent for the whole cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The subject of the binding that matched.
    pub subject: String,
    /// Grants: it allows something beyond what every identity may do. AdmissionOnly: only `use` of
    /// security policies, which needs no token. Latent: its role is missing or empty. Unresolved: its
    /// role lies outside of the input. Covered: every identity may do all of it.
    pub effect: Effect,
}

/// What to do about a finding.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Remediation {
    /// One sentence.
    pub summary: String,
    /// Ready patches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub patches: Vec<Patch>,
}

/// A patch for `kubectl patch --type=merge`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Patch {
    /// The kind of the object to patch, in the namespace of this report.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The JSON merge patch.
    pub patch: String,
}

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
    });
    let truncated = truncated.into_iter().chain(inner).sum::<usize>();
    let grants = |grants: &[&model::Grant]| {
        grants
            .iter()
            .take(limit)
            .map(|grant| Grant::from(*grant))
            .collect()
    };
    let evaluated = if exposure.verdict == Verdict::Unknown {
        ConditionStatus::False
    } else {
        ConditionStatus::True
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
        },
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
        conditions: vec![Condition {
            type_: EVALUATED.to_owned(),
            status: evaluated,
            reason: exposure.reason.name().to_owned(),
            message: clipped(&exposure.message, MAX_MESSAGE_CHARACTERS),
            last_transition_time: None,
            observed_generation: Some(1),
        }],
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
        }
    }
}

impl From<&model::Carrier> for Carrier {
    fn from(carrier: &model::Carrier) -> Self {
        Self {
            source: carrier.source,
            audience: (!carrier.audience.is_empty()).then(|| name(&carrier.audience)),
            expiration_seconds: carrier.expiration_seconds,
            mount_path: name(&carrier.mount_path),
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
        }
    }
}

impl From<&model::exposure::Patch> for Patch {
    fn from(patch: &model::exposure::Patch) -> Self {
        Self {
            kind: name(&patch.target.kind),
            name: name(&patch.target.name),
            patch: patch.patch.clone(),
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
    use crate::model::{ServiceAccountRef, WorkloadExposure, pod};

    fn exposure(workloads: usize, path: &str) -> Exposure {
        let carrier = model::Carrier {
            source: TokenSource::Explicit,
            reach: model::Reach::Api,
            audience: "a".repeat(1_000).into(),
            expiration_seconds: 3600,
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
        };
        Exposure {
            account: ServiceAccountRef::new("ns", "sa"),
            verdict: Verdict::Review,
            reason: Reason::ExplicitToken,
            message: String::new(),
            pods: 1,
            workloads: (0..workloads).map(workload).collect(),
            permissions: model::Permissions::default(),
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
