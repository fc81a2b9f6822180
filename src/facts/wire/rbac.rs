//! Roles and bindings.

use serde::Deserialize;

use super::{Metadata, lenient};

wire! {
    /// A Role or ClusterRole.
    Role {
        /// `metadata`.
        metadata: Metadata,
        /// `rules`.
        rules: Vec<PolicyRule>,
    }

    /// One rule of a role.
    PolicyRule {
        /// `verbs`.
        verbs: Vec<Box<str>>,
        /// `apiGroups`.
        api_groups: Vec<Box<str>>,
        /// `resources`.
        resources: Vec<Box<str>>,
        /// `resourceNames`.
        resource_names: Vec<Box<str>>,
        /// `nonResourceURLs`.
        #[serde(rename = "nonResourceURLs")]
        non_resource_urls: Vec<Box<str>>,
    }

    /// A RoleBinding or ClusterRoleBinding.
    Binding {
        /// `metadata`.
        metadata: Metadata,
        /// `roleRef`.
        role_ref: RoleRef,
        /// `subjects`.
        subjects: Vec<Subject>,
    }

    /// `roleRef`.
    RoleRef {
        /// `apiGroup`.
        api_group: String,
        /// `kind`.
        kind: String,
        /// `name`.
        name: String,
    }

    /// One subject of a binding.
    Subject {
        /// `apiGroup`.
        api_group: String,
        /// `kind`.
        kind: String,
        /// `name`.
        name: String,
        /// `namespace`.
        namespace: String,
    }
}
