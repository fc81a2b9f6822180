//! Which systems accept the token of a pod as an identity, and how are their clients recognised? The built-in table is
//! data in the format of the configuration's `knownConsumers`.

mod named;

use std::{
    collections::BTreeSet,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use aho_corasick::AhoCorasick;
use serde::Deserialize;

use self::named::Names;
pub use self::named::{Named, Says};
use super::bare::Bare;

/// The systems that are known, one entry each.
const BUILT_IN: &str = include_str!("consumers.yaml");

/// A system that accepts the token of a pod as an identity, and how such a pod is recognised: one match is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConsumerRule {
    /// The name of the system.
    pub name: Box<str>,
    /// Where its own source or documentation says so.
    pub source: Box<str>,
    /// The version since which it is so.
    pub since: Box<str>,
    /// Which token its clients use.
    pub token: UsedToken,
    /// What to do before the auto-mounted token is removed, for clients that open it and do not need it.
    pub before_removal: Box<str>,
    /// Labels of a pod.
    pub labels: Vec<Named>,
    /// Annotations of a pod.
    pub annotations: Vec<Named>,
    /// Labels of the pod's namespace; the same label or annotation of the pod itself takes precedence.
    pub namespace_labels: Vec<Named>,
    /// Annotations of the pod's namespace; the same label or annotation of the pod itself takes precedence.
    pub namespace_annotations: Vec<Named>,
    /// Environment variables of containers.
    pub variables: Vec<Named>,
    /// Parts of commands, of the values of variables, and of mounted files; compared without white space, quotes and
    /// backslashes. A `*` stands for up to 100 characters, and between slashes for parts of a path; `**` for anything in
    /// the block of the key before it, by brackets or indentation; a `^` for the beginning of the text.
    pub words: Vec<Box<str>>,
    /// What the text that an entry of `words` matches must not contain, nor overlap.
    pub not_words: Vec<Box<str>>,
    /// Annotations of a pod that name a volume with a token that the clients use instead of the auto-mounted one.
    pub own_token_annotations: Vec<Named>,
    /// Environment variables with the path of the token that the clients of a container use: any other path than that
    /// of the auto-mounted token says that they do not use that one.
    pub own_token_variables: Vec<Named>,
    /// Programs that containers run.
    pub commands: Vec<Box<str>>,
    /// CSI drivers of volumes.
    pub drivers: Vec<Box<str>>,
}

impl ConsumerRule {
    /// Whether it says by what pods are recognised; one that only says `token: own` switches off the built-in entry of
    /// its name.
    #[must_use]
    pub fn recognises_something(&self) -> bool {
        let named = [
            &self.labels,
            &self.annotations,
            &self.namespace_labels,
            &self.namespace_annotations,
            &self.variables,
        ];
        let texts = [&self.words, &self.commands, &self.drivers];
        named.iter().any(|list| !list.is_empty())
            || texts.iter().any(|list| !list.is_empty())
            || self.token == UsedToken::Own
    }
}

/// Which token the clients of a system use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UsedToken {
    /// The auto-mounted one: the pod needs it.
    #[default]
    AutoMounted,
    /// One that they project themselves: no reason to keep the auto-mounted one.
    Own,
}

/// How many characters a `*` in a word stands for at most.
const MAX_GAP: usize = 100;

/// Tells tables of systems apart: what is found with one may be different with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableId(u64);

impl Default for TableId {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Systems, ready to be looked for.
#[derive(Clone, Debug, Default)]
pub struct Consumers {
    id: TableId,
    rules: Vec<ConsumerRule>,
    /// The first parts of all words.
    first_parts: Option<AhoCorasick>,
    /// For each of these, what else there is to it.
    words: Vec<Word>,
    /// The commands of all systems.
    commands: Option<AhoCorasick>,
    /// The variables of all systems, those with the path of another token included.
    variables: Names,
    /// The labels and annotations of all systems.
    keys: Names,
}

/// A word of a rule, after its first part.
#[derive(Clone, Debug)]
struct Word {
    rule: usize,
    is_at_beginning: bool,
    following: Vec<Part>,
}

/// A further part of a word.
#[derive(Clone, Debug)]
struct Part {
    text: Box<str>,
    gap: Gap,
}

/// What may be before a part of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    /// Up to [`MAX_GAP`] characters.
    Near,
    /// As many, which are part of a path.
    Path,
    /// What is in the block of the key before it.
    Block,
}

impl Word {
    /// The first part of a word, and the rest.
    fn new(rule: usize, word: &str) -> (String, Self) {
        let at_beginning = word.strip_prefix('^');
        let mut parts = at_beginning.unwrap_or(word).split('*');
        let first = parts.next().unwrap_or_default();
        let (mut following, mut before, mut is_block) = (Vec::new(), first, false);
        for part in parts {
            if part.is_empty() {
                is_block = true;
                continue;
            }
            let gap = match (is_block, before.ends_with('/') && part.starts_with('/')) {
                (true, _) => Gap::Block,
                (false, true) => Gap::Path,
                (false, false) => Gap::Near,
            };
            let text = part.into();
            following.push(Part { text, gap });
            (before, is_block) = (part, false);
        }
        let word = Self {
            rule,
            is_at_beginning: at_beginning.is_some(),
            following,
        };
        (first.to_owned(), word)
    }
}

impl PartialEq for Consumers {
    fn eq(&self, other: &Self) -> bool {
        self.rules == other.rules
    }
}

impl Eq for Consumers {}

impl Consumers {
    /// Systems, of which those that project their own tokens are no consumers.
    #[must_use]
    pub fn new(rules: Vec<ConsumerRule>) -> Self {
        let (mut first_parts, mut words) = (Vec::new(), Vec::new());
        let using = rules.iter().enumerate();
        let using = using.filter(|(_, rule)| rule.token == UsedToken::AutoMounted);
        for (rule, word) in
            using.flat_map(|(number, rule)| rule.words.iter().map(move |word| (number, word)))
        {
            let (first, word) = Word::new(rule, Bare::new(word).text());
            first_parts.push(first);
            words.push(word);
        }
        let keys = rules.iter().flat_map(|rule| {
            let lists = [
                &rule.labels,
                &rule.annotations,
                &rule.namespace_labels,
                &rule.namespace_annotations,
                &rule.own_token_annotations,
            ];
            lists.into_iter().flatten()
        });
        let variables = rules.iter().flat_map(|rule| {
            let lists = [&rule.variables, &rule.own_token_variables];
            lists.into_iter().flatten()
        });
        Self {
            id: TableId::default(),
            keys: keys.collect(),
            commands: finder(rules.iter().flat_map(|rule| &rule.commands)),
            variables: variables.collect(),
            first_parts: finder(&first_parts),
            words,
            rules,
        }
    }

    /// The same for copies of this table alone.
    #[must_use]
    pub const fn id(&self) -> TableId {
        self.id
    }

    /// Whether a text may have a word of a system.
    #[must_use]
    pub fn may_be_in(&self, text: &Bare<'_>) -> bool {
        let parts = self.first_parts.as_ref();
        parts.is_some_and(|parts| parts.is_match(text.text()))
    }

    /// Whether a text may have a command of a system.
    #[must_use]
    pub fn may_run(&self, text: &str) -> bool {
        let commands = self.commands.as_ref();
        commands.is_some_and(|commands| commands.is_match(text))
    }

    /// Whether a variable of this name may be one of a system.
    #[must_use]
    pub fn may_be_variable(&self, name: &str) -> bool {
        self.variables.has(name)
    }

    /// Whether a label or annotation of this name may be one of a system.
    #[must_use]
    pub fn may_be_key(&self, name: &str) -> bool {
        self.keys.has(name)
    }

    /// The built-in table.
    #[must_use]
    pub fn built_in() -> &'static Self {
        static BUILT_IN_CONSUMERS: LazyLock<Consumers> = LazyLock::new(|| {
            let rules = serde_saphyr::from_str(BUILT_IN);
            Consumers::new(rules.unwrap_or_default())
        });
        &BUILT_IN_CONSUMERS
    }

    /// All systems, those that project their own tokens included.
    #[must_use]
    pub fn all(&self) -> &[ConsumerRule] {
        &self.rules
    }

    /// The systems whose clients use the auto-mounted token.
    pub fn rules(&self) -> impl Iterator<Item = &ConsumerRule> {
        let rules = self.rules.iter();
        rules.filter(|rule| rule.token == UsedToken::AutoMounted)
    }

    /// Adds the names of the systems whose words are in a text.
    pub fn find_words<'a>(&'a self, bare: &Bare<'_>, found: &mut BTreeSet<&'a str>) {
        let text = bare.text();
        let Some(first_parts) = &self.first_parts else {
            return;
        };
        for place in first_parts.find_overlapping_iter(text) {
            let word = &self.words[place.pattern()];
            let rule = &self.rules[word.rule];
            let Some(end) = end(bare, place.start(), place.end(), &word.following) else {
                continue;
            };
            let is_excluded = rule.not_words.iter().any(|word| {
                let overlap = place.start().saturating_sub(word.len().saturating_sub(1));
                text[text.floor_char_boundary(overlap)..end].contains(&**word)
            });
            if !is_excluded && (!word.is_at_beginning || place.start() == 0) {
                found.insert(&*rule.name);
            }
        }
    }
}

/// Finds texts, if there are any.
fn finder<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Option<AhoCorasick> {
    let texts: Vec<_> = texts.into_iter().collect();
    let found = AhoCorasick::new(texts.iter().map(AsRef::as_ref)).ok();
    found.filter(|finder| finder.patterns_len() > 0)
}

/// Where the last of these parts ends; `None` if not all follow in this order, each with its gap before it.
fn end(bare: &Bare<'_>, start: usize, begin: usize, parts: &[Part]) -> Option<usize> {
    let text = bare.text();
    let last = parts
        .iter()
        .try_fold((start, begin), |(before, begin), part| {
            let limit = match part.gap {
                Gap::Near | Gap::Path => {
                    text.floor_char_boundary(begin + MAX_GAP + part.text.len())
                }
                Gap::Block => bare.block_end(before, begin),
            };
            let place = begin + text[begin..limit].find(&*part.text)?;
            let is_apart = part.gap == Gap::Path
                && (!bare.is_path(begin, place)
                    || begins_again(&text[before..begin], &text[begin..place]));
            (!is_apart).then_some((place, place + part.text.len()))
        });
    last.map(|(_, end)| end)
}

/// Whether a path has the part before it once more: then there are two paths.
fn begins_again(before: &str, path: &str) -> bool {
    format!("/{path}/").contains(&format!("/{}/", before.trim_matches('/')))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    fn systems(text: &str) -> Vec<&'static str> {
        let mut found = BTreeSet::new();
        Consumers::built_in().find_words(&Bare::new(text), &mut found);
        found.into_iter().collect()
    }

    #[test]
    fn the_built_in_table_is_complete_and_has_one_entry_for_each_system() {
        let rules: Vec<ConsumerRule> = serde_saphyr::from_str(BUILT_IN).unwrap();
        let mut names = BTreeSet::new();
        for rule in &rules {
            assert!(names.insert(&rule.name), "{} twice", rule.name);
            assert!(
                rule.source.starts_with("https://"),
                "{}: no source",
                rule.name
            );
            assert!(rule.recognises_something(), "{}", rule.name);
        }
        for name in ["Linkerd", "Dapr"] {
            assert!(
                !Consumers::built_in()
                    .rules()
                    .any(|rule| &*rule.name == name),
                "{name} needs no token"
            );
        }
        assert_eq!(Consumers::built_in().all(), rules);
    }

    /// More than a `*` stands for.
    const FAR: &str = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of cases")]
    fn words_are_found_however_they_are_written() {
        for (text, expected) in [
            (
                r#"{"url":"https://v","auth_type": "kubernetes"}"#,
                &["Vault"][..],
            ),
            ("{'auth_type':'kubernetes'}", &["Vault"]),
            ("auth_type = token", &[]),
            (
                "curl https://v/v1/auth/prod-eu/login -d '{\"jwt\": \"$T\"}'",
                &["Vault"],
            ),
            ("auth/kubernetes/prod/fss/login", &["Vault"]),
            ("vault write auth/approle/login role_id=x", &[]),
            ("vault write auth/userpass/login/bob password=jwt", &[]),
            ("vault login -method=kubernetes role=x", &["Vault"]),
            ("vault login -method kubernetes role=x", &["Vault"]),
            ("auto_auth {\n  method \"kubernetes\" {", &["Vault"]),
            (
                "auto_auth {\n  method {\n    type = \"kubernetes\"",
                &["Vault"],
            ),
            ("auto_auth {\n  method \"approle\" {", &[]),
            (
                "spring:\n  cloud:\n    vault:\n      authentication: KUBERNETES",
                &["Vault"],
            ),
            ("spring.cloud.vault.authentication=TOKEN", &[]),
            // However far apart, if it is in the same block.
            (
                &format!(
                    "vault:\n  uri: x\n  ssl:\n    a: {FAR}\n\n  # b\n  authentication: KUBERNETES"
                ),
                &["Vault"],
            ),
            (
                &format!("spring:\n  vault:\n    a: {FAR}\n  authentication: KUBERNETES"),
                &[],
            ),
            (
                &format!("{{vault: {{a: {FAR}}}, authentication: KUBERNETES}}"),
                &[],
            ),
            (
                &format!(
                    "auto_auth {{\n  sink \"file\" {{ a = \"{FAR}\" }}\n  method \"kubernetes\" {{}}\n}}"
                ),
                &["Vault"],
            ),
            (
                &format!(
                    "auto_auth {{\n  sink {{ a = \"{FAR}\" }}\n}}\nx {{ method \"kubernetes\" {{}} }}"
                ),
                &[],
            ),
            ("vault:kv/rax/data/test#MYSQL_PASSWORD", &["Vault"]),
            (">>vault:kv/data/test#A", &["Vault"]),
            ("http://vault:8200", &[]),
            ("vault:8200", &[]),
            ("bao:kv/data/test#A", &["OpenBao"]),
            ("bao write auth/kubernetes/login role=x", &["OpenBao"]),
            ("bao write auth/approle/login role_id=x", &[]),
            (
                "akeyless auth --access-type k8s --access-id p-1",
                &["Akeyless"],
            ),
            ("infisical login --method=kubernetes", &["Infisical"]),
            (
                "auth:\n  type: kubernetes\n  config:\n    identity-id: /i",
                &["Infisical"],
            ),
            (
                "openshift_service_account = \"proxy\"",
                &["OpenShift OAuth"],
            ),
            (
                "mongodb://h/?authMechanism=MONGODB-OIDC&authMechanismProperties=ENVIRONMENT:k8s",
                &["MongoDB"],
            ),
            ("authMechanismProperties=ENVIRONMENT%3Ak8s", &["MongoDB"]),
            ("ENVIRONMENT:azure", &[]),
            ("ENVIRONMENT: k8s\nLOG: info", &[]),
            ("/v1/auth/a /login", &[]),
            ("/v1/auth/a?next=/login", &[]),
            ("/v1/auth/{{ mount }}/login", &["Vault"]),
            ("/v1/auth/a/v1/auth/login", &[]),
            ("NodeAttestor \"k8s_sat\" {", &["SPIRE"]),
            ("NodeAttestor \"k8s_psat\" {", &[]),
            (
                "join_params:\n  token_name: t\n  method: kubernetes",
                &["Teleport"],
            ),
        ] {
            assert_eq!(systems(text), expected, "{text}");
        }
    }

    #[test]
    fn a_name_may_have_values_or_be_a_prefix() {
        let named = |text: &str| serde_saphyr::from_str::<Named>(text).unwrap();
        for (named, name, value, says) in [
            (named("a/b"), "a/b", "Enabled", Some(Says::Yes)),
            (named("a/b"), "a/b", "false", Some(Says::No)),
            (named("a/b"), "a/b", "Disabled", Some(Says::No)),
            (named("a/b"), "a/bc", "true", None),
            (named("a/b=on|1"), "a/b", "ON", Some(Says::Yes)),
            (named("a/b=on|1"), "a/b", "true", Some(Says::No)),
            (named("A_*"), "A_B", "x", Some(Says::Yes)),
        ] {
            assert_eq!(named.says(name, value), says, "{named:?} {value}");
        }
        assert!(named("V").is_variable("V", ""));
        assert!(!named("V=kubernetes").is_variable("V", "approle"));
        assert!(serde_saphyr::from_str::<Named>("\"=x\"").is_err());
    }
}
