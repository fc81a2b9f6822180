//! Containers. The pods of one workload have equal ones, but for the random name of the volume that admission injects
//! and mounts. So what a container has beside its mounts is parsed once for equal bytes, and so is what it says.

use std::{
    cell::RefCell,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use hashbrown::{Equivalent, HashMap};
use serde::Deserialize;

use super::{Fields, Malformed, Proto, Value, VariableName, VolumeMount, Word, decode, lenient};
use crate::{
    facts::clues::Clues,
    model::{Config, consumer::TableId, pod::ConfigReference},
};

/// The field `volumeMounts`.
const MOUNTS: u32 = 9;
/// How many containers are remembered.
const MAX_CONTAINERS: usize = 128;
/// How many bytes these have together.
const MAX_BYTES: usize = 256 * 1024;

wire! {
    /// The fields of a [`Container`].
    ContainerFields {
        /// `name`.
        name: String = 1,
        /// `volumeMounts`, until a [`Container`] takes them.
        volume_mounts: Vec<VolumeMount> = 9,
        /// `env`.
        env: Vec<Variable> = 7,
        /// `envFrom`.
        env_from: Vec<VariableSource> = 19,
        /// `command`.
        command: Vec<Word> = 3,
        /// `args`.
        args: Vec<Word> = 4,
        /// `securityContext`.
        security_context: SecurityContext = 15,
        /// `livenessProbe`.
        liveness_probe: Probe = 10,
        /// `readinessProbe`.
        readiness_probe: Probe = 11,
        /// `startupProbe`.
        startup_probe: Probe = 22,
        /// `lifecycle`.
        lifecycle: Lifecycle = 12,
    }

    /// The hooks of a container.
    Lifecycle {
        /// `postStart`.
        post_start: Hook = 1,
        /// `preStop`.
        pre_stop: Hook = 2,
    }

    /// A probe.
    Probe {
        /// `exec`.
        exec: Exec = 1 / 1,
    }

    /// A hook.
    Hook {
        /// `exec`.
        exec: Exec = 1,
    }

    /// A command that a probe or a hook runs in the container.
    Exec {
        /// `command`.
        command: Vec<Word> = 1,
    }

    /// The `securityContext` of a container.
    SecurityContext {
        /// `privileged`.
        privileged: bool = 2,
    }

    /// A source of many environment variables.
    VariableSource {
        /// `prefix` of the names of the variables.
        prefix: String = 1,
        /// `configMapRef`.
        config_map_ref: Option<SourceReference> = 2,
        /// `secretRef`.
        secret_ref: Option<SourceReference> = 3,
    }

    /// A Secret or ConfigMap.
    SourceReference {
        /// `name`.
        name: String = 1 / 1,
    }

    /// One key of a Secret or ConfigMap.
    SecretReference {
        /// `name`.
        name: String = 1 / 1,
        /// `key`.
        key: String = 2,
    }

    /// Where the value of an environment variable comes from.
    ValueFrom {
        /// `configMapKeyRef`.
        config_map_key_ref: Option<SecretReference> = 3,
        /// `secretKeyRef`.
        secret_key_ref: Option<SecretReference> = 4,
    }

    /// An environment variable.
    Variable {
        /// `name`.
        name: VariableName = 1,
        /// `value`.
        value: Word = 2,
        /// `valueFrom`.
        value_from: Option<Box<ValueFrom>> = 3,
    }
}

/// A container.
#[derive(Clone, Default, Deserialize)]
#[serde(from = "ContainerFields")]
pub struct Container {
    /// `volumeMounts`.
    pub volume_mounts: Vec<VolumeMount>,
    others: Arc<Others>,
}

/// What equal containers have in common.
#[derive(Debug, Default)]
struct Others {
    fields: ContainerFields,
    /// What they say, and to which table of systems.
    said: OnceLock<(TableId, Arc<Said>)>,
}

/// What the texts of a container say.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Who uses the token.
    pub(in crate::facts) clues: Clues,
    /// From which ConfigMaps and Secrets it takes variables.
    pub(in crate::facts) references: Vec<ConfigReference>,
}

impl Container {
    /// What it says, as `find` finds out; that depends on the configuration's table of systems alone.
    pub(in crate::facts) fn said(
        &self,
        config: &Config,
        find: impl Fn(&Self) -> Said,
    ) -> Arc<Said> {
        let table = config.known_consumers.id();
        let said = || (table, Arc::new(find(self)));
        let (known, found) = self.others.said.get_or_init(said);
        if *known == table {
            found.clone()
        } else {
            said().1
        }
    }
}

impl From<ContainerFields> for Container {
    fn from(mut fields: ContainerFields) -> Self {
        Self {
            volume_mounts: std::mem::take(&mut fields.volume_mounts),
            others: Arc::new(Others {
                fields,
                said: OnceLock::new(),
            }),
        }
    }
}

impl Deref for Container {
    type Target = ContainerFields;

    fn deref(&self) -> &ContainerFields {
        &self.others.fields
    }
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Container")
            .field(&self.volume_mounts)
            .field(&self.others.fields)
            .finish()
    }
}

impl Proto for Container {
    /// A container is an item of a list: its message is never continued by another one.
    fn merge(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        let mut fields = Fields(value.bytes()?);
        RECENT.with_borrow_mut(|recent| {
            recent.others.clear();
            while let Some((number, value, whole)) = fields.next_whole()? {
                if number == MOUNTS {
                    self.volume_mounts.merge(value)?;
                } else if ContainerFields::NUMBERS.contains(&number) {
                    recent.others.extend_from_slice(whole);
                }
            }
            self.others = recent.read()?;
            Ok(())
        })
    }
}

thread_local! {
    static RECENT: RefCell<Recent> = RefCell::default();
}

/// The containers that were read last.
#[derive(Default)]
struct Recent {
    /// By the bytes of their fields.
    containers: HashMap<Box<[u8]>, Arc<Others>>,
    bytes: usize,
    /// The bytes of the one that is read now.
    others: Vec<u8>,
}

/// The bytes that are looked for.
#[derive(Hash)]
struct Wanted<'a>(&'a [u8]);

impl Equivalent<Box<[u8]>> for Wanted<'_> {
    /// In blocks, which are compared at once: `memcmp` of musl compares byte by byte.
    fn equivalent(&self, known: &Box<[u8]>) -> bool {
        let (blocks, rest) = self.0.as_chunks::<32>();
        let (known_blocks, known_rest) = known.as_chunks::<32>();
        let mut pairs = blocks.iter().zip(known_blocks);
        self.0.len() == known.len()
            && rest == known_rest
            && pairs.all(|(block, known)| block == known)
    }
}

impl Recent {
    fn read(&mut self) -> Result<Arc<Others>, Malformed> {
        if let Some(known) = self.containers.get(&Wanted(&self.others)) {
            return Ok(known.clone());
        }
        let others = Arc::new(Others {
            fields: *decode(&self.others)?,
            said: OnceLock::new(),
        });
        self.bytes += self.others.len();
        if self.containers.len() >= MAX_CONTAINERS || self.bytes > MAX_BYTES {
            self.containers.clear();
            self.bytes = self.others.len();
        }
        if self.bytes <= MAX_BYTES {
            self.containers
                .insert(self.others.as_slice().into(), others.clone());
        }
        Ok(others)
    }
}

#[cfg(test)]
impl super::tests::Declared for Container {
    fn declared(into: &mut std::collections::BTreeSet<&'static str>) {
        ContainerFields::declared(into);
    }

    fn found(&self, into: &mut std::collections::BTreeSet<&'static str>) {
        let mut fields = self.others.fields.clone();
        fields.volume_mounts.clone_from(&self.volume_mounts);
        fields.found(into);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use k8s_pb::api::core::v1 as core;
    use prost::Message;

    use super::*;
    use crate::{
        facts::pod,
        model::consumer::{ConsumerRule, Consumers},
    };

    /// A container with a mount of this name and an argument.
    fn container(mount: &str, argument: &str) -> Container {
        let message = core::Container {
            name: Some("c".to_owned()),
            image: Some(mount.to_owned()),
            args: vec![argument.to_owned()],
            volume_mounts: vec![core::VolumeMount {
                name: Some(mount.to_owned()),
                ..Default::default()
            }],
            ..Default::default()
        };
        *decode(&message.encode_to_vec()).unwrap()
    }

    #[test]
    fn containers_that_differ_in_their_mounts_alone_are_parsed_once() {
        let (one, other) = (container("a", "x"), container("b", "x"));
        assert!(Arc::ptr_eq(&one.others, &other.others));
        assert_eq!(
            [&one, &other].map(|container| container.volume_mounts[0].name.as_str()),
            ["a", "b"]
        );
        let third = container("a", "y");
        assert_eq!(
            [&one, &third].map(|container| &*container.args[0].0),
            ["x", "y"]
        );
    }

    #[test]
    fn what_they_say_depends_on_the_table_of_systems() {
        let of_system = |word: &str| Config {
            known_consumers: Consumers::new(vec![ConsumerRule {
                name: "Sesame".into(),
                words: vec![word.into()],
                ..Default::default()
            }]),
            ..Config::default()
        };
        let (open, close) = (of_system("open"), of_system("close"));
        let container = container("a", "--open");
        for (config, expected) in [(&open, 1), (&close, 0), (&open, 1), (&open.clone(), 1)] {
            assert_eq!(pod::said(&container, config).clues.systems.len(), expected);
        }
    }

    #[test]
    fn few_are_remembered_and_none_that_is_large() {
        for n in 0..10 * MAX_CONTAINERS {
            container("a", &n.to_string());
        }
        let large = container("a", &"x".repeat(MAX_BYTES));
        assert_eq!(large.args[0].0.len(), MAX_BYTES);
        RECENT.with_borrow(|recent| {
            assert!(recent.containers.len() <= MAX_CONTAINERS);
            let bytes = recent.containers.keys().map(|bytes| bytes.len());
            assert!(bytes.sum::<usize>() <= MAX_BYTES);
        });
        assert_eq!(&*container("a", "again").args[0].0, "again");
    }
}
