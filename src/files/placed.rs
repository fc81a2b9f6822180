//! The fields that manifests may omit and the API server fills in: the namespace and name of an object.

use serde::{Deserialize, de::DeserializeOwned};

use crate::facts::{refused, wire};

/// An object of which only the name is read.
#[derive(Default, Deserialize)]
pub(super) struct Named {
    #[serde(default)]
    pub(super) metadata: Name,
}

#[derive(Default, Deserialize)]
pub(super) struct Name {
    #[serde(default)]
    pub(super) name: String,
}

/// An object whose namespace can be filled in.
pub(super) trait Placed: DeserializeOwned {
    fn metadata_mut(&mut self) -> &mut wire::Metadata;

    /// Why the API server would reject it.
    fn rejections(&self) -> Vec<String>;
}

macro_rules! placed {
    ($($type:ty: $rejections:expr;)*) => {
        $(impl Placed for $type {
            fn metadata_mut(&mut self) -> &mut wire::Metadata {
                &mut self.metadata
            }

            fn rejections(&self) -> Vec<String> {
                let rejections: fn(&Self) -> Vec<String> = $rejections;
                rejections(self)
            }
        })*
    };
}
placed! {
    wire::ServiceAccount: |_| Vec::new();
    wire::Namespace: |_| Vec::new();
    wire::Secret: |_| Vec::new();
    wire::CsiDriver: |_| Vec::new();
    wire::Role: |role| refused::in_rules(&role.rules, true);
    wire::Binding: refused::in_binding;
}
