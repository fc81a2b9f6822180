//! Who else may use a pod's token? Systems that accept the token of a pod as its identity leave no trace
//! in RBAC, and neither does a client that only uses the default permissions. They are recognised by
//! labels, annotations, variables, commands, files and CSI volumes, as [`Consumers`] says.

use std::collections::BTreeSet;

use super::{
    pod::all_containers,
    wire::{Container, Metadata, PodSpec, Word},
};
use crate::model::{
    Config,
    consumer::{ConsumerRule, Consumers, Named, Says, UsedToken, bare, runs},
};

/// Who uses the token where the pod's own commands or variables name its file.
const ITSELF: &str = "its own command line";
/// Who uses it where a file of its configuration does.
const ITS_CONFIGURATION: &str = "its own configuration";
/// The directory in which admission mounts the token, without the parts that may be spelled otherwise.
const DIRECTORY: &str = "kubernetes.io/serviceaccount";
/// Its parent, for texts that put the path together.
const PARENT: &str = "run/secrets/kubernetes.io";
/// What both have.
const DOMAIN: &str = "kubernetes.io";
/// The files beside the token that a volume without it can have.
const FILES: [&str; 2] = ["/ca.crt", "/namespace"];
/// Flags of programs that open the token when they start.
const CLIENT_FLAGS: [&str; 6] = [
    "--in-cluster",
    "--incluster",
    "--leader-elect",
    "--enable-leader-election",
    "--kubeconfig",
    "--kube-config",
];

/// What texts say about the files that admission mounts.
#[derive(Debug, Default)]
pub(super) struct Clues {
    systems: BTreeSet<Box<str>>,
    /// `ca.crt` or `namespace` is read where admission mounts it.
    pub(super) reads_files: bool,
    /// A flag of Kubernetes clients is used.
    pub(super) starts_client: bool,
}

impl Clues {
    /// Who uses the token, sorted.
    pub(super) fn systems(&self) -> Box<[Box<str>]> {
        self.systems.iter().cloned().collect()
    }

    /// Adds what a command line or the value of a variable says.
    fn read_text(&mut self, text: &str, config: &Config) {
        if !self.read_words(text, config, ITSELF) {
            return;
        }
        let commands = active(config).flat_map(|rule| {
            let commands = rule.commands.iter();
            commands.map(|command| (&rule.name, command))
        });
        let run = commands.filter(|(_, command)| runs(text, command));
        self.systems.extend(run.map(|(name, _)| name.clone()));
    }

    /// Adds what a file says.
    fn read_file(&mut self, text: &str, config: &Config) {
        if text.starts_with("#!") {
            self.read_text(text, config);
        } else {
            let _ = self.read_words(text, config, ITS_CONFIGURATION);
        }
    }

    /// Adds the systems whose words are in a text, and returns whether it may name a program of a system.
    fn read_words(&mut self, text: &str, config: &Config, reader: &str) -> bool {
        if self.reads_directory(text) {
            self.systems.insert(reader.into());
        }
        let known = known(config);
        let bare = bare(text);
        if !known.iter().any(|known| known.may_be_in(&bare)) {
            return false;
        }
        let mut found = BTreeSet::new();
        for known in known {
            known.find_words(&bare, &mut found);
        }
        found.retain(|name| !is_switched_off(name, config));
        self.systems.extend(found.into_iter().map(Box::from));
        true
    }

    /// Whether a text names the token's file, or its directory alone; notes whether it names the files beside it.
    fn reads_directory(&mut self, text: &str) -> bool {
        let mut reads_token = false;
        if !text.contains(DOMAIN) {
            return false;
        }
        for (place, directory) in text.match_indices(DIRECTORY) {
            let rest = &text[place + directory.len()..];
            let is_file = FILES.iter().any(|file| rest.starts_with(file));
            let is_token = rest.starts_with("/token") || rest.starts_with("/service-ca.crt");
            // Another file or variable: any of them may follow.
            self.reads_files |= !is_token;
            reads_token |= !is_file;
        }
        for (place, parent) in text.match_indices(PARENT) {
            let rest = &text[place + parent.len()..];
            let is_whole = rest.starts_with("/serviceaccount");
            self.reads_files |= !is_whole;
            reads_token |= !is_whole;
        }
        reads_token
    }
}

/// The built-in table, and that of the configuration.
fn known(config: &Config) -> [&Consumers; 2] {
    [Consumers::built_in(), &config.known_consumers]
}

/// The systems whose clients use the auto-mounted token: those of the built-in table, and those of the configuration.
fn active(config: &Config) -> impl Iterator<Item = &ConsumerRule> {
    let built_in = Consumers::built_in().rules();
    let built_in = built_in.filter(|rule| !is_switched_off(&rule.name, config));
    built_in.chain(config.known_consumers.rules())
}

/// Whether the configuration says that the clients of a system project their own tokens.
fn is_switched_off(name: &str, config: &Config) -> bool {
    let mut rules = config.known_consumers.all().iter();
    rules.any(|rule| rule.token == UsedToken::Own && *rule.name == *name)
}

/// The words of a command, as one text.
fn joined(words: &[Word]) -> String {
    let words: Vec<_> = words.iter().map(|word| &*word.0).collect();
    words.join(" ")
}

/// The command line of a container, and the commands of its probes and hooks.
fn commands(container: &Container) -> impl Iterator<Item = String> {
    let own = [joined(&container.command), joined(&container.args)].join(" ");
    let handlers = [
        &container.liveness_probe.exec,
        &container.readiness_probe.exec,
        &container.startup_probe.exec,
        &container.lifecycle.post_start.exec,
        &container.lifecycle.pre_stop.exec,
    ];
    let handlers = handlers.map(|exec| joined(&exec.command));
    [own]
        .into_iter()
        .chain(handlers)
        .filter(|text| !text.trim().is_empty())
}

/// What a pod or a template says.
pub(super) fn of_pod(metadata: &Metadata, spec: &PodSpec, config: &Config) -> Clues {
    let mut clues = Clues::default();
    for container in all_containers(spec) {
        for text in commands(container) {
            clues.read_text(&text, config);
            clues.starts_client |= CLIENT_FLAGS.iter().any(|flag| text.contains(flag));
        }
        for variable in &container.env {
            clues.read_text(&variable.value.0, config);
        }
    }
    let known = known(config);
    let variables: Vec<_> = all_containers(spec)
        .flat_map(|container| &container.env)
        .filter(|variable| {
            let mut known = known.iter();
            known.any(|known| known.may_be_variable(&variable.name.0))
        })
        .collect();
    let drivers = || spec.volumes.iter().filter_map(|volume| volume.csi.as_ref());
    let refers = |rule: &&ConsumerRule| {
        says(&rule.labels, &rule.annotations, metadata) == Some(Says::Yes)
            || rule.variables.iter().any(|known| {
                variables
                    .iter()
                    .any(|variable| known.is_variable(&variable.name.0, &variable.value.0))
            })
            || drivers().any(|csi| rule.drivers.iter().any(|driver| **driver == *csi.driver))
    };
    let referred = active(config).filter(refers);
    clues.systems.extend(referred.map(|rule| rule.name.clone()));
    clues
}

/// What to do before the auto-mounted token of a pod is removed, sorted: for clients that open it and do not need it.
pub(super) fn before_removal(pod: &Metadata, config: &Config) -> Box<[Box<str>]> {
    let rules = known(config).into_iter().flat_map(Consumers::all);
    let opens = |rule: &&ConsumerRule| {
        !rule.before_removal.is_empty()
            && says(&rule.labels, &rule.annotations, pod) == Some(Says::Yes)
    };
    let texts = rules.filter(opens).map(|rule| rule.before_removal.clone());
    let texts: BTreeSet<_> = texts.collect();
    texts.into_iter().collect()
}

/// What labels and annotations say; one that says no wins.
fn says(labels: &[Named], annotations: &[Named], metadata: &Metadata) -> Option<Says> {
    let of_labels = labels.iter().flat_map(|named| {
        let labels = metadata.labels.iter();
        labels.filter_map(|(key, value)| named.says(key, value))
    });
    let of_annotations = annotations.iter().flat_map(|named| {
        let annotations = metadata.annotations.iter();
        annotations.filter_map(|(key, value)| named.says(key, value))
    });
    let mut said: Vec<_> = of_labels.chain(of_annotations).collect();
    said.sort_by_key(|says| *says == Says::Yes);
    said.first().copied()
}

/// The systems whose clients are added to the pods of a namespace, sorted.
pub(super) fn of_namespace(namespace: &Metadata, config: &Config) -> Box<[Box<str>]> {
    let adds = |rule: &&ConsumerRule| {
        says(
            &rule.namespace_labels,
            &rule.namespace_annotations,
            namespace,
        ) == Some(Says::Yes)
    };
    names(active(config).filter(adds))
}

/// The systems that a pod keeps away, whatever its namespace says, sorted.
pub(super) fn refused(pod: &Metadata, config: &Config) -> Box<[Box<str>]> {
    let refuses = |rule: &&ConsumerRule| {
        says(&rule.labels, &rule.annotations, pod) == Some(Says::No)
            || says(&rule.namespace_labels, &rule.namespace_annotations, pod) == Some(Says::No)
    };
    let of_namespaces = active(config)
        .filter(|rule| !rule.namespace_labels.is_empty() || !rule.namespace_annotations.is_empty());
    names(of_namespaces.filter(refuses))
}

fn names<'a>(rules: impl Iterator<Item = &'a ConsumerRule>) -> Box<[Box<str>]> {
    let names: BTreeSet<_> = rules.map(|rule| rule.name.clone()).collect();
    names.into_iter().collect()
}

/// What the value of a key of a ConfigMap or Secret says.
pub(super) fn of_value(value: &str, config: &Config) -> Clues {
    let mut clues = Clues::default();
    clues.read_file(value, config);
    clues
}

/// The systems whose clients have a variable of this name and value, sorted.
pub(super) fn of_variable(name: &str, value: &str, config: &Config) -> Box<[Box<str>]> {
    let is_variable = |rule: &&ConsumerRule| {
        let mut variables = rule.variables.iter();
        variables.any(|known| known.is_variable(name, value))
    };
    names(active(config).filter(is_variable))
}
