//! Which pod templates of the input count? Those whose pods are not in the input themselves.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ObjectKey, PodFacts};

/// The pod templates of the input, by namespace and workload.
#[derive(Default)]
pub(super) struct Templates {
    written: BTreeMap<ObjectKey, PodFacts>,
    /// The templates of ReplicaSets and Jobs, by the workload that made them.
    made: BTreeMap<ObjectKey, PodFacts>,
    /// The workloads that have pods in the input.
    live: BTreeSet<ObjectKey>,
}

impl Templates {
    /// Adds the template of a workload that is in the input itself.
    pub(super) fn written(&mut self, workload: ObjectKey, template: PodFacts) {
        self.written.insert(workload, template);
    }

    /// Adds the template of a ReplicaSet or Job that a workload made: it counts only where that
    /// workload is not in the input.
    pub(super) fn made_by(&mut self, workload: ObjectKey, template: PodFacts) {
        self.made.insert(workload, template);
    }

    /// Notes that the input has pods of a workload: its template does not count.
    pub(super) fn has_pods(&mut self, workload: ObjectKey) {
        self.live.insert(workload);
    }

    /// The templates that stand for pods.
    pub(super) fn that_count(mut self) -> impl Iterator<Item = (ObjectKey, PodFacts)> {
        self.made.append(&mut self.written);
        let live = self.live;
        let templates = self.made.into_iter();
        templates.filter(move |(workload, _)| !live.contains(workload))
    }
}
