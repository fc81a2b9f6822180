//! The rows of one kind. A relist is applied in place: rows are marked as they are seen again, and
//! the unmarked ones are swept at its end, so that nothing is ever kept twice.

use std::collections::HashMap;

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

/// A row before and after.
#[derive(Debug)]
pub(super) struct Change<F> {
    pub(super) key: ObjectKey,
    pub(super) old: Option<F>,
    pub(super) new: Option<F>,
}

impl<F> Default for Table<F> {
    fn default() -> Self {
        Self {
            rows: HashMap::new(),
            reading: 0,
        }
    }
}

impl<F: Clone + PartialEq> Table<F> {
    /// The facts of a row.
    pub(super) fn get(&self, key: &ObjectKey) -> Option<&F> {
        self.rows.get(key).map(|row| &row.facts)
    }

    /// The row's own key, to share, and its facts.
    pub(super) fn get_key_value(&self, key: &ObjectKey) -> Option<(&ObjectKey, &F)> {
        self.rows
            .get_key_value(key)
            .map(|(key, row)| (key, &row.facts))
    }

    /// Marks a row as seen; whether it has these very facts already.
    pub(super) fn is_current(&mut self, key: &ObjectKey, facts: &F) -> bool {
        let reading = self.reading;
        self.rows.get_mut(key).is_some_and(|row| {
            row.seen = reading;
            row.facts == *facts
        })
    }

    /// Inserts or replaces a row.
    pub(super) fn put(&mut self, key: ObjectKey, facts: F) -> Change<F> {
        let row = Row {
            facts: facts.clone(),
            seen: self.reading,
        };
        let old = self.rows.insert(key.clone(), row).map(|row| row.facts);
        Change {
            key,
            old,
            new: Some(facts),
        }
    }

    /// Removes a row.
    pub(super) fn take(&mut self, key: &ObjectKey) -> Option<Change<F>> {
        self.rows.remove_entry(key).map(|(key, row)| Change {
            key,
            old: Some(row.facts),
            new: None,
        })
    }

    /// Begins a reading: no row was seen in it yet.
    pub(super) fn begin(&mut self) {
        self.reading = self.reading.wrapping_add(1);
    }

    /// Removes the rows that the reading did not see.
    pub(super) fn sweep(&mut self) -> Vec<Change<F>> {
        let reading = self.reading;
        self.rows
            .extract_if(|_, row| row.seen != reading)
            .map(|(key, row)| Change {
                key,
                old: Some(row.facts),
                new: None,
            })
            .collect()
    }
}
