//! What to change in an object, so that its pods carry no token that nothing needs.

use std::fmt;

use serde_json::{Value, json};

use super::{ServiceAccountRef, Workload, workload::PodKind};

/// JSON in one piece: a tree of it takes ten times the memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(Box<str>);

impl From<Value> for Json {
    fn from(tree: Value) -> Self {
        Self(tree.to_string().into())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Json {
    /// The same as a tree.
    #[must_use]
    pub fn tree(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

/// The kinds of patches, as `kubectl patch --type` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// A JSON merge patch.
    Merge,
    /// A strategic merge patch, which adds to lists.
    Strategic,
    /// A JSON patch (RFC 6902), which changes items of lists in custom kinds.
    Json,
}

/// A patch for one object in the namespace of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The object to patch.
    pub target: Workload,
    /// Its `apiVersion`.
    pub api_version: Box<str>,
    /// What kind of patch it is.
    pub type_: PatchType,
    /// The patch.
    pub patch: Json,
}

impl Patch {
    /// The patch that disables automount for an account.
    #[must_use]
    pub fn disabling_automount(account: &ServiceAccountRef) -> Self {
        Self {
            target: Workload::new("ServiceAccount", &account.name),
            api_version: "v1".into(),
            type_: PatchType::Merge,
            patch: json!({ "automountServiceAccountToken": false }).into(),
        }
    }

    /// As `kubectl patch --type` expects it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.type_ {
            PatchType::Merge => "merge",
            PatchType::Strategic => "strategic",
            PatchType::Json => "json",
        }
    }

    /// The resource as kubectl takes it: that of a custom kind with its group, since other groups may have the same.
    #[must_use]
    pub fn resource(&self) -> String {
        let kind = self.target.kind.to_lowercase();
        match self.api_version.rsplit_once('/') {
            Some((group, _)) if !kind.contains('.') && !PodKind::has_group(group) => {
                format!("{kind}.{group}")
            }
            _ => kind,
        }
    }

    /// Whether its object has a name; else it has a pattern of names, which each object that is created from it gets.
    fn has_name(&self) -> bool {
        !self.target.name.contains('*')
    }

    /// Whether the API server accepts the patch for a live object: a Pod or a Job can only be patched
    /// in its manifest.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.has_name() && PodKind::named(&self.target.kind).is_none_or(|kind| kind.is_mutable)
    }

    /// The patch with the name of its object, as kustomize expects it; `None` for a JSON patch, which has no place for
    /// a name.
    #[must_use]
    pub fn for_kustomize(&self, namespace: &str) -> Option<Value> {
        if self.type_ == PatchType::Json || !self.has_name() {
            return None;
        }
        let (kind, _) = self
            .target
            .kind
            .split_once('.')
            .unwrap_or((&self.target.kind, ""));
        let mut patch = self.patch.tree();
        patch["apiVersion"] = (*self.api_version).into();
        patch["kind"] = kind.into();
        patch["metadata"] = json!({ "name": *self.target.name, "namespace": namespace });
        Some(patch)
    }
}
