//! The custom resources that users read with `kubectl`: `TokenExposureReport`, and `TokenExposureSummary` for each
//! namespace.
#![allow(
    clippy::duplicated_attributes,
    reason = "each printer column has a type and a path"
)]
#![allow(
    unreachable_pub,
    reason = "the derive generates code in a private module"
)]

mod definitions;
mod from_exposure;
mod summary;
mod usage;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    definitions::definitions,
    summary::{
        Counts, Curable, TokenExposureSummary, TokenExposureSummarySpec,
        TokenExposureSummaryStatus, workload_entry,
    },
    usage::{Use, UseWindow},
};
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
        description = "What the report says of the token."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.reason",
        description = "Why the verdict is what it is."
    ),
    printcolumn(
        name = "Pods",
        type_ = "integer",
        json_path = ".status.pods",
        description = "How many pods the verdict concerns."
    ),
    printcolumn(
        name = "Permissions",
        type_ = "string",
        json_path = ".status.permissions.level",
        description = "How far the permissions go beyond the default permissions."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "How long ago the report was created."
    ),
    printcolumn(
        name = "Workloads",
        type_ = "string",
        json_path = ".status.workloadNames",
        description = "The owners of the pods.",
        priority = 1
    ),
    printcolumn(
        name = "Consumers",
        type_ = "string",
        json_path = ".status.consumers",
        description = "Systems that may accept the token as an identity.",
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
    /// The name of the ServiceAccount that this report describes, in the same namespace. Immutable.
    #[schemars(length(max = 253))]
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("serviceAccountName is immutable"))]
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
    /// How many pods the verdict concerns; in files, a pod template counts as one pod.
    #[serde(default)]
    #[schemars(extend("format" = "int32"))]
    pub pods: u32,
    /// The generation of this report that has this status: each change of it is another one.
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
    /// What RBAC grants to the ServiceAccount beyond the default permissions.
    #[serde(default)]
    pub permissions: Permissions,
    /// Systems that may accept the token as an identity without RBAC, such as Vault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub consumers: Vec<String>,
    /// What else to know about the ServiceAccount; no verdict depends on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub notes: Vec<Note>,
    /// The use of the ServiceAccount's tokens, as audit logs show it; absent where none were given.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub usage: Option<Use>,
    /// The exemption: why the token stays, and whether the exemption is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exemption: Option<Exemption>,
    /// What to do about a finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<Remediation>,
    /// How many list entries were omitted to keep the report small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int32"))]
    pub truncated: Option<u32>,
    /// Standard conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Something to know about a ServiceAccount that no verdict depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// What it is about: `PermissionsWithoutToken` (no pod has a token to use them with), `NearlyNamedBy` (bindings name an
    /// account that does not exist, and may mean this one), `GrantedElsewhereOnly` (only RoleBindings of other namespaces
    /// grant anything), `SharedPermissions` (they reach several workloads), `NamedBy` (objects of custom kinds name it), or
    /// `UnusedDefault` (a `default` account that mounts a token, and that no pod uses).
    #[serde(rename = "type")]
    #[schemars(length(max = 316))]
    pub type_: String,
    /// What there is to know, in one sentence.
    #[schemars(length(max = 4096))]
    pub message: String,
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
    /// The reason for the verdict.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// The message of the verdict.
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
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// Whether the condition holds is unknown.
    Unknown,
}

/// An exemption: why a token stays.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exemption {
    /// Whether the exemption is in force.
    pub state: ExemptionState,
    /// Why the token stays.
    #[schemars(length(max = 256))]
    pub reason: String,
    /// The last day of the exemption, in UTC, for example 2027-01-31.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date"))]
    pub until: Option<String>,
    /// Where the exemption comes from: an annotation of the ServiceAccount or of the pods, or the configuration.
    #[schemars(length(max = 256))]
    pub by: String,
    /// What is wrong with an invalid exemption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub message: Option<String>,
}

/// The tokens of one workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// The kind of the outermost owner of the pods, for example Deployment.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How many pods it has; in files, a pod template counts as one pod.
    #[schemars(extend("format" = "int32"))]
    pub pods: u32,
    /// The verdict for this workload alone.
    pub verdict: Verdict,
    /// Why the verdict is what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The containers that see a token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub containers: Vec<String>,
    /// The tokens that they see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub carriers: Vec<Carrier>,
    /// Notes: facts to know that no verdict depends on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub notes: Vec<String>,
    /// The use of the tokens of this workload, as audit logs show it; absent where none were given.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub usage: Option<Use>,
    /// Since when a policy of this product withholds the token: the day on which the oldest such pod was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date"))]
    pub left_out_since: Option<String>,
}

/// One token as containers see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Carrier {
    /// How the token got into the pod. Automount: the ServiceAccount admission plugin mounts it.
    /// Explicit: the pod spec projects it. LegacySecret: a Secret of the ServiceAccount holds it.
    /// CsiDriver: the kubelet passes it to a CSI driver; PodCertificate: a certificate. Containers cannot
    /// use the last two at the API server.
    pub source: TokenSource,
    /// The audience of the token; absent for the API server itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The product that the audience belongs to, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier: Option<String>,
    /// The requested lifetime in seconds; absent for a token that never expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_seconds: Option<i64>,
    /// The directory or file at which containers see the token; absent for a token in an environment
    /// variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_path: Option<String>,
    /// The Secret that holds the token, the CSI driver that receives it, or the signer of the
    /// certificate; absent for a token of the pod itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// How the pod differs from a pod created now. RemovedOnRecreate: automount is already disabled; this pod
    /// keeps its token until it is recreated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

/// What RBAC grants to a ServiceAccount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Permissions {
    /// None: nothing beyond the default permissions. Inherited: only through groups of ServiceAccounts.
    /// Direct: a binding names the ServiceAccount.
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
    /// The bindings that grant every authenticated user more than Kubernetes does by default. The level
    /// does not count what they grant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub widened_defaults: Vec<Grant>,
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
    /// The namespace in which the grant applies; absent for the whole cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The subject of the binding that matched.
    pub subject: String,
    /// Grants: it allows something beyond the default permissions. AdmissionOnly: it allows only `use` of
    /// security policies, which needs no token. Latent: its role is missing or empty. Unresolved: its
    /// role is not in the input. Covered: the default permissions include all of it.
    pub effect: Effect,
    /// Why no request to the API server may use the grant. Unreachable: no request can match its rules.
    /// ThirdParty: other components check its verbs, not the API server. It does not change the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caveat: Option<Caveat>,
    /// When audit logs last show that the grant allowed a request beyond the default permissions; in a report the
    /// week of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_used: Option<String>,
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

/// A patch that disables the token of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Patch {
    /// The apiVersion of the object to patch.
    pub api_version: String,
    /// The kind of the object, which is in the namespace of this report.
    pub kind: String,
    /// The name of the object.
    pub name: String,
    /// The value for `kubectl patch --type`: merge, strategic where the patch adds to lists, or json for the items of lists in custom kinds.
    #[serde(rename = "type")]
    pub type_: String,
    /// The patch as JSON.
    pub patch: String,
}
