//! Which answers may have changed: those of accounts, and the summaries of namespaces, which are made of them.

use hashbrown::HashSet;

use super::Index;
use crate::model::{Name, ServiceAccountRef};

impl Index {
    /// The accounts whose answer may have changed since the last call; none until every kind was
    /// read, and then all.
    pub fn take_dirty(&mut self) -> HashSet<ServiceAccountRef> {
        if !self.is_settled() {
            return HashSet::new();
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        if !self.config.namespaces.selects_all() {
            dirty.retain(|account| self.concerns(account));
        }
        dirty
    }

    /// The namespaces whose summary may have changed since the last call; none until every kind was read, and then all
    /// that have an account or a summary.
    pub fn take_dirty_namespaces(&mut self) -> HashSet<Name> {
        if !self.is_settled() {
            return HashSet::new();
        }
        std::mem::take(&mut self.dirty_namespaces)
    }

    /// Whether there is something to [take](Self::take_dirty).
    #[must_use]
    pub fn has_dirty(&self) -> bool {
        self.is_settled() && !(self.dirty.is_empty() && self.dirty_namespaces.is_empty())
    }

    /// Marks everything dirty.
    pub fn revisit(&mut self) {
        self.mark_all();
    }

    pub(super) fn mark(&mut self, account: &ServiceAccountRef) {
        // All are marked when everything was read.
        if !self.is_settled() {
            return;
        }
        if let Some((known, state)) = self.accounts.range_mut(account..=account).next() {
            state.is_current = false;
            self.dirty.insert(known.clone());
        }
    }

    pub(super) fn mark_all(&mut self) {
        if !self.is_settled() {
            return;
        }
        for (account, state) in &mut self.accounts {
            state.is_current = false;
            self.dirty.insert(account.clone());
            if !self.dirty_namespaces.contains(&account.namespace) {
                self.dirty_namespaces.insert(account.namespace.clone());
            }
        }
        let summaries = self.summaries.iter();
        self.dirty_namespaces
            .extend(summaries.map(|(key, _)| key.namespace.clone()));
    }

    /// Marks the accounts of a namespace dirty.
    pub(super) fn mark_namespace(&mut self, namespace: &Name) {
        for account in self.accounts_in(namespace).cloned().collect::<Vec<_>>() {
            self.mark(&account);
        }
    }

    /// Marks the summary of a namespace dirty.
    pub(super) fn mark_summary(&mut self, namespace: &Name) {
        self.dirty_namespaces.insert(namespace.clone());
    }
}
