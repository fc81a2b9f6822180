//! What the switch is called, and its objects.

use k8s_openapi::{
    api::{
        authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
        rbac::v1::{RoleBinding, RoleRef, Subject},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

/// What the switch is called, and whose it is.
#[derive(Clone, Debug)]
pub struct Names {
    /// The namespace of the controller.
    pub namespace: String,
    /// The Role, and the RoleBinding.
    pub role: String,
    /// The ServiceAccount of the controller.
    pub service_account: String,
    /// The pod of the controller.
    pub pod: String,
    /// Its uid.
    pub pod_uid: String,
}

impl Names {
    /// The binding, which goes with the pod of the controller.
    pub(super) fn binding(&self) -> RoleBinding {
        RoleBinding {
            metadata: ObjectMeta {
                name: Some(self.role.clone()),
                namespace: Some(self.namespace.clone()),
                owner_references: Some(vec![OwnerReference {
                    api_version: "v1".to_owned(),
                    kind: "Pod".to_owned(),
                    name: self.pod.clone(),
                    uid: self.pod_uid.clone(),
                    ..OwnerReference::default()
                }]),
                ..ObjectMeta::default()
            },
            role_ref: RoleRef {
                api_group: "rbac.authorization.k8s.io".to_owned(),
                kind: "Role".to_owned(),
                name: self.role.clone(),
            },
            subjects: Some(vec![Subject {
                kind: "ServiceAccount".to_owned(),
                name: self.service_account.clone(),
                namespace: Some(self.namespace.clone()),
                ..Subject::default()
            }]),
        }
    }

    /// The question whether the controller has the permission that the policy asks for.
    pub(super) fn review(&self) -> SubjectAccessReview {
        let (namespace, account) = (&self.namespace, &self.service_account);
        SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(format!("system:serviceaccount:{namespace}:{account}")),
                groups: Some(vec![
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{namespace}"),
                    "system:authenticated".to_owned(),
                ]),
                resource_attributes: Some(ResourceAttributes {
                    verb: Some("permit".to_owned()),
                    group: Some("tokenexposure.io".to_owned()),
                    resource: Some("cures".to_owned()),
                    namespace: Some(namespace.clone()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        }
    }
}
