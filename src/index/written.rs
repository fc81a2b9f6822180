//! What we write ourselves: which is first, the answer to a write or the event of the watch, is left to chance.

use super::{Index, Indexed};
use crate::{facts::Kind, model::ObjectKey};

impl Index {
    /// Whether facts are older than those that are known, or the same.
    pub(super) fn is_outdated<K: Kind>(&mut self, key: &ObjectKey, facts: &K::Facts) -> bool
    where
        Self: Indexed<K>,
    {
        let Some(version) = Self::version(facts) else {
            return false;
        };
        let known = self.known_version::<K>(key);
        known.is_some_and(|known| version <= known)
    }

    /// The version of an object that is known.
    fn known_version<K: Kind>(&mut self, key: &ObjectKey) -> Option<u64>
    where
        Self: Indexed<K>,
    {
        self.table().get(key).and_then(Self::version)
    }

    /// We wrote an object, and the API server answered with these facts. A watch that has come as far tells what became of
    /// it since: that it was deleted, for example. Where nothing did, it is taken for what we wrote, also if admission has
    /// changed that: otherwise we would write it again and again.
    pub fn wrote<K: Kind>(&mut self, key: &ObjectKey, facts: &K::Facts)
    where
        Self: Indexed<K>,
    {
        let version = Self::version(facts);
        let watched = self.readings.get(&K::INPUT);
        let watched = watched.and_then(|reading| reading.version);
        let is_told =
            watched.is_some_and(|watched| version.is_none_or(|version| version <= watched));
        if is_told && self.known_version::<K>(key) != version {
            return;
        }
        let key = ObjectKey {
            namespace: self.shared_namespace(&key.namespace),
            name: key.name.clone(),
        };
        let old = self.table().put_unseen(key.clone(), facts.clone());
        if old.as_ref() != Some(facts) {
            self.changed(&key, old.as_ref(), Some(facts));
        }
    }

    /// We deleted an object, which had this version before. The watch may know already that somebody has created it again.
    pub fn deleted<K: Kind>(&mut self, key: &ObjectKey, before: Option<u64>)
    where
        Self: Indexed<K>,
    {
        if self.known_version::<K>(key) == before {
            self.delete::<K>(key);
        }
    }
}
