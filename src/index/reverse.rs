//! Reverse keys: from what an object refers to back to the objects. Most are referred to once, and a tree of one entry has
//! room for eleven: so one entry stands alone.

use std::{collections::BTreeSet, hash::Hash};

use hashbrown::HashMap;

/// The entries of each key, sorted.
#[derive(Debug)]
pub(super) struct Reverse<Q, E>(HashMap<Q, Entries<E>>);

/// The entries of one key: at least one.
#[derive(Debug)]
enum Entries<E> {
    One(E),
    Many(BTreeSet<E>),
}

impl<E> Entries<E> {
    fn iter(&self) -> impl Iterator<Item = &E> {
        let (one, many) = match self {
            Self::One(entry) => (Some(entry), None),
            Self::Many(entries) => (None, Some(entries)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl<Q, E> Default for Reverse<Q, E> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<Q: Hash + Eq, E: Ord> Reverse<Q, E> {
    /// Adds an entry to a key.
    pub(super) fn link(&mut self, to: Q, entry: E) {
        let Some(entries) = self.0.get_mut(&to) else {
            self.0.insert(to, Entries::One(entry));
            return;
        };
        match entries {
            Entries::One(only) if *only == entry => {}
            Entries::Many(entries) => {
                entries.insert(entry);
            }
            Entries::One(_) => {
                let only = std::mem::replace(entries, Entries::Many([entry].into()));
                if let (Entries::One(only), Entries::Many(entries)) = (only, entries) {
                    entries.insert(only);
                }
            }
        }
    }

    /// Removes an entry from a key, and the key with its last entry.
    pub(super) fn unlink(&mut self, from: &Q, entry: &E) {
        let is_last = match self.0.get_mut(from) {
            Some(Entries::One(only)) => only == entry,
            Some(Entries::Many(entries)) => {
                entries.remove(entry);
                entries.is_empty()
            }
            None => false,
        };
        if is_last {
            self.0.remove(from);
        }
    }

    /// The entries of a key, sorted.
    pub(super) fn of<'a>(&'a self, key: &Q) -> impl Iterator<Item = &'a E> + use<'a, Q, E> {
        self.0.get(key).into_iter().flat_map(Entries::iter)
    }

    /// The entries of a key from one on, sorted.
    pub(super) fn of_from<'a>(
        &'a self,
        key: &Q,
        first: &E,
    ) -> impl Iterator<Item = &'a E> + use<'a, Q, E> {
        let (one, many) = match self.0.get(key) {
            Some(Entries::One(only)) => (Some(only).filter(|only| *only >= first), None),
            Some(Entries::Many(entries)) => (None, Some(entries.range(first..))),
            None => (None, None),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// The keys that have entries.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Q> {
        self.0.keys()
    }

    /// Whether a key has entries.
    pub(super) fn contains(&self, key: &Q) -> bool {
        self.0.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reverse_keys_are_a_map_of_sets(steps in prop::collection::vec((any::<bool>(), 0_u8..4, 0_u8..4), 0..60), first in 0_u8..5) {
            let mut reverse = Reverse::default();
            let mut sets: BTreeMap<u8, BTreeSet<u8>> = BTreeMap::new();
            for (is_linked, key, entry) in steps {
                let set = sets.entry(key).or_default();
                if is_linked {
                    reverse.link(key, entry);
                    set.insert(entry);
                } else {
                    reverse.unlink(&key, &entry);
                    set.remove(&entry);
                }
                sets.retain(|_, set| !set.is_empty());
                let keys: BTreeSet<_> = reverse.keys().copied().collect();
                prop_assert_eq!(keys, sets.keys().copied().collect());
                for key in 0..4 {
                    let set = sets.get(&key).cloned().unwrap_or_default();
                    prop_assert_eq!(reverse.contains(&key), !set.is_empty());
                    prop_assert!(reverse.of(&key).eq(&set));
                    prop_assert!(reverse.of_from(&key, &first).eq(set.range(first..)));
                }
            }
        }
    }
}
