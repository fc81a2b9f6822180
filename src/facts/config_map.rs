//! What is kept of ConfigMaps, and of the data of Secrets in files: which systems they name. No value is kept.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{ConfigMaps, Kind, consumers, pod, wire};
use crate::model::{
    Config, InputKind,
    pod::{ConfigFacts, ConfigKind, ConfigReference, KeyFacts, ROOT_CA, SERVICE_CA},
};

/// ConfigMaps that every namespace has, with the certificates of the cluster.
const OF_THE_CLUSTER: [&str; 2] = [ROOT_CA, SERVICE_CA];
/// How many keys with a clue are kept of one object.
const MAX_KEYS: usize = 64;
/// How many keys of one object are kept of a pod: more count as all keys.
const MAX_REFERENCES: usize = 8;

impl Kind for ConfigMaps {
    type Wire = wire::ConfigMap;
    type Facts = ConfigFacts;
    const INPUT: InputKind = InputKind::ConfigMap;

    fn facts(wire: &Self::Wire, config: &Config) -> Self::Facts {
        facts(wire.data.iter(), config)
    }
}

/// What the data of a Secret says; `None` where it was not read.
pub(super) fn of_secret(secret: &wire::Secret, config: &Config) -> Option<ConfigFacts> {
    let decoded = secret
        .data
        .iter()
        .flat_map(wire::Texts::iter)
        .filter_map(|(key, value)| {
            let value = BASE64_STANDARD.decode(value.trim()).ok()?;
            Some((key, String::from_utf8(value).ok()?))
        });
    let decoded: Vec<_> = decoded.collect();
    let decoded = decoded.iter().map(|(key, value)| (*key, value.as_str()));
    let written = secret.string_data.iter().flat_map(wire::Texts::iter);
    let is_read = secret.data.is_some() || secret.string_data.is_some();
    is_read.then(|| facts(decoded.chain(written), config))
}

fn facts<'a>(data: impl Iterator<Item = (&'a str, &'a str)>, config: &Config) -> ConfigFacts {
    let key = |(key, value): (&str, &str)| {
        let clues = consumers::of_value(key, value, config);
        KeyFacts {
            key: key.into(),
            consumers: clues.systems(),
            reads_files: clues.reads_files,
            reads_service_ca: clues.reads_service_ca,
            as_variable: consumers::variables_of(key, value, config),
        }
    };
    let says = |key: &KeyFacts| {
        key.reads_files || !key.consumers.is_empty() || !key.as_variable.is_empty()
    };
    let keys = data.map(key).filter(says).take(MAX_KEYS);
    ConfigFacts(keys.collect())
}

/// The ConfigMaps and Secrets from which a pod takes variables or files; sorted.
pub(super) fn references(spec: &wire::PodSpec, config: &Config) -> Box<[ConfigReference]> {
    let said: Vec<_> = spec
        .all_containers()
        .map(|container| pod::said(container, config))
        .collect();
    let of_volumes: Vec<_> = spec
        .mounted_volumes()
        .flat_map(|volume| of_volume(volume, &sub_paths(spec, volume)))
        .collect();
    let of_containers = said.iter().flat_map(|said| &said.references);
    let mut references: Vec<_> = of_containers.chain(&of_volumes).collect();
    references.sort_unstable();
    references.dedup();
    shortened(&references)
}

/// Whether a ConfigMap or Secret of this name says something.
fn counts(name: &str) -> bool {
    !name.is_empty() && !OF_THE_CLUSTER.contains(&name)
}

/// Those from which a container takes variables.
pub(super) fn of_variables(container: &wire::Container, config: &Config) -> Vec<ConfigReference> {
    let from = container.env.iter().filter_map(|variable| {
        let from = variable.value_from.as_ref()?;
        Some((&*variable.name.0, from))
    });
    let keys = from.flat_map(|(name, from)| {
        [
            (ConfigKind::ConfigMap, name, &from.config_map_key_ref),
            (ConfigKind::Secret, name, &from.secret_key_ref),
        ]
    });
    let keys = keys.filter_map(|(kind, name, reference)| {
        let reference = reference.as_ref()?;
        Some(ConfigReference {
            kind,
            name: reference.name.as_str().into(),
            key: Some(reference.key.as_str().into()),
            variable: consumers::asks_for_value(name, config).then(|| name.into()),
        })
    });
    let all = container.env_from.iter().flat_map(|from| {
        [
            (ConfigKind::ConfigMap, &from.config_map_ref, &from.prefix),
            (ConfigKind::Secret, &from.secret_ref, &from.prefix),
        ]
    });
    let all = all.filter_map(|(kind, reference, prefix)| {
        Some(ConfigReference {
            kind,
            name: reference.as_ref()?.name.as_str().into(),
            key: None,
            variable: Some(prefix.as_str().into()),
        })
    });
    let all = keys.chain(all);
    all.filter(|reference| counts(&reference.name)).collect()
}

/// The files of a volume that are mounted one by one; empty where a mount has all of them.
fn sub_paths(spec: &wire::PodSpec, volume: &wire::Volume) -> Vec<String> {
    let mounts = spec
        .all_containers()
        .flat_map(|container| &container.volume_mounts);
    let mounts = mounts.filter(|mount| mount.name == volume.name);
    let paths = mounts.map(|mount| {
        let parts = mount.sub_path.split('/');
        let parts: Vec<_> = parts.filter(|part| !matches!(*part, "" | ".")).collect();
        let is_plain = mount.sub_path_expr.is_empty() && !mount.sub_path.contains("..");
        (is_plain && !parts.is_empty()).then(|| parts.join("/"))
    });
    paths.collect::<Option<_>>().unwrap_or_default()
}

fn of_volume(volume: &wire::Volume, sub_paths: &[String]) -> Vec<ConfigReference> {
    let sources = || {
        volume
            .projected
            .iter()
            .flat_map(|projected| &projected.sources)
    };
    let config_maps = sources().filter_map(|source| source.config_map.as_ref());
    let config_maps = volume.config_map.iter().chain(config_maps);
    let config_maps =
        config_maps.map(|source| (ConfigKind::ConfigMap, &source.name, &source.items));
    let secret = volume.secret.iter();
    let secret = secret.map(|secret| (ConfigKind::Secret, &secret.secret_name, &secret.items));
    let secrets = sources().filter_map(|source| source.secret.as_ref());
    let secrets = secrets.map(|source| (ConfigKind::Secret, &source.name, &source.items));
    let references = config_maps
        .chain(secret)
        .chain(secrets)
        .filter(|(_, name, _)| counts(name))
        .flat_map(|(kind, name, items)| {
            let is_seen = |item: &&wire::KeyToPath| {
                let mut paths = sub_paths.iter();
                let begins = |path: &String| {
                    let rest = item.path.trim_start_matches("./").strip_prefix(&**path);
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                };
                sub_paths.is_empty() || paths.any(begins)
            };
            let keys: Vec<Option<&str>> = if !items.is_empty() {
                let seen = items.iter().filter(is_seen);
                seen.map(|item| Some(item.key.as_str())).collect()
            } else if sub_paths.is_empty() {
                vec![None]
            } else {
                sub_paths.iter().map(|path| Some(&**path)).collect()
            };
            keys.into_iter().map(move |key| ConfigReference {
                kind,
                name: name.as_str().into(),
                key: key.map(Box::from),
                variable: None,
            })
        });
    references.collect()
}

/// References of which many keys of one object became one to all of them; sorted before and after.
fn shortened(references: &[&ConfigReference]) -> Box<[ConfigReference]> {
    if references.len() <= MAX_REFERENCES {
        return references.iter().copied().cloned().collect();
    }
    let of_one_object = |one: &&ConfigReference, other: &&ConfigReference| {
        (one.kind, &one.name) == (other.kind, &other.name)
    };
    let objects = references.chunk_by(of_one_object);
    let shortened = objects.flat_map(|object| {
        let keys = object.iter().filter(|reference| reference.key.is_some());
        let has_many = keys.count() > MAX_REFERENCES;
        let mut object: Vec<ConfigReference> = object
            .iter()
            .map(|reference| (*reference).clone())
            .collect();
        if has_many {
            for reference in &mut object {
                reference.key = None;
            }
            object.sort_unstable();
            object.dedup();
        }
        object
    });
    shortened.collect()
}
