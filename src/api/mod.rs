//! The custom resource `TokenExposureReport`: what users read with `kubectl`.
#![allow(
    clippy::duplicated_attributes,
    reason = "each printer column has a type and a path"
)]
#![allow(
    unreachable_pub,
    reason = "the derive puts code into a module of its own"
)]

mod from_exposure;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{
    Drift, Level, Reason, TokenSource, Verdict,
    exemption::ExemptionState,
    rbac::{Caveat, Effect},
};

/// The condition that says whether a verdict could be reached.
pub const EVALUATED: &str = "Evaluated";

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
    selectable = ".status.verdict",
    selectable = ".status.reason",
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
        name = "Consumers",
        type_ = "string",
        json_path = ".status.consumers",
        description = "Who may take the token for an identity.",
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
    /// Systems that may take the token for an identity, without any RBAC, such as Vault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub consumers: Vec<String>,
    /// Why the token stays, where somebody wrote it down, and whether that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exemption: Option<Exemption>,
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

/// Why a token stays.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exemption {
    /// Whether it counts.
    pub state: ExemptionState,
    /// Why the token stays.
    #[schemars(length(max = 256))]
    pub reason: String,
    /// The last day of it, in UTC, for example 2027-01-31.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date"))]
    pub until: Option<String>,
    /// Who says so: an annotation of the ServiceAccount or of the pods, or the configuration.
    #[schemars(length(max = 256))]
    pub by: String,
    /// What is wrong with it, where it is invalid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub message: Option<String>,
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
    /// What else there is to know: no verdict depends on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub notes: Vec<String>,
}

/// One token as containers see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Carrier {
    /// How the token got into the pod: Automount by admission, Explicit by the pod spec,
    /// LegacySecret from a Secret of a ServiceAccount; CsiDriver is a token that the kubelet hands to
    /// a driver, and PodCertificate a certificate: nothing that the containers could use at the API.
    pub source: TokenSource,
    /// Whom the token is for; absent for the API server itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The product that the audience belongs to, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier: Option<String>,
    /// The lifetime that was asked for, in seconds; absent for a token that never expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_seconds: Option<i64>,
    /// The directory or file at which containers see the token; absent where it is in their
    /// environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_path: Option<String>,
    /// The Secret that holds the token, the CSI driver that is given it, or the signer of the
    /// certificate; absent for a token of the pod's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
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
    /// The bindings that give every identity of this cluster more than Kubernetes itself does: the
    /// level is told beyond them, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub baseline: Vec<Grant>,
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
    /// What keeps the grant from being used by a request. Unreachable: no request has what its rules
    /// name. ThirdParty: its verbs are none of the API server's. It lowers no verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caveat: Option<Caveat>,
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

/// A patch that switches a token off.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Patch {
    /// The apiVersion of the object to patch.
    pub api_version: String,
    /// Its kind; it is in the namespace of this report.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What `kubectl patch --type` takes: merge, or strategic where it adds to lists.
    #[serde(rename = "type")]
    pub type_: String,
    /// The patch as JSON.
    pub patch: String,
}
