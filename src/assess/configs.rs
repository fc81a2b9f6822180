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
    let added = added.filter(|system| !pod.rare.refuses.contains(system));
    let configured = keys(evidence, pod).flat_map(|(key, reference)| {
        let variables = key.as_variable.iter();
        let becomes = move |(variable, _): &&(Box<str>, Box<str>)| {
            reference.variable.as_deref().is_some_and(|named| {
                let rest = variable.strip_prefix(named);
                rest.is_some_and(|rest| rest.is_empty() || *rest == *key.key)
            })
        };
        let as_variable = variables.filter(becomes).map(|(_, system)| system);
        key.consumers.iter().chain(as_variable)
    });
    let others = configured.chain(added);
    let others = others.filter(|system| !pod.rare.own_tokens.contains(system));
    pod.consumers.iter().chain(others).cloned()
}

/// Whether a pod, or its configuration, mentions `ca.crt` or `namespace` where admission mounts them.
pub(super) fn reads_files(evidence: &Evidence<'_>, pod: &PodFacts) -> bool {
    pod.reads_files || keys(evidence, pod).any(|(key, _)| key.reads_files)
}

/// Whether a pod, or its configuration, mentions `service-ca.crt` where admission mounts it.
pub(super) fn reads_service_ca(evidence: &Evidence<'_>, pod: &PodFacts) -> bool {
    pod.reads_service_ca || keys(evidence, pod).any(|(key, _)| key.reads_service_ca)
}

/// What is known of the keys that a pod refers to, each with the reference.
fn keys<'a>(
    evidence: &'a Evidence<'_>,
    pod: &'a PodFacts,
) -> impl Iterator<Item = (&'a KeyFacts, &'a ConfigReference)> {
    pod.configs.iter().flat_map(|reference| {
        let keys = evidence.configs.get(reference).into_iter();
        let keys = keys.flat_map(|facts| &facts.0);
        let is_meant = |key: &&KeyFacts| {
            let wanted = reference.key.as_ref();
            wanted.is_none_or(|wanted| *wanted == key.key)
        };
        keys.filter(is_meant).map(move |key| (key, reference))
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
