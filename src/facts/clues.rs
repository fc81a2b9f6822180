//! What do texts say about a token: which systems' clients do they configure or run, and which files beside it do they
//! name?

use std::collections::BTreeSet;

use super::commands::runs;
use crate::model::{
    Config,
    bare::Bare,
    consumer::{ConsumerRule, Consumers, UsedToken},
};

/// Who uses the token where the pod's own commands or variables name its file.
pub(super) const ITSELF: &str = "its own command line";
/// Who uses it where a file of its configuration does.
const ITS_CONFIGURATION: &str = "its own configuration";
/// The directory in which admission mounts the token, without the parts that may be spelled otherwise.
pub(super) const DIRECTORY: &str = "kubernetes.io/serviceaccount";
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

/// What texts say about the files that admission mounts.
#[derive(Clone, Debug, Default)]
pub(super) struct Clues {
    /// Who uses the token.
    pub(super) systems: BTreeSet<Box<str>>,
    /// The systems whose clients use a token of their own.
    pub(super) own_tokens: BTreeSet<Box<str>>,
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

    /// Adds what others say.
    pub(super) fn add(&mut self, others: &Self) {
        self.systems.extend(others.systems.iter().cloned());
        self.own_tokens.extend(others.own_tokens.iter().cloned());
        self.reads_files |= others.reads_files;
        self.reads_service_ca |= others.reads_service_ca;
        self.starts_client |= others.starts_client;
    }

    /// Adds what a command line or a script says.
    pub(super) fn read_text(&mut self, text: &str, config: &Config) {
        self.read_words(text, config, ITSELF);
        if !known(config).iter().any(|known| known.may_run(text)) {
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
    pub(super) fn read_file(&mut self, name: &str, text: &str, config: &Config) {
        if text.starts_with("#!") || SCRIPTS.iter().any(|end| name.ends_with(end)) {
            self.read_text(text, config);
        } else if !is_prose(name) {
            self.read_words(text, config, ITS_CONFIGURATION);
        }
    }

    /// Adds the systems whose words are in a text.
    pub(super) fn read_words(&mut self, text: &str, config: &Config, reader: &str) {
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

/// Whether a part of a text may say something.
pub(super) fn may_say(text: &str, config: &Config) -> bool {
    let bare = Bare::new(text);
    let known = known(config);
    let mut known = known.iter();
    text.contains(DOMAIN) || known.any(|known| known.may_be_in(&bare) || known.may_run(text))
}

/// The built-in table, and that of the configuration.
pub(super) fn known(config: &Config) -> [&Consumers; 2] {
    [Consumers::built_in(), &config.known_consumers]
}

/// The systems whose clients use the auto-mounted token: those of the built-in table, and those of the configuration.
pub(super) fn active(config: &Config) -> impl Iterator<Item = &ConsumerRule> {
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
