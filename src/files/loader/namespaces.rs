//! Which accounts have a namespace that is only a guess, since none of their objects names one?

use std::collections::BTreeMap;

use crate::{
    index::Index,
    model::{Name, PodFacts, ServiceAccountRef},
};

/// The accounts of the input, each with whether all of its objects leave the namespace out.
#[derive(Default)]
pub(super) struct Guesses(BTreeMap<ServiceAccountRef, bool>);

impl Guesses {
    /// Records an object of an account, and whether its namespace is a guess.
    pub(super) fn note(&mut self, account: ServiceAccountRef, is_guessed: bool) {
        *self.0.entry(account).or_insert(true) &= is_guessed;
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
        if self.0.values().any(|is_guessed| *is_guessed) {
            index.set_guessed_namespaces(&self.0);
        }
    }
}
