//! Roles and bindings.

use serde::Deserialize;

use super::{Metadata, lenient};

wire! {
    /// A Role or ClusterRole.
    Role {
        /// `metadata`.
        metadata: Metadata = 1,
        /// `rules`.
        rules: Vec<PolicyRule> = 2,
    }

    /// One rule of a role.
    PolicyRule {
        /// `verbs`.
        verbs: Vec<Box<str>> = 1,
        /// `apiGroups`.
        api_groups: Vec<Box<str>> = 2,
        /// `resources`.
        resources: Vec<Box<str>> = 3,
        /// `resourceNames`.
        resource_names: Vec<Box<str>> = 4,
        /// `nonResourceURLs`.
        #[serde(rename = "nonResourceURLs")]
        non_resource_urls: Vec<Box<str>> = 5,
    }

    /// A RoleBinding or ClusterRoleBinding.
    Binding {
        /// `metadata`.
        metadata: Metadata = 1,
        /// `roleRef`.
        role_ref: RoleRef = 3,
        /// `subjects`.
        subjects: Vec<Subject> = 2,
    }

    /// `roleRef`.
    RoleRef {
        /// `apiGroup`.
        api_group: String = 1,
        /// `kind`.
        kind: String = 2,
        /// `name`.
        name: String = 3,
    }

    /// One subject of a binding.
    Subject {
        /// `apiGroup`.
        api_group: String = 2,
        /// `kind`.
        kind: String = 1,
        /// `name`.
        name: String = 3,
        /// `namespace`.
        namespace: String = 4,
    }
}
