//! The rows of one kind. A relist is applied in place: rows are marked when they are seen again,
//! and the others are removed at its end, so that nothing is ever kept twice.
//!
//! A hash table of rows would be between half full and nearly full, and twice there while it grows. Rows are large, so they
//! stand in blocks without gaps, and the hash table only has their places.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::model::ObjectKey;

/// How many bytes a block has at most, of more than one row. It is a size of the allocator.
const BLOCK: usize = 8192;

/// The rows of one kind, by key.
#[derive(Debug)]
pub struct Table<F> {
    places: HashTable<Place>,
    blocks: Vec<Vec<Row<F>>>,
    hashes: DefaultHashBuilder,
    reading: u32,
}

#[derive(Debug)]
struct Row<F> {
    key: ObjectKey,
    facts: F,
    /// The reading in which the row was last seen.
    seen: u32,
}

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u32);

impl Place {
    /// The place after so many rows: no memory holds more of them than 32 bits count.
    fn after(rows: usize) -> Self {
        Self(u32::try_from(rows).unwrap_or(u32::MAX))
    }

    const fn number(self) -> usize {
        self.0 as usize
    }
}

impl<F> Default for Table<F> {
    fn default() -> Self {
        Self {
            places: HashTable::new(),
            blocks: Vec::new(),
            hashes: DefaultHashBuilder::default(),
            reading: 0,
        }
    }
}

impl<F> Table<F> {
    /// How many rows a block has: the last one may have fewer.
    const ROWS: usize = match BLOCK / size_of::<Row<F>>() {
        0 => 1,
        rows => rows,
    };

    fn at(blocks: &[Vec<Row<F>>], place: Place) -> &Row<F> {
        &blocks[place.number() / Self::ROWS][place.number() % Self::ROWS]
    }

    fn row(&self, place: Place) -> &Row<F> {
        Self::at(&self.blocks, place)
    }

    fn row_mut(&mut self, place: Place) -> &mut Row<F> {
        &mut self.blocks[place.number() / Self::ROWS][place.number() % Self::ROWS]
    }

    fn rows(&self) -> impl Iterator<Item = &Row<F>> {
        self.blocks.iter().flatten()
    }

    fn find(&self, key: &ObjectKey) -> Option<Place> {
        let hash = self.hashes.hash_one(key);
        let place = self
            .places
            .find(hash, |place| self.row(*place).key == *key)?;
        Some(*place)
    }

    fn push(&mut self, row: Row<F>) {
        let place = Place::after(self.places.len());
        let hash = self.hashes.hash_one(&row.key);
        let Self {
            places,
            blocks,
            hashes,
            ..
        } = self;
        places.insert_unique(hash, place, |place| {
            hashes.hash_one(&Self::at(blocks, *place).key)
        });
        match blocks.last_mut() {
            Some(last) if last.len() < Self::ROWS => last.push(row),
            Some(_) => {
                let mut block = Vec::with_capacity(Self::ROWS);
                block.push(row);
                blocks.push(block);
            }
            None => blocks.push(vec![row]),
        }
    }

    /// Removes a row: the last one takes its place.
    fn remove(&mut self, place: Place) -> Option<Row<F>> {
        let hash = self.hashes.hash_one(&self.row(place).key);
        let found = self.places.find_entry(hash, |known| *known == place);
        found.ok()?.remove();
        let block = self.blocks.last_mut()?;
        let last = block.pop()?;
        if block.is_empty() {
            self.blocks.pop();
        }
        let from = Place::after(self.places.len());
        if from == place {
            return Some(last);
        }
        let hash = self.hashes.hash_one(&last.key);
        if let Some(known) = self.places.find_mut(hash, |known| *known == from) {
            *known = place;
        }
        Some(std::mem::replace(self.row_mut(place), last))
    }

    /// Removes some rows.
    fn remove_if(&mut self, is_removed: impl Fn(&Row<F>) -> bool) -> Vec<(ObjectKey, F)> {
        let mut removed = Vec::new();
        let mut number = 0;
        while number < self.places.len() {
            let place = Place::after(number);
            if !is_removed(self.row(place)) {
                number += 1;
            } else if let Some(row) = self.remove(place) {
                removed.push((row.key, row.facts));
            }
        }
        removed
    }
}

impl<F: PartialEq> Table<F> {
    /// The facts of a row.
    pub(super) fn get(&self, key: &ObjectKey) -> Option<&F> {
        Some(&self.row(self.find(key)?).facts)
    }

    /// All rows, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ObjectKey, &F)> {
        self.rows().map(|row| (&row.key, &row.facts))
    }

    /// The row's own key, to share, and its facts.
    pub(super) fn get_key_value(&self, key: &ObjectKey) -> Option<(&ObjectKey, &F)> {
        let row = self.row(self.find(key)?);
        Some((&row.key, &row.facts))
    }

    /// Marks a row as seen.
    pub(super) fn see(&mut self, key: &ObjectKey) {
        let reading = self.reading;
        if let Some(place) = self.find(key) {
            self.row_mut(place).seen = reading;
        }
    }

    /// Marks a row as seen; returns whether it already has these facts.
    pub(super) fn is_current(&mut self, key: &ObjectKey, facts: &F) -> bool {
        let reading = self.reading;
        self.find(key).is_some_and(|place| {
            let row = self.row_mut(place);
            row.seen = reading;
            row.facts == *facts
        })
    }

    /// Inserts or replaces a row, and marks it as seen; returns its previous facts.
    pub(super) fn put(&mut self, key: ObjectKey, facts: F) -> Option<F> {
        let seen = self.reading;
        if let Some(place) = self.find(&key) {
            let row = self.row_mut(place);
            row.seen = seen;
            return Some(std::mem::replace(&mut row.facts, facts));
        }
        self.push(Row { key, facts, seen });
        None
    }

    /// The same without marking it: a row that the reading does not see is removed at its end.
    pub(super) fn put_unseen(&mut self, key: ObjectKey, facts: F) -> Option<F> {
        if let Some(place) = self.find(&key) {
            let row = self.row_mut(place);
            return Some(std::mem::replace(&mut row.facts, facts));
        }
        let seen = self.reading.wrapping_sub(1);
        self.push(Row { key, facts, seen });
        None
    }

    /// Removes a row; returns its facts.
    pub(super) fn take(&mut self, key: &ObjectKey) -> Option<F> {
        let place = self.find(key)?;
        Some(self.remove(place)?.facts)
    }

    /// Changes all facts in place.
    pub(super) fn for_each(&mut self, change: impl Fn(&mut F)) {
        let rows = self.blocks.iter_mut().flatten();
        rows.for_each(|row| change(&mut row.facts));
    }

    /// Begins a reading: no row was seen in it yet.
    pub(super) fn begin(&mut self) {
        self.reading = self.reading.wrapping_add(1);
    }

    /// Removes the rows that the reading did not see.
    pub(super) fn sweep(&mut self) -> Vec<(ObjectKey, F)> {
        let reading = self.reading;
        self.remove_if(|row| row.seen != reading)
    }

    /// Removes the rows of some keys.
    pub(super) fn extract(
        &mut self,
        is_removed: impl Fn(&ObjectKey) -> bool,
    ) -> Vec<(ObjectKey, F)> {
        self.remove_if(|row| is_removed(&row.key))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn key(n: u16) -> ObjectKey {
        ObjectKey::new("shop", n.to_string())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

        /// Many blocks of rows, and fewer again.
        #[test]
        fn a_table_is_a_map(steps in prop::collection::vec((0_u16..3_000, 0_u8..8, any::<u8>()), 0..8_000)) {
            let (mut table, mut map) = (Table::default(), BTreeMap::new());
            for (n, step, facts) in steps {
                let known = map.get(&key(n)).copied();
                prop_assert_eq!(table.get(&key(n)), known.as_ref());
                match step {
                    0 => prop_assert_eq!(table.take(&key(n)), map.remove(&key(n))),
                    1 => prop_assert_eq!(table.is_current(&key(n), &facts), known == Some(facts)),
                    _ => prop_assert_eq!(table.put(key(n), facts), map.insert(key(n), facts)),
                }
            }
            let rows = |table: &Table<u8>| -> BTreeMap<_, _> {
                table.iter().map(|(key, facts)| (key.clone(), *facts)).collect()
            };
            prop_assert_eq!(&rows(&table), &map);
            table.begin();
            for (n, key) in map.keys().enumerate().filter(|(n, _)| n % 3 == 0) {
                table.is_current(key, &u8::try_from(n % 256).unwrap_or_default());
            }
            let swept: BTreeMap<_, _> = table.sweep().into_iter().collect();
            let left: BTreeMap<_, _> = map.iter().step_by(3).map(|(key, facts)| (key.clone(), *facts)).collect();
            prop_assert_eq!(&rows(&table), &left);
            map.retain(|key, _| !left.contains_key(key));
            prop_assert_eq!(&swept, &map);
            for key in left.keys() {
                prop_assert_eq!(table.get_key_value(key), Some((key, &left[key])));
            }
            table.extract(|_| true);
            prop_assert!(table.iter().next().is_none() && table.blocks.is_empty());
        }
    }
}
