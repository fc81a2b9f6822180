//! Which workload owns a pod? Workloads, and the built-in kinds that have a pod template.

use std::{borrow::Cow, fmt};

use arcstr::literal;
use serde_json::{Value, json};

use super::Name;

/// The outermost owner of a pod: what a person would edit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// For example `Deployment`.
    pub kind: Name,
    /// Its name, in the namespace of the pod.
    pub name: Box<str>,
}

/// The kinds of most workloads: their names need no memory.
static USUAL_KINDS: [Name; 6] = [
    literal!("Deployment"),
    literal!("StatefulSet"),
    literal!("DaemonSet"),
    literal!("Job"),
    literal!("CronJob"),
    literal!("Pod"),
];

impl Workload {
    /// The workload of this kind and name.
    #[must_use]
    pub fn new(kind: &str, name: &str) -> Self {
        let usual = USUAL_KINDS.iter().find(|usual| ***usual == *kind);
        Self {
            kind: usual.map_or_else(|| kind.into(), Name::clone),
            name: name.into(),
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// Where the template of a custom kind is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomTemplate {
    /// The `apiVersion` of its object.
    pub api_version: Box<str>,
    /// The JSON pointer of the part that has `automountServiceAccountToken`; empty where only the operator of the kind
    /// decides.
    pub automount: Box<str>,
    /// It was recognised by its shape, in a kind that is not known.
    pub is_guess: bool,
    /// The lists of the pod spec, where it is spelled as Kubernetes does. No other patch than a JSON patch adds to a list
    /// of a custom kind, and it must know what is there.
    pub lists: Option<PodLists>,
}

/// The lists of a pod spec that a patch adds to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodLists {
    /// Whether it has `volumes`.
    pub has_volumes: bool,
    /// Its containers.
    pub containers: Box<[ListedContainer]>,
}

/// A container in the lists of a pod spec.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListedContainer {
    /// Its name, which may be empty in a custom kind.
    pub name: Box<str>,
    /// Its JSON pointer in the pod spec.
    pub at: Box<str>,
    /// Whether it has `volumeMounts`.
    pub has_mounts: bool,
}

/// The API groups of the built-in kinds with a pod spec, former ones included.
const BUILT_IN_GROUPS: [&str; 4] = ["", "apps", "extensions", "batch"];

/// How people name a kind: a custom one that has the name of a built-in kind is followed by its group, as in kubectl.
#[must_use]
pub fn named<'a>(api_version: &str, kind: &'a str) -> Cow<'a, str> {
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let is_taken = PodKind::named(kind).is_some() || kind == "Service";
    if is_taken && !BUILT_IN_GROUPS.contains(&group) {
        format!("{kind}.{group}").into()
    } else {
        kind.into()
    }
}

/// A built-in kind whose objects have a pod spec.
#[derive(Debug)]
pub struct PodKind {
    /// The `kind`.
    pub name: &'static str,
    /// Its short name in kubectl; empty where it has none.
    short_name: &'static str,
    /// The `apiVersion` for patches.
    pub api_version: &'static str,
    /// The fields that lead to the pod spec.
    pub pod_spec: &'static [&'static str],
    /// Whether the API server accepts changes to the pod spec of a live object.
    pub is_mutable: bool,
}

/// The built-in kinds whose objects have a pod spec.
const POD_KINDS: [PodKind; 9] = [
    kind("Pod", "po", "v1", &["spec"], false),
    kind("PodTemplate", "", "v1", &["template", "spec"], true),
    kind("Deployment", "deploy", "apps/v1", TEMPLATE, true),
    kind("StatefulSet", "sts", "apps/v1", TEMPLATE, true),
    kind("DaemonSet", "ds", "apps/v1", TEMPLATE, true),
    kind("ReplicaSet", "rs", "apps/v1", TEMPLATE, true),
    kind("ReplicationController", "rc", "v1", TEMPLATE, true),
    kind("Job", "", "batch/v1", TEMPLATE, false),
    kind("CronJob", "cj", "batch/v1", JOB_TEMPLATE, true),
];
/// Where most kinds have the pod spec, custom ones included.
const TEMPLATE: &[&str] = &["spec", "template", "spec"];
const JOB_TEMPLATE: &[&str] = &["spec", "jobTemplate", "spec", "template", "spec"];

const fn kind(
    name: &'static str,
    short_name: &'static str,
    api_version: &'static str,
    pod_spec: &'static [&'static str],
    is_mutable: bool,
) -> PodKind {
    PodKind {
        name,
        short_name,
        api_version,
        pod_spec,
        is_mutable,
    }
}

impl PodKind {
    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        POD_KINDS.iter().find(|kind| kind.name == name)
    }

    /// The kind in one of kubectl's spellings: `deploy`, `deployments`, `Deployment`.
    #[must_use]
    pub fn typed(word: &str) -> Option<&'static Self> {
        let word = word.to_ascii_lowercase();
        let singular = word.strip_suffix('s').unwrap_or(&word);
        POD_KINDS.iter().find(|kind| {
            kind.name.eq_ignore_ascii_case(singular)
                || (!kind.short_name.is_empty() && kind.short_name == word)
        })
    }

    /// The part of an object that has this part of a pod spec.
    #[must_use]
    pub fn object_with(&self, pod_spec: Value) -> Value {
        let fields = self.pod_spec.iter().rev();
        fields.fold(pod_spec, |inner, field| json!({ *field: inner }))
    }

    /// Whether a built-in kind of this name embeds a pod template.
    #[must_use]
    pub fn embeds_template(name: &str) -> bool {
        name != "Pod" && Self::named(name).is_some()
    }

    /// Whether an API group is one of those that built-in kinds with a pod template have.
    #[must_use]
    pub fn has_group(group: &str) -> bool {
        BUILT_IN_GROUPS.contains(&group)
    }
}

/// The fields that lead to the pod spec of a kind; of a custom kind, those of most kinds.
#[must_use]
pub fn pod_spec_path(kind: &str) -> &'static [&'static str] {
    PodKind::named(kind).map_or(TEMPLATE, |kind| kind.pod_spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_recognised_by_its_names_in_kubectl() {
        let typed = |word| PodKind::typed(word).map(|kind| kind.name);
        for (word, name) in [
            ("deploy", "Deployment"),
            ("deployments", "Deployment"),
            ("Deployment", "Deployment"),
            ("rs", "ReplicaSet"),
            ("Pods", "Pod"),
            ("jobs", "Job"),
            ("cj", "CronJob"),
        ] {
            assert_eq!(typed(word), Some(name), "{word}");
        }
        assert_eq!(named("apps/v1", "Deployment"), "Deployment");
        assert_eq!(
            named("batch.volcano.sh/v1alpha1", "Job"),
            "Job.batch.volcano.sh"
        );
        assert_eq!(named("argoproj.io/v1alpha1", "Rollout"), "Rollout");
        assert_eq!(typed("rollouts"), None);
        assert_eq!(typed(""), None);
    }
}
