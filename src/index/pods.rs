//! Pods, folded by account and shape.

use std::sync::Arc;

use super::{Index, Indexed, Table};
use crate::{
    facts::{Kind, Pods},
    model::{ObjectKey, PodFacts, ServiceAccountRef},
};

fn account(key: &ObjectKey, facts: &PodFacts) -> Option<ServiceAccountRef> {
    let name = facts.service_account.as_ref()?;
    Some(ServiceAccountRef::new(key.namespace.clone(), name.clone()))
}

impl Indexed<Pods> for Index {
    fn table(&mut self) -> &mut Table<<Pods as Kind>::Facts> {
        &mut self.pods
    }

    fn changed(
        &mut self,
        key: &ObjectKey,
        old: Option<&Arc<PodFacts>>,
        new: Option<&Arc<PodFacts>>,
    ) {
        if let Some((facts, account)) = new.and_then(|facts| Some((facts, account(key, facts)?))) {
            self.touch(&account, |known| {
                *known.pods.entry(facts.clone()).or_default() += 1;
            });
        }
        if let Some((facts, account)) = old.and_then(|facts| Some((facts, account(key, facts)?))) {
            self.touch(&account, |known| {
                let left = known.pods.get_mut(facts).map_or(0, |count| {
                    *count -= 1;
                    *count
                });
                if left == 0 {
                    known.pods.remove(facts);
                }
            });
        }
    }

    fn shared(&self, key: &ObjectKey, facts: Arc<PodFacts>) -> Arc<PodFacts> {
        let known = account(key, &facts).and_then(|account| self.accounts.get(&account));
        let shape = known
            .and_then(|known| known.pods.get_key_value(&facts))
            .map(|(shape, _)| shape.clone());
        shape.unwrap_or(facts)
    }
}
