//! Who else may use a pod's token? Systems that accept the token of a pod as its identity leave no trace
//! in RBAC, and neither does a client that only uses the default permissions. They are recognised by
//! labels, annotations, variables, commands, files and CSI volumes, as [`Consumers`] says.

use std::collections::BTreeSet;

use super::{
    clues::{Clues, DIRECTORY, ITSELF, active, known, may_say},
    commands::is_script,
    pod,
    wire::{Container, Metadata, PodSpec, Variable, Word},
};
use crate::model::{
    Config,
    consumer::{ConsumerRule, Consumers, Named, Says},
};

/// Flags of programs that open the token when they start.
const CLIENT_FLAGS: [&str; 6] = [
    "--in-cluster",
    "--incluster",
    "--leader-elect",
    "--enable-leader-election",
    "--kubeconfig",
    "--kube-config",
];

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

/// What a container says: but for the systems whose clients in it use a token of their own.
pub(super) fn of_container(container: &Container, config: &Config) -> Clues {
    let mut clues = Clues::default();
    let commands: Vec<_> = commands(container).collect();
    let has_flag = |text: &String| CLIENT_FLAGS.iter().any(|flag| text.contains(flag));
    clues.starts_client = commands.iter().any(has_flag);
    let values = || container.env.iter().map(|variable| &*variable.value.0);
    // Most containers say nothing: all of their texts are looked through at once.
    let texts: String = commands
        .iter()
        .map(String::as_str)
        .chain(values())
        .collect();
    if may_say(&texts, config) {
        for text in &commands {
            clues.read_text(text, config);
        }
        for value in values() {
            if is_script(value) {
                clues.read_text(value, config);
            } else {
                clues.read_words(value, config, ITSELF);
            }
        }
    }
    let variables = container.env.iter();
    let variables = variables.filter(|variable| is_variable(&variable.name.0, config));
    let variables: Vec<_> = variables.collect();
    if variables.is_empty() {
        return clues;
    }
    for variable in &variables {
        let (name, value) = (&variable.name.0, &variable.value.0);
        clues.systems.extend(of_variable(name, value, config));
    }
    let own = active(config).filter(|rule| {
        let mut variables = variables.iter();
        variables.any(|variable| names_own_token(rule, variable))
    });
    clues.own_tokens = own.map(|rule| rule.name.clone()).collect();
    let (systems, own) = (&mut clues.systems, &clues.own_tokens);
    systems.retain(|system| !own.contains(system));
    clues
}

/// What a pod or a template says, given whether it has a [known key](has_known_key).
pub(super) fn of_pod(
    metadata: &Metadata,
    has_known_key: bool,
    spec: &PodSpec,
    config: &Config,
) -> Clues {
    let mut clues = Clues::default();
    for container in spec.all_containers() {
        clues.add(&pod::said(container, config).clues);
    }
    let has_driver = spec.volumes.iter().any(|volume| volume.csi.is_some());
    if !has_driver && !has_known_key {
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

/// What to do before the auto-mounted token of a pod with a [known key](has_known_key) is removed, sorted: for clients
/// that open it and do not need it.
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

/// Whether a label or annotation may be one of a system: most objects have none.
pub(super) fn has_known_key(metadata: &Metadata, config: &Config) -> bool {
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

/// The systems that a pod with a [known key](has_known_key) keeps away, whatever its namespace says, sorted.
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
