//! What is kept of a pod, and of a pod template.

use std::sync::Arc;

use super::{Kind, Pods, consumers, owner, wire};
use crate::model::{
    InputKind,
    pod::{
        Container, ContainerKind, INJECTED_VOLUME_PREFIX, Mount, Origin, PodFacts, SecretToken,
        SecretVariable, SubPath, TOKEN_MOUNT_PATH, TokenProjection, Volume, Workload,
        legacy_token_owner,
    },
};

/// The key of a legacy token Secret that holds the token (`ServiceAccountTokenKey`).
const TOKEN_KEY: &str = "token";
/// What the API fills in for a missing `expirationSeconds` (`SetDefaults_ServiceAccountTokenProjection`).
const DEFAULT_EXPIRATION_SECONDS: i64 = 3600;

impl Kind for Pods {
    type Wire = wire::Pod;
    type Facts = Arc<PodFacts>;
    const INPUT: InputKind = InputKind::Pod;

    fn metadata(wire: &Self::Wire) -> &wire::Metadata {
        &wire.metadata
    }

    fn facts(wire: &Self::Wire) -> Self::Facts {
        // Only the API server gives an object a uid: without one it is a manifest.
        let origin = if wire.metadata.uid.is_empty() {
            Origin::Template
        } else {
            Origin::Live
        };
        let workload = owner::workload(&wire.metadata);
        let mut facts = template(&wire.metadata, &wire.spec, workload);
        facts.origin = origin;
        if wire.metadata.annotations.mirror.is_some() {
            facts.service_account = None;
        }
        if origin == Origin::Live {
            forget_random_names(&mut facts);
        }
        Arc::new(facts)
    }
}

/// The facts of a template that belongs to a workload.
#[must_use]
pub fn template(metadata: &wire::Metadata, spec: &wire::PodSpec, workload: Workload) -> PodFacts {
    let volumes: Box<[Volume]> = spec.volumes.iter().filter_map(volume).collect();
    let containers = [
        (ContainerKind::Init, &spec.init_containers),
        (ContainerKind::Regular, &spec.containers),
        (ContainerKind::Ephemeral, &spec.ephemeral_containers),
    ];
    let containers = containers
        .iter()
        .flat_map(|(kind, list)| list.iter().map(|wire| container(wire, *kind, &volumes)))
        .collect();
    PodFacts {
        service_account: Some(service_account_name(spec).into()),
        workload,
        origin: Origin::Template,
        automount: spec.automount_service_account_token,
        consumers: consumers::consumers(&metadata.annotations, spec),
        volumes,
        containers,
    }
}

/// Mirrors `Convert_v1_PodSpec_To_core_PodSpec`: the deprecated field counts only where the other
/// is empty; admission fills in `default`.
fn service_account_name(spec: &wire::PodSpec) -> &str {
    [
        spec.service_account_name.as_str(),
        spec.service_account.as_str(),
    ]
    .into_iter()
    .find(|name| !name.is_empty())
    .unwrap_or("default")
}

fn volume(wire: &wire::Volume) -> Option<Volume> {
    let sources = || {
        wire.projected
            .iter()
            .flat_map(|projected| &projected.sources)
    };
    let tokens: Box<[TokenProjection]> = sources()
        .filter_map(|source| source.service_account_token.as_ref())
        .map(token)
        .collect();
    let whole = wire
        .secret
        .iter()
        .map(|secret| (&secret.secret_name, &secret.items));
    let projected = sources().filter_map(|source| source.secret.as_ref());
    let projected = projected.map(|secret| (&secret.name, &secret.items));
    let secrets: Box<[SecretToken]> = whole
        .chain(projected)
        .filter_map(|(secret, items)| secret_token(secret, items))
        .collect();
    let injected = wire.name.starts_with(INJECTED_VOLUME_PREFIX);
    (injected || !tokens.is_empty() || !secrets.is_empty()).then(|| Volume {
        name: wire.name.as_str().into(),
        tokens,
        secrets,
    })
}

/// The token of a legacy token Secret, if the volume shows its key `token`; without items it shows all.
fn secret_token(secret: &str, items: &[wire::KeyToPath]) -> Option<SecretToken> {
    legacy_token_owner(secret)?;
    let path = if items.is_empty() {
        TOKEN_KEY
    } else {
        &items.iter().find(|item| item.key == TOKEN_KEY)?.path
    };
    Some(SecretToken {
        secret: secret.into(),
        path: path.into(),
    })
}

/// The environment variables of a container that hold the token of a legacy token Secret.
fn variables(wire: &wire::Container) -> Box<[SecretVariable]> {
    let single = wire
        .env
        .iter()
        .filter_map(|variable| variable.value_from.as_ref());
    let single = single.filter_map(|from| from.secret_key_ref.as_ref());
    let single = single.filter(|reference| reference.key == TOKEN_KEY);
    let all = wire
        .env_from
        .iter()
        .filter_map(|from| from.secret_ref.as_ref());
    single
        .chain(all)
        .filter(|reference| legacy_token_owner(&reference.name).is_some())
        .map(|reference| SecretVariable {
            secret: reference.name.as_str().into(),
        })
        .collect()
}

fn token(wire: &wire::TokenProjection) -> TokenProjection {
    TokenProjection {
        audience: wire.audience.as_str().into(),
        expiration_seconds: wire
            .expiration_seconds
            .unwrap_or(DEFAULT_EXPIRATION_SECONDS),
        path: wire.path.as_str().into(),
    }
}

fn container(wire: &wire::Container, kind: ContainerKind, volumes: &[Volume]) -> Container {
    let matters = |mount: &&wire::VolumeMount| {
        mount.mount_path == TOKEN_MOUNT_PATH
            || volumes.iter().any(|volume| *volume.name == *mount.name)
    };
    Container {
        name: wire.name.as_str().into(),
        kind,
        mounts: wire
            .volume_mounts
            .iter()
            .filter(matters)
            .map(mount)
            .collect(),
        variables: variables(wire),
    }
}

fn mount(wire: &wire::VolumeMount) -> Mount {
    let sub_path = if !wire.sub_path.is_empty() {
        SubPath::Path(wire.sub_path.as_str().into())
    } else if !wire.sub_path_expr.is_empty() {
        SubPath::Expression(wire.sub_path_expr.as_str().into())
    } else {
        SubPath::Whole
    };
    Mount {
        volume: wire.name.as_str().into(),
        path: wire.mount_path.as_str().into(),
        sub_path,
    }
}

/// Makes the pods of one workload equal: leaves out the random end of the injected volume's name,
/// and containers that see no token.
fn forget_random_names(facts: &mut PodFacts) {
    let volumes = &facts.volumes;
    let shown = |mount: &Mount| volumes.iter().any(|volume| volume.name == mount.volume);
    facts.containers = std::mem::take(&mut facts.containers)
        .into_iter()
        .filter(|container| !container.variables.is_empty() || container.mounts.iter().any(shown))
        .collect();
    let mut injected = facts
        .volumes
        .iter_mut()
        .filter(|volume| is_generated(&volume.name));
    let (Some(volume), None) = (injected.next(), injected.next()) else {
        return;
    };
    let forgotten: Box<str> = format!("{INJECTED_VOLUME_PREFIX}*").into();
    let name = std::mem::replace(&mut volume.name, forgotten.clone());
    for mount in facts
        .containers
        .iter_mut()
        .flat_map(|container| &mut container.mounts)
    {
        if mount.volume == name {
            mount.volume = forgotten.clone();
        }
    }
}

/// Whether a volume's name ends as admission ends it: `SimpleNameGenerator` appends 5 characters.
fn is_generated(name: &str) -> bool {
    name.strip_prefix(INJECTED_VOLUME_PREFIX)
        .is_some_and(|rest| {
            rest.len() == 5 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}
