//! The summaries of namespaces: what they are made of, and what is stored.

use super::{Index, Indexed, Table};
use crate::{
    facts::{Summaries, summary::SummaryFacts},
    model::{AccountSummary, Name, ObjectKey, ServiceAccountRef, summary::NAME},
};

/// What the summary of a namespace is made of.
#[derive(Debug)]
pub struct Shares<'a> {
    /// Its accounts that count, by name, each with its last answer.
    pub accounts: Vec<(&'a str, &'a AccountSummary)>,
    /// No account is dirty.
    pub is_current: bool,
}

impl Index {
    /// Keeps the last answer for an account, and marks the summary of its namespace dirty where it differs.
    pub fn set_verdict(&mut self, account: &ServiceAccountRef, summary: AccountSummary) {
        let Some(known) = self.accounts.get_mut(account) else {
            return;
        };
        known.is_current = true;
        let before = known.summary.replace(summary);
        if before != known.summary {
            self.mark_summary(&account.namespace);
        }
    }

    /// What the summary of a namespace is made of; `None` until each of its accounts was assessed once.
    #[must_use]
    pub fn shares(&self, namespace: &Name) -> Option<Shares<'_>> {
        let mut shares = Shares {
            accounts: Vec::new(),
            is_current: true,
        };
        for account in self.accounts_in(namespace) {
            let known = self.accounts.get(account)?;
            let summary = known.summary.as_ref()?;
            shares.is_current &= known.is_current;
            if known.exists_or_has_pods() && summary.is_counted() {
                shares.accounts.push((&account.name, summary));
            }
        }
        Some(shares)
    }

    /// The summary of a namespace, as last seen or written.
    #[must_use]
    pub fn summary(&self, namespace: &str) -> Option<&SummaryFacts> {
        self.summaries.get(&ObjectKey::new(namespace, NAME))
    }

    /// Whether the stored summary lets policies act on an account although its last answer does not.
    #[must_use]
    pub fn is_overstated(&self, account: &ServiceAccountRef) -> bool {
        let Some(stored) = self.summary(&account.namespace) else {
            return false;
        };
        let known = self.accounts.get(account);
        let summary = known.and_then(|known| known.summary.as_ref());
        stored.overstates(&account.name, summary)
    }
}

impl Indexed<Summaries> for Index {
    fn table(&mut self) -> &mut Table<SummaryFacts> {
        &mut self.summaries
    }

    fn changed(&mut self, key: &ObjectKey, _: Option<&SummaryFacts>, _: Option<&SummaryFacts>) {
        self.mark_summary(&key.namespace);
    }

    fn version(facts: &SummaryFacts) -> Option<u64> {
        facts.version
    }

    /// A list is the present, even where its versions are older: etcd may have been restored.
    fn begins(&mut self) {
        self.summaries.for_each(|facts| facts.version = None);
    }
}
