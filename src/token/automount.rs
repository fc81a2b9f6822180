//! What would the ServiceAccount admission plugin do to this pod?
//! Mirrors plugin/pkg/admission/serviceaccount/admission.go.

use crate::model::pod::{
    Container, ContainerKind, INJECTED_VOLUME_PREFIX, PodFacts, TOKEN_MOUNT_PATH, Volume,
};

/// Whether admission mounts a token: the pod decides, else the account; the default is yes.
/// Mirrors `shouldAutomount`.
#[must_use]
pub fn should_automount(pod: Option<bool>, service_account: Option<bool>) -> bool {
    pod.or(service_account).unwrap_or(true)
}

/// The volume that admission would reuse, whatever its type: the first whose name has the prefix.
/// Mirrors the search in `mountServiceAccountToken`.
#[must_use]
pub fn reused_volume(pod: &PodFacts) -> Option<&Volume> {
    pod.volumes
        .iter()
        .find(|volume| volume.name.starts_with(INJECTED_VOLUME_PREFIX))
}

/// Whether admission adds its mount to a container: never to an ephemeral one, and not where another
/// mount has exactly its path. A trailing slash, a parent or an alias is not the same path.
#[must_use]
pub fn receives_mount(container: &Container) -> bool {
    container.kind != ContainerKind::Ephemeral
        && !container
            .mounts
            .iter()
            .any(|mount| &*mount.path == TOKEN_MOUNT_PATH)
}
