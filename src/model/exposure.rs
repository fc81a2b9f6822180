//! The answer: one [`Exposure`] for each ServiceAccount.

use std::{collections::BTreeSet, fmt};

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Exemption, InputKind, Keep, Reason, Verdict,
    identity::{Name, ServiceAccountRef},
    note::{AccountNote, Note},
    patch::Patch,
    rbac::{ExplainedGrant, Permissions, RoleRef},
    usage::{UsageDetail, Use},
    workload::Workload,
};

/// Which accounts are reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportScope {
    /// Those with a finding.
    #[default]
    Findings,
    /// All.
    All,
}

impl ReportScope {
    /// Whether an account with this verdict is reported.
    #[must_use]
    pub const fn includes(self, verdict: Verdict) -> bool {
        match self {
            Self::Findings => verdict.is_reported(),
            Self::All => true,
        }
    }
}

/// The answer for one ServiceAccount: the worst verdict of its pods, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// The account that the tokens identify.
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
    /// What RBAC grants it.
    pub permissions: Permissions,
    /// Systems that may accept the token as an identity, sorted.
    pub consumers: BTreeSet<Box<str>>,
    /// The exemption of its tokens, and whether it is in force.
    pub exemption: Option<Exemption>,
    /// What else to know about its permissions.
    pub notes: Vec<AccountNote>,
    /// What to do; `None` when there is nothing to do.
    pub remediation: Option<Remediation>,
    /// The inputs that are missing.
    pub gaps: BTreeSet<Gap>,
    /// The use of its tokens; `None` without audit logs.
    pub usage: Option<Use>,
}

impl Exposure {
    /// The note that only other namespaces grant the account anything.
    #[must_use]
    pub fn granted_elsewhere(&self) -> Option<&AccountNote> {
        let mut notes = self.notes.iter();
        notes.find(|note| matches!(note, AccountNote::GrantedElsewhereOnly(_)))
    }

    /// Whether it is a `default` account that mounts a token and that no pod uses.
    #[must_use]
    pub fn is_unused_default(&self) -> bool {
        self.notes.contains(&AccountNote::UnusedDefault)
    }

    /// Adds the patch that keeps an unused `default` account from mounting a token.
    pub fn harden_default(&mut self) {
        if self.is_unused_default() {
            self.remediation = Some(Remediation {
                summary: "set automountServiceAccountToken: false: pods that use it later then get no token"
                    .to_owned(),
                patches: vec![Patch::disabling_automount(&self.account)],
            });
        }
    }

    /// Each workload whose verdict is `wanted`; `None`, the account itself, where that is so of none.
    pub fn subjects(
        &self,
        wanted: impl Fn(Verdict) -> bool + Copy,
    ) -> impl Iterator<Item = Option<&WorkloadExposure>> {
        let found = self.workloads.iter();
        let found = found.filter(move |workload| wanted(workload.verdict));
        let mut found = found.peekable();
        let none = found.peek().is_none() && wanted(self.verdict);
        found.map(Some).chain(none.then_some(None))
    }
}

/// An answer with everything that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The answer.
    pub exposure: Exposure,
    /// The account's `automountServiceAccountToken`; `None` when its object was not seen.
    pub automount: Option<Option<bool>>,
    /// The same field of each pod or template that runs as the account, with its workload.
    pub pods: Vec<(Workload, Option<bool>)>,
    /// The bindings that reach the account other than through `system:authenticated`, rule by rule.
    pub grants: Vec<ExplainedGrant>,
    /// What audit logs show in detail.
    pub usage: Option<UsageDetail>,
    /// Accounts for workloads that share this one and are not known to need its permissions.
    pub own_accounts: Vec<OwnAccount>,
}

/// A new account for a workload that shares one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAccount {
    /// The ServiceAccount: it mounts no token.
    pub manifest: Value,
    /// Makes the workload run as it.
    pub patch: Patch,
}

/// What one workload carries for the account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkloadExposure {
    /// The verdict on this workload alone.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The owner of the pods.
    pub workload: Workload,
    /// How many pods it has; a template counts as one.
    pub pods: u32,
    /// The tokens, each with the containers that see it.
    pub carriers: Vec<Carrier>,
    /// Systems that may accept the token as the pod's identity, sorted.
    pub consumers: Vec<Box<str>>,
    /// Its exemption, and whether it is in force.
    pub exemption: Option<Exemption>,
    /// What else to know about it, sorted; no verdict depends on it.
    pub notes: Vec<Note>,
    /// The use of its tokens; `None` without audit logs.
    pub usage: Option<Box<Use>>,
    /// The day on which a policy of this product withheld the token of a pod that still exists, the earliest, in UTC.
    pub left_out_since: Option<Date>,
    /// What in its pods speaks for the token.
    pub keeps: BTreeSet<Keep>,
}

/// One token as containers see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Carrier {
    /// Where it comes from.
    pub source: TokenSource,
    /// Who accepts it.
    pub reach: Reach,
    /// Its audience; empty for the API server's own.
    pub audience: Box<str>,
    /// The product that the audience belongs to, where it is known.
    pub verifier: Option<&'static str>,
    /// The requested lifetime, in seconds; `None` for a token that never expires.
    pub expiration_seconds: Option<i64>,
    /// Where it is mounted; empty for a token in an environment variable.
    pub mount_path: Box<str>,
    /// The Secret that holds it, the CSI driver that receives it, or the signer of a certificate;
    /// empty for an auto-mounted or projected token.
    pub provider: Box<str>,
    /// The containers that see it, in the order of the pod; none when only others receive it.
    pub containers: Vec<Box<str>>,
    /// How the pod differs from one that is created now.
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
    /// Not a token: a certificate for the pod's account, which a signer issues.
    PodCertificate,
}

impl TokenSource {
    /// Whether only others receive it for the pod: its containers never see it.
    #[must_use]
    pub const fn is_outside_of_the_pod(self) -> bool {
        match self {
            Self::Automount | Self::Explicit | Self::LegacySecret => false,
            Self::CsiDriver | Self::PodCertificate => true,
        }
    }
}

/// Who accepts a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// This cluster's API server.
    Api,
    /// Another system; the API server rejects it (401).
    External,
    /// Not known: the API server's audiences, or what a Secret holds, could not be read.
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

/// How a live pod differs from one that is created now.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Drift {
    /// Automount is already disabled; this pod keeps its token until it is recreated.
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

/// An input that the answer depends on and that is missing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gap {
    /// The API server allows every request.
    RbacNotEnforced,
    /// Listing this kind is denied.
    Forbidden(InputKind),
    /// The objects name no namespace, and bindings name an account of this name in these ones; sorted.
    NamespaceUnknown(Box<[Name]>),
    /// A binding refers to a role that is not in the input.
    UnresolvedRole(RoleRef),
    /// It is not known whether the API server accepts this audience.
    UnknownAudience(Box<str>),
    /// Whether this Secret holds a token of the account is not known.
    SuspectedSecret(Box<str>),
    /// This field of a pod, or of the ServiceAccount, has more than is read.
    LimitExceeded(&'static str),
}

impl Gap {
    /// The reason of a verdict that depends on it.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::RbacNotEnforced => Reason::RbacNotEnforced,
            Self::Forbidden(_) => Reason::Forbidden,
            Self::NamespaceUnknown(_) => Reason::NamespaceUnknown,
            Self::UnresolvedRole(_) => Reason::UnresolvedRole,
            Self::UnknownAudience(_) => Reason::UnknownAudience,
            Self::SuspectedSecret(_) => Reason::SuspectedLegacyToken,
            Self::LimitExceeded(_) => Reason::LimitExceeded,
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RbacNotEnforced => {
                f.write_str("the API server allows requests that RBAC does not grant: RBAC cannot show whether a token is needed")
            }
            Self::Forbidden(kind) => {
                write!(f, "listing {0} is forbidden: grant `list` and `watch` on `{0}`", kind.plural())
            }
            Self::NamespaceUnknown(namespaces) => {
                let flags: Vec<_> = namespaces.iter().map(|namespace| format!("`-n {namespace}`")).collect();
                write!(
                    f,
                    "objects name no namespace, and a binding names an account of this name in another one: scan again with {}",
                    flags.join(" or ")
                )
            }
            Self::UnresolvedRole(role) => write!(f, "{role} is not in the input: add it, or use `--with-cluster`"),
            Self::SuspectedSecret(secret) => write!(
                f,
                "Secret {secret} seems to hold a legacy token, which never expires, and Secrets are not read: if it does, replace it with a projected serviceAccountToken"
            ),
            Self::LimitExceeded(field) => write!(f, "`{field}` is larger than is read: check the tokens of its pods by hand"),
            Self::UnknownAudience(audience) => {
                write!(f, "it is not known whether the API server accepts audience `{audience}`: name the audiences that it accepts with `--api-audience`")
            }
        }
    }
}
