//! Which pod templates of the input are assessed? Those whose pods are not in the input.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ObjectKey, PodFacts};

/// The pod templates of the input, by namespace and workload; an object of a custom kind may have several.
#[derive(Default)]
pub(super) struct Templates {
    written: BTreeMap<ObjectKey, Vec<PodFacts>>,
    /// Which rendered folder, or no folder, each comes from.
    folders: BTreeMap<ObjectKey, Option<usize>>,
    /// The templates of ReplicaSets and Jobs, by the workload that created them.
    created: BTreeMap<ObjectKey, Vec<PodFacts>>,
    /// The workloads that have pods in the input.
    live: BTreeSet<ObjectKey>,
}

impl Templates {
    /// Adds the templates of a workload. Where another folder renders that otherwise, both count: each is applied
    /// somewhere.
    pub(super) fn written(
        &mut self,
        workload: ObjectKey,
        templates: Vec<PodFacts>,
        folder: Option<usize>,
    ) {
        let before = self.folders.insert(workload.clone(), folder);
        let is_other = before.is_some_and(|before| before != folder);
        let known = self.written.get(&workload);
        match folder {
            Some(folder) if is_other && known.is_some_and(|known| *known != templates) => {
                let name = format!("{}#{folder}", workload.name);
                let key = ObjectKey::new(workload.namespace, name);
                self.written.insert(key, templates);
            }
            _ => {
                self.written.insert(workload, templates);
            }
        }
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
        self.created.append(&mut self.written);
        let live = self.live;
        let templates = self.created.into_iter();
        let templates = templates.filter(move |(workload, _)| !live.contains(workload));
        templates.flat_map(|(workload, templates)| {
            let templates = templates.into_iter().enumerate();
            templates.map(move |(number, facts)| match number {
                0 => (workload.clone(), facts),
                _ => (numbered(&workload, number), facts),
            })
        })
    }
}

/// The key of a further template of a workload.
fn numbered(workload: &ObjectKey, number: usize) -> ObjectKey {
    let name = format!("{}#{number}", workload.name);
    ObjectKey::new(workload.namespace.clone(), name)
}
