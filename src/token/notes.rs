//! What else is there to know about a pod that carries tokens? No verdict depends on it.

use std::collections::BTreeSet;

use super::{
    Bearer,
    automount::{receives_mount, reused_volume, should_automount},
    carriers::exposes,
    legacy::Holding,
};
use crate::model::{
    Carrier, Note, TokenSource,
    pod::{Origin, PodFacts, SubPath},
};

/// The notes on a pod with these carriers of the account.
pub fn notes(pod: &PodFacts, bearer: &Bearer<'_>, carriers: &[Carrier]) -> BTreeSet<Note> {
    let mut notes = BTreeSet::new();
    notes.extend(invalidated(bearer, carriers));
    if pod.service_account.as_deref() != Some(bearer.name) {
        return notes;
    }
    notes.extend(pod.rare.host_access.iter().cloned().map(Note::HostAccess));
    notes.extend(pinned(pod));
    notes.extend(unmounted(pod, bearer));
    let is_mounted = |carrier: &Carrier| carrier.source == TokenSource::Automount;
    if pod.origin == Origin::Live && pod.automount == Some(false) && carriers.iter().any(is_mounted)
    {
        notes.insert(Note::DisabledTooLate);
    }
    if pod.shares_processes && sees_less_than_another(pod, carriers) {
        notes.insert(Note::SharedProcesses);
    }
    let template = pod
        .rare
        .template
        .as_ref()
        .filter(|template| template.is_guess);
    notes.extend(template.map(|template| Note::FoundByShape(template.automount.clone())));
    // Every namespace has a ServiceAccount of this name.
    if !bearer.is_known && pod.origin == Origin::Template && bearer.name != "default" {
        notes.insert(Note::AssumedServiceAccount);
    }
    notes
}

fn invalidated<'a>(
    bearer: &'a Bearer<'_>,
    carriers: &'a [Carrier],
) -> impl Iterator<Item = Note> + use<'a> {
    let rejected = carriers.iter().filter(|carrier| {
        bearer.secrets.get(&*carrier.provider) == Some(&Holding::Token { invalidated: true })
    });
    rejected.map(|carrier| Note::Invalidated(carrier.provider.clone()))
}

/// The kubelet resolves a `subPath` once, when the container starts.
fn pinned(pod: &PodFacts) -> impl Iterator<Item = Note> {
    let mounts = pod
        .containers
        .iter()
        .flat_map(|container| &container.mounts);
    let in_part = mounts.filter(|mount| mount.sub_path != SubPath::Whole);
    let shows_token = in_part.filter(|mount| {
        let volume = pod
            .volumes
            .iter()
            .find(|volume| volume.name == mount.volume);
        let tokens = volume.into_iter().flat_map(|volume| &volume.tokens);
        tokens
            .into_iter()
            .any(|token| exposes(&mount.sub_path, &token.path))
    });
    shows_token.map(|mount| Note::Pinned(mount.path.clone()))
}

fn unmounted(pod: &PodFacts, bearer: &Bearer<'_>) -> impl Iterator<Item = Note> {
    let injects = pod.origin == Origin::Template
        && should_automount(pod.automount, bearer.automount)
        && pod.containers.iter().any(receives_mount);
    let reused = reused_volume(pod).filter(|_| injects);
    let is_mounted = |name: &str| {
        let mut mounts = pod
            .containers
            .iter()
            .flat_map(|container| &container.mounts);
        mounts.any(|mount| *mount.volume == *name)
    };
    let unmounted = pod.volumes.iter().filter(move |volume| {
        !volume.tokens.is_empty() && !is_mounted(&volume.name) && reused != Some(*volume)
    });
    unmounted.map(|volume| Note::Unmounted(volume.name.clone()))
}

fn sees_less_than_another(pod: &PodFacts, carriers: &[Carrier]) -> bool {
    carriers.iter().any(|carrier| {
        !carrier.containers.is_empty() && carrier.containers.len() < pod.containers.len()
    })
}
