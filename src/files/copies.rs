//! Objects that the input has several times under one name, and differently. Each is applied somewhere, so none may
//! hide what another grants.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    facts::{
        ClusterRoleBindings, CsiDrivers, Kind, Namespaces, RoleBindings, Roles, Secrets,
        ServiceAccounts,
    },
    model::{Binding, InputKind, ObjectKey, Role, Rule, SecretFacts},
    rbac::aggregate::AggregatedRole,
    text::Problem,
};

/// How many pairs of files are named, and how many of the warnings with one topic are shown.
pub(super) const SHOWN: usize = 10;

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

    /// What is to say about them: one warning for each of the first pairs of sources, and one for the others.
    pub(super) fn warnings(&self) -> impl Iterator<Item = Problem> {
        let others = self.differing.len().saturating_sub(SHOWN);
        let others = (others > 0).then(|| Problem {
            place: format!("{others} more pairs of files"),
            message: "have objects of the same name, and differently".to_owned(),
        });
        let pairs = self.differing.iter().take(SHOWN);
        let first = pairs.filter_map(|((one, other), objects)| {
            let (kind, key) = objects.first()?;
            let mut what = match kind {
                // The name of a workload begins with its kind.
                InputKind::Pod => format!("{} in namespace {}", key.name, key.namespace),
                kind => format!("{} {key}", kind.name()),
            };
            if objects.len() > 1 {
                what = format!("{what} and {} more objects", objects.len() - 1);
            }
            let how = if one == other {
                format!("defines {what} several times, differently")
            } else {
                let before = &self.sources[*one];
                format!("defines {what} differently than `{before}`")
            };
            Some(Problem {
                place: self.sources[*other].clone(),
                message: format!(
                    "{how}: each is judged, and whatever one of them grants or mounts counts. Scan one by one what is applied to different clusters"
                ),
            })
        });
        first.chain(others)
    }
}

/// What the copies of an object are together.
pub(super) struct Together<F> {
    /// What counts for the object.
    pub(super) facts: F,
    /// What only fits beside it, and by what it is told apart.
    pub(super) beside: Option<(String, F)>,
}

impl<F> From<F> for Together<F> {
    fn from(facts: F) -> Self {
        Self {
            facts,
            beside: None,
        }
    }
}

/// A kind whose copies are joined.
pub(super) trait Joined: Kind {
    /// What two copies are together; `None` where they say the same, or the last one counts.
    fn joined(known: &Self::Facts, new: &Self::Facts) -> Option<Together<Self::Facts>>;
}

impl Joined for ServiceAccounts {
    /// A token that one of them mounts counts, the Secrets that one of them names, and an exemption that all of them have.
    fn joined(known: &Self::Facts, new: &Self::Facts) -> Option<Together<Self::Facts>> {
        let (known_says, new_says) = (
            (known.automount, &known.exemption, &known.secrets),
            (new.automount, &new.exemption, &new.secrets),
        );
        (known_says != new_says).then(|| {
            let mut joined = new.clone();
            if joined.automount == Some(false) {
                joined.automount = known.automount;
            }
            if known.exemption.is_none() {
                joined.exemption = None;
            }
            let secrets: BTreeSet<_> = known.secrets.iter().chain(&new.secrets).collect();
            joined.secrets = secrets.into_iter().cloned().collect();
            joined.into()
        })
    }
}

impl Joined for Roles {
    fn joined(known: &Self::Facts, new: &Self::Facts) -> Option<Together<Self::Facts>> {
        let rules = join_rules(&known.rules, &new.rules)?.into();
        Some(Role { rules }.into())
    }
}

impl Joined for RoleBindings {
    fn joined(known: &Binding, new: &Binding) -> Option<Together<Binding>> {
        joined_bindings(known, new)
    }
}

impl Joined for ClusterRoleBindings {
    fn joined(known: &Binding, new: &Binding) -> Option<Together<Binding>> {
        joined_bindings(known, new)
    }
}

/// The last one counts.
macro_rules! last_counts {
    ($($kind:ty),*) => {$(
        impl Joined for $kind {
            fn joined(_: &Self::Facts, _: &Self::Facts) -> Option<Together<Self::Facts>> {
                None
            }
        }
    )*};
}

last_counts!(CsiDrivers, Namespaces);

impl Joined for Secrets {
    /// The one that says whose token it holds counts.
    fn joined(known: &Self::Facts, new: &Self::Facts) -> Option<Together<Self::Facts>> {
        let (loses_owner, loses_content) = (
            known.owner.is_some() && new.owner.is_none(),
            known.content.is_some() && new.content.is_none(),
        );
        (loses_owner || loses_content).then(|| {
            let content = new.content.clone().or_else(|| known.content.clone());
            let owned = if loses_owner { known } else { new }.clone();
            SecretFacts { content, ..owned }.into()
        })
    }
}

/// What the copies of a ClusterRole have together; `None` where they grant the same. Labels that differ select each, and
/// say nothing else.
pub(super) fn join_cluster_roles(known: &AggregatedRole, new: &mut AggregatedRole) -> bool {
    let rules = join_rules(&known.rules, &new.rules);
    let selectors_differ = known.selectors != new.selectors;
    let is_aggregated = new.selectors.is_some();
    if let Some(others) = &known.selectors {
        let selectors = new.selectors.get_or_insert_default();
        let others = others.iter().filter(|other| !selectors.contains(other));
        let others: Vec<_> = others.cloned().collect();
        selectors.extend(others);
    }
    for labels in &known.labels {
        if !new.labels.contains(labels) {
            new.labels.push(labels.clone());
        }
    }
    let differs = rules.is_some() || selectors_differ;
    // What is aggregated replaces the rules of that copy only.
    match (known.selectors.is_some(), is_aggregated) {
        (true, false) => new.plain = std::mem::replace(&mut new.rules, known.rules.clone()),
        (false, true) => new.plain.clone_from(&known.rules),
        _ => new.rules = rules.unwrap_or_else(|| std::mem::take(&mut new.rules)),
    }
    new.plain = join_rules(&known.plain, &new.plain).unwrap_or_else(|| known.plain.clone());
    differs
}

/// The rules of two copies; `None` where they are the same in another order.
fn join_rules(known: &[Rule], new: &[Rule]) -> Option<Vec<Rule>> {
    let sorted = |rules: &[Rule]| -> BTreeSet<Rule> { rules.iter().map(in_order).collect() };
    let (known, new) = (sorted(known), sorted(new));
    (known != new).then(|| known.union(&new).cloned().collect())
}

/// A rule with its lists in order.
fn in_order(rule: &Rule) -> Rule {
    let mut rule = rule.clone();
    for list in [
        &mut rule.verbs,
        &mut rule.api_groups,
        &mut rule.resources,
        &mut rule.resource_names,
        &mut rule.non_resource_urls,
    ] {
        list.sort_unstable();
    }
    rule
}

/// The subjects of two bindings to one role; those to several roles stand beside each other.
fn joined_bindings(known: &Binding, new: &Binding) -> Option<Together<Binding>> {
    if known == new {
        return None;
    }
    if known.role_ref != new.role_ref {
        return Some(Together {
            facts: known.clone(),
            beside: Some((new.role_ref.to_string(), new.clone())),
        });
    }
    let subjects = known.subjects.iter().chain(&new.subjects).cloned();
    let subjects: BTreeSet<_> = subjects.collect();
    let joined = Binding {
        role_ref: new.role_ref.clone(),
        subjects: subjects.into_iter().collect(),
    };
    Some(joined.into())
}
