//! The rows of one kind. A relist is applied in place: rows are marked when they are seen again,
//! and the others are removed at its end, so that nothing is ever kept twice.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

use crate::model::ObjectKey;

/// The rows of one kind, by key.
#[derive(Debug)]
pub struct Table<F> {
    rows: HashMap<ObjectKey, Row<F>>,
    reading: u32,
}

#[derive(Debug)]
struct Row<F> {
    facts: F,
    /// The reading in which the row was last seen.
    seen: u32,
}

impl<F> Default for Table<F> {
    fn default() -> Self {
        Self {
            rows: HashMap::new(),
            reading: 0,
        }
    }
}

impl<F: PartialEq> Table<F> {
    /// The facts of a row.
    pub(super) fn get(&self, key: &ObjectKey) -> Option<&F> {
        self.rows.get(key).map(|row| &row.facts)
    }

    /// All rows, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ObjectKey, &F)> {
        self.rows.iter().map(|(key, row)| (key, &row.facts))
    }

    /// The row's own key, to share, and its facts.
    pub(super) fn get_key_value(&self, key: &ObjectKey) -> Option<(&ObjectKey, &F)> {
        self.rows
            .get_key_value(key)
            .map(|(key, row)| (key, &row.facts))
    }

    /// Marks a row as seen; returns whether it already has these facts.
    pub(super) fn is_current(&mut self, key: &ObjectKey, facts: &F) -> bool {
        let reading = self.reading;
        self.rows.get_mut(key).is_some_and(|row| {
            row.seen = reading;
            row.facts == *facts
        })
    }

    /// Inserts or replaces a row; returns its previous facts.
    pub(super) fn put(&mut self, key: ObjectKey, facts: F) -> Option<F> {
        let row = Row {
            facts,
            seen: self.reading,
        };
        self.rows.insert(key, row).map(|row| row.facts)
    }

    /// Removes a row; returns its facts.
    pub(super) fn take(&mut self, key: &ObjectKey) -> Option<F> {
        self.rows.remove(key).map(|row| row.facts)
    }

    /// Changes all facts in place.
    pub(super) fn for_each(&mut self, change: impl Fn(&mut F)) {
        self.rows
            .values_mut()
            .for_each(|row| change(&mut row.facts));
    }

    /// Begins a reading: no row was seen in it yet.
    pub(super) fn begin(&mut self) {
        self.reading = self.reading.wrapping_add(1);
    }

    /// Removes the rows that the reading did not see.
    pub(super) fn sweep(&mut self) -> Vec<(ObjectKey, F)> {
        let reading = self.reading;
        let swept = self.rows.extract_if(|_, row| row.seen != reading);
        swept.map(|(key, row)| (key, row.facts)).collect()
    }

    /// Removes the rows of some keys.
    pub(super) fn extract(
        &mut self,
        is_removed: impl Fn(&ObjectKey) -> bool,
    ) -> Vec<(ObjectKey, F)> {
        let removed = self.rows.extract_if(|key, _| is_removed(key));
        removed.map(|(key, row)| (key, row.facts)).collect()
    }
}

/// Removes an entry from a reverse key, and the key with its last entry.
pub(super) fn unlink<Q: Hash + Eq, E: Ord>(
    reverse: &mut HashMap<Q, BTreeSet<E>>,
    from: &Q,
    entry: &E,
) {
    if let Some(entries) = reverse.get_mut(from) {
        entries.remove(entry);
        if entries.is_empty() {
            reverse.remove(from);
        }
    }
}

/// Whether a `resourceVersion` is older than the known one of the same object; both are known.
pub(super) fn is_older(version: Option<u64>, known: Option<u64>) -> bool {
    matches!((version, known), (Some(version), Some(known)) if version < known)
}
