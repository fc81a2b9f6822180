//! Which accounts have a namespace that is only a guess, since none of their objects names one?

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    index::Index,
    model::{Name, ObjectKey, PodFacts, ServiceAccountRef},
};

/// What the input leaves open.
#[derive(Default)]
pub(super) struct Guesses {
    /// The accounts, each with whether all of its objects leave the namespace out.
    accounts: BTreeMap<ServiceAccountRef, bool>,
    /// The RoleBindings that leave it out.
    bindings: BTreeSet<ObjectKey>,
}

impl Guesses {
    /// Records an object of an account, and whether its namespace is a guess.
    pub(super) fn note(&mut self, account: ServiceAccountRef, is_guessed: bool) {
        *self.accounts.entry(account).or_insert(true) &= is_guessed;
    }

    /// Records a RoleBinding whose namespace is a guess.
    pub(super) fn note_binding(&mut self, binding: ObjectKey) {
        self.bindings.insert(binding);
    }

    /// Records a pod or a template, and whether its namespace is a guess.
    pub(super) fn note_pod(&mut self, namespace: &Name, facts: &PodFacts, is_guessed: bool) {
        if let Some(name) = &facts.service_account {
            let account = ServiceAccountRef::new(namespace.clone(), name.clone());
            self.note(account, is_guessed);
        }
    }

    /// Tells the index which accounts may be those that a binding names in another namespace.
    pub(super) fn into_index(self, index: &mut Index) {
        let mut guessed = self.accounts.values();
        if !self.bindings.is_empty() || guessed.any(|is_guessed| *is_guessed) {
            index.set_guessed_namespaces(&self.accounts, &self.bindings);
        }
    }
}
