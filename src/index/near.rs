//! Bindings that nearly name an account: the account that they name does not exist, or its username is misspelled.
//!
//! Only these are candidates, so that nothing is compared with every binding. All of it is found anew when the last kind
//! was read: before that, most accounts that bindings name are not known yet.

use std::{cell::LazyCell, collections::BTreeSet};

use super::{Account, Index, bindings::Subjects, table::Table};
use crate::{
    model::{
        Binding, InputKind, Name, ObjectKey, ServiceAccountRef, Subject, note::NearName,
        stray::Stray,
    },
    rbac::near::is_misspelled,
};

/// How many missing accounts of a namespace, or of a name, an account is compared with; few in tests, which then reach
/// the limit.
const MAX_COMPARED: usize = if cfg!(test) { 2 } else { 1_000 };
/// How many bindings are found for each of them, and for an account in all.
const MAX_FOUND: usize = if cfg!(test) { 2 } else { 20 };

/// What may be meant for another account than it says.
#[derive(Debug, Default)]
pub(super) struct Near {
    /// The accounts that bindings name and that do not exist.
    missing: BTreeSet<ServiceAccountRef>,
    /// The same by name: name and namespace.
    missing_names: BTreeSet<(Name, Name)>,
    /// The bindings with a stray subject, by the account that it may mean; that of any namespace has an empty one.
    strays: BTreeSet<(ServiceAccountRef, ObjectKey)>,
}

impl Near {
    /// The missing accounts of a namespace, as many as are compared.
    fn missing_in(&self, namespace: &Name) -> impl Iterator<Item = &ServiceAccountRef> {
        let first = ServiceAccountRef::new(namespace.clone(), "");
        let all = self.missing.range(first..).take(MAX_COMPARED);
        let namespace = namespace.clone();
        all.take_while(move |missing| missing.namespace == namespace)
    }

    /// The namespaces of missing accounts of a name, as many as are compared.
    fn missing_named(&self, name: &Name) -> impl Iterator<Item = &Name> {
        let first = (name.clone(), Name::new());
        let all = self.missing_names.range(first..).take(MAX_COMPARED);
        let name = name.clone();
        all.take_while(move |(other, _)| *other == name)
            .map(|(_, namespace)| namespace)
    }

    /// The bindings with a stray subject that may mean an account.
    fn strays_of(&self, account: &ServiceAccountRef) -> impl Iterator<Item = &ObjectKey> {
        let first = (account.clone(), ObjectKey::cluster(""));
        let account = account.clone();
        let all = self.strays.range(first..);
        all.take_while(move |(meant, _)| *meant == account)
            .map(|(_, key)| key)
    }

    fn set_missing(&mut self, account: &ServiceAccountRef, is_missing: bool) {
        let name = (account.name.clone(), account.namespace.clone());
        if is_missing {
            self.missing.insert(account.clone());
            self.missing_names.insert(name);
        } else {
            self.missing.remove(account);
            self.missing_names.remove(&name);
        }
    }
}

/// The subjects by which a binding can name an account.
fn subjects_of(account: &ServiceAccountRef) -> [Subject; 2] {
    [
        Subject::User(account.clone()),
        Subject::ServiceAccount(account.clone()),
    ]
}

/// The bindings that name an account, as many as are found, with the subject; those of one namespace, or all.
fn naming(
    subjects: &Subjects,
    account: &ServiceAccountRef,
    namespace: Option<&Name>,
) -> Vec<NearName> {
    let first = ObjectKey::new(namespace.cloned().unwrap_or_default(), "");
    let found = subjects_of(account).into_iter().flat_map(|subject| {
        let keys = subjects.of_from(&subject, &first).take(MAX_FOUND);
        let wanted = keys.take_while(|key| namespace.is_none_or(|only| key.namespace == *only));
        wanted.map(move |key| NearName {
            binding: key.clone(),
            subject: subject.clone(),
        })
    });
    found.collect()
}

/// The stray subjects of a binding, each with the account that it may mean; without a namespace where that may be any.
fn strays<'a>(
    key: &ObjectKey,
    binding: &'a Binding,
) -> impl Iterator<Item = (ServiceAccountRef, &'a Stray)> {
    binding.subjects.iter().filter_map(|subject| {
        let Subject::Stray(stray) = subject else {
            return None;
        };
        let (namespace, name) = stray.meant()?;
        let namespace = namespace.map_or_else(|| key.namespace.clone(), Name::from);
        Some((ServiceAccountRef::new(namespace, name), stray))
    })
}

impl Index {
    // === what is found ===

    /// The bindings that may mean an account although they name none that exists.
    pub(super) fn nearly_naming(&self, account: &ServiceAccountRef) -> Vec<NearName> {
        let accounts = self.readings.get(&InputKind::ServiceAccount);
        if accounts.is_some_and(|reading| !reading.synced || reading.forbidden) {
            return Vec::new();
        }
        let mut found = self.misspelled(account);
        found.extend(self.in_other_namespaces(account));
        found.extend(self.stray_bindings(account));
        found.sort_unstable();
        found.dedup();
        found.truncate(MAX_FOUND);
        found
    }

    /// The bindings that name a missing account of the same namespace with nearly the same name.
    fn misspelled(&self, account: &ServiceAccountRef) -> Vec<NearName> {
        if self.near.missing.is_empty() || !self.lists_accounts_of(&account.namespace) {
            return Vec::new();
        }
        let missing = self.near.missing_in(&account.namespace);
        let near = missing.filter(|missing| is_misspelled(&missing.name, &account.name));
        near.flat_map(|missing| naming(&self.subjects, missing, None))
            .collect()
    }

    /// The bindings that name a missing account of the same name in another namespace: RoleBindings in the namespace of
    /// the account, and ClusterRoleBindings where no other account has its name.
    fn in_other_namespaces(&self, account: &ServiceAccountRef) -> Vec<NearName> {
        if self.near.missing.is_empty() {
            return Vec::new();
        }
        let everywhere = Name::new();
        let namespaces = self.near.missing_named(&account.name);
        let others = namespaces
            .filter(|other| **other != account.namespace && self.lists_accounts_of(other));
        let is_only = LazyCell::new(|| self.is_only(&account.name));
        let mut found = Vec::new();
        for other in others {
            let missing = ServiceAccountRef::new(other.clone(), account.name.clone());
            found.extend(naming(&self.subjects, &missing, Some(&account.namespace)));
            let of_cluster = naming(&self.subjects, &missing, Some(&everywhere));
            if !of_cluster.is_empty() && *is_only {
                found.extend(of_cluster);
            }
        }
        found
    }

    /// The bindings with a misspelled username that may mean an account.
    fn stray_bindings(&self, account: &ServiceAccountRef) -> Vec<NearName> {
        if self.near.strays.is_empty() {
            return Vec::new();
        }
        let anywhere = ServiceAccountRef::new("", account.name.clone());
        let may_be_any = self.near.strays_of(&anywhere).next().is_some();
        let anywhere = Some(anywhere).filter(|_| may_be_any && self.is_only(&account.name));
        let mut found = Vec::new();
        for target in [account].into_iter().chain(&anywhere) {
            let keys = self.near.strays_of(target).take(MAX_FOUND);
            for (key, binding) in keys.filter_map(|key| self.binding(key)) {
                let meaning = strays(key, binding).filter(|(meant, _)| meant == target);
                found.extend(meaning.map(|(_, stray)| NearName {
                    binding: key.clone(),
                    subject: Subject::Stray(stray.clone()),
                }));
            }
        }
        found
    }

    // === what changes ===

    /// Finds everything anew.
    pub(super) fn find_near(&mut self) {
        let mut near = Near::default();
        let named = self.subjects.keys().filter_map(Subject::account);
        for account in named.filter(|account| !self.is_known(account)) {
            near.set_missing(account, true);
        }
        let tables = [&self.role_bindings, &self.cluster_role_bindings];
        for (key, binding) in tables.into_iter().flat_map(Table::iter) {
            let strays = strays(key, binding).map(|(meant, _)| (meant, key.clone()));
            near.strays.extend(strays);
        }
        self.near = near;
    }

    /// An account has come, or has gone.
    pub(super) fn known_changed(&mut self, account: &ServiceAccountRef, is_known: bool) {
        if !self.is_settled() {
            return;
        }
        let is_named = self.is_named(account);
        if is_named {
            self.near.set_missing(account, !is_known);
            self.mark_near(account, None);
        }
        // A name that becomes the only one, or ceases to be, may be meant by bindings of the cluster.
        let is_nothing_near = self.near.missing.is_empty() && self.near.strays.is_empty();
        if is_nothing_near && !is_named {
            return;
        }
        let anywhere = ServiceAccountRef::new("", account.name.clone());
        let is_meant = is_named
            || self.near.missing_named(&account.name).next().is_some()
            || self.near.strays_of(&anywhere).next().is_some();
        if is_meant && self.named(&account.name).take(3).count() <= 2 {
            self.mark_named(&account.name);
        }
    }

    /// A binding has changed from one to another, and what it grants to these accounts; its reverse keys are up to date.
    pub(super) fn near_binding_changed<'a>(
        &mut self,
        key: &ObjectKey,
        (old, new): (Option<&Binding>, Option<&Binding>),
        touched: impl Iterator<Item = &'a ServiceAccountRef>,
    ) {
        if !self.is_settled() {
            return;
        }
        let both = || old.into_iter().chain(new);
        let missing: BTreeSet<_> = touched.filter(|account| !self.is_known(account)).collect();
        for account in missing {
            let is_named = self.is_named(account);
            self.near.set_missing(account, is_named);
            self.mark_near(account, Some(key));
        }
        let meant = |binding| strays(key, binding).map(|(meant, _)| meant);
        let after: BTreeSet<_> = new.into_iter().flat_map(meant).collect();
        let all: BTreeSet<_> = both().flat_map(meant).collect();
        for target in all {
            self.mark_meant(&target.namespace, &target.name);
            let is_kept = after.contains(&target);
            let entry = (target, key.clone());
            if is_kept {
                self.near.strays.insert(entry);
            } else {
                self.near.strays.remove(&entry);
            }
        }
    }

    fn is_known(&self, account: &ServiceAccountRef) -> bool {
        let known = self.accounts.get(account);
        known.is_some_and(Account::exists_or_has_pods)
    }

    /// Whether a binding names an account.
    fn is_named(&self, account: &ServiceAccountRef) -> bool {
        let subjects = subjects_of(account);
        subjects
            .iter()
            .any(|subject| self.subjects.contains(subject))
    }

    /// The accounts of a name that exist or have pods.
    fn named(&self, name: &Name) -> impl Iterator<Item = &ServiceAccountRef> {
        let named = self.accounts.iter();
        let named = named
            .filter(move |(account, known)| account.name == *name && known.exists_or_has_pods());
        named.map(|(account, _)| account)
    }

    /// Whether one account has this name, and no other.
    fn is_only(&self, name: &Name) -> bool {
        self.named(name).take(2).count() == 1
    }

    /// Marks the accounts dirty that a missing account may mean, or that are compared with fewer or more now; one
    /// binding that names it has changed, or all.
    fn mark_near(&mut self, missing: &ServiceAccountRef, key: Option<&ObjectKey>) {
        let is_full = self.near.missing_in(&missing.namespace).count() == MAX_COMPARED;
        let neighbours = self.accounts_in(&missing.namespace);
        let near = neighbours
            .filter(|account| is_full || is_misspelled(&missing.name, &account.name))
            .cloned()
            .collect::<Vec<_>>();
        for account in near {
            self.mark(&account);
        }
        if self.near.missing_named(&missing.name).count() == MAX_COMPARED {
            return self.mark_named(&missing.name);
        }
        let namespaces: BTreeSet<_> = if let Some(key) = key {
            [key.namespace.clone()].into()
        } else {
            let subjects = subjects_of(missing);
            let keys = subjects
                .iter()
                .flat_map(|subject| self.subjects.of(subject));
            keys.map(|key| key.namespace.clone()).collect()
        };
        for namespace in namespaces {
            self.mark_meant(&namespace, &missing.name);
        }
    }

    /// Marks the account of a name and a namespace dirty; without a namespace, the only one of its name.
    fn mark_meant(&mut self, namespace: &Name, name: &Name) {
        if !namespace.is_empty() {
            self.mark(&ServiceAccountRef::new(namespace.clone(), name.clone()));
        } else if self.is_only(name) {
            self.mark_named(name);
        }
    }

    /// Marks all accounts of a name dirty.
    fn mark_named(&mut self, name: &Name) {
        let named: Vec<_> = self.named(name).cloned().collect();
        for account in named {
            self.mark(&account);
        }
    }
}
