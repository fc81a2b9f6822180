//! What the client parses an object into: the facts at once, and as little metadata as it needs.

use std::borrow::Cow;

use kube::{Resource, api::ObjectMeta, core::DynamicResourceScope};
use serde::{Deserialize, Deserializer};

use crate::{
    facts::Kind,
    model::{InputKind, ObjectKey},
};

/// Which objects of a kind are asked for. Of Secrets, those with a token of an account; the API server
/// sends nothing of any other.
pub(super) const fn field_selector(kind: InputKind) -> Option<&'static str> {
    match kind {
        InputKind::Secret => Some("type=kubernetes.io/service-account-token"),
        _ => None,
    }
}

/// An object of a kind, reduced to its facts while it is parsed.
#[derive(Clone, Debug)]
pub struct Object<K: Kind> {
    metadata: ObjectMeta,
    /// Its key.
    pub key: ObjectKey,
    /// Its facts.
    pub facts: K::Facts,
}

impl<'de, K: Kind> Deserialize<'de> for Object<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = K::Wire::deserialize(deserializer)?;
        // The watcher reads the resourceVersion, and nothing else.
        let metadata = ObjectMeta {
            resource_version: Some(K::metadata(&wire).resource_version.clone()),
            ..ObjectMeta::default()
        };
        Ok(Self {
            metadata,
            key: K::key(&wire),
            facts: K::facts(&wire),
        })
    }
}

impl<K: Kind> Resource for Object<K> {
    type DynamicType = ();
    type Scope = DynamicResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        K::INPUT.name().into()
    }

    fn group((): &()) -> Cow<'_, str> {
        K::INPUT.group().into()
    }

    fn version((): &()) -> Cow<'_, str> {
        K::INPUT.version().into()
    }

    /// Of Secrets only the metadata is asked for.
    fn metadata_api() -> bool {
        K::INPUT == InputKind::Secret
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::INPUT.plural().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
