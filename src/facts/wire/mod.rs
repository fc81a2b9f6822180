//! The slim types that objects are parsed into: only the fields that are read. `null` counts as
//! absent everywhere, as in the API server.

use serde::{Deserialize, Deserializer};

pub use self::{
    container::*,
    pod::*,
    proto::{Decode, Fields, Malformed, Proto, Value, decode, entry},
    rbac::*,
};
pub use super::words::{Annotations, Labels, PodPhase, Texts, Time, VariableName, Word};

/// Reads `null` as the default value.
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Declares slim types: every field may be absent or `null`. `= 2` is the number of the field in protobuf; `= 2 / 6`
/// is field 6 of the message in field 2, whose fields JSON has in the outer object. A block without numbers has types
/// that are only read as JSON or YAML.
macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $number:literal $(/ $inner:literal)?),* $(,)? })*) => {
        wire! { $($(#[$doc])* $name { $($(#[$field_doc])* $field: $type),* })* }
        $(
            impl $crate::facts::wire::Proto for $name {
                fn merge(&mut self, value: $crate::facts::wire::Value<'_>) -> Result<(), $crate::facts::wire::Malformed> {
                    // The messages whose fields are read as if they were our own.
                    const INLINED: &[u32] = &[$($(wire!(@outer $number $inner),)?)*];
                    for field in $crate::facts::wire::Fields(value.bytes()?) {
                        let (number, value) = field?;
                        if INLINED.contains(&number) {
                            for inner in $crate::facts::wire::Fields(value.bytes()?) {
                                let (inner, value) = inner?;
                                self.field((number, inner), value)?;
                            }
                        } else {
                            self.field((number, 0), value)?;
                        }
                    }
                    Ok(())
                }
            }

            impl $name {
                /// The numbers of the fields that are read.
                #[allow(dead_code, reason = "few messages are read in parts")]
                pub(super) const NUMBERS: &[u32] = &[$($number),*];

                /// Reads a field, by its number and that in an inlined message.
                #[allow(unused_variables, clippy::unused_self, clippy::unnecessary_wraps, reason = "a type may have no fields")]
                fn field(&mut self, number: (u32, u32), value: $crate::facts::wire::Value<'_>) -> Result<(), $crate::facts::wire::Malformed> {
                    match number {
                        $(wire!(@number $number $($inner)?) => $crate::facts::wire::Proto::merge(&mut self.$field, value),)*
                        _ => Ok(()),
                    }
                }
            }

            #[cfg(test)]
            #[allow(unused_variables, reason = "a type may have no fields")]
            impl $crate::facts::wire::tests::Declared for $name {
                fn declared(into: &mut std::collections::BTreeSet<&'static str>) {
                    $(
                        into.insert(concat!(stringify!($name), ".", stringify!($field)));
                        <$type as $crate::facts::wire::tests::Declared>::declared(into);
                    )*
                }

                fn found(&self, into: &mut std::collections::BTreeSet<&'static str>) {
                    $(
                        if format!("{:?}", self.$field) != format!("{:?}", <$type>::default()) {
                            into.insert(concat!(stringify!($name), ".", stringify!($field)));
                        }
                        $crate::facts::wire::tests::Declared::found(&self.$field, into);
                    )*
                }
            }
        )*
    };
    (@outer $number:literal $inner:literal) => { $number };
    (@number $number:literal) => { ($number, 0) };
    (@number $number:literal $inner:literal) => { ($number, $inner) };
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

mod container;
mod pod;
mod proto;
mod rbac;
#[cfg(test)]
mod tests;

wire! {
    /// `metadata`.
    Metadata {
        /// `name`.
        name: String = 1,
        /// `generateName`.
        generate_name: String = 2,
        /// `namespace`; empty when cluster-scoped or left out.
        namespace: String = 3,
        /// `uid`, which only the API server assigns.
        uid: String = 5,
        /// `resourceVersion`.
        resource_version: String = 6,
        /// `creationTimestamp`.
        creation_timestamp: Time = 8,
        /// `deletionTimestamp`.
        deletion_timestamp: Option<Time> = 9,
        /// `ownerReferences`.
        owner_references: Vec<OwnerReference> = 13,
        /// `labels`.
        labels: Labels = 11,
        /// `annotations`.
        annotations: Annotations = 12,
    }

    /// One owner reference.
    OwnerReference {
        /// `apiVersion`.
        api_version: String = 5,
        /// `kind`.
        kind: String = 1,
        /// `name`.
        name: String = 3,
        /// `uid`.
        uid: String = 4,
        /// `controller`.
        controller: bool = 6,
    }

    /// A ServiceAccount.
    ServiceAccount {
        /// `metadata`.
        metadata: Metadata = 1,
        /// `secrets`.
        secrets: Vec<ObjectReference> = 2,
        /// `automountServiceAccountToken`.
        automount_service_account_token: Option<bool> = 4,
    }

    /// A ConfigMap.
    ConfigMap {
        /// `metadata`.
        metadata: Metadata = 1,
        /// `data`.
        data: Texts = 2,
    }

    /// A Namespace.
    Namespace {
        /// `metadata`.
        metadata: Metadata = 1,
    }

    /// `metadata` of a list.
    ListMetadata {
        /// `resourceVersion`.
        resource_version: String = 2,
        /// `continue`: names the next page.
        continue_: String = 3,
        /// `remainingItemCount`.
        remaining_item_count: Option<i64> = 4,
    }

    /// A Status, which says why a request failed.
    Status {
        /// `message`.
        message: String = 3,
        /// `reason`.
        reason: String = 4,
        /// `code`.
        code: i64 = 6,
    }

    /// The part of a reference to another object that is read.
    ObjectReference {
        /// `name`.
        name: String = 3,
    }
}

wire! {
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
}
