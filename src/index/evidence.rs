//! Gathers all that the answer for one account is computed from.

use super::Index;
use crate::{
    assess::{Evidence, assess},
    model::{Exposure, PodFacts, ServiceAccountFacts, ServiceAccountRef},
    rbac::BoundRole,
};

impl Index {
    /// The answer for one account.
    #[must_use]
    pub fn assess(&self, account: &ServiceAccountRef) -> Exposure {
        assess(&self.evidence(account))
    }

    /// The account's object.
    #[must_use]
    pub fn service_account(&self, account: &ServiceAccountRef) -> Option<&ServiceAccountFacts> {
        self.service_accounts.get(&account.clone().into())
    }

    /// All that the answer for one account is computed from, borrowed.
    #[must_use]
    pub fn evidence<'a>(&'a self, account: &'a ServiceAccountRef) -> Evidence<'a> {
        let known = self.accounts.get(account);
        let service_account = self.service_account(account);
        // A Secret of a name alone makes no account.
        let holders = known
            .filter(|_| service_account.is_some())
            .map(|known| &known.holders);
        let shapes = known
            .map(|known| &known.pods)
            .into_iter()
            .chain(holders)
            .flatten();
        let mut pods: Vec<(&PodFacts, u32)> =
            shapes.map(|(facts, count)| (&**facts, *count)).collect();
        pods.sort_unstable();
        let bindings = self
            .bindings_of(account)
            .map(|(key, binding)| BoundRole {
                key,
                binding,
                role: self.role(&binding.role_ref.key(&key.namespace)),
            })
            .collect();
        Evidence {
            account,
            service_account,
            pods,
            bindings,
            roles: self.known_roles,
            gaps: self.gaps(),
            audiences: &self.audiences,
        }
    }
}
