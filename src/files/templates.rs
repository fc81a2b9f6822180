//! Which pod templates of the input are assessed? Those whose pods are not in the input.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ObjectKey, PodFacts};

/// The pod templates of the input, by namespace and workload; an object of a custom kind may have several.
#[derive(Default)]
pub(super) struct Templates {
    /// The input may have a workload several times, and differently: all count, since each is applied somewhere.
    written: BTreeMap<ObjectKey, Vec<Vec<PodFacts>>>,
    /// The templates of ReplicaSets and Jobs, by the workload that created them.
    created: BTreeMap<ObjectKey, Vec<PodFacts>>,
    /// The workloads that have pods in the input.
    live: BTreeSet<ObjectKey>,
}

impl Templates {
    /// Adds the templates of a workload, or a pod that is not live yet.
    pub(super) fn written(&mut self, workload: ObjectKey, templates: Vec<PodFacts>) {
        // Nearly all are there once.
        let known = self.written.entry(workload);
        let known = known.or_insert_with(|| Vec::with_capacity(1));
        if !known.contains(&templates) {
            known.push(templates);
        }
    }

    /// The workloads that the input has differently.
    pub(super) fn differing(&self) -> BTreeSet<ObjectKey> {
        let differing = self.written.iter().filter(|(_, known)| known.len() > 1);
        differing.map(|(workload, _)| workload.clone()).collect()
    }

    /// Adds the template of a ReplicaSet or Job that a workload created: it is used only if that workload is
    /// not in the input.
    pub(super) fn created_by(&mut self, workload: ObjectKey, templates: Vec<PodFacts>) {
        self.created.insert(workload, templates);
    }

    /// Records that the input has pods of a workload: its template is not used.
    pub(super) fn has_pods(&mut self, workload: ObjectKey) {
        self.live.insert(workload);
    }

    /// The templates of workloads without pods in the input, each with a key of its own.
    pub(super) fn without_pods(mut self) -> impl Iterator<Item = (ObjectKey, PodFacts)> {
        let written = self.written.into_iter();
        let written = written.map(|(workload, known)| (workload, known.concat()));
        self.created.extend(written);
        let live = self.live;
        let templates = self.created.into_iter();
        let templates = templates.filter(move |(workload, _)| !live.contains(workload));
        templates.flat_map(|(workload, templates)| {
            let templates = templates.into_iter().enumerate();
            templates.map(move |(number, facts)| match number {
                0 => (workload.clone(), facts),
                _ => (workload.numbered(number), facts),
            })
        })
    }
}
