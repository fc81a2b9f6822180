//! Namespaces: nothing is written into one that is being deleted, or that is not selected.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use super::{Index, Indexed, Standing, Table};
use crate::{
    facts::{Kind, Namespaces},
    model::{Gap, Name, NamespaceFacts, ObjectKey, ServiceAccountRef, Subject},
};

/// For accounts whose namespace is a guess: the namespaces in which bindings name an account like it.
pub(super) type Elsewhere = HashMap<ServiceAccountRef, Box<[Name]>>;

impl Index {
    /// The accounts of the input, each with whether its namespace is a guess, and the RoleBindings whose namespace is
    /// one: what a binding grants to an account of the same name in a namespace that the input does not have may be meant
    /// for it.
    pub fn set_guessed_namespaces(
        &mut self,
        accounts: &BTreeMap<ServiceAccountRef, bool>,
        bindings: &BTreeSet<ObjectKey>,
    ) {
        let mut bound: BTreeMap<&Name, Vec<&ServiceAccountRef>> = BTreeMap::new();
        // Namespaces whose accounts are granted something together, and of which the input has none.
        let mut grouped: BTreeSet<&Name> = BTreeSet::new();
        for subject in self.subjects.keys() {
            match subject {
                Subject::User(account) | Subject::ServiceAccount(account) => {
                    bound.entry(&account.name).or_default().push(account);
                }
                Subject::NamespaceServiceAccounts(namespace) => {
                    grouped.insert(namespace);
                }
                _ => {}
            }
        }
        let known: BTreeSet<_> = accounts.keys().map(|account| &account.namespace).collect();
        grouped.retain(|namespace| !known.contains(namespace));
        let elsewhere = |guessed: &ServiceAccountRef| -> Box<[Name]> {
            let bound = bound.get(&guessed.name).into_iter().flatten();
            let others = bound.filter(|bound| {
                bound.namespace != guessed.namespace
                    && !(accounts.contains_key(**bound) && self.exists(guessed))
            });
            let others = others.map(|bound| &bound.namespace);
            let mut namespaces: Vec<_> = others.chain(grouped.iter().copied()).cloned().collect();
            namespaces.sort_unstable();
            namespaces.dedup();
            Box::from(namespaces)
        };
        // The other way round: what is granted to an account without a namespace, and without pods, may be meant for pods
        // that name theirs, and whose account is not in the input.
        let is_unplaced = |account: &ServiceAccountRef| {
            let is_bound = bound
                .get(&account.name)
                .is_some_and(|bound| bound.contains(&account));
            let known = self.accounts.get(account);
            is_bound && known.is_none_or(|known| known.pods.is_empty())
        };
        let guessed = || accounts.iter().filter(|(_, is_guessed)| **is_guessed);
        let unplaced = guessed().filter(|(account, _)| is_unplaced(account));
        let unplaced: BTreeSet<&Name> = unplaced.map(|(account, _)| &account.name).collect();
        let strays = self.strays(accounts, bindings);
        let named = accounts.iter().filter(|(account, is_guessed)| {
            let is_unplaced = unplaced.contains(&account.name) && !self.exists(account);
            !**is_guessed && (is_unplaced || strays.contains(&account.name))
        });
        let named = named.map(|(account, _)| (account.clone(), [account.namespace.clone()].into()));
        let guessed = guessed().map(|(account, _)| (account.clone(), elsewhere(account)));
        self.elsewhere = guessed
            .chain(named)
            .filter(|(_, elsewhere)| !elsewhere.is_empty())
            .collect();
        self.mark_all();
    }

    /// The names of accounts to which RoleBindings without a namespace grant something. Their subjects without one are in
    /// that of the binding: where the input has no such account there, the binding is applied elsewhere.
    fn strays<'a>(
        &'a self,
        accounts: &BTreeMap<ServiceAccountRef, bool>,
        bindings: &BTreeSet<ObjectKey>,
    ) -> BTreeSet<&'a Name> {
        let strays = bindings.iter().flat_map(|key| {
            let binding = self.role_bindings.get(key);
            let subjects = binding.into_iter().flat_map(|binding| &binding.subjects);
            let named = subjects.filter_map(|subject| match subject {
                Subject::ServiceAccount(account) => Some(account),
                _ => None,
            });
            named.filter(|account| {
                account.namespace == key.namespace && !accounts.contains_key(account)
            })
        });
        strays.map(|account| &account.name).collect()
    }

    /// Whether the input has the object of an account, or every cluster has it.
    fn exists(&self, account: &ServiceAccountRef) -> bool {
        *account.name == *"default" || self.service_account(account).is_some()
    }

    /// That the namespace of an account, or of what is granted to one of its name, is a guess, where a binding may mean
    /// another one.
    pub(super) fn namespace_gap(&self, account: &ServiceAccountRef) -> Option<Gap> {
        let namespaces = self.elsewhere.get(account)?;
        Some(Gap::NamespaceUnknown(namespaces.clone()))
    }

    /// The systems whose clients are added to the pods of a namespace.
    pub(super) fn consumers_of_namespace(&self, namespace: &str) -> &[Box<str>] {
        let facts = self.namespaces.get(&ObjectKey::cluster(namespace));
        facts.map_or(&[], |facts| &facts.consumers)
    }

    /// Whether a namespace has a summary that is kept up to date.
    #[must_use]
    pub fn is_summarised(&self, namespace: &Name) -> bool {
        !self.is_terminating(namespace) && self.standing(namespace) == Standing::Selected
    }

    /// Whether a namespace is being deleted.
    #[must_use]
    pub fn is_terminating(&self, namespace: &str) -> bool {
        self.namespaces
            .get(&ObjectKey::cluster(namespace))
            .is_some_and(|facts| facts.terminating)
    }
}

impl Indexed<Namespaces> for Index {
    fn table(&mut self) -> &mut Table<<Namespaces as Kind>::Facts> {
        &mut self.namespaces
    }

    fn changed(
        &mut self,
        key: &ObjectKey,
        old: Option<&NamespaceFacts>,
        new: Option<&NamespaceFacts>,
    ) {
        self.standing_changed(&key.name, old, new);
        self.mark_namespace(&key.name);
        self.mark_summary(&key.name);
        if new.is_none() {
            self.namespace_names.remove(&key.name);
        }
    }
}
