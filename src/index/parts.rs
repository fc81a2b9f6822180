//! Lists that shapes of pods have in common, each once: the pods of most workloads differ in little but their names.

use std::{hash::Hash, sync::Arc};

use hashbrown::HashSet;

use crate::model::{
    PodFacts,
    pod::{ConfigReference, Container, Volume},
};

/// The lists of all shapes.
#[derive(Debug, Default)]
pub(super) struct Parts {
    volumes: Pool<Volume>,
    containers: Pool<Container>,
    configs: Pool<ConfigReference>,
}

impl Parts {
    /// Replaces the lists of a shape by equal ones that another shape has.
    pub(super) fn share(&mut self, shape: &mut PodFacts) {
        self.volumes.share(&mut shape.volumes);
        self.containers.share(&mut shape.containers);
        self.configs.share(&mut shape.configs);
    }
}

/// Lists of one kind.
#[derive(Debug)]
struct Pool<T> {
    lists: HashSet<Arc<[T]>>,
    /// With how many lists those are removed that nobody else has any more.
    full: usize,
}

/// How many lists are kept at least before any is removed.
const FEW: usize = 64;

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self {
            lists: HashSet::new(),
            full: FEW,
        }
    }
}

impl<T: Eq + Hash> Pool<T> {
    fn share(&mut self, list: &mut Arc<[T]>) {
        if let Some(known) = self.lists.get(list) {
            *list = known.clone();
            return;
        }
        if self.lists.len() >= self.full {
            self.lists.retain(|list| Arc::strong_count(list) > 1);
            self.full = FEW.max(2 * self.lists.len());
        }
        self.lists.insert(list.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_are_kept_once_and_only_as_long_as_they_are_used() {
        let mut pool = Pool::default();
        let mut lists: Vec<Arc<[usize]>> = (0..1_000).map(|n| [n % 10].into()).collect();
        for list in &mut lists {
            pool.share(list);
        }
        assert_eq!(pool.lists.len(), 10);
        assert!(Arc::ptr_eq(&lists[3], &lists[993]));
        drop(lists);
        for n in 0..10_000 {
            pool.share(&mut [n].into());
            assert!(pool.lists.len() <= FEW, "{}", pool.lists.len());
        }
    }
}
