//! Collects everything that the answer for one account is computed from.

use std::collections::BTreeSet;

use super::Index;
use crate::{
    assess::{Evidence, assess, explain},
    model::{
        Explanation, Exposure, Gap, InputKind, Name, ObjectKey, PodFacts, ServiceAccountFacts,
        ServiceAccountRef,
    },
    rbac::BoundRole,
};

impl Index {
    /// The answer for one account.
    #[must_use]
    pub fn assess(&self, account: &ServiceAccountRef) -> Exposure {
        assess(&self.evidence(account))
    }

    /// The answer for one account, with everything that led to it.
    #[must_use]
    pub fn explain(&self, account: &ServiceAccountRef) -> Explanation {
        let is_account = |name: &str| {
            let other = ServiceAccountRef::new(account.namespace.clone(), name);
            self.accounts.contains_key(&other)
        };
        explain(&self.evidence(account), &is_account)
    }

    /// The account that a workload, or a pod of this name, runs as; kinds are compared as kubectl does.
    #[must_use]
    pub fn account_of(&self, namespace: &str, kind: &str, name: &str) -> Option<ServiceAccountRef> {
        if kind.eq_ignore_ascii_case("pod") {
            let pod = self.pods.get(&ObjectKey::new(namespace, name))?;
            let account = pod.service_account.clone()?;
            return Some(ServiceAccountRef::new(namespace, account));
        }
        let namespace: Name = namespace.into();
        let mut accounts = self.accounts_in(&namespace);
        let runs = |account: &&ServiceAccountRef| {
            let known = self.accounts.get(account).into_iter();
            let mut shapes = known.flat_map(|known| known.pods.keys());
            shapes.any(|shape| {
                shape.workload.kind.eq_ignore_ascii_case(kind) && *shape.workload.name == *name
            })
        };
        accounts.find(runs).cloned()
    }

    /// The account's object.
    #[must_use]
    pub fn service_account(&self, account: &ServiceAccountRef) -> Option<&ServiceAccountFacts> {
        self.service_accounts.get(&account.clone().into())
    }

    /// What could not be read of that which the answer for an account depends on.
    fn gaps_of(&self, account: &ServiceAccountRef) -> BTreeSet<Gap> {
        let own = self.namespace_gap(account).into_iter();
        let own = own.chain(self.denied_in(&account.namespace));
        self.gaps().into_iter().chain(own).collect()
    }

    /// Whether all pods are read, not only some that the user selects: else nobody can say what no pod does.
    pub const fn set_all_pods(&mut self, all: bool) {
        self.all_pods = all;
    }

    /// Everything that the answer for one account is computed from, borrowed.
    #[must_use]
    pub fn evidence<'a>(&'a self, account: &'a ServiceAccountRef) -> Evidence<'a> {
        let service_account = self.service_account(account);
        let known = self.accounts.get(account);
        let own = known.into_iter().flat_map(|known| known.pods.iter());
        // The name of a Secret alone does not prove that the account exists.
        let is_known = service_account.is_some() || known.is_some_and(|known| known.is_declared);
        let foreign = is_known.then(|| self.foreign_holders(account));
        let mut pods: Vec<(&PodFacts, u32)> = own
            .chain(foreign.into_iter().flatten())
            .map(|(facts, count)| (&**facts, count))
            .collect();
        pods.sort_unstable();
        let shapes = || pods.iter().map(|(facts, _)| *facts);
        let secrets = shapes().flat_map(PodFacts::token_secrets);
        let secrets = secrets.filter_map(|secret| Some((secret, self.holding(account, secret)?)));
        let secrets = secrets.collect();
        let drivers = shapes().flat_map(PodFacts::csi_drivers);
        let drivers = drivers.filter_map(|driver| Some((driver, self.csi_driver(driver)?)));
        let drivers = drivers.collect();
        let configs = shapes().flat_map(|facts| facts.configs.iter());
        let configs = configs.filter_map(|reference| {
            Some((
                reference,
                self.configuration(&account.namespace, reference)?,
            ))
        });
        let configs = configs.collect();
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
            is_missing: service_account.is_none()
                && self.knows_all(InputKind::ServiceAccount, &account.namespace),
            pods,
            secrets,
            drivers,
            bindings,
            roles: self.known_roles,
            all_pods: self.all_pods,
            configs,
            namespace_consumers: self.consumers_of_namespace(&account.namespace),
            naming: self.naming(account).collect(),
            nearly_naming: self.nearly_naming(account),
            gaps: self.gaps_of(account),
            audiences: &self.audiences,
            config: &self.config,
            today: self.today,
            usage: self.usage(account),
            secret_used: self.secret_used(account),
        }
    }
}
