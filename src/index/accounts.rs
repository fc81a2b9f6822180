//! ServiceAccounts, and what is known about each: its pods by shape, its report, its last verdict.

use super::{Index, Indexed, Table, reverse::Reverse, shapes::Shapes};
use crate::{
    facts::{Kind, ServiceAccounts},
    model::{AccountSummary, Name, ObjectKey, ServiceAccountRef, Workload},
};

/// The objects of custom kinds that name an account, while it is not known which pods they stand for.
pub(super) type NamedBy = Reverse<ServiceAccountRef, Workload>;

/// What is known about one account.
#[expect(clippy::struct_excessive_bools, reason = "they are independent")]
#[derive(Debug, Default)]
pub struct Account {
    /// The account's object exists.
    pub(super) exists: bool,
    /// A Secret that pods expose says that it holds its token, and its object may be elsewhere.
    pub(super) is_declared: bool,
    /// Its report exists.
    pub(super) reported: bool,
    /// The distinct shapes of its pods, and how many pods have each.
    pub(super) pods: Shapes,
    /// Its last answer.
    pub(super) summary: Option<AccountSummary>,
    /// The account was not marked dirty since then.
    pub(super) is_current: bool,
}

impl Account {
    /// The last verdict on it; `None` for a name that only an old report has.
    #[must_use]
    pub fn summary(&self) -> Option<&AccountSummary> {
        self.summary.as_ref().filter(|_| self.exists_or_has_pods())
    }

    /// Whether the account's object exists, or a pod or a Secret of the input names it.
    #[must_use]
    pub fn exists_or_has_pods(&self) -> bool {
        self.exists || self.is_declared || !self.pods.is_empty()
    }

    /// How many of its pods have no token because a policy of ours left it out, and how many one that it made useless.
    #[must_use]
    pub fn cured_pods(&self) -> [u32; 2] {
        let mut counts = [0; 2];
        for (pod, count) in self.pods.iter() {
            if let Some(withheld) = pod.rare.withheld {
                counts[usize::from(withheld.is_neutered)] += count;
            }
        }
        counts
    }

    fn is_gone(&self) -> bool {
        !self.exists && !self.is_declared && !self.reported && self.pods.is_empty()
    }
}

impl Index {
    /// Changes what is known about an account, and marks it dirty. An account without an object, a
    /// report and pods is removed.
    pub(super) fn touch(&mut self, account: &ServiceAccountRef, change: impl FnOnce(&mut Account)) {
        let known = self.accounts.entry(account.clone()).or_default();
        let was_known = known.exists_or_has_pods();
        change(known);
        let is_known = known.exists_or_has_pods();
        if known.is_gone() {
            self.accounts.remove(account);
            self.dirty.remove(account);
            self.mark_summary(&account.namespace);
        } else {
            self.mark(account);
        }
        if was_known != is_known {
            self.known_changed(account, is_known);
        }
    }

    /// An object of a custom kind names accounts, and it is not known which pods it stands for.
    pub fn name_accounts(
        &mut self,
        object: &Workload,
        accounts: impl IntoIterator<Item = ServiceAccountRef>,
    ) {
        for account in accounts {
            self.mark(&account);
            self.named_by.link(account, object.clone());
        }
    }

    /// The objects of custom kinds that name an account.
    pub(super) fn naming(&self, account: &ServiceAccountRef) -> impl Iterator<Item = &Workload> {
        self.named_by.of(account)
    }

    /// The accounts of a namespace.
    pub(super) fn accounts_in(&self, namespace: &Name) -> impl Iterator<Item = &ServiceAccountRef> {
        let first = ServiceAccountRef::new(namespace.clone(), "");
        let namespace = namespace.clone();
        self.accounts
            .range(first..)
            .map(|(account, _)| account)
            .take_while(move |account| account.namespace == namespace)
    }
}

impl Indexed<ServiceAccounts> for Index {
    fn table(&mut self) -> &mut Table<<ServiceAccounts as Kind>::Facts> {
        &mut self.service_accounts
    }

    fn changed(
        &mut self,
        key: &ObjectKey,
        old: Option<&<ServiceAccounts as Kind>::Facts>,
        new: Option<&<ServiceAccounts as Kind>::Facts>,
    ) {
        let account = key.clone().into();
        let exists = new.is_some();
        self.touch(&account, |known| known.exists = exists);
        self.link_account(&account, old, new);
    }
}
