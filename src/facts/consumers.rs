//! Who else may use a pod's token? Systems that accept the token of a pod as its identity leave no trace
//! in RBAC, and neither does a client that only uses the default permissions. They are recognised by
//! labels, annotations, variables, commands, files and CSI volumes, as [`Consumers`] says.

use std::collections::BTreeSet;

use super::{
    commands::{is_script, runs},
    pod::all_containers,
    wire::{Container, Metadata, PodSpec, Variable, Word},
};
use crate::model::{
    Config,
    bare::Bare,
    consumer::{ConsumerRule, Consumers, Named, Says, UsedToken},
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
/// The one that OpenShift adds.
const SERVICE_CA: &str = "/service-ca.crt";
/// Ends of the names of scripts, which may have no `#!` where a command names their interpreter.
const SCRIPTS: [&str; 5] = [".sh", ".bash", ".ash", ".ksh", ".zsh"];
/// Ends of the names of files that people read, and no program as its configuration.
const PROSE: [&str; 8] = [
    ".md",
    ".markdown",
    ".rst",
    ".adoc",
    ".html",
    ".htm",
    ".css",
    ".svg",
];
/// Names of such files, which may end in `.txt`.
const PROSE_NAMES: [&str; 5] = ["README", "NOTES", "LICENSE", "CHANGELOG", "MOTD"];
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
    /// The systems whose clients use a token of their own.
    own_tokens: BTreeSet<Box<str>>,
    /// `ca.crt` or `namespace` is read where admission mounts it.
    pub(super) reads_files: bool,
    /// `service-ca.crt` is read there.
    pub(super) reads_service_ca: bool,
    /// A flag of Kubernetes clients is used.
    pub(super) starts_client: bool,
}

impl Clues {
    /// Who uses the token, sorted.
    pub(super) fn systems(&self) -> Box<[Box<str>]> {
        self.systems.iter().cloned().collect()
    }

    /// The systems whose clients use a token of their own, sorted.
    pub(super) fn own_tokens(&self) -> Box<[Box<str>]> {
        self.own_tokens.iter().cloned().collect()
    }

    /// Adds what a container says: but for the systems whose clients in it use a token of their own.
    fn read_container(&mut self, container: &Container, config: &Config) {
        let outer = std::mem::take(&mut self.systems);
        for text in commands(container) {
            self.read_text(&text, config);
            self.starts_client |= CLIENT_FLAGS.iter().any(|flag| text.contains(flag));
        }
        for variable in &container.env {
            let value = &*variable.value.0;
            if is_script(value) {
                self.read_text(value, config);
            } else {
                self.read_words(value, config, ITSELF);
            }
            let name = &*variable.name.0;
            if is_variable(name, config) {
                self.systems.extend(of_variable(name, value, config));
            }
        }
        let own = active(config).filter(|rule| !rule.own_token_variables.is_empty());
        let own = own.filter(|rule| {
            let mut variables = container.env.iter();
            variables.any(|variable| names_own_token(rule, variable))
        });
        let own: BTreeSet<_> = own.map(|rule| rule.name.clone()).collect();
        self.systems.retain(|system| !own.contains(system));
        self.systems.extend(outer);
        self.own_tokens.extend(own);
    }

    /// Adds what a command line or a script says.
    fn read_text(&mut self, text: &str, config: &Config) {
        self.read_words(text, config, ITSELF);
        let commands = active(config).flat_map(|rule| {
            let commands = rule.commands.iter();
            commands.map(|command| (&rule.name, command))
        });
        let run = commands.filter(|(_, command)| runs(text, command));
        self.systems.extend(run.map(|(name, _)| name.clone()));
    }

    /// Adds what a file says.
    fn read_file(&mut self, name: &str, text: &str, config: &Config) {
        if text.starts_with("#!") || SCRIPTS.iter().any(|end| name.ends_with(end)) {
            self.read_text(text, config);
        } else if !is_prose(name) {
            self.read_words(text, config, ITS_CONFIGURATION);
        }
    }

    /// Adds the systems whose words are in a text.
    fn read_words(&mut self, text: &str, config: &Config, reader: &str) {
        if self.reads_directory(text) {
            self.systems.insert(reader.into());
        }
        let known = known(config);
        let bare = Bare::new(text);
        if !known.iter().any(|known| known.may_be_in(&bare)) {
            return;
        }
        let mut found = BTreeSet::new();
        for known in known {
            known.find_words(&bare, &mut found);
        }
        found.retain(|name| !is_switched_off(name, config));
        self.systems.extend(found.into_iter().map(Box::from));
    }

    /// Whether a text names the token's file, or its directory alone; notes whether it names the files beside it.
    fn reads_directory(&mut self, text: &str) -> bool {
        if !text.contains(DOMAIN) {
            return false;
        }
        if text.contains(DIRECTORY) || text.contains(PARENT) {
            return self.reads_path(text);
        }
        // As Windows spells it, and as the arguments of a function that joins them.
        let slashes = text.replace('\\', "/").replace("//", "/");
        let joined = Bare::new(text).text().replace(',', "/").replace("//", "/");
        let mut spelled = [slashes, joined].into_iter();
        spelled
            .find(|text| text.contains(PARENT))
            .is_some_and(|text| self.reads_path(&text))
    }

    fn reads_path(&mut self, text: &str) -> bool {
        let mut reads_token = false;
        for (place, directory) in text.match_indices(DIRECTORY) {
            let rest = &text[place + directory.len()..];
            let is_service_ca = rest.starts_with(SERVICE_CA);
            let is_file = is_service_ca || FILES.iter().any(|file| rest.starts_with(file));
            let is_token = rest.starts_with("/token");
            self.reads_service_ca |= is_service_ca;
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

/// Whether people read a file of this name, and no program as its configuration.
fn is_prose(name: &str) -> bool {
    let is_named = |known: &&str| {
        let beginning = name.get(..known.len());
        let rest = name.get(known.len()..).unwrap_or_default();
        let is_rest = matches!(rest, "" | ".txt");
        is_rest && beginning.is_some_and(|name| name.eq_ignore_ascii_case(known))
    };
    PROSE.iter().any(|end| name.ends_with(end)) || PROSE_NAMES.iter().any(is_named)
}

/// Whether a variable has the path of a token that is not the auto-mounted one.
fn names_own_token(rule: &ConsumerRule, variable: &Variable) -> bool {
    let value = variable.value.0.trim();
    let mut known = rule.own_token_variables.iter();
    let is_another = value.starts_with('/') && !value.contains("$(") && !value.contains(DIRECTORY);
    is_another && known.any(|known| known.is_variable(&variable.name.0, value))
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
        clues.read_container(container, config);
    }
    let has_driver = spec.volumes.iter().any(|volume| volume.csi.is_some());
    if !has_driver && !has_known_key(metadata, config) {
        return clues;
    }
    let drivers = || spec.volumes.iter().filter_map(|volume| volume.csi.as_ref());
    let has_own = |rule: &ConsumerRule| {
        let mut annotations = metadata.annotations.iter();
        annotations.any(|(key, value)| {
            let mut known = rule.own_token_annotations.iter();
            !value.trim().is_empty() && known.any(|known| known.is_variable(key, value))
        })
    };
    for rule in active(config) {
        let is_injected = says(&rule.labels, &rule.annotations, metadata) == Some(Says::Yes);
        if has_own(rule) {
            clues.own_tokens.insert(rule.name.clone());
        } else if is_injected
            || drivers().any(|csi| rule.drivers.iter().any(|driver| **driver == *csi.driver))
        {
            clues.systems.insert(rule.name.clone());
        }
    }
    clues
}

/// What to do before the auto-mounted token of a pod is removed, sorted: for clients that open it and do not need it.
pub(super) fn before_removal(pod: &Metadata, config: &Config) -> Box<[Box<str>]> {
    if !has_known_key(pod, config) {
        return Box::default();
    }
    let rules = known(config).into_iter().flat_map(Consumers::all);
    let opens = |rule: &&ConsumerRule| {
        !rule.before_removal.is_empty()
            && says(&rule.labels, &rule.annotations, pod) == Some(Says::Yes)
    };
    let texts = rules.filter(opens).map(|rule| rule.before_removal.clone());
    let texts: BTreeSet<_> = texts.collect();
    texts.into_iter().collect()
}

/// Whether a label or annotation may be one of a system: most objects have none.
fn has_known_key(metadata: &Metadata, config: &Config) -> bool {
    let labels = metadata.labels.iter();
    let mut keys = labels.chain(metadata.annotations.iter());
    let known = known(config);
    keys.any(|(key, _)| known.iter().any(|known| known.may_be_key(key)))
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
    if !has_known_key(pod, config) {
        return Box::default();
    }
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
pub(super) fn of_value(key: &str, value: &str, config: &Config) -> Clues {
    let mut clues = Clues::default();
    clues.read_file(key, value, config);
    clues
}

/// Whether a variable of this name may be one of a system.
fn is_variable(name: &str, config: &Config) -> bool {
    let mut known = known(config).into_iter();
    known.any(|known| known.may_be_variable(name))
}

/// The systems whose clients have a variable of this name and value, sorted.
fn of_variable(name: &str, value: &str, config: &Config) -> Box<[Box<str>]> {
    let is_variable = |rule: &&ConsumerRule| {
        let mut variables = rule.variables.iter();
        variables.any(|known| known.is_variable(name, value))
    };
    names(active(config).filter(is_variable))
}

/// The variables that a key of a ConfigMap or Secret may become, each with its system, sorted.
pub(super) fn variables_of(key: &str, value: &str, config: &Config) -> Box<[(Box<str>, Box<str>)]> {
    let of_rule = |rule: &'_ ConsumerRule| -> Vec<(Box<str>, Box<str>)> {
        let names = rule.variables.iter();
        let names = names.filter_map(|known| known.variable_of(key, value));
        names.map(|name| (name.into(), rule.name.clone())).collect()
    };
    let variables: BTreeSet<_> = active(config).flat_map(of_rule).collect();
    variables.into_iter().collect()
}

/// Whether the value of a variable of this name says that a system is used, and not its name alone.
pub(super) fn asks_for_value(name: &str, config: &Config) -> bool {
    let mut variables = active(config).flat_map(|rule| &rule.variables);
    is_variable(name, config) && variables.any(|known| known.asks_for_value(name))
}
