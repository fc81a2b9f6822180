//! Secrets, and whose token each may hold: found by the Secret that pods refer to, and by the account
//! that it belongs to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hashbrown::HashMap;
use jiff::civil::Date;

use super::{Index, Indexed, Table, reverse::Reverse, shapes::Shapes};
use crate::{
    facts::{CsiDrivers, Secrets},
    model::{
        CsiDriverFacts, InputKind, ObjectKey, PodFacts, SecretFacts, ServiceAccountFacts,
        ServiceAccountRef, pod::ConfigKind, secret::generated_for,
    },
    token::legacy::{Clues, Holding, holding},
};

/// The pods and accounts that a Secret may concern.
#[derive(Debug, Default)]
pub(super) struct SecretLinks {
    /// The shapes of the pods that expose its key `token`, by namespace and name.
    holders: BTreeMap<ObjectKey, Shapes>,
    /// The accounts that name it in their `secrets`.
    named_by: Reverse<ObjectKey, ServiceAccountRef>,
    /// The Secrets whose object says that they hold a token of an account.
    owned: Reverse<ServiceAccountRef, ObjectKey>,
}

impl Index {
    /// Changes the shapes of the pods that expose the Secrets of one pod, and marks the accounts that this
    /// touches.
    pub(super) fn link_pod(
        &mut self,
        key: &ObjectKey,
        facts: &PodFacts,
        change: impl Fn(&mut Shapes),
    ) {
        let secrets: BTreeSet<&str> = facts.token_secrets().collect();
        for secret in secrets {
            let secret = ObjectKey::new(key.namespace.clone(), secret);
            let shapes = self.secret_links.holders.entry(secret.clone()).or_default();
            change(shapes);
            if shapes.is_empty() {
                self.secret_links.holders.remove(&secret);
            }
            self.mark_claimants(&secret);
        }
    }

    /// Updates the links of an account to Secrets, and marks the accounts that its change touches through
    /// them.
    pub(super) fn link_account(
        &mut self,
        account: &ServiceAccountRef,
        old: Option<&ServiceAccountFacts>,
        new: Option<&ServiceAccountFacts>,
    ) {
        let secrets = |facts: Option<&ServiceAccountFacts>| -> BTreeSet<ObjectKey> {
            let secrets = facts.into_iter().flat_map(|facts| &facts.secrets);
            secrets
                .map(|name| ObjectKey::new(account.namespace.clone(), &**name))
                .collect()
        };
        let (before, after) = (secrets(old), secrets(new));
        for secret in before.difference(&after) {
            self.secret_links.named_by.unlink(secret, account);
        }
        for secret in &after {
            let named_by = &mut self.secret_links.named_by;
            named_by.link(secret.clone(), account.clone());
        }
        let mut touched: BTreeSet<ObjectKey> =
            before.symmetric_difference(&after).cloned().collect();
        if old.is_some() != new.is_some() {
            touched.extend(self.generated_secrets(account).cloned());
        }
        for secret in touched {
            self.mark_holders(&secret);
        }
    }

    /// The Secrets that pods expose and whose names were generated for an account.
    fn generated_secrets(&self, account: &ServiceAccountRef) -> impl Iterator<Item = &ObjectKey> {
        let prefix = format!("{}-token-", account.name);
        let first = ObjectKey::new(account.namespace.clone(), &*prefix);
        let namespace = account.namespace.clone();
        let from = self.secret_links.holders.range(first..);
        from.map(|(secret, _)| secret).take_while(move |secret| {
            secret.namespace == namespace && secret.name.starts_with(&prefix)
        })
    }

    /// Marks the accounts whose token a Secret may hold.
    fn mark_claimants(&mut self, secret: &ObjectKey) {
        let namespace = &secret.namespace;
        let owner = self.secrets.get(secret);
        let owner = owner.and_then(|facts| facts.owner.as_deref());
        let names = owner.into_iter().chain(generated_for(&secret.name));
        let mut claimants: Vec<_> = names
            .map(|name| ServiceAccountRef::new(namespace.clone(), name))
            .collect();
        claimants.extend(self.secret_links.named_by.of(secret).cloned());
        for account in claimants {
            self.mark(&account);
        }
    }

    /// Marks the accounts whose pods expose a Secret.
    fn mark_holders(&mut self, secret: &ObjectKey) {
        let shapes = self.secret_links.holders.get(secret);
        let names = shapes.into_iter().flat_map(Shapes::keys);
        let names = names.filter_map(|shape| shape.service_account.clone());
        let accounts: BTreeSet<_> = names
            .map(|name| ServiceAccountRef::new(secret.namespace.clone(), name))
            .collect();
        for account in accounts {
            self.mark(&account);
        }
    }

    /// How certain it is that a Secret holds a token of an account.
    pub(super) fn holding(&self, account: &ServiceAccountRef, secret: &str) -> Option<Holding> {
        let key = ObjectKey::new(account.namespace.clone(), secret);
        let mut named_by = self.secret_links.named_by.of(&key);
        let named_elsewhere = named_by.any(|other| other != account);
        let generated_elsewhere = generated_for(secret).is_some_and(|other| {
            let other = ServiceAccountRef::new(account.namespace.clone(), other);
            other != *account && self.service_account(&other).is_some()
        });
        holding(&Clues {
            account: &account.name,
            service_account: self.service_account(account),
            secret,
            object: self.secrets.get(&key),
            complete: self.knows_all(InputKind::Secret, &account.namespace),
            elsewhere: named_elsewhere || generated_elsewhere,
        })
    }

    /// Takes the accounts for known whose token a Secret holds that pods expose: for input that need not contain them.
    pub fn declare_owners(&mut self) {
        let holders = self.secret_links.holders.keys();
        let secrets = holders.filter_map(|secret| Some((secret, self.secrets.get(secret)?)));
        let owners: BTreeSet<_> = secrets
            .filter_map(|(secret, facts)| {
                let owner = facts.owner.as_deref().filter(|owner| !owner.is_empty())?;
                Some(ServiceAccountRef::new(secret.namespace.clone(), owner))
            })
            .collect();
        for owner in owners {
            self.touch(&owner, |known| known.is_declared = true);
        }
    }

    /// The pods of other accounts that expose a token of this one.
    pub(super) fn foreign_holders<'a>(
        &'a self,
        account: &'a ServiceAccountRef,
    ) -> impl Iterator<Item = (&'a Arc<PodFacts>, u32)> {
        let owned = self.secret_links.owned.of(account);
        let named = self.service_account(account);
        let named = named.into_iter().flat_map(|facts| &facts.secrets);
        let named = named.map(|name| ObjectKey::new(account.namespace.clone(), &**name));
        let secrets: BTreeSet<ObjectKey> = self
            .generated_secrets(account)
            .chain(owned)
            .cloned()
            .chain(named)
            .filter(|secret| self.holding(account, &secret.name).is_some())
            .collect();
        let mut shapes: HashMap<&Arc<PodFacts>, u32> = HashMap::new();
        for secret in &secrets {
            let holders = self.secret_links.holders.get(secret);
            // A pod that exposes two Secrets of the account is one pod.
            shapes.extend(holders.into_iter().flat_map(Shapes::iter));
        }
        let own = Some(&account.name);
        shapes
            .into_iter()
            .filter(move |(shape, _)| shape.service_account.as_ref() != own)
    }

    /// The last day on which a token of an account that is in a Secret was used.
    pub(super) fn secret_used(&self, account: &ServiceAccountRef) -> Option<Date> {
        let owned = self.secret_links.owned.of(account);
        let owned = owned.filter(|secret| self.holding(account, &secret.name).is_some());
        owned
            .filter_map(|secret| self.secrets.get(secret)?.last_used)
            .max()
    }

    /// The CSIDriver of a name.
    pub(super) fn csi_driver(&self, name: &str) -> Option<&CsiDriverFacts> {
        self.csi_drivers.get(&ObjectKey::cluster(name))
    }
}

impl Indexed<Secrets> for Index {
    fn table(&mut self) -> &mut Table<SecretFacts> {
        &mut self.secrets
    }

    fn changed(&mut self, key: &ObjectKey, old: Option<&SecretFacts>, new: Option<&SecretFacts>) {
        let owner = |facts: Option<&SecretFacts>| {
            let name = facts?.owner.as_deref()?;
            Some(ServiceAccountRef::new(key.namespace.clone(), name))
        };
        if let Some(owner) = owner(old) {
            self.secret_links.owned.unlink(&owner, key);
            self.mark(&owner);
        }
        if let Some(owner) = owner(new) {
            self.secret_links.owned.link(owner, key.clone());
        }
        self.mark_claimants(key);
        self.mark_holders(key);
        if old.map(|facts| &facts.content) != new.map(|facts| &facts.content) {
            self.mark_configured(ConfigKind::Secret, key);
        }
    }
}

impl Indexed<CsiDrivers> for Index {
    fn table(&mut self) -> &mut Table<CsiDriverFacts> {
        &mut self.csi_drivers
    }

    fn changed(
        &mut self,
        _key: &ObjectKey,
        _old: Option<&CsiDriverFacts>,
        _new: Option<&CsiDriverFacts>,
    ) {
        self.mark_all();
    }
}
