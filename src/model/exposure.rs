//! The answer: one [`Exposure`] for each ServiceAccount.

use std::{collections::BTreeSet, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Exemption, InputKind, Reason, Verdict,
    identity::ServiceAccountRef,
    pod::HostAccess,
    rbac::{ExplainedGrant, Permissions, RoleRef},
    workload::{PodKind, Workload},
};

/// Which accounts are told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportScope {
    /// Those with a finding: the to-do list.
    #[default]
    Findings,
    /// All.
    All,
}

impl ReportScope {
    /// Whether an account with this verdict is told of.
    #[must_use]
    pub const fn includes(self, verdict: Verdict) -> bool {
        match self {
            Self::Findings => verdict.is_finding(),
            Self::All => true,
        }
    }
}

/// The answer for one ServiceAccount: the worst of its pods, with everything that speaks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// Whom the tokens speak for.
    pub account: ServiceAccountRef,
    /// The worst verdict of its workloads.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// One sentence that a person can act on.
    pub message: String,
    /// How many pods the verdict is about; a template counts as one.
    pub pods: u32,
    /// Its workloads, worst first.
    pub workloads: Vec<WorkloadExposure>,
    /// What RBAC gives it.
    pub permissions: Permissions,
    /// Systems that may take the token for an identity, sorted.
    pub consumers: BTreeSet<Box<str>>,
    /// What somebody wrote down about why the tokens stay, and whether it counts.
    pub exemption: Option<Exemption>,
    /// What to do; `None` when there is nothing to do.
    pub remediation: Option<Remediation>,
    /// What the answer lacks.
    pub gaps: BTreeSet<Gap>,
}

/// An answer with all that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The answer.
    pub exposure: Exposure,
    /// The account's `automountServiceAccountToken`; `None` when its object was not seen.
    pub automount: Option<Option<bool>>,
    /// What each pod or template of a workload says of it, where it is the account's own.
    pub pods: Vec<(Workload, Option<bool>)>,
    /// The bindings that reach the account beyond those of everybody, rule by rule.
    pub grants: Vec<ExplainedGrant>,
}

/// What one workload carries for the account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkloadExposure {
    /// The verdict on this workload alone.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Whose pods they are.
    pub workload: Workload,
    /// How many pods it has; a template counts as one.
    pub pods: u32,
    /// The tokens, each with the containers that see it.
    pub carriers: Vec<Carrier>,
    /// Systems that may take the token for the pod's identity, sorted.
    pub consumers: Vec<Box<str>>,
    /// Why its tokens stay, and whether that counts.
    pub exemption: Option<Exemption>,
    /// What else there is to know, sorted; no verdict depends on it.
    pub notes: Vec<Note>,
}

/// Something about a workload that no verdict depends on, and that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Note {
    /// A container sees tokens of other pods on its node.
    HostAccess(HostAccess),
    /// A container that mounts no token can read those that others mount.
    SharedProcesses,
    /// A token is mounted by its file name, and never renewed there.
    Pinned(Box<str>),
    /// A volume projects a token, and no container mounts it.
    Unmounted(Box<str>),
    /// The API server refuses the token of this Secret by now.
    Invalidated(Box<str>),
    /// The account's object was not seen: that it does not switch the token off is assumed.
    AssumedServiceAccount,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostAccess(HostAccess::Path(path)) => write!(
                f,
                "mounts {path} of the host, where tokens of every pod on the node can be read"
            ),
            Self::HostAccess(HostAccess::Processes) => f.write_str(
                "hostPID: tokens of every pod on the node can be read through /proc",
            ),
            Self::HostAccess(HostAccess::Privileged) => {
                f.write_str("a privileged container can read tokens of every pod on the node")
            }
            Self::SharedProcesses => f.write_str(
                "shareProcessNamespace: containers without the token can read it from those that mount it, through /proc",
            ),
            Self::Pinned(path) => write!(
                f,
                "the token at {path} is mounted by subPath: it is never renewed and stops working when it expires"
            ),
            Self::Unmounted(volume) => write!(
                f,
                "volume {volume} projects a token that no container mounts; an ephemeral container could"
            ),
            Self::Invalidated(secret) => write!(
                f,
                "the token of Secret {secret} is marked invalid: the API server answers 401 until the label kubernetes.io/legacy-token-invalid-since is taken away"
            ),
            Self::AssumedServiceAccount => f.write_str(
                "the ServiceAccount is not in the input: taken as one that does not switch the token off",
            ),
        }
    }
}

/// One token as containers see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Carrier {
    /// How it got there.
    pub source: TokenSource,
    /// Whom it convinces.
    pub reach: Reach,
    /// Its audience; empty for the API server's own.
    pub audience: Box<str>,
    /// The product that the audience belongs to, where it is known.
    pub verifier: Option<&'static str>,
    /// The lifetime that was asked for, in seconds; `None` for one that never ends.
    pub expiration_seconds: Option<i64>,
    /// Where it is mounted; empty for one in the environment.
    pub mount_path: Box<str>,
    /// The Secret that holds it, the CSI driver that is given it, or the signer of a certificate;
    /// empty for one of the pod's own.
    pub provider: Box<str>,
    /// The containers that see it, in the order of the pod; none for one that others are given.
    pub containers: Vec<Box<str>>,
    /// How the pod differs from one made today.
    pub drift: Option<Drift>,
}

/// How a token got into a pod.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum TokenSource {
    /// The ServiceAccount admission plugin injected it, or will.
    Automount,
    /// The pod spec projects it.
    Explicit,
    /// It comes from a legacy token Secret, and never expires.
    LegacySecret,
    /// The kubelet hands it to a CSI driver, outside of the pod.
    CsiDriver,
    /// Not a token: a certificate for the pod's account, which some signer vouches for.
    PodCertificate,
}

impl TokenSource {
    /// Whether others are given it for the pod: its containers never see it.
    #[must_use]
    pub const fn is_outside_of_the_pod(self) -> bool {
        match self {
            Self::Automount | Self::Explicit | Self::LegacySecret => false,
            Self::CsiDriver | Self::PodCertificate => true,
        }
    }
}

/// Whom a token convinces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// This cluster's API server.
    Api,
    /// Somebody else; the API server answers 401.
    External,
    /// Not known: the API server's audiences are not, or what a Secret holds.
    Unknown,
}

/// The audiences that the API server accepts, as far as known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiAudiences {
    /// Audiences that it accepts.
    pub names: BTreeSet<String>,
    /// Whether it accepts no others.
    pub complete: bool,
}

/// How a live pod differs from one made today.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Drift {
    /// The token is switched off by now; it goes when the pod is made anew.
    RemovedOnRecreate,
}

/// What to do about a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remediation {
    /// One sentence.
    pub summary: String,
    /// Ready patches.
    pub patches: Vec<Patch>,
}

/// A patch for one object in the namespace of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The object to patch.
    pub target: Workload,
    /// Its `apiVersion`; empty for a custom kind, of which only the pod template is known.
    pub api_version: &'static str,
    /// Whether it is for `kubectl patch --type=strategic`, since it adds to lists; else a JSON merge
    /// patch will do.
    pub strategic: bool,
    /// The patch.
    pub patch: Value,
}

impl Patch {
    /// `merge` or `strategic`, as `kubectl patch --type` takes it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        if self.strategic { "strategic" } else { "merge" }
    }

    /// Whether the API server lets the live object be changed so: of a Pod or a Job only the manifest
    /// can be.
    #[must_use]
    pub fn is_live(&self) -> bool {
        PodKind::named(&self.target.kind).is_none_or(|kind| kind.is_mutable)
    }

    /// The patch with the name of its object, as kustomize takes it; `None` where it would lack the
    /// `apiVersion`.
    #[must_use]
    pub fn for_kustomize(&self, namespace: &str) -> Option<Value> {
        if self.api_version.is_empty() {
            return None;
        }
        let mut patch = self.patch.clone();
        patch["apiVersion"] = self.api_version.into();
        patch["kind"] = (*self.target.kind).into();
        patch["metadata"] = json!({ "name": *self.target.name, "namespace": namespace });
        Some(patch)
    }
}

/// Something that the answer depends on and that could not be known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gap {
    /// The API server allows everything to everybody.
    RbacNotEnforced,
    /// Listing this kind is refused.
    Forbidden(InputKind),
    /// A role that a binding refers to lies outside of the input.
    UnresolvedRole(RoleRef),
    /// It is not known whether the API server accepts this audience.
    UnknownAudience(Box<str>),
    /// Whether this Secret holds a token of the account is not known.
    SuspectedSecret(Box<str>),
}

impl Gap {
    /// The reason that an answer which depends on it has.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::RbacNotEnforced => Reason::RbacNotEnforced,
            Self::Forbidden(_) => Reason::Forbidden,
            Self::UnresolvedRole(_) => Reason::UnresolvedRole,
            Self::UnknownAudience(_) => Reason::UnknownAudience,
            Self::SuspectedSecret(_) => Reason::SuspectedLegacyToken,
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RbacNotEnforced => {
                f.write_str("the API server allows requests that RBAC does not: RBAC says nothing about need here")
            }
            Self::Forbidden(kind) => {
                write!(f, "listing {0} is forbidden: grant `list` and `watch` on `{0}`", kind.plural())
            }
            Self::UnresolvedRole(role) => write!(f, "{role} is not in the input: add it, or scan with the cluster"),
            Self::SuspectedSecret(secret) => write!(
                f,
                "Secret {secret} is named like a token that never expires, and Secrets are not read: if it is one, project a serviceAccountToken in its place"
            ),
            Self::UnknownAudience(audience) => {
                write!(f, "it is not known whether the API server accepts audience `{audience}`: say so with --api-audience")
            }
        }
    }
}
