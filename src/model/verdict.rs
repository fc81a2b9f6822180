//! All verdicts and reasons: `explain --verdict`, the HTML page and the rules of SARIF print the docs of
//! [`Verdict`] and [`Reason`].

use std::fmt;

use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The verdict on a ServiceAccount, or on one of its workloads; the worst comes first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Verdict {
    /// A token is mounted, and no permission beyond the default permissions needs it: disable automount.
    Unneeded,
    /// Probably unneeded, but a person must look.
    Review,
    /// The answer would be a guess; the reason says what is missing.
    Unknown,
    /// An exemption states why the token stays.
    Exempted,
    /// A policy of this product leaves the token out, or makes it useless, as long as nothing needs it.
    Withheld,
    /// A direct grant exists, or a permission is used.
    Needed,
    /// There is nothing to remove.
    NoToken,
}

impl Verdict {
    /// Every verdict, worst first.
    pub const ALL: [Self; 7] = [
        Self::Unneeded,
        Self::Review,
        Self::Unknown,
        Self::Exempted,
        Self::Withheld,
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
            Self::Withheld => "Withheld",
            Self::Needed => "Needed",
            Self::NoToken => "NoToken",
        }
    }

    /// Whether it asks for work.
    #[must_use]
    pub const fn is_finding(self) -> bool {
        match self {
            Self::Unneeded | Self::Review | Self::Unknown => true,
            Self::Exempted | Self::Withheld | Self::Needed | Self::NoToken => false,
        }
    }

    /// Whether it is reported by default: a finding, or an exemption or a policy says why it is none.
    #[must_use]
    pub const fn is_reported(self) -> bool {
        self.is_finding() || matches!(self, Self::Exempted | Self::Withheld)
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
    /// Unneeded: no permission beyond the default permissions.
    NoPermissions,
    /// Unneeded: the only permissions are `use` of PodSecurityPolicies or SecurityContextConstraints,
    /// which admission checks without the token of the pod.
    AdmissionOnly,
    /// Review: a binding names the account, but its role is missing or empty.
    LatentBinding,
    /// Review: permissions are granted only through groups of ServiceAccounts.
    InheritedOnly,
    /// Review: the pod spec projects the token, perhaps as an identity for another system.
    ExplicitToken,
    /// Review: the pod refers to a system that may accept its token as an identity, such as Vault.
    KnownConsumer,
    /// Review: the token comes from a Secret of the account and never expires.
    LegacyToken,
    /// Review: the account has permissions, and audit logs that cover the whole evidence window show that its token
    /// was not used at the API server.
    NeverUsed,
    /// Review: the account has no permission, and audit logs show requests that need one: somebody expects it to work.
    UsedWithoutPermission,
    /// Review: only RoleBindings of other namespaces grant anything, and the configuration asks for a look.
    GrantedElsewhere,
    /// Review: a policy of this product left the token out, and the account has a permission now: recreate the pods.
    MissingToken,
    /// Withheld: a policy of this product left the token out of the pod.
    LeftOut,
    /// Withheld: a policy of this product gave the token an audience that no API server accepts.
    Neutered,
    /// Needed: a binding names the account itself.
    DirectGrant,
    /// Needed: audit logs show requests that only a permission beyond the default permissions allowed.
    InUse,
    /// No token: automount is disabled, or another volume is mounted at the path of the token.
    AutomountDisabled,
    /// No token for this API server: all are for other audiences.
    ExternalAudienceOnly,
    /// No token: no pod runs as the account.
    NoPods,
    /// No token that is valid: the ServiceAccount of the pods does not exist.
    ServiceAccountMissing,
    /// Unknown: the API server denies listing a kind that the answer depends on.
    Forbidden,
    /// Unknown: the API server allows everything, so RBAC cannot show whether a token is needed.
    #[serde(rename = "RBACNotEnforced")]
    RbacNotEnforced,
    /// Unknown: it is not known whether the API server accepts the audience of a token.
    UnknownAudience,
    /// Unknown: the objects name no namespace, and a binding names an account of this name in another one.
    NamespaceUnknown,
    /// Unknown: a binding refers to a role that is not in the input.
    UnresolvedRole,
    /// Unknown: a Secret seems to hold a legacy token of the account, and Secrets are not read.
    SuspectedLegacyToken,
    /// Unknown: a field of the pod, or of its ServiceAccount, has more than is read.
    LimitExceeded,
    /// Exempted: an annotation of the ServiceAccount or of the pods, or the configuration, says why the
    /// token stays.
    Exemption,
}

// What there is to do, where it does not fit the line.
const NAME_AUDIENCES: &str = "Name the audiences that the API server accepts with `--api-audience`, or in the configuration: every other audience belongs to another system.";
const ADD_ROLE: &str = "Add the file of the role to the input, or use `--with-cluster`, which reads roles from the current cluster.";
const MAKE_IT_LAST: &str =
    "Nothing. To make it last, set `automountServiceAccountToken: false` in the manifest.";
const MAKE_SMALLER: &str = "Make the field that the message names smaller, or check the pod by hand: it is larger than in any pod that people run.";

impl Reason {
    /// Every reason, those of the worst verdict first.
    pub const ALL: [Self; 27] = [
        Self::NoPermissions,
        Self::AdmissionOnly,
        Self::LatentBinding,
        Self::InheritedOnly,
        Self::ExplicitToken,
        Self::KnownConsumer,
        Self::LegacyToken,
        Self::NeverUsed,
        Self::UsedWithoutPermission,
        Self::GrantedElsewhere,
        Self::MissingToken,
        Self::Forbidden,
        Self::RbacNotEnforced,
        Self::UnknownAudience,
        Self::NamespaceUnknown,
        Self::UnresolvedRole,
        Self::SuspectedLegacyToken,
        Self::LimitExceeded,
        Self::Exemption,
        Self::LeftOut,
        Self::Neutered,
        Self::DirectGrant,
        Self::InUse,
        Self::AutomountDisabled,
        Self::ExternalAudienceOnly,
        Self::NoPods,
        Self::ServiceAccountMissing,
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
            | Self::LegacyToken
            | Self::NeverUsed
            | Self::UsedWithoutPermission
            | Self::GrantedElsewhere
            | Self::MissingToken => Verdict::Review,
            Self::Forbidden
            | Self::RbacNotEnforced
            | Self::UnknownAudience
            | Self::NamespaceUnknown
            | Self::UnresolvedRole
            | Self::SuspectedLegacyToken
            | Self::LimitExceeded => Verdict::Unknown,
            Self::Exemption => Verdict::Exempted,
            Self::LeftOut | Self::Neutered => Verdict::Withheld,
            Self::DirectGrant | Self::InUse => Verdict::Needed,
            Self::AutomountDisabled
            | Self::ExternalAudienceOnly
            | Self::NoPods
            | Self::ServiceAccountMissing => Verdict::NoToken,
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NoPermissions | Self::AdmissionOnly => {
                "Set `automountServiceAccountToken: false` on the ServiceAccount or in the pod template, and recreate the pods. Where a container reads `ca.crt` or `namespace` beside the token, mount a projected volume without the token instead."
            }
            Self::LatentBinding => {
                "Delete the binding if its role will stay missing or empty, and disable automount."
            }
            Self::InheritedOnly => {
                "Check whether the workload uses the permissions of the group. If not, disable automount; if it does, bind a role to its own account."
            }
            Self::ExplicitToken => {
                "Check which system the workload sends the token to. If there is none, remove the `serviceAccountToken` source from the volume; if it is not the API server, set the `audience` of that system."
            }
            Self::KnownConsumer => {
                "Keep the token where the workload logs in to the named system with it, and record that as an exemption; otherwise disable automount."
            }
            Self::LegacyToken => {
                "Replace the Secret with a projected `serviceAccountToken`, which is renewed and expires with the pod, then delete the Secret."
            }
            Self::NeverUsed => {
                "Disable automount of the workloads that never use the token, or delete the bindings if no other workload of the account needs them. The logs show use at the API server only: check first whether the workload shows its token to another system."
            }
            Self::UsedWithoutPermission => {
                "Grant what the workload asks for, if it should have it; otherwise configure the workload not to ask, and disable automount. `explain` lists the requests."
            }
            Self::GrantedElsewhere => {
                "Check with whoever administers the other namespace whether the workload works there. If not, delete the binding and disable automount; if it does, trust the namespace in the configuration (`trustedNamespaces`)."
            }
            Self::Forbidden => {
                "Grant the rule that the message names, as the ClusterRole in deploy/install.yaml does."
            }
            Self::RbacNotEnforced => {
                "Start the API server with `--authorization-mode=Node,RBAC`: its present configuration allows every request."
            }
            Self::UnknownAudience => NAME_AUDIENCES,
            Self::NamespaceUnknown => {
                "Scan again with `-n` and the namespace that the files are applied to, or write it into the manifests."
            }
            Self::UnresolvedRole => ADD_ROLE,
            Self::SuspectedLegacyToken => {
                "Check the Secret, or use `--legacy-tokens`, which needs permission to list Secrets."
            }
            Self::LimitExceeded => MAKE_SMALLER,
            Self::Exemption => "Nothing, until the exemption ends.",
            Self::MissingToken => "Recreate the pods: the policy leaves their token in now.",
            Self::LeftOut | Self::Neutered => MAKE_IT_LAST,
            Self::InUse => {
                "Nothing here: `explain -o role` prints the smallest role that covers what was used."
            }
            Self::DirectGrant => {
                "Nothing here: check that the grants are the least that the workload needs."
            }
            Self::AutomountDisabled | Self::ExternalAudienceOnly | Self::NoPods => "Nothing.",
            Self::ServiceAccountMissing => {
                "Create the ServiceAccount and recreate the pods, or delete them: the API server rejects their tokens (401 Unauthorized)."
            }
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
            Self::GrantedElsewhere => "GrantedElsewhere",
            Self::NeverUsed => "NeverUsed",
            Self::UsedWithoutPermission => "UsedWithoutPermission",
            Self::InUse => "InUse",
            Self::DirectGrant => "DirectGrant",
            Self::AutomountDisabled => "AutomountDisabled",
            Self::ExternalAudienceOnly => "ExternalAudienceOnly",
            Self::NoPods => "NoPods",
            Self::ServiceAccountMissing => "ServiceAccountMissing",
            Self::Forbidden => "Forbidden",
            Self::RbacNotEnforced => "RBACNotEnforced",
            Self::UnknownAudience => "UnknownAudience",
            Self::NamespaceUnknown => "NamespaceUnknown",
            Self::UnresolvedRole => "UnresolvedRole",
            Self::SuspectedLegacyToken => "SuspectedLegacyToken",
            Self::LimitExceeded => "LimitExceeded",
            Self::Exemption => "Exemption",
            Self::MissingToken => "MissingToken",
            Self::LeftOut => "LeftOut",
            Self::Neutered => "Neutered",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the variants of an enum mean: their names with their documentation.
#[must_use]
pub fn meanings<T: JsonSchema>() -> Vec<(String, String)> {
    let schema = schema_for!(T).to_value();
    let variants = schema["oneOf"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().replace('\n', " ");
    let meaning = |variant: &Value| (text(&variant["const"]), text(&variant["description"]));
    variants.iter().map(meaning).collect()
}
