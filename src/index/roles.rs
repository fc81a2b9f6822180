//! Roles and ClusterRoles: a change touches every account that a binding of the role reaches.

use super::{Index, Indexed, Table};
use crate::{
    facts::{ClusterRoles, Roles},
    model::{ObjectKey, Role},
};

impl Index {
    /// The role of a key; a ClusterRole's has no namespace.
    pub(super) fn role(&self, key: &ObjectKey) -> Option<&Role> {
        if key.is_cluster() {
            self.cluster_roles.get(key)
        } else {
            self.roles.get(key)
        }
    }

    fn mark_bound(&mut self, role: &ObjectKey) {
        let bindings = self.bindings_of_role.of(role);
        let subjects: Vec<_> = bindings
            .filter_map(|key| self.binding(key))
            .flat_map(|(_, binding)| binding.subjects.to_vec())
            .collect();
        self.mark_subjects(&subjects);
    }
}

impl Indexed<Roles> for Index {
    fn table(&mut self) -> &mut Table<Role> {
        &mut self.roles
    }

    fn changed(&mut self, key: &ObjectKey, _old: Option<&Role>, _new: Option<&Role>) {
        self.mark_bound(key);
    }
}

impl Indexed<ClusterRoles> for Index {
    fn table(&mut self) -> &mut Table<Role> {
        &mut self.cluster_roles
    }

    fn changed(&mut self, key: &ObjectKey, _old: Option<&Role>, _new: Option<&Role>) {
        self.mark_bound(key);
    }
}
