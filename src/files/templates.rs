//! Which pod templates of the input are assessed? Those whose pods are not in the input.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ObjectKey, PodFacts};

/// The pod templates of the input, by namespace and workload.
#[derive(Default)]
pub(super) struct Templates {
    written: BTreeMap<ObjectKey, PodFacts>,
    /// The templates of ReplicaSets and Jobs, by the workload that created them.
    created: BTreeMap<ObjectKey, PodFacts>,
    /// The workloads that have pods in the input.
    live: BTreeSet<ObjectKey>,
}

impl Templates {
    /// Adds the template of a workload.
    pub(super) fn written(&mut self, workload: ObjectKey, template: PodFacts) {
        self.written.insert(workload, template);
    }

    /// Adds the template of a ReplicaSet or Job that a workload created: it is used only if that workload is
    /// not in the input.
    pub(super) fn created_by(&mut self, workload: ObjectKey, template: PodFacts) {
        self.created.insert(workload, template);
    }

    /// Records that the input has pods of a workload: its template is not used.
    pub(super) fn has_pods(&mut self, workload: ObjectKey) {
        self.live.insert(workload);
    }

    /// The templates of workloads without pods in the input.
    pub(super) fn without_pods(mut self) -> impl Iterator<Item = (ObjectKey, PodFacts)> {
        self.created.append(&mut self.written);
        let live = self.live;
        let templates = self.created.into_iter();
        templates.filter(move |(workload, _)| !live.contains(workload))
    }
}
