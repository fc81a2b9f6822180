//! What do the ConfigMaps, Secrets and labels around a pod say about the systems that it logs in to?

use std::collections::BTreeSet;

use super::Evidence;
use crate::model::{
    PodFacts,
    pod::{ConfigKind, ConfigReference, KeyFacts},
};

/// The systems that may accept the token of a pod: those that it refers to itself, those that its configuration names,
/// and those that its namespace adds.
pub(super) fn consumers<'a>(
    evidence: &'a Evidence<'_>,
    pod: &'a PodFacts,
) -> impl Iterator<Item = Box<str>> + use<'a> {
    let added = evidence.namespace_consumers.iter();
    let added = added.filter(|system| !pod.refuses.contains(system));
    let configured = keys(evidence, pod).flat_map(|(key, is_variable)| {
        let as_variable = key.as_variable.iter().filter(move |_| is_variable);
        key.consumers.iter().chain(as_variable)
    });
    pod.consumers.iter().chain(configured).chain(added).cloned()
}

/// Whether a pod, or its configuration, mentions `ca.crt` or `namespace` where admission mounts them.
pub(super) fn reads_files(evidence: &Evidence<'_>, pod: &PodFacts) -> bool {
    pod.reads_files || keys(evidence, pod).any(|(key, _)| key.reads_files)
}

/// What is known of the keys that a pod refers to, each with whether it becomes a variable of its own name.
fn keys<'a>(
    evidence: &'a Evidence<'_>,
    pod: &'a PodFacts,
) -> impl Iterator<Item = (&'a KeyFacts, bool)> {
    pod.configs.iter().flat_map(|reference| {
        let keys = evidence.configs.get(reference).into_iter();
        let keys = keys.flat_map(|facts| &facts.0);
        let is_meant = |key: &&KeyFacts| {
            let wanted = reference.key.as_ref();
            wanted.is_none_or(|wanted| *wanted == key.key)
        };
        let is_variable = reference.prefix.as_deref() == Some("");
        keys.filter(is_meant).map(move |key| (key, is_variable))
    })
}

/// The ConfigMaps and Secrets of a pod that were not read.
pub(super) fn not_read(
    evidence: &Evidence<'_>,
    pod: &PodFacts,
) -> BTreeSet<(ConfigKind, Box<str>)> {
    let missing = pod.configs.iter();
    // A Secret with a token of the account is judged as one.
    let is_token = |reference: &ConfigReference| {
        reference.kind == ConfigKind::Secret && evidence.secrets.contains_key(&*reference.name)
    };
    let missing = missing
        .filter(|reference| !evidence.configs.contains_key(reference) && !is_token(reference));
    missing
        .map(|reference| (reference.kind, reference.name.clone()))
        .collect()
}
