//! RoleBindings and ClusterRoleBindings, found by subject and by role.

use std::collections::{BTreeSet, HashMap};

use super::{Index, Indexed, Table, table::unlink};
use crate::{
    facts::{ClusterRoleBindings, RoleBindings},
    model::{Binding, ObjectKey, ServiceAccountRef, Subject},
};

/// Which bindings name a subject.
pub(super) type Subjects = HashMap<Subject, BTreeSet<ObjectKey>>;

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
            .filter_map(|subject| self.subjects.get(subject))
            .flatten()
            .collect();
        keys.into_iter().filter_map(|key| self.binding(key))
    }

    /// Marks every account dirty that one of the subjects reaches.
    pub(super) fn mark_subjects(&mut self, subjects: &[Subject]) {
        for subject in subjects {
            match subject {
                Subject::Authenticated | Subject::AllServiceAccounts => return self.mark_all(),
                Subject::NamespaceServiceAccounts(namespace) => {
                    for account in self.accounts_in(namespace).cloned().collect::<Vec<_>>() {
                        self.mark(&account);
                    }
                }
                Subject::User(account) | Subject::ServiceAccount(account) => self.mark(account),
            }
        }
    }

    fn binding_changed(&mut self, key: &ObjectKey, old: Option<&Binding>, new: Option<&Binding>) {
        if let Some(old) = old {
            for subject in &old.subjects {
                unlink(&mut self.subjects, subject, key);
            }
            unlink(
                &mut self.bindings_of_role,
                &old.role_ref.key(&key.namespace),
                key,
            );
        }
        if let Some(new) = new {
            for subject in &new.subjects {
                self.subjects
                    .entry(subject.clone())
                    .or_default()
                    .insert(key.clone());
            }
            // A binding that reaches no account needs no entry for its role.
            if !new.subjects.is_empty() {
                let role = new.role_ref.key(&key.namespace);
                self.bindings_of_role
                    .entry(role)
                    .or_default()
                    .insert(key.clone());
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
            let both: BTreeSet<_> = before
                .iter()
                .filter(|subject| after.contains(subject))
                .cloned()
                .collect();
            before.retain(|subject| !both.contains(subject));
            after.retain(|subject| !both.contains(subject));
        }
        self.mark_subjects(&before);
        self.mark_subjects(&after);
    }
}

impl Indexed<RoleBindings> for Index {
    fn table(&mut self) -> &mut Table<Binding> {
        &mut self.role_bindings
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
