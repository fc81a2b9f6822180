//! Which pod templates of the input are assessed? Those whose pods are not in the input.

use std::collections::{BTreeMap, BTreeSet};

use super::places::Differing;
use crate::model::{Name, ObjectKey, PodFacts};

/// The pod templates of the input, by namespace and workload; an object of a custom kind may have several.
#[derive(Default)]
pub(super) struct Templates {
    /// The input may have a workload several times, and differently: all count, since each is applied somewhere.
    written: BTreeSet<(ObjectKey, Vec<PodFacts>)>,
    /// The templates of ReplicaSets and Jobs, by the workload that created them.
    created: BTreeMap<ObjectKey, Vec<PodFacts>>,
    /// The workloads that have pods in the input.
    live: BTreeSet<ObjectKey>,
    /// Those that had pods, with what decides about their tokens first.
    ended: BTreeSet<(ObjectKey, Mounting)>,
}

/// The account of pods, and `automountServiceAccountToken`.
type Mounting = (Option<Name>, Option<bool>);

fn mounting(facts: &PodFacts) -> Mounting {
    (facts.service_account.clone(), facts.automount)
}

impl Templates {
    /// Adds the templates of a workload, or a pod that is not live yet. Returns whether the input has it differently.
    pub(super) fn written(&mut self, workload: ObjectKey, templates: Vec<PodFacts>) -> bool {
        let first = (workload.clone(), Vec::new());
        self.written.insert((workload, templates))
            && self
                .written
                .range(&first..)
                .nth(1)
                .is_some_and(|(other, _)| *other == first.0)
    }

    /// The workloads that the input has differently.
    pub(super) fn differing(&self) -> Differing {
        let mut differing = Differing::new();
        let next = self.written.iter().skip(1);
        for (one, other) in self.written.iter().zip(next) {
            if one.0 == other.0 {
                let accounts = differing
                    .entry(one.0.clone())
                    .or_insert_with(|| vec![account(&one.1)]);
                accounts.push(account(&other.1));
            }
        }
        differing
    }

    /// Adds the template of a ReplicaSet or Job that a workload created: it is used only if that workload is
    /// not in the input.
    pub(super) fn created_by(&mut self, workload: ObjectKey, templates: Vec<PodFacts>) {
        self.created.entry(workload).or_default().extend(templates);
    }

    /// Records that the input has pods of a workload: its template is not used.
    pub(super) fn has_pods(&mut self, workload: ObjectKey) {
        self.live.insert(workload);
    }

    /// Records that the input has a pod of a workload that has ended: a template like it is not used.
    pub(super) fn had_pods(&mut self, workload: ObjectKey, facts: &PodFacts) {
        self.ended.insert((workload, mounting(facts)));
    }

    /// The templates of workloads without pods in the input, each with a key of its own.
    pub(super) fn without_pods(mut self) -> impl Iterator<Item = (ObjectKey, PodFacts)> {
        let mut written: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (workload, templates) in self.written {
            written.entry(workload).or_default().extend(templates);
        }
        self.created.append(&mut written);
        let (live, ended) = (self.live, self.ended);
        let templates = self.created.into_iter();
        let templates = templates.filter(move |(workload, _)| !live.contains(workload));
        templates.flat_map(move |(workload, templates)| {
            let is_new = |facts: &PodFacts| !ended.contains(&(workload.clone(), mounting(facts)));
            let templates: Vec<_> = templates.into_iter().filter(is_new).collect();
            let templates = templates.into_iter().enumerate();
            templates.map(move |(number, facts)| match number {
                0 => (workload.clone(), facts),
                _ => (workload.beside(&number.to_string()), facts),
            })
        })
    }
}

/// The account of all templates; `None` if they have several.
pub(super) fn account(templates: &[PodFacts]) -> Option<Name> {
    let (first, others) = templates.split_first()?;
    let is_same = |other: &PodFacts| other.service_account == first.service_account;
    first
        .service_account
        .clone()
        .filter(|_| others.iter().all(is_same))
}
