//! The shapes of pods, and how many pods have each. The pods of most accounts have one: it stands alone, and is found
//! without a hash.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::model::PodFacts;

/// Distinct shapes of pods, and how many pods have each.
#[derive(Debug, Default)]
pub(super) enum Shapes {
    #[default]
    None,
    One(Arc<PodFacts>, u32),
    Many(Box<HashMap<Arc<PodFacts>, u32>>),
}

impl Shapes {
    /// Counts a pod of a shape.
    pub(super) fn add(&mut self, shape: &Arc<PodFacts>) {
        match self {
            Self::None => *self = Self::One(shape.clone(), 1),
            Self::One(only, count) if only == shape => *count += 1,
            Self::One(only, count) => {
                let both = [(only.clone(), *count), (shape.clone(), 1)];
                *self = Self::Many(Box::new(both.into_iter().collect()));
            }
            Self::Many(counts) => *counts.entry_ref(shape).or_default() += 1,
        }
    }

    /// Counts a pod of a shape no longer.
    pub(super) fn remove(&mut self, shape: &Arc<PodFacts>) {
        let is_last = match self {
            Self::One(only, count) if only == shape => {
                *count -= 1;
                *count == 0
            }
            Self::None | Self::One(..) => false,
            Self::Many(counts) => {
                if let Some(count) = counts.get_mut(shape) {
                    *count -= 1;
                    if *count == 0 {
                        counts.remove(shape);
                    }
                }
                counts.is_empty()
            }
        };
        if is_last {
            *self = Self::None;
        }
    }

    /// The shape that is equal to another one.
    pub(super) fn equal(&self, shape: &Arc<PodFacts>) -> Option<&Arc<PodFacts>> {
        match self {
            Self::None => None,
            Self::One(only, _) => Some(only).filter(|only| *only == shape),
            Self::Many(counts) => counts.get_key_value(shape).map(|(known, _)| known),
        }
    }

    /// All shapes, each with how many pods have it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<PodFacts>, u32)> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(only, count) => (Some((only, *count)), None),
            Self::Many(counts) => (None, Some(counts.iter())),
        };
        let many = many.into_iter().flatten();
        one.into_iter()
            .chain(many.map(|(shape, count)| (shape, *count)))
    }

    /// All shapes.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Arc<PodFacts>> {
        self.iter().map(|(shape, _)| shape)
    }

    /// Whether there is no pod.
    pub(super) const fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        facts::{Kind, Pods},
        model::Config,
    };

    /// A shape that is equal to all of the same number.
    fn shape(number: u8) -> Arc<PodFacts> {
        let pod = json!({"metadata": {"name": number.to_string()}, "spec": {}});
        Pods::facts(&serde_json::from_value(pod).unwrap(), &Config::default()).shape
    }

    proptest! {
        #[test]
        fn shapes_are_a_map_of_counts(steps in prop::collection::vec((any::<bool>(), 0_u8..4), 0..60)) {
            let (mut shapes, mut counts) = (Shapes::default(), BTreeMap::new());
            for (is_added, number) in steps {
                let count: &mut u32 = counts.entry(shape(number)).or_default();
                if is_added {
                    shapes.add(&shape(number));
                    *count += 1;
                } else {
                    shapes.remove(&shape(number));
                    *count = count.saturating_sub(1);
                }
                counts.retain(|_, count| *count > 0);
                let known: BTreeMap<_, _> = shapes.iter().map(|(shape, count)| (shape.clone(), count)).collect();
                prop_assert_eq!(&known, &counts);
                prop_assert_eq!(shapes.keys().count(), counts.len());
                prop_assert_eq!(shapes.is_empty(), counts.is_empty());
                for number in 0..4 {
                    let equal = shapes.equal(&shape(number));
                    prop_assert_eq!(equal, counts.get_key_value(&shape(number)).map(|(shape, _)| shape));
                }
            }
        }
    }
}
