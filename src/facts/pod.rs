//! What is kept of a pod, and of a pod template.

use std::sync::Arc;

use jiff::{Timestamp, tz::TimeZone};

use super::{
    Kind, Pods, clues::Clues, config_map, consumers, exemption, host_access, limit, owner, wire,
    words,
};
use crate::model::{
    Config, InputKind, Workload,
    pod::{
        Container, ContainerKind, Delegation, GENERATED, INJECTED_VOLUME_PREFIX, Instance, Mount,
        Origin, Pod, PodFacts, ROOT_CA, RareFacts, SERVICE_CA, SecretKeys, SecretToken,
        SecretVariable, SubPath, TOKEN_MOUNT_PATH, TokenProjection, Volume, WITHHELD_ANNOTATION,
        WITHHELD_AUDIENCE, Withheld,
    },
};

/// The key of a legacy token Secret that holds the token (`ServiceAccountTokenKey`).
const TOKEN_KEY: &str = "token";
/// Its other keys.
const FILE_KEYS: [&str; 2] = ["ca.crt", "namespace"];
/// What the API fills in for a missing `expirationSeconds` (`SetDefaults_ServiceAccountTokenProjection`).
const DEFAULT_EXPIRATION_SECONDS: i64 = 3600;
/// What the API fills in for a missing `maxExpirationSeconds` (`SetDefaults_PodCertificateProjection`).
const DEFAULT_CERTIFICATE_SECONDS: i64 = 86_400;

impl Kind for Pods {
    type Wire = wire::Pod;
    type Facts = Pod;
    const INPUT: InputKind = InputKind::Pod;

    fn facts(wire: &Self::Wire, config: &Config) -> Self::Facts {
        // Only the API server assigns a uid: an object without one is a manifest.
        let origin = if wire.metadata.uid.is_empty() {
            Origin::Template
        } else {
            Origin::Live
        };
        let workload = owner::workload(&wire.metadata);
        let mut facts = template(&wire.metadata, &wire.spec, workload, config);
        facts.origin = origin;
        if wire.metadata.annotations.get(words::MIRROR).is_some() {
            facts.service_account = None;
        }
        if origin == Origin::Live {
            remove_random_names(&mut facts);
            if let Some(withheld) = withheld(&facts, &wire.metadata) {
                facts.rare.to_mut().withheld = Some(withheld);
            }
        }
        let instance = Instance::new(
            &wire.metadata.uid,
            wire.metadata.creation_timestamp.0,
            wire.status.phase(),
            wire.status.started(),
        );
        Pod {
            instance: instance.map(Box::new),
            ..facts.into()
        }
    }
}

/// Whether a policy of this product withholds the token of a live pod: the annotation alone proves nothing.
fn withheld(facts: &PodFacts, metadata: &wire::Metadata) -> Option<Withheld> {
    metadata.annotations.get(WITHHELD_ANNOTATION)?;
    let mut mounts = facts.containers.iter().flat_map(|found| &found.mounts);
    let volume = facts
        .volumes
        .iter()
        .find(|volume| volume.name.starts_with(INJECTED_VOLUME_PREFIX))?;
    let is_mounted = mounts.any(|mount| mount.volume == volume.name);
    let mut tokens = volume.tokens.iter();
    let is_withheld = tokens.all(|token| *token.audience == *WITHHELD_AUDIENCE);
    let created = metadata.creation_timestamp.0;
    let day = Timestamp::from_second(created).ok().filter(|_| created > 0);
    (is_mounted && is_withheld).then(|| Withheld {
        is_neutered: !volume.tokens.is_empty(),
        since: day.map(|day| day.to_zoned(TimeZone::UTC).date()),
    })
}

/// The facts of a template that belongs to a workload.
#[must_use]
pub fn template(
    metadata: &wire::Metadata,
    spec: &wire::PodSpec,
    workload: Workload,
    config: &Config,
) -> PodFacts {
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
    let has_known_key = consumers::has_known_key(metadata, config);
    let clues = consumers::of_pod(metadata, has_known_key, spec, config);
    let facts = PodFacts {
        service_account: Some(service_account_name(spec).into()),
        workload,
        origin: Origin::Template,
        automount: spec.automount_service_account_token,
        consumers: clues.systems(),
        configs: config_map::references(spec, config).into(),
        reads_files: clues.reads_files,
        reads_service_ca: clues.reads_service_ca,
        starts_client: clues.starts_client,
        shares_processes: spec.share_process_namespace,
        volumes: volumes.into(),
        containers,
        rare: rare(metadata, has_known_key, spec, &clues, config).into(),
    };
    limit::limited(facts, &metadata.name)
}

fn rare(
    metadata: &wire::Metadata,
    has_known_key: bool,
    spec: &wire::PodSpec,
    clues: &Clues,
    config: &Config,
) -> RareFacts {
    let of_keys = |says: fn(&wire::Metadata, &Config) -> Box<[Box<str>]>| {
        if has_known_key {
            says(metadata, config)
        } else {
            Box::default()
        }
    };
    RareFacts {
        template: None,
        exemption: exemption::claim(&metadata.annotations),
        labels: exemption::labels(&metadata.labels, config),
        refuses: of_keys(consumers::refused),
        own_tokens: clues.own_tokens(),
        before_removal: of_keys(consumers::before_removal),
        host_access: host_access::of_pod(spec),
        delegations: delegations(spec),
        withheld: None,
        exceeded: None,
    }
}

/// What the texts of a container say, found out once for equal containers.
pub(super) fn said(container: &wire::Container, config: &Config) -> Arc<wire::Said> {
    container.said(config, |container| wire::Said {
        clues: consumers::of_container(container, config),
        references: config_map::of_variables(container, config),
    })
}

fn delegations(spec: &wire::PodSpec) -> Box<[Delegation]> {
    let mut delegations = Vec::new();
    for volume in spec.mounted_volumes() {
        let driver = volume.csi.iter();
        let driver = driver.map(|csi| Delegation::CsiDriver(csi.driver.as_str().into()));
        delegations.extend(driver);
        let projected = volume.projected.iter();
        let sources = projected.flat_map(|projected| &projected.sources);
        let certificates = sources.filter_map(|source| source.pod_certificate.as_ref());
        delegations.extend(certificates.map(|certificate| {
            Delegation::PodCertificate {
                signer: certificate.signer_name.as_str().into(),
                expiration_seconds: certificate
                    .max_expiration_seconds
                    .unwrap_or(DEFAULT_CERTIFICATE_SECONDS),
            }
        }));
    }
    delegations.sort_unstable();
    delegations.dedup();
    delegations.into()
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
        .flat_map(|(secret, items)| secret_tokens(secret, items))
        .collect();
    let injected = wire.name.starts_with(INJECTED_VOLUME_PREFIX);
    (injected || !tokens.is_empty() || !secrets.is_empty()).then(|| Volume {
        name: wire.name.as_str().into(),
        is_complete: is_complete(wire),
        tokens,
        secrets,
    })
}

/// Whether a volume has the sources of the one that admission injects. Mirrors `TokenVolumeSource`; OpenShift adds one
/// (openshift/kubernetes: plugin/pkg/admission/serviceaccount/admission.go).
fn is_complete(volume: &wire::Volume) -> bool {
    let projected = volume.projected.iter();
    let sources: Vec<_> = projected.flat_map(|projected| &projected.sources).collect();
    let has_token = sources
        .iter()
        .any(|source| source.service_account_token.is_some());
    let has_fields = sources.iter().any(|source| source.downward_api.is_some());
    let is_of = |source: &wire::Projection, name: &str| {
        let map = source.config_map.as_ref();
        map.is_some_and(|map| map.name == name)
    };
    let has_service_ca = sources.iter().any(|source| is_of(source, SERVICE_CA));
    let has_root = sources.iter().any(|source| is_of(source, ROOT_CA));
    sources.len() == 3 + usize::from(has_service_ca) && has_token && has_fields && has_root
}

/// The key `token` of a Secret, at each path where the volume exposes it; without `items` it exposes all keys.
fn secret_tokens<'a>(
    secret: &'a str,
    items: &'a [wire::KeyToPath],
) -> impl Iterator<Item = SecretToken> + 'a {
    let keys = if items.is_empty() {
        SecretKeys::All
    } else if items.iter().any(|item| is_file_key(&item.key)) {
        SecretKeys::TokenAndFiles
    } else {
        SecretKeys::Token
    };
    let listed = items.iter().filter(|item| item.key == TOKEN_KEY);
    let listed = listed.map(|item| item.path.as_str());
    let all = items.is_empty().then_some(TOKEN_KEY);
    let paths = listed.chain(all).filter(|_| !secret.is_empty());
    paths.map(move |path| SecretToken {
        secret: secret.into(),
        path: path.into(),
        keys,
    })
}

/// The environment variables of a container that hold the key `token` of a Secret.
fn variables(wire: &wire::Container) -> Box<[SecretVariable]> {
    let references = || {
        let values = wire.env.iter();
        let values = values.filter_map(|variable| variable.value_from.as_ref());
        values.filter_map(|from| from.secret_key_ref.as_ref())
    };
    let takes_file = |secret: &str| {
        references().any(|reference| reference.name == secret && is_file_key(&reference.key))
    };
    let tokens = references().filter(|reference| reference.key == TOKEN_KEY);
    let tokens = tokens.map(|reference| {
        let keys = if takes_file(&reference.name) {
            SecretKeys::TokenAndFiles
        } else {
            SecretKeys::Token
        };
        (&reference.name, keys)
    });
    let all = wire.env_from.iter();
    let all = all.filter_map(|from| from.secret_ref.as_ref());
    let all = all.map(|reference| (&reference.name, SecretKeys::All));
    tokens
        .chain(all)
        .map(|(secret, keys)| SecretVariable {
            secret: secret.as_str().into(),
            keys,
        })
        .collect()
}

fn is_file_key(key: &str) -> bool {
    FILE_KEYS.contains(&key)
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

/// Makes the pods of one workload equal: removes the random suffix of the injected volume's name,
/// and containers that see no token.
fn remove_random_names(facts: &mut PodFacts) {
    let volumes = &facts.volumes;
    // Where processes are shared, a note is about the containers that mount no token.
    let all = facts.shares_processes;
    let is_kept = |mount: &Mount| volumes.iter().any(|volume| volume.name == mount.volume);
    let sees_token = |container: &Container| {
        all || !container.variables.is_empty() || container.mounts.iter().any(is_kept)
    };
    if !facts.containers.iter().all(sees_token) {
        let seeing = facts.containers.iter();
        let seeing = seeing.filter(|container| sees_token(container));
        facts.containers = seeing.cloned().collect();
    }
    // Nobody else has these lists yet: they are changed in place.
    let mut injected = Arc::make_mut(&mut facts.volumes)
        .iter_mut()
        .filter(|volume| is_generated(&volume.name));
    let (Some(volume), None) = (injected.next(), injected.next()) else {
        return;
    };
    let placeholder: Box<str> = format!("{INJECTED_VOLUME_PREFIX}{GENERATED}").into();
    let name = std::mem::replace(&mut volume.name, placeholder.clone());
    for mount in Arc::make_mut(&mut facts.containers)
        .iter_mut()
        .flat_map(|container| &mut container.mounts)
    {
        if mount.volume == name {
            mount.volume = placeholder.clone();
        }
    }
}

/// Whether a volume's name has the suffix that admission generates: `SimpleNameGenerator` appends 5
/// characters.
fn is_generated(name: &str) -> bool {
    name.strip_prefix(INJECTED_VOLUME_PREFIX)
        .is_some_and(|rest| {
            rest.len() == 5 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}
