//! Pods, grouped by account and shape.

use std::sync::Arc;

use super::{Index, Indexed, Table, shapes::Shapes};
use crate::{
    facts::{Kind, Pods},
    model::{
        ObjectKey, PodFacts, ServiceAccountRef,
        pod::{Instance, Pod},
    },
};

/// The account that a pod runs as.
fn account(key: &ObjectKey, facts: &PodFacts) -> Option<ServiceAccountRef> {
    let name = facts.service_account.as_ref()?;
    Some(ServiceAccountRef::new(key.namespace.clone(), name.clone()))
}

impl Index {
    /// No pod will be read or asked for by its name any more: only the shapes of accounts are kept.
    pub fn forget_pods(&mut self) {
        self.pods = Table::default();
    }

    /// Changes the shapes of a pod's account, and of the Secrets that it exposes.
    fn change_shapes(&mut self, key: &ObjectKey, facts: &PodFacts, change: impl Fn(&mut Shapes)) {
        if let Some(account) = account(key, facts) {
            self.touch(&account, |known| change(&mut known.pods));
        }
        self.link_pod(key, facts, change);
    }
}

impl Indexed<Pods> for Index {
    fn table(&mut self) -> &mut Table<<Pods as Kind>::Facts> {
        &mut self.pods
    }

    fn changed(&mut self, key: &ObjectKey, old: Option<&Pod>, new: Option<&Pod>) {
        if let (Some(old), Some(new)) = (old, new)
            && old.shape == new.shape
            && old.instance.as_deref().map(Instance::uid)
                == new.instance.as_deref().map(Instance::uid)
        {
            // It started or ended: that changes only what logs say that are read later.
            return;
        }
        // The new shape first: an account that keeps a pod is not removed in between.
        if let Some(facts) = new {
            self.change_shapes(key, facts, |shapes| shapes.add(&facts.shape));
        }
        if let Some(facts) = old {
            self.change_shapes(key, facts, |shapes| shapes.remove(&facts.shape));
        }
    }

    fn needed(&self, facts: Pod) -> Pod {
        let instance = facts.instance.filter(|_| self.keeps_instances);
        Pod { instance, ..facts }
    }

    fn begins(&mut self) {
        self.reading_pods();
    }

    fn ends(&mut self) {
        self.read_pods();
    }

    fn shared(&mut self, key: &ObjectKey, mut facts: Pod) -> Pod {
        let account = account(key, &facts);
        let known = account.and_then(|account| self.accounts.get_key_value(&account));
        let shape = known.and_then(|(_, known)| known.pods.equal(&facts.shape));
        if let Some(shape) = shape {
            let shape = shape.clone();
            return Pod { shape, ..facts };
        }
        let shape = Arc::make_mut(&mut facts.shape);
        if let Some((account, _)) = known {
            shape.service_account = Some(account.name.clone());
        }
        self.parts.share(shape);
        facts
    }
}
