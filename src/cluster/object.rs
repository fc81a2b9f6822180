//! The type that the client parses an object into: the fields that are read, and as little metadata as it needs.

use std::{borrow::Cow, sync::LazyLock};

use kube::{Resource, api::ObjectMeta, core::DynamicResourceScope};
use serde::{Deserialize, Deserializer};

use crate::{
    facts::{Kind, Wire},
    index::{Index, Indexed},
    model::{InputKind, Selection},
};

/// How many namespaces the API server is asked to leave out by name; the others are left out here.
const MAX_EXCLUDED: usize = 64;

/// The field selector of a kind: of Secrets, the API server sends only those with a token of an account, and of the
/// namespaces that are left out by name, nothing that only their accounts depend on.
pub(super) fn field_selector(kind: InputKind, selection: &Selection) -> Option<String> {
    let mut terms = Vec::new();
    if kind == InputKind::Secret {
        terms.push("type=kubernetes.io/service-account-token".to_owned());
    }
    if kind.is_of_accounts() {
        let excluded = selection.excluded_names().take(MAX_EXCLUDED);
        let mut names = selection.selected_names();
        match (names.next(), names.next()) {
            (Some(only), None) => terms.push(format!("metadata.namespace={only}")),
            (None, _) => terms.extend(excluded.map(|name| format!("metadata.namespace!={name}"))),
            (Some(_), Some(_)) => {}
        }
    }
    (!terms.is_empty()).then(|| terms.join(","))
}

/// An object of a kind.
#[derive(Clone, Debug)]
pub(super) struct Object<K: Kind> {
    /// Nothing: the client does not read it.
    metadata: Option<Box<ObjectMeta>>,
    wire: Box<K::Wire>,
}

impl<'de, K: Kind> Deserialize<'de> for Object<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<K::Wire>::deserialize(deserializer).map(Self::new)
    }
}

impl<K: Kind> Object<K> {
    pub(super) const fn new(wire: Box<K::Wire>) -> Self {
        Self {
            metadata: None,
            wire,
        }
    }

    /// Its resource version; empty without one.
    pub(super) fn version(&self) -> &str {
        &self.wire.metadata().resource_version
    }

    #[cfg(test)]
    pub(super) fn name(&self) -> &str {
        &self.wire.metadata().name
    }

    pub(super) fn has_annotation(&self, key: &str) -> bool {
        self.wire.metadata().annotations.get(key).is_some()
    }
}

impl<K: Kind> Object<K>
where
    Index: Indexed<K>,
{
    /// Puts its facts into the index.
    pub(super) fn apply_to(&self, index: &mut Index) {
        let facts = K::facts(&self.wire, index.config());
        index.apply::<K>(K::key(&self.wire), facts);
    }

    /// Removes its facts from the index.
    pub(super) fn delete_from(&self, index: &mut Index) {
        index.delete::<K>(&K::key(&self.wire));
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

    /// Of Secrets, only the metadata is requested.
    fn metadata_api() -> bool {
        K::INPUT == InputKind::Secret
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::INPUT.plural().into()
    }

    fn meta(&self) -> &ObjectMeta {
        static NOTHING: LazyLock<ObjectMeta> = LazyLock::new(ObjectMeta::default);
        self.metadata.as_deref().unwrap_or(&NOTHING)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.metadata.get_or_insert_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::model::selection::pattern;

    #[test]
    fn the_api_server_leaves_out_what_it_can() {
        let of = |kind, names: &[&str], except: &[&str]| {
            let selection = Selection {
                except: except.iter().map(|text| pattern(text).unwrap()).collect(),
                ..Selection::only(names.iter().copied())
            };
            field_selector(kind, &selection).unwrap_or_default()
        };
        let (pods, secrets) = (InputKind::Pod, InputKind::Secret);
        let tokens = "type=kubernetes.io/service-account-token";
        assert_eq!(of(pods, &[], &[]), "");
        assert_eq!(of(secrets, &[], &[]), tokens);
        assert_eq!(of(pods, &["a"], &["b"]), "metadata.namespace=a");
        assert_eq!(of(pods, &["a", "b"], &["b"]), "metadata.namespace=a");
        assert_eq!(of(pods, &["a", "b"], &[]), "");
        assert_eq!(
            of(secrets, &[], &["x", "kube-*", "y"]),
            format!("{tokens},metadata.namespace!=x,metadata.namespace!=y")
        );
        assert_eq!(of(InputKind::RoleBinding, &["a"], &["x"]), "");
    }
}
