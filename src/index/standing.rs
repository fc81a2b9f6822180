//! Which namespaces are judged. Of the others no pods are kept, and their bindings count as all do.

use std::collections::{BTreeMap, BTreeSet};

use super::{Account, Index, Indexed};
use crate::{
    facts::Pods,
    model::{Gap, InputKind, LeftOut, Name, NamespaceFacts, ObjectKey, ServiceAccountRef},
};

/// Whether the accounts of a namespace are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They are.
    Selected,
    /// They are not, and have no report.
    LeftOut,
    /// Its labels, or its pods, are not known yet.
    Undecided,
}

/// Namespaces whose pods were turned away, and now count: they must be listed.
#[derive(Debug, Default)]
pub(super) struct Entering {
    namespaces: BTreeMap<Name, Turn>,
    last: Turn,
    /// The last one that the present reading of all pods covers.
    covered: Turn,
}

/// Tells apart how often a namespace entered.
pub(super) type Turn = u64;

/// What was denied in single namespaces.
pub(super) type Denied = BTreeSet<(Name, InputKind)>;

impl Index {
    /// Every account of the selected namespaces that exists, that a pod names or that has a report, in order.
    pub fn accounts(&self) -> impl Iterator<Item = (&ServiceAccountRef, &Account)> {
        let all = self.config.namespaces.selects_all();
        let mut last: Option<(&str, bool)> = None;
        self.accounts.iter().filter(move |(account, _)| {
            let known = last.filter(|(namespace, _)| all || **namespace == *account.namespace);
            let selected = || all || self.standing(&account.namespace) == Standing::Selected;
            let selected = known.map_or_else(selected, |(_, selected)| selected);
            last = Some((&account.namespace, selected));
            selected
        })
    }

    /// Whether the accounts of a namespace are judged.
    #[must_use]
    pub fn standing(&self, namespace: &str) -> Standing {
        let selection = &self.config.namespaces;
        if selection.leaves_out_name(namespace).is_some() {
            return Standing::LeftOut;
        }
        if !selection.depends_on_labels() {
            return Standing::Selected;
        }
        match self.namespaces.get(&ObjectKey::cluster(namespace)) {
            None => Standing::Undecided,
            Some(facts) if facts.left_out.is_some() => Standing::LeftOut,
            Some(_) if self.entering.namespaces.contains_key(namespace) && self.reads_pods() => {
                Standing::Undecided
            }
            Some(_) => Standing::Selected,
        }
    }

    fn reads_pods(&self) -> bool {
        let reading = self.readings.get(&InputKind::Pod);
        reading.is_none_or(|reading| !reading.forbidden)
    }

    /// Whether the standing of an account asks for work: a verdict, or the removal of its report.
    pub(super) fn concerns(&self, account: &ServiceAccountRef) -> bool {
        match self.standing(&account.namespace) {
            Standing::Selected => true,
            Standing::LeftOut => self.report(account).is_some(),
            Standing::Undecided => false,
        }
    }

    /// Whether the facts of an object are kept. Labels decide about pods alone: what is turned away must be read
    /// later, when the labels change.
    pub(super) fn admits(&self, kind: InputKind, namespace: &str) -> bool {
        let selection = &self.config.namespaces;
        if !kind.is_of_accounts() || selection.selects_all() {
            return true;
        }
        if selection.leaves_out_name(namespace).is_some() {
            return false;
        }
        let facts = || self.namespaces.get(&ObjectKey::cluster(namespace));
        kind != InputKind::Pod
            || !selection.depends_on_labels()
            || facts().is_none_or(|facts| facts.left_out.is_none())
    }

    /// Keeps up with the labels of a namespace: pods of one that leaves are forgotten, and one that enters must be
    /// listed. So must one that was deleted: a new one of its name may have had pods turned away.
    pub(super) fn standing_changed(
        &mut self,
        namespace: &Name,
        old: Option<&NamespaceFacts>,
        new: Option<&NamespaceFacts>,
    ) {
        let left =
            |facts: Option<&NamespaceFacts>| facts.is_some_and(|facts| facts.left_out.is_some());
        match (left(old), left(new)) {
            (false, true) => {
                self.entering.namespaces.remove(namespace);
                for (key, facts) in self.pods.extract(|key| key.namespace == *namespace) {
                    Indexed::<Pods>::changed(self, &key, Some(&facts), None);
                }
            }
            (true, false) if self.config.namespaces.depends_on_labels() => {
                self.entering.last += 1;
                let turn = self.entering.last;
                self.entering.namespaces.insert(namespace.clone(), turn);
            }
            _ => {}
        }
    }

    /// The namespaces whose pods must be listed.
    #[must_use]
    pub fn entering(&self) -> Vec<(Name, Turn)> {
        let entering = self.entering.namespaces.iter();
        entering.map(|(name, turn)| (name.clone(), *turn)).collect()
    }

    /// Whether there are any.
    #[must_use]
    pub fn has_entering(&self) -> bool {
        !self.entering.namespaces.is_empty()
    }

    /// The pods of a namespace were listed, unless it left and entered again meanwhile.
    pub fn entered(&mut self, namespace: &Name, turn: Turn) {
        if self.entering.namespaces.get(namespace) == Some(&turn) {
            self.entering.namespaces.remove(namespace);
            self.mark_namespace(namespace);
        }
    }

    /// A reading of all pods begins.
    pub(super) fn reading_pods(&mut self) {
        self.entering.covered = self.entering.last;
    }

    /// All pods were read, so also those of the namespaces that had entered when that began.
    pub(super) fn read_pods(&mut self) {
        let covered = self.entering.covered;
        let mut entering = self.entering();
        entering.retain(|(_, turn)| *turn <= covered);
        for (namespace, turn) in entering {
            self.entered(&namespace, turn);
        }
    }

    /// Whether it is known, as far as it ever will be, which namespaces are judged.
    #[must_use]
    pub fn knows_selection(&self) -> bool {
        let namespaces = self.readings.get(&InputKind::Namespace);
        !self.config.namespaces.depends_on_labels()
            || namespaces.is_none_or(|reading| reading.is_current() || reading.forbidden)
    }

    /// How many namespaces each condition leaves out; `None` where namespaces cannot be listed.
    #[must_use]
    pub fn left_out(&self) -> Option<BTreeMap<LeftOut, usize>> {
        let mut counts = BTreeMap::from(LeftOut::ALL.map(|by| (by, 0)));
        if !self.reads(InputKind::Namespace) {
            return None;
        }
        for by in self
            .namespaces
            .iter()
            .filter_map(|(_, facts)| facts.left_out)
        {
            *counts.entry(by).or_default() += 1;
        }
        Some(counts)
    }

    /// Listing a kind in one namespace is denied.
    pub fn deny(&mut self, kind: InputKind, namespace: &str) {
        let namespace: Name = namespace.into();
        self.denied.insert((namespace.clone(), kind));
        self.mark_namespace(&namespace);
    }

    /// Whether it is.
    pub(super) fn is_denied(&self, kind: InputKind, namespace: &str) -> bool {
        !self.denied.is_empty() && self.denied.contains(&(namespace.into(), kind))
    }

    /// What is denied in a namespace.
    pub(super) fn denied_in(&self, namespace: &str) -> impl Iterator<Item = Gap> {
        let denied = self.denied.iter();
        denied
            .filter(move |(denied, _)| **denied == *namespace)
            .map(|(_, kind)| Gap::Forbidden(*kind))
    }
}
