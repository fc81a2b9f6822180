//! The slim types that objects are parsed into: only the fields that are read. `null` counts as
//! absent everywhere, as in the API server.

use serde::{Deserialize, Deserializer};

pub use self::{pod::*, rbac::*};
pub use super::words::{Annotations, Labels, Texts, VariableName, Word};

/// Reads `null` as the default value.
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Declares slim types: every field may be absent or `null`.
macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Default, Deserialize)]
            #[serde(rename_all = "camelCase")]
            pub struct $name {
                $(
                    $(#[$field_doc])*
                    #[serde(default, deserialize_with = "lenient")]
                    pub $field: $type,
                )*
            }
        )*
    };
}

mod pod;
mod rbac;

wire! {
    /// `metadata`.
    Metadata {
        /// `name`.
        name: String,
        /// `generateName`.
        generate_name: String,
        /// `namespace`; empty when cluster-scoped or left out.
        namespace: String,
        /// `uid`, which only the API server assigns.
        uid: String,
        /// `resourceVersion`.
        resource_version: String,
        /// `creationTimestamp`.
        creation_timestamp: String,
        /// `deletionTimestamp`.
        deletion_timestamp: Option<String>,
        /// `ownerReferences`.
        owner_references: Vec<OwnerReference>,
        /// `labels`.
        labels: Labels,
        /// `annotations`.
        annotations: Annotations,
    }

    /// One owner reference.
    OwnerReference {
        /// `apiVersion`.
        api_version: String,
        /// `kind`.
        kind: String,
        /// `name`.
        name: String,
        /// `uid`.
        uid: String,
        /// `controller`.
        controller: bool,
    }

    /// A ServiceAccount.
    ServiceAccount {
        /// `metadata`.
        metadata: Metadata,
        /// `secrets`.
        secrets: Vec<SecretReference>,
        /// `automountServiceAccountToken`.
        automount_service_account_token: Option<bool>,
    }

    /// A ConfigMap.
    ConfigMap {
        /// `metadata`.
        metadata: Metadata,
        /// `data`.
        data: Texts,
    }

    /// A Secret; its data is in files alone.
    Secret {
        /// `kind`, which says whether only metadata was requested.
        kind: String,
        /// `metadata`.
        metadata: Metadata,
        /// `type`.
        #[serde(rename = "type")]
        type_: String,
        /// `data`, in base64.
        data: Option<Texts>,
        /// `stringData`.
        string_data: Option<Texts>,
    }

    /// A CSIDriver.
    CsiDriver {
        /// `metadata`.
        metadata: Metadata,
        /// `spec`.
        spec: CsiDriverSpec,
    }

    /// The spec of a CSIDriver.
    CsiDriverSpec {
        /// `tokenRequests`.
        token_requests: Vec<TokenRequest>,
    }

    /// One entry of `tokenRequests`.
    TokenRequest {
        /// `audience`.
        audience: String,
        /// `expirationSeconds`.
        expiration_seconds: Option<i64>,
    }

    /// A Namespace.
    Namespace {
        /// `metadata`.
        metadata: Metadata,
    }
}
