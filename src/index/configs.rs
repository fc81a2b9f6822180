//! ConfigMaps, and the data of Secrets in files: found by the pods that take variables or files from them.

use super::{Index, Indexed, Table};
use crate::{
    facts::ConfigMaps,
    model::{
        InputKind, ObjectKey, ServiceAccountRef,
        pod::{ConfigFacts, ConfigKind, ConfigReference},
    },
};

impl Index {
    /// What a ConfigMap or a Secret says; `None` where it was not read.
    pub(super) fn configuration(
        &self,
        namespace: &str,
        reference: &ConfigReference,
    ) -> Option<&ConfigFacts> {
        let key = ObjectKey::new(namespace, &*reference.name);
        match reference.kind {
            ConfigKind::ConfigMap if self.knows_all(InputKind::ConfigMap, namespace) => {
                Some(self.config_maps.get(&key).unwrap_or(&self.says_nothing))
            }
            ConfigKind::ConfigMap => self.config_maps.get(&key),
            ConfigKind::Secret => self.secrets.get(&key)?.content.as_ref(),
        }
    }

    /// Marks the accounts dirty whose pods refer to an object.
    pub(super) fn mark_configured(&mut self, kind: ConfigKind, key: &ObjectKey) {
        let refers =
            |reference: &ConfigReference| reference.kind == kind && *reference.name == *key.name;
        let accounts = self.accounts_in(&key.namespace).filter(|account| {
            let known = self.accounts.get(account).into_iter();
            let mut shapes = known.flat_map(|known| known.pods.keys());
            shapes.any(|shape| shape.configs.iter().any(refers))
        });
        for account in accounts.cloned().collect::<Vec<ServiceAccountRef>>() {
            self.mark(&account);
        }
    }
}

impl Indexed<ConfigMaps> for Index {
    fn table(&mut self) -> &mut Table<ConfigFacts> {
        &mut self.config_maps
    }

    fn changed(&mut self, key: &ObjectKey, _: Option<&ConfigFacts>, _: Option<&ConfigFacts>) {
        self.mark_configured(ConfigKind::ConfigMap, key);
    }
}
