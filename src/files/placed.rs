//! What manifests may leave out, and the API server fills in: the namespace of an object, its name.

use serde::{Deserialize, de::DeserializeOwned};

use crate::facts::{rejected, wire};

/// An object of which only the name is asked.
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

    /// What the API server would refuse of it.
    fn refused(&self) -> Vec<String>;
}

macro_rules! placed {
    ($($type:ty: $refused:expr;)*) => {
        $(impl Placed for $type {
            fn metadata_mut(&mut self) -> &mut wire::Metadata {
                &mut self.metadata
            }

            fn refused(&self) -> Vec<String> {
                let refused: fn(&Self) -> Vec<String> = $refused;
                refused(self)
            }
        })*
    };
}
placed! {
    wire::ServiceAccount: |_| Vec::new();
    wire::Namespace: |_| Vec::new();
    wire::Secret: |_| Vec::new();
    wire::CsiDriver: |_| Vec::new();
    wire::Role: |role| rejected::in_rules(&role.rules, true);
    wire::Binding: rejected::in_binding;
}
