//! Plain data that all other rooms use.

pub mod bare;
pub mod config;
pub mod consumer;
pub mod exemption;
pub mod exposure;
pub mod identity;
pub mod keep;
pub mod note;
pub mod patch;
pub mod pod;
pub mod rbac;
pub mod secret;
pub mod selection;
pub mod selector;
pub mod service_account;
pub mod stray;
pub mod summary;
pub mod token;
pub mod usage;
pub mod verdict;
pub mod workload;

pub use config::Config;
pub use exemption::{Claim, Exemption};
pub use exposure::{
    ApiAudiences, Carrier, Drift, Explanation, Exposure, Gap, Reach, Remediation, ReportScope,
    TokenSource, WorkloadExposure,
};
pub use identity::{Name, ObjectKey, ServiceAccountRef, Target};
pub use keep::Keep;
pub use note::Note;
pub use pod::PodFacts;
pub use rbac::{
    Binding, Grant, KnownRoles, Level, Permissions, Role, RoleRef, Rule, Scope, Subject,
};
pub use secret::SecretFacts;
pub use selection::{LeftOut, Selection};
pub use selector::LabelSelector;
pub use service_account::{CsiDriverFacts, NamespaceFacts, ServiceAccountFacts, TokenRequest};
pub use summary::AccountSummary;
pub use verdict::{Reason, Verdict};
pub use workload::{PodKind, Workload};

/// A kind that the answer is computed from, or written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InputKind {
    /// `Pod`, core/v1; pod templates from files count as pods too.
    Pod,
    /// `ServiceAccount`, core/v1.
    ServiceAccount,
    /// `Namespace`, core/v1.
    Namespace,
    /// `Role`, rbac.authorization.k8s.io/v1.
    Role,
    /// `ClusterRole`, rbac.authorization.k8s.io/v1.
    ClusterRole,
    /// `RoleBinding`, rbac.authorization.k8s.io/v1.
    RoleBinding,
    /// `ClusterRoleBinding`, rbac.authorization.k8s.io/v1.
    ClusterRoleBinding,
    /// `ConfigMap`, core/v1: only read from files.
    ConfigMap,
    /// `Secret`, core/v1: only its metadata, and only on request.
    Secret,
    /// `CSIDriver`, storage.k8s.io/v1: only read from files.
    CsiDriver,
    /// `TokenExposureReport`, tokenexposure.io/v1alpha1: our own.
    TokenExposureReport,
    /// `TokenExposureSummary`, tokenexposure.io/v1alpha1: our own.
    TokenExposureSummary,
}

impl InputKind {
    /// The `kind` as manifests spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::ServiceAccount => "ServiceAccount",
            Self::Namespace => "Namespace",
            Self::Role => "Role",
            Self::ClusterRole => "ClusterRole",
            Self::RoleBinding => "RoleBinding",
            Self::ClusterRoleBinding => "ClusterRoleBinding",
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::CsiDriver => "CSIDriver",
            Self::TokenExposureReport => "TokenExposureReport",
            Self::TokenExposureSummary => "TokenExposureSummary",
        }
    }

    /// The resource, as URLs and RBAC rules spell it.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Pod => "pods",
            Self::ServiceAccount => "serviceaccounts",
            Self::Namespace => "namespaces",
            Self::Role => "roles",
            Self::ClusterRole => "clusterroles",
            Self::RoleBinding => "rolebindings",
            Self::ClusterRoleBinding => "clusterrolebindings",
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
            Self::CsiDriver => "csidrivers",
            Self::TokenExposureReport => "tokenexposurereports",
            Self::TokenExposureSummary => "tokenexposuresummaries",
        }
    }

    /// The API group; empty for core/v1.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Pod | Self::ServiceAccount | Self::Namespace | Self::ConfigMap | Self::Secret => {
                ""
            }
            Self::CsiDriver => "storage.k8s.io",
            Self::Role | Self::ClusterRole | Self::RoleBinding | Self::ClusterRoleBinding => {
                "rbac.authorization.k8s.io"
            }
            Self::TokenExposureReport | Self::TokenExposureSummary => "tokenexposure.io",
        }
    }

    /// The version that is read.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::TokenExposureReport | Self::TokenExposureSummary => "v1alpha1",
            _ => "v1",
        }
    }

    /// Whether its objects live in namespaces.
    #[must_use]
    pub const fn is_namespaced(self) -> bool {
        !matches!(
            self,
            Self::Namespace | Self::ClusterRole | Self::ClusterRoleBinding | Self::CsiDriver
        )
    }

    /// Whether only the accounts of its own namespace depend on one of its objects.
    #[must_use]
    pub const fn is_of_accounts(self) -> bool {
        matches!(
            self,
            Self::Pod | Self::ServiceAccount | Self::ConfigMap | Self::Secret
        )
    }

    /// Whether it cannot be decided if a token is needed while this kind cannot be read.
    #[must_use]
    pub const fn decides_need(self) -> bool {
        matches!(
            self,
            Self::Role | Self::ClusterRole | Self::RoleBinding | Self::ClusterRoleBinding
        )
    }
}
