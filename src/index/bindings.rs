//! RoleBindings and ClusterRoleBindings, found by subject and by role.

use std::collections::BTreeSet;

use super::{Index, Indexed, Table, reverse::Reverse};
use crate::{
    facts::{ClusterRoleBindings, RoleBindings},
    model::{
        Binding, Grant, InputKind, ObjectKey, Role, Scope, ServiceAccountRef, Subject, rbac::Effect,
    },
};

/// Which bindings name a subject.
pub(super) type Subjects = Reverse<Subject, ObjectKey>;

/// The subjects of a binding that match something.
fn reaching(binding: &Binding) -> impl Iterator<Item = &Subject> {
    let subjects = binding.subjects.iter();
    subjects.filter(|subject| !matches!(subject, Subject::Stray(_)))
}

impl Index {
    /// A binding of either kind, with its own key.
    pub(super) fn binding(&self, key: &ObjectKey) -> Option<(&ObjectKey, &Binding)> {
        let table = if key.is_cluster() {
            &self.cluster_role_bindings
        } else {
            &self.role_bindings
        };
        table.get_key_value(key)
    }

    /// The bindings that name an account, or a group that it is in.
    pub(super) fn bindings_of<'a>(
        &'a self,
        account: &ServiceAccountRef,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Binding)> + use<'a> {
        let reached_by = [
            Subject::Authenticated,
            Subject::AllServiceAccounts,
            Subject::NamespaceServiceAccounts(account.namespace.clone()),
            Subject::User(account.clone()),
            Subject::ServiceAccount(account.clone()),
        ];
        let keys: BTreeSet<&'a ObjectKey> = reached_by
            .iter()
            .flat_map(|subject| self.subjects.of(subject))
            .collect();
        keys.into_iter().filter_map(|key| self.binding(key))
    }

    /// The ClusterRoleBindings that grant everything to every account, every user or everybody.
    #[must_use]
    pub fn granting_everything(&self) -> Vec<Grant> {
        let everybody = [
            Subject::Authenticated,
            Subject::AllServiceAccounts,
            Subject::Unauthenticated,
        ];
        let mut grants = Vec::new();
        for via in everybody {
            let keys = self.subjects.of(&via);
            for (key, binding) in keys.filter_map(|key| self.binding(key)) {
                let role_ref = &binding.role_ref;
                let role = self.role(&role_ref.key(&key.namespace));
                if key.is_cluster() && role.is_some_and(Role::grants_everything) {
                    grants.push(Grant {
                        effect: Effect::Grants,
                        caveat: None,
                        binding: key.clone(),
                        role_ref: role_ref.clone(),
                        scope: Scope::Cluster,
                        via: via.clone(),
                        default_of: None,
                        last_used: None,
                    });
                }
            }
        }
        grants
    }

    /// Marks every account dirty that one of the subjects reaches.
    pub(super) fn mark_subjects(&mut self, subjects: &[Subject]) {
        for subject in subjects {
            match subject {
                Subject::Authenticated | Subject::AllServiceAccounts => return self.mark_all(),
                Subject::NamespaceServiceAccounts(namespace) => self.mark_namespace(namespace),
                Subject::User(account) | Subject::ServiceAccount(account) => self.mark(account),
                Subject::Unauthenticated | Subject::Stray(_) => {}
            }
        }
    }

    fn binding_changed(&mut self, key: &ObjectKey, old: Option<&Binding>, new: Option<&Binding>) {
        if let Some(old) = old {
            for subject in reaching(old) {
                self.subjects.unlink(subject, key);
            }
            let role = old.role_ref.key(&key.namespace);
            self.bindings_of_role.unlink(&role, key);
        }
        if let Some(new) = new {
            for subject in reaching(new) {
                self.subjects.link(subject.clone(), key.clone());
            }
            // A binding that reaches no account needs no entry for its role.
            if reaching(new).next().is_some() {
                let role = new.role_ref.key(&key.namespace);
                self.bindings_of_role.link(role, key.clone());
            }
        }
        let subjects = |binding: Option<&Binding>| {
            binding
                .map(|binding| binding.subjects.to_vec())
                .unwrap_or_default()
        };
        let (mut before, mut after) = (subjects(old), subjects(new));
        if old.map(|binding| &binding.role_ref) == new.map(|binding| &binding.role_ref) {
            // Only the subjects differ: those in both are not touched.
            let [old, new]: [BTreeSet<_>; 2] =
                [&before, &after].map(|subjects| subjects.iter().cloned().collect());
            before.retain(|subject| !new.contains(subject));
            after.retain(|subject| !old.contains(subject));
        }
        self.mark_subjects(&before);
        self.mark_subjects(&after);
        let touched = before.iter().chain(&after).filter_map(Subject::account);
        self.near_binding_changed(key, (old, new), touched);
    }
}

impl Indexed<RoleBindings> for Index {
    fn table(&mut self) -> &mut Table<Binding> {
        &mut self.role_bindings
    }

    /// Most bind people. In files, one that binds no account still takes the place of one that every API server creates.
    fn keeps(&self, binding: &Binding) -> bool {
        let is_from_files = !self.readings.contains_key(&InputKind::RoleBinding);
        !binding.subjects.is_empty() || is_from_files
    }

    fn changed(&mut self, key: &ObjectKey, old: Option<&Binding>, new: Option<&Binding>) {
        self.binding_changed(key, old, new);
    }
}

impl Indexed<ClusterRoleBindings> for Index {
    fn table(&mut self) -> &mut Table<Binding> {
        &mut self.cluster_role_bindings
    }

    fn changed(&mut self, key: &ObjectKey, old: Option<&Binding>, new: Option<&Binding>) {
        self.binding_changed(key, old, new);
    }
}
