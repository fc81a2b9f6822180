//! Objects that the input has several times under one name, and differently. Each is applied somewhere, so none may
//! hide what another grants.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    facts::{
        ClusterRoleBindings, CsiDrivers, Kind, Namespaces, RoleBindings, Roles, Secrets,
        ServiceAccounts,
    },
    model::{Binding, InputKind, ObjectKey, Rule},
    text::Problem,
};

/// Which file or rendered folder has which object.
#[derive(Default)]
pub(super) struct Copies {
    /// The files and folders, in the order in which they are read.
    sources: Vec<String>,
    /// The last source of each object.
    known: HashMap<(InputKind, ObjectKey), usize>,
    /// Pairs of sources that have the same objects differently.
    differing: BTreeMap<(usize, usize), BTreeSet<(InputKind, ObjectKey)>>,
}

impl Copies {
    /// What is noted from now on is in this file or folder.
    pub(super) fn begin(&mut self, source: &str) {
        self.sources.push(source.to_owned());
    }

    /// Notes an object, and returns the source that it was in before.
    pub(super) fn note(&mut self, kind: InputKind, key: &ObjectKey) -> Option<usize> {
        let now = self.sources.len().saturating_sub(1);
        self.known.insert((kind, key.clone()), now)
    }

    /// Notes that an object is not what it was in a source before.
    pub(super) fn differs(&mut self, kind: InputKind, key: &ObjectKey, before: usize) {
        let pair = (before, self.sources.len().saturating_sub(1));
        let objects = self.differing.entry(pair).or_default();
        objects.insert((kind, key.clone()));
    }

    /// What is to say about them: one warning for each pair of sources.
    pub(super) fn warnings(&self) -> impl Iterator<Item = Problem> {
        let pairs = self.differing.iter();
        pairs.filter_map(|((one, other), objects)| {
            let (kind, key) = objects.first()?;
            let mut what = format!("{} {key}", kind.name());
            if objects.len() > 1 {
                what = format!("{what} and {} more objects", objects.len() - 1);
            }
            let how = if one == other {
                format!("has {what} several times, and differently")
            } else {
                let before = &self.sources[*one];
                format!("has {what} otherwise than `{before}`")
            };
            Some(Problem {
                place: self.sources[*other].clone(),
                message: format!(
                    "{how}: whatever one of them grants or mounts counts. Scan one by one what is applied to different clusters"
                ),
            })
        })
    }
}

/// A kind whose copies are joined.
pub(super) trait Joined: Kind {
    /// What counts for the object, and what only fits beside it, under another name.
    fn joined(known: &Self::Facts, new: Self::Facts) -> (Self::Facts, Option<Self::Facts>);
}

impl Joined for ServiceAccounts {
    /// A token that one of them mounts counts.
    fn joined(known: &Self::Facts, mut new: Self::Facts) -> (Self::Facts, Option<Self::Facts>) {
        if new.automount == Some(false) {
            new.automount = known.automount;
        }
        (new, None)
    }
}

impl Joined for Roles {
    fn joined(known: &Self::Facts, mut new: Self::Facts) -> (Self::Facts, Option<Self::Facts>) {
        let mut rules = new.rules.into_vec();
        join_rules(&known.rules, &mut rules);
        new.rules = rules.into();
        (new, None)
    }
}

impl Joined for RoleBindings {
    fn joined(known: &Binding, new: Binding) -> (Binding, Option<Binding>) {
        joined_bindings(known, new)
    }
}

impl Joined for ClusterRoleBindings {
    fn joined(known: &Binding, new: Binding) -> (Binding, Option<Binding>) {
        joined_bindings(known, new)
    }
}

/// The last one counts.
macro_rules! last_counts {
    ($($kind:ty),*) => {$(
        impl Joined for $kind {
            fn joined(_: &Self::Facts, new: Self::Facts) -> (Self::Facts, Option<Self::Facts>) {
                (new, None)
            }
        }
    )*};
}

last_counts!(CsiDrivers, Namespaces, Secrets);

/// Adds the rules of a copy that a role does not have.
pub(super) fn join_rules(known: &[Rule], rules: &mut Vec<Rule>) {
    let others = known.iter().filter(|rule| !rules.contains(rule));
    let others: Vec<_> = others.cloned().collect();
    rules.extend(others);
}

fn joined_bindings(known: &Binding, mut new: Binding) -> (Binding, Option<Binding>) {
    if known.role_ref != new.role_ref {
        return (known.clone(), Some(new));
    }
    let subjects = known.subjects.iter().chain(&new.subjects).cloned();
    let subjects: BTreeSet<_> = subjects.collect();
    new.subjects = subjects.into_iter().collect();
    (new, None)
}
