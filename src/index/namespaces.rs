//! Namespaces: nothing is written into one that is being deleted.

use super::{Index, Indexed, Table};
use crate::{
    facts::{Kind, Namespaces},
    model::{NamespaceFacts, ObjectKey},
};

impl Index {
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
        _old: Option<&NamespaceFacts>,
        new: Option<&NamespaceFacts>,
    ) {
        for account in self.accounts_in(&key.name).cloned().collect::<Vec<_>>() {
            self.mark(&account);
        }
        if new.is_none() {
            self.namespace_names.remove(&key.name);
        }
    }
}
