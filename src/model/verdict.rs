//! The catalogue of verdicts: the docs of [`Verdict`] and [`Reason`] are what `explain --verdict` prints,
//! what the CRD says, and what the rules of SARIF are.

use std::fmt;

use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The verdict on a ServiceAccount, or on one of its workloads; the worst comes first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Verdict {
    /// A token is mounted and no RBAC rule beyond the baseline lets anyone use it: switch it off.
    Unneeded,
    /// Probably unneeded, but a person must look.
    Review,
    /// The answer would be a guess; the reason says what is missing.
    Unknown,
    /// Somebody wrote down why it stays.
    Exempted,
    /// A direct grant exists.
    Needed,
    /// There is nothing to remove.
    NoToken,
}

impl Verdict {
    /// Every verdict, worst first.
    pub const ALL: [Self; 6] = [
        Self::Unneeded,
        Self::Review,
        Self::Unknown,
        Self::Exempted,
        Self::Needed,
        Self::NoToken,
    ];

    /// As the API spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unneeded => "Unneeded",
            Self::Review => "Review",
            Self::Unknown => "Unknown",
            Self::Exempted => "Exempted",
            Self::Needed => "Needed",
            Self::NoToken => "NoToken",
        }
    }

    /// Whether there is something to do, or somebody decided that there is not: these are reported by
    /// default.
    #[must_use]
    pub const fn is_finding(self) -> bool {
        match self {
            Self::Unneeded | Self::Review | Self::Unknown | Self::Exempted => true,
            Self::Needed | Self::NoToken => false,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why the verdict is what it is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Reason {
    /// Unneeded: no rule beyond the baseline.
    NoPermissions,
    /// Unneeded: the only rules are `use` of PodSecurityPolicies or SecurityContextConstraints,
    /// which admission checks for the pod without its token.
    AdmissionOnly,
    /// Review: a binding names the account, but its role is missing or empty.
    LatentBinding,
    /// Review: permissions come only through groups that many ServiceAccounts are in.
    InheritedOnly,
    /// Review: somebody projected the token by hand, perhaps to prove an identity elsewhere.
    ExplicitToken,
    /// Review: the pod speaks of a system that may take its token as an identity, such as Vault.
    KnownConsumer,
    /// Review: a token from a Secret that the account names, which never expires.
    LegacyToken,
    /// Needed: a binding names the account itself.
    DirectGrant,
    /// No token: the pods switch it off, or hide the path that it is mounted at.
    AutomountDisabled,
    /// No token for this API server: all are for other audiences.
    ExternalAudienceOnly,
    /// No token: no pod runs as the account.
    NoPods,
    /// Unknown: the API server refuses to list something that the answer depends on.
    Forbidden,
    /// Unknown: the API server allows everything, so RBAC says nothing about need.
    #[serde(rename = "RBACNotEnforced")]
    RbacNotEnforced,
    /// Unknown: whether the API server accepts the audience of a token is not known.
    UnknownAudience,
    /// Unknown: a binding refers to a role outside of the input.
    UnresolvedRole,
    /// Unknown: a Secret has the name of one with a token of the account, but cannot be looked into.
    SuspectedLegacyToken,
    /// Exempted: an annotation of the ServiceAccount or of the pods, or the configuration, says why the
    /// token stays.
    Exemption,
}

impl Reason {
    /// Every reason, those of the worst verdict first.
    pub const ALL: [Self; 17] = [
        Self::NoPermissions,
        Self::AdmissionOnly,
        Self::LatentBinding,
        Self::InheritedOnly,
        Self::ExplicitToken,
        Self::KnownConsumer,
        Self::LegacyToken,
        Self::Forbidden,
        Self::RbacNotEnforced,
        Self::UnknownAudience,
        Self::UnresolvedRole,
        Self::SuspectedLegacyToken,
        Self::Exemption,
        Self::DirectGrant,
        Self::AutomountDisabled,
        Self::ExternalAudienceOnly,
        Self::NoPods,
    ];

    /// The verdict that it is a reason of.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::NoPermissions | Self::AdmissionOnly => Verdict::Unneeded,
            Self::LatentBinding
            | Self::InheritedOnly
            | Self::ExplicitToken
            | Self::KnownConsumer
            | Self::LegacyToken => Verdict::Review,
            Self::Forbidden
            | Self::RbacNotEnforced
            | Self::UnknownAudience
            | Self::UnresolvedRole
            | Self::SuspectedLegacyToken => Verdict::Unknown,
            Self::Exemption => Verdict::Exempted,
            Self::DirectGrant => Verdict::Needed,
            Self::AutomountDisabled | Self::ExternalAudienceOnly | Self::NoPods => Verdict::NoToken,
        }
    }

    /// What a person does about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NoPermissions | Self::AdmissionOnly => {
                "Set `automountServiceAccountToken: false` on the ServiceAccount or in the pod template, and recreate the pods. Where a container reads `ca.crt` or `namespace` beside the token, mount a projected volume without the token instead."
            }
            Self::LatentBinding => {
                "Delete the binding if nobody is going to fill its role, and switch the token off."
            }
            Self::InheritedOnly => {
                "See whether the workload uses what the group gives. If not, switch the token off; if it does, bind a role to its own account."
            }
            Self::ExplicitToken => {
                "See who the token is shown to. If it is nobody, remove the `serviceAccountToken` source from the volume; if it is another system than the API server, give it the audience of that system."
            }
            Self::KnownConsumer => {
                "Leave the token where the named system logs in with it, and write that down as an exemption; else switch it off."
            }
            Self::LegacyToken => {
                "Project a `serviceAccountToken` in place of the Secret, which ends with the pod and is renewed, then delete the Secret."
            }
            Self::Forbidden => {
                "Grant the rule that the message names, as the ClusterRole in deploy/install.yaml does."
            }
            Self::RbacNotEnforced => {
                "Start the API server with `--authorization-mode=Node,RBAC`: whoever reaches it may do everything now."
            }
            Self::UnknownAudience => {
                "Say what the API server accepts with `--api-audience`, or in the configuration: every other audience is somebody else's."
            }
            Self::UnresolvedRole => {
                "Give the file of the role too, or `--with-cluster`, which asks the current cluster."
            }
            Self::SuspectedLegacyToken => {
                "Look into the Secret, or run with `--legacy-tokens`, which needs the right to list Secrets."
            }
            Self::Exemption => "Nothing, until the exemption ends.",
            Self::DirectGrant => {
                "Nothing here: see whether the grants are the least that the workload needs."
            }
            Self::AutomountDisabled | Self::ExternalAudienceOnly | Self::NoPods => "Nothing.",
        }
    }

    /// As the API spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoPermissions => "NoPermissions",
            Self::AdmissionOnly => "AdmissionOnly",
            Self::LatentBinding => "LatentBinding",
            Self::InheritedOnly => "InheritedOnly",
            Self::ExplicitToken => "ExplicitToken",
            Self::KnownConsumer => "KnownConsumer",
            Self::LegacyToken => "LegacyToken",
            Self::DirectGrant => "DirectGrant",
            Self::AutomountDisabled => "AutomountDisabled",
            Self::ExternalAudienceOnly => "ExternalAudienceOnly",
            Self::NoPods => "NoPods",
            Self::Forbidden => "Forbidden",
            Self::RbacNotEnforced => "RBACNotEnforced",
            Self::UnknownAudience => "UnknownAudience",
            Self::UnresolvedRole => "UnresolvedRole",
            Self::SuspectedLegacyToken => "SuspectedLegacyToken",
            Self::Exemption => "Exemption",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the variants of an enum mean: their names with their documentation, which the CRD is made of too.
#[must_use]
pub fn meanings<T: JsonSchema>() -> Vec<(String, String)> {
    let schema = schema_for!(T).to_value();
    let variants = schema["oneOf"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().replace('\n', " ");
    let meaning = |variant: &Value| (text(&variant["const"]), text(&variant["description"]));
    variants.iter().map(meaning).collect()
}
