//! Adds accounts, RBAC objects and others to the index, each joined with its copies in other files and folders.

use super::Loader;
use crate::{
    facts::{Pods, Wire, rejected},
    files::{
        cluster_role::ClusterRole,
        copies::{Joined, Together, join_cluster_roles},
        manifest::Manifest,
        places::{Form, workload_key},
    },
    index::{Index, Indexed},
    model::{InputKind, ObjectKey, PodFacts, Workload, pod::Pod},
    rbac::aggregate::AggregatedRole,
};

impl Loader<'_> {
    pub(super) fn apply<K: Joined>(&mut self, manifest: &Manifest<'_>) -> Result<(), String>
    where
        Index: Indexed<K>,
    {
        let mut wire: K::Wire = manifest.read()?;
        let is_guessed = self.place(wire.metadata_mut(), K::INPUT.is_namespaced());
        let key = K::key(&wire);
        self.warn_rejected(K::INPUT, &key.name, wire.rejected());
        if !(self.keeps_known && self.index.contains::<K>(&key)) {
            if K::INPUT == InputKind::RoleBinding && is_guessed {
                self.namespaces.note_binding(key.clone());
            }
            if K::INPUT == InputKind::ServiceAccount {
                self.namespaces.note(key.clone().into(), is_guessed);
                self.check_exemption(&wire.metadata().annotations);
                let account = Workload::new(K::INPUT.name(), &key.name);
                let key = workload_key(&key.namespace, &account);
                let form = Form::of(wire.metadata());
                self.note_place(key, manifest, ("", None), form);
            }
            let facts = K::facts(&wire, self.index.config());
            self.add::<K>(key, facts);
        }
        Ok(())
    }

    /// Adds an object to the index, joined with what another file or folder says of it.
    fn add<K: Joined>(&mut self, key: ObjectKey, facts: K::Facts)
    where
        Index: Indexed<K>,
    {
        // A dump has each object once.
        let before = (!self.is_large).then(|| self.copies.note(K::INPUT, &key));
        let joined = before.flatten().and_then(|before| {
            let known = self.index.get::<K>(&key)?;
            let joined = K::joined(known, &facts)?;
            self.copies.differs(K::INPUT, &key, before);
            Some(joined)
        });
        let Together { facts, beside } = joined.unwrap_or_else(|| facts.into());
        if let Some((name, facts)) = beside {
            let key = key.beside(&name);
            let known = self.index.get::<K>(&key);
            let joined = known.and_then(|known| K::joined(known, &facts));
            self.index
                .apply::<K>(key, joined.map_or(facts, |joined| joined.facts));
        }
        self.index.apply::<K>(key, facts);
    }

    /// The key of a live pod: dumps of several clusters may have different ones of the same name, which all count.
    pub(super) fn beside_known(&mut self, key: ObjectKey, pod: &Pod, uid: &str) -> ObjectKey {
        // As the warning names it; a dump has each pod once.
        let shown = (!self.is_large)
            .then(|| workload_key(&key.namespace, &Workload::new("Pod", &key.name)));
        let before = shown
            .as_ref()
            .and_then(|shown| self.copies.note(InputKind::Pod, shown));
        let known = self.index.get::<Pods>(&key);
        if known.is_none_or(|known| known.shape == pod.shape) {
            return key;
        }
        if let (Some(shown), Some(before)) = (shown, before) {
            self.copies.differs(InputKind::Pod, &shown, before);
        }
        key.beside(uid)
    }

    /// Adds the templates of a workload. Those of the same generated name are of different objects.
    pub(super) fn add_templates(&mut self, key: &ObjectKey, templates: Vec<PodFacts>) {
        let is_named = !self.is_large && !key.name.ends_with('*');
        let before = is_named.then(|| self.copies.note(InputKind::Pod, key));
        if self.templates.written(key.clone(), templates)
            && let Some(before) = before.flatten()
        {
            self.copies.differs(InputKind::Pod, key, before);
        }
    }

    pub(super) fn rbac<K: Joined>(&mut self, manifest: &Manifest<'_>) -> Result<(), String>
    where
        Index: Indexed<K>,
    {
        self.outcome.has_rbac = true;
        self.has_role_bindings |= K::INPUT == InputKind::RoleBinding;
        self.apply::<K>(manifest)
    }

    pub(super) fn cluster_role(&mut self, manifest: &Manifest<'_>) -> Result<(), String> {
        self.outcome.has_rbac = true;
        let wire: ClusterRole = manifest.read()?;
        let name = wire.metadata.name.clone();
        let rejections = rejected::in_rules(wire.rules(), false);
        self.warn_rejected(InputKind::ClusterRole, &name, rejections);
        if !(self.keeps_known && self.cluster_roles.contains_key(&name)) {
            let mut role = AggregatedRole::from(wire);
            let key = ObjectKey::cluster(&*name);
            if let Some(before) = self.copies.note(InputKind::ClusterRole, &key)
                && let Some(known) = self.cluster_roles.get(&name)
                && join_cluster_roles(known, &mut role)
            {
                self.copies.differs(InputKind::ClusterRole, &key, before);
            }
            self.cluster_roles.insert(name, role);
        }
        Ok(())
    }
}
