//! Reads the file of `--config`: exemptions, known consumers, default permissions, API audiences and namespaces.

mod consumers;
mod default_permissions;
mod namespaces;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::Path,
};

use glob::Pattern;
use serde::{Deserialize, de::IgnoredAny};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use crate::{
    facts::exemption::day,
    model::{
        Config,
        config::{ExemptionRule, GrantsElsewhere},
        consumer::{ConsumerRule, Consumers},
    },
    text::{self, Malformed},
};

/// A configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// The configuration that it contains.
    pub config: Config,
    /// Deprecated keys that it uses, each with file, line and fix.
    pub warnings: Vec<String>,
}

impl Default for ConfigFile {
    /// What holds without a file.
    fn default() -> Self {
        let (config, warnings) = parse("").unwrap_or_default();
        debug_assert!(warnings.is_empty(), "an empty file has nothing to warn of");
        Self {
            config,
            warnings: Vec::new(),
        }
    }
}

/// The errors in a configuration file, each with file, line and fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Faults {}

/// Reads a configuration file.
///
/// # Errors
/// All errors in the file; nothing in it takes effect then.
pub fn read(path: &Path) -> Result<ConfigFile, Faults> {
    let text = text::open(path)
        .and_then(text::read)
        .map_err(|error| Faults(vec![format!("{}: cannot be read: {error}", path.display())]))?;
    let located =
        |found: &Malformed| format!("{}: {}", found.place(&path.display()), found.message);
    match parse(&text) {
        Ok((config, deprecated)) => Ok(ConfigFile {
            config,
            warnings: deprecated.iter().map(located).collect(),
        }),
        Err(faults) => Err(Faults(faults.iter().map(located).collect())),
    }
}

/// The former key for default permissions: rules alone.
const DEPRECATED: &str = "baseline";

/// A list, which may be absent or null.
type Entries<T> = Option<Vec<Spanned<T>>>;

/// The fields of the file.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct File {
    api_audiences: Entries<String>,
    exemptions: Entries<ExemptionEntry>,
    known_consumers: Entries<ConsumerRule>,
    default_permissions: Entries<default_permissions::Entry>,
    /// Names of built-in default permissions.
    disable: Entries<String>,
    grants_elsewhere: Option<Spanned<String>>,
    trusted_namespaces: Entries<String>,
    namespaces: Entries<String>,
    exclude_namespaces: Entries<String>,
    namespace_selector: Option<Spanned<String>>,
    baseline: Entries<default_permissions::RuleEntry>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ExemptionEntry {
    reason: String,
    until: Option<Spanned<String>>,
    namespace: Option<Spanned<String>>,
    name: Option<Spanned<String>>,
    labels: BTreeMap<Box<str>, Box<str>>,
}

/// Parses a configuration, and returns it with the deprecated keys that it uses; empty text is an empty
/// configuration.
fn parse(text: &str) -> Result<(Config, Vec<Malformed>), Vec<Malformed>> {
    let options = || {
        serde_saphyr::options! {
            duplicate_keys: DuplicateKeyPolicy::Error,
            with_snippet: false,
        }
    };
    let keys = serde_saphyr::from_str_with_options(text, options()).unwrap_or_default();
    let deprecated = deprecated(&keys).map_err(|fault| vec![fault])?;
    let file: Option<File> =
        serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
            vec![in_plain_words(without_deprecated(Malformed::from_yaml(
                &error,
            )))]
        })?;
    let file = file.unwrap_or_default();
    let mut faults = Vec::new();
    let config = Config {
        api_audiences: read_each(file.api_audiences, &mut faults, audience),
        exemptions: read_each(file.exemptions, &mut faults, exemption),
        known_consumers: Consumers::new(read_each(
            file.known_consumers,
            &mut faults,
            consumers::read,
        )),
        default_permissions: default_permissions::all(
            file.default_permissions,
            file.baseline,
            file.disable,
            &mut faults,
        ),
        grants_elsewhere: grants_elsewhere(
            file.grants_elsewhere,
            file.trusted_namespaces,
            &mut faults,
        ),
        namespaces: namespaces::Keys {
            names: file.namespaces,
            excluded: file.exclude_namespaces,
            selector: file.namespace_selector,
        }
        .read(&mut faults),
    };
    let spelled: Option<consumers::Spelled> =
        serde_saphyr::from_str_with_options(text, options()).unwrap_or_default();
    faults.extend(spelled.iter().flat_map(consumers::Spelled::faults));
    if faults.is_empty() {
        Ok((config, deprecated))
    } else {
        Err(faults)
    }
}

/// The keys of the file, which carry their positions; `None` for an empty one.
#[expect(
    clippy::zero_sized_map_values,
    reason = "a set cannot be read from a mapping"
)]
type Keys = Option<HashMap<Spanned<String>, IgnoredAny>>;

/// The error without the deprecated key among those that may be used.
fn without_deprecated(mut fault: Malformed) -> Malformed {
    fault.message = fault.message.replace(&format!(", {DEPRECATED}"), "");
    fault
}

/// The error in the words of YAML, where that of the parser is meant for programs.
fn in_plain_words(mut fault: Malformed) -> Malformed {
    /// How messages of the parser begin, and what they mean.
    const MEANINGS: [(&str, &str); 4] = [
        (
            "expected sequence start",
            "a list is expected here, as in `[a, b]`",
        ),
        (
            "expected mapping start",
            "a mapping is expected here, as in `{key: value}`",
        ),
        ("expected string scalar", "a text is expected here"),
        (
            "multiple YAML documents",
            "the file has several documents: put all keys into one, without `---`",
        ),
    ];
    let found = MEANINGS
        .iter()
        .find(|(begin, _)| fault.message.starts_with(begin));
    if let Some((_, meaning)) = found {
        (*meaning).clone_into(&mut fault.message);
    } else if let Some((what, _)) = fault.message.split_once(", set DuplicateKeyPolicy") {
        fault.message = format!("{what}: keep one of the two");
    }
    fault
}

/// A warning for a deprecated key, or the error that its successor is used too.
fn deprecated(keys: &Keys) -> Result<Vec<Malformed>, Malformed> {
    let key = |name| {
        let mut keys = keys.iter().flatten().map(|(key, _)| key);
        keys.find(|key| key.value == name)
    };
    let Some(old) = key(DEPRECATED) else {
        return Ok(Vec::new());
    };
    if key("defaultPermissions").is_some() {
        let message = "`baseline` is the deprecated form of `defaultPermissions`, and the file has both: move the rules of `baseline` to `defaultPermissions`";
        return Err(fault(old, message));
    }
    let message = "`baseline` is deprecated: write `defaultPermissions: [{name: WHO, to: system:serviceaccounts, rules: […]}]`, with the rules as they are";
    Ok(vec![fault(old, message)])
}

/// Reads each entry of a list; those that cannot be read are added to `faults`.
fn read_each<T, U>(
    entries: Entries<T>,
    faults: &mut Vec<Malformed>,
    read: fn(&Spanned<T>) -> Result<U, Malformed>,
) -> Vec<U> {
    let mut values = Vec::new();
    for entry in entries.into_iter().flatten() {
        match read(&entry) {
            Ok(value) => values.push(value),
            Err(fault) => faults.push(fault),
        }
    }
    values
}

/// How permissions of other namespaces are judged.
fn grants_elsewhere(
    judged: Option<Spanned<String>>,
    trusted: Entries<String>,
    faults: &mut Vec<Malformed>,
) -> GrantsElsewhere {
    let mut read = GrantsElsewhere::default();
    if trusted.is_some() {
        let namespace = |entry: &Spanned<String>| pattern(Some(entry), "trustedNamespaces");
        read.trusted = read_each(trusted, faults, namespace);
    }
    match judged.as_ref().map(|judged| &*judged.value) {
        None | Some("needed") => {}
        Some("review") => read.is_reviewed = true,
        Some(_) => faults.extend(judged.map(|judged| {
            let message = "`grantsElsewhere` has an unknown value: use `needed` or `review`";
            fault(&judged, message)
        })),
    }
    read
}

fn audience(entry: &Spanned<String>) -> Result<String, Malformed> {
    if entry.value.is_empty() {
        return Err(fault(entry, "`apiAudiences` has an empty entry: remove it"));
    }
    Ok(entry.value.clone())
}

fn exemption(entry: &Spanned<ExemptionEntry>) -> Result<ExemptionRule, Malformed> {
    let written = &entry.value;
    if written.reason.trim().is_empty() {
        let message = "the exemption has no `reason`: say why the token stays";
        return Err(fault(entry, message));
    }
    if written.namespace.is_none() && written.name.is_none() && written.labels.is_empty() {
        let message = "the exemption selects nothing: set `namespace`, `name` (of the ServiceAccount) or `labels` (of the pods); `\"*\"` selects all";
        return Err(fault(entry, message));
    }
    let until = |written: &Spanned<String>| {
        let message = format!(
            "`until` is not a valid date: use the format 2027-01-31: {:?}",
            written.value
        );
        day(&written.value).ok_or_else(|| fault(written, &message))
    };
    Ok(ExemptionRule {
        reason: written.reason.trim().into(),
        until: written.until.as_ref().map(until).transpose()?,
        namespace: pattern(written.namespace.as_ref(), "namespace")?,
        name: pattern(written.name.as_ref(), "name")?,
        labels: written
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    })
}

/// A pattern of names; without one, all names match.
fn pattern(written: Option<&Spanned<String>>, field: &str) -> Result<Pattern, Malformed> {
    let Some(written) = written else {
        return Ok(Pattern::new("*").unwrap_or_default());
    };
    if written.value.is_empty() {
        let message =
            format!("`{field}` is empty: set a name or a pattern, or remove the key to match all");
        return Err(fault(written, &message));
    }
    Pattern::new(&written.value).map_err(|error| {
        let message = format!(
            "`{field}` is not a valid pattern: {}: {:?}",
            error.msg, written.value
        );
        fault(written, &message)
    })
}

/// A fault at the position of an entry.
fn fault<T>(entry: &Spanned<T>, message: &str) -> Malformed {
    let number = |number| usize::try_from(number).unwrap_or_default();
    let place = entry.referenced;
    Malformed::at(number(place.line()), number(place.column()), message)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a test that cannot go on fails"
    )]

    use super::*;
    use crate::model::{LeftOut, ServiceAccountRef, config::DefaultGroup};

    fn located(found: &[Malformed]) -> Vec<String> {
        let line = |found: &Malformed| format!("{}: {}", found.line, found.message);
        found.iter().map(line).collect()
    }

    fn faults(text: &str) -> Vec<String> {
        located(&parse(text).unwrap_err())
    }

    #[test]
    fn every_key_is_read() {
        let (config, warnings) = parse(
            "apiAudiences: [api]\n\
             exemptions:\n\
             - {reason: old, until: 2027-01-31, namespace: 'team-*', name: runner, labels: {app: ci}}\n\
             knownConsumers: [{name: Sesame, annotations: [sesame/inject], variables: [SESAME]}]\n\
             defaultPermissions:\n\
             - {name: us, source: wiki, to: 'system:serviceaccounts:<namespace>', rules: [{apiGroups: [''], resources: [configmaps], verbs: [get]}]}\n\
             disable: [OpenShift]\n\
             namespaces: [shop, team-a]\nexcludeNamespaces: [kube-*]\nnamespaceSelector: '!legacy'\n",
        )
        .unwrap();
        let left_out =
            |name: &str, label: Option<&'static str>| config.namespaces.leaves_out(name, |_| label);
        assert_eq!(left_out("shop", None), None);
        assert_eq!(left_out("shop", Some("")), Some(LeftOut::Unlabelled));
        assert_eq!(left_out("bank", None), Some(LeftOut::Unnamed));
        assert_eq!(config.namespaces.except[0].as_str(), "kube-*");
        let rule = &config.exemptions[0];
        let runner = ServiceAccountRef::new("team-a", "runner");
        let label = [("app".into(), "ci".into())];
        assert!(rule.applies_to(&runner, &label));
        assert!(!rule.applies_to(&runner, &[]));
        assert!(!rule.applies_to(&ServiceAccountRef::new("team", "runner"), &label));
        assert_eq!(rule.until.unwrap().to_string(), "2027-01-31");
        assert_eq!(config.api_audiences, ["api"]);
        assert_eq!(&*config.known_consumers.all()[0].name, "Sesame");
        let [default] = &config.default_permissions[..] else {
            panic!("{:?}", config.default_permissions);
        };
        assert_eq!(
            (&*default.name, default.to),
            ("us", DefaultGroup::OwnNamespace)
        );
        assert_eq!(default.rules[0].to_string(), "get configmaps");
        assert_eq!(warnings, []);
    }

    #[test]
    fn the_deprecated_key_works_with_a_warning_at_its_line() {
        let rule = "{apiGroups: [''], resources: [configmaps], verbs: [get]}";
        for (text, line) in [
            (format!("exemptions: []\nbaseline:\n- {rule}\n"), 2),
            (format!("# x\n---\n{{\n  \"baseline\": [{rule}]}}\n"), 4),
        ] {
            let (config, warnings) = parse(&text).unwrap();
            let default = config.default_permissions.last().unwrap();
            assert_eq!(default.rules[0].to_string(), "get configmaps");
            assert_eq!(default.to, DefaultGroup::Any);
            let [warning] = &located(&warnings)[..] else {
                panic!("{warnings:?}");
            };
            let begins = format!("{line}: `baseline` is deprecated: write `defaultPermissions: ");
            assert!(warning.starts_with(&begins), "{warning}");
        }
    }

    #[test]
    fn the_deprecated_key_beside_its_successor_is_a_fault() {
        assert_eq!(
            faults("defaultPermissions: []\nbaseline: []\n"),
            [
                "2: `baseline` is the deprecated form of `defaultPermissions`, and the file has both: move the rules of `baseline` to `defaultPermissions`"
            ]
        );
    }

    #[test]
    fn warnings_and_faults_name_the_file() {
        let path = std::env::temp_dir().join(format!("config-{}.yaml", std::process::id()));
        let file = path.display();
        std::fs::write(&path, "baseline: []\n").unwrap();
        let read_file = read(&path).unwrap();
        std::fs::write(&path, "\n\nexemptions:\n- {reason: r}\n").unwrap();
        let faults = read(&path).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        let warning = "`baseline` is deprecated: write `defaultPermissions: [{name: WHO, to: system:serviceaccounts, rules: […]}]`, with the rules as they are";
        assert_eq!(read_file.config, ConfigFile::default().config);
        assert_eq!(read_file.warnings, [format!("{file}:1:1: {warning}")]);
        let expected = format!("{file}:4:3: the exemption selects nothing: ");
        assert!(faults.starts_with(&expected), "{faults}");
    }

    #[test]
    fn an_empty_file_is_valid() {
        for text in ["", "# none\n", "{}", "exemptions: []\n", "exemptions:\n"] {
            assert_eq!(
                parse(text).unwrap(),
                (ConfigFile::default().config, Vec::new()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn all_faults_are_listed_with_line_and_fix() {
        let text = "exemptions:\n\
                    - namespace: a\n\
                    - {reason: r}\n\
                    - reason: r\n  name: x\n  until: tomorrow\n\
                    - {reason: r, name: 'a[', until: 2027-01-31}\n\
                    knownConsumers:\n- name: x\n- variables: [A]\n\
                    defaultPermissions:\n- {name: x, to: 'system:serviceaccounts', rules: [{resources: [pods], verbs: [get]}]}\n\
                    - {name: y, to: admins, rules: [{nonResourceURLs: [/x], verbs: [get]}]}\n\
                    - {name: z, to: 'system:authenticated'}\ndisable: [Nobody]\n\
                    namespaces: [a, team-*]\nexcludeNamespaces:\n- ''\n- 'a['\nnamespaceSelector: 'a in (b'\n";
        assert_eq!(
            faults(text),
            [
                "2: the exemption has no `reason`: say why the token stays",
                "3: the exemption selects nothing: set `namespace`, `name` (of the ServiceAccount) or `labels` (of the pods); `\"*\"` selects all",
                "6: `until` is not a valid date: use the format 2027-01-31: \"tomorrow\"",
                "7: `name` is not a valid pattern: invalid range pattern: \"a[\"",
                "9: the consumer has nothing that its pods are recognised by: add `annotations`, `labels`, `namespaceLabels`, `namespaceAnnotations`, `variables`, `words`, `commands` or `drivers`",
                "10: the consumer has no `name`: add one",
                "15: `disable` names no built-in default permissions: \"Nobody\": remove it, or use one of: OpenShift",
                "12: the rule has no `apiGroups`: the core group is `\"\"`",
                "13: `to` is not a group that all accounts are in: \"admins\": use system:authenticated, system:serviceaccounts, or system:serviceaccounts:<namespace> for that of each account's own namespace",
                "14: the default permissions have no `rules`: add those of the role",
                "16: `namespaces` has an entry that is no name: \"team-*\" is not the name of a namespace: use lower-case letters, digits and `-`; only what is excluded may be a pattern",
                "18: an entry of `excludeNamespaces` is empty: use a name, or a pattern such as kube-*",
                "19: an entry of `excludeNamespaces` is not a valid pattern: invalid range pattern: \"a[\"",
                "20: `namespaceSelector`: `a in (b` lacks a closing parenthesis",
            ]
        );
    }

    #[test]
    fn a_consumer_that_nothing_can_match_is_a_fault() {
        for (entry, expected) in [
            ("{name: Kuma, token: own}", None),
            (
                "{name: Ours, token: own, labels: [ours/inject=on|yes, 'ours/*']}",
                None,
            ),
            (
                "{name: Kumma, token: own}",
                Some(
                    "`token: own` switches off the built-in entry of this name, and there is none: \"Kumma\"",
                ),
            ),
            (
                "{name: x, words: ['']}",
                Some("an entry of `words` is empty"),
            ),
            (
                "{name: x, labels: [a], commands: [' ']}",
                Some("an entry of `commands` is empty"),
            ),
            (
                "{name: x, labels: [app web]}",
                Some("no label or annotation can have this name: \"app web\""),
            ),
            (
                "{name: x, words: [y], namespaceAnnotations: ['a:b']}",
                Some("no label or annotation"),
            ),
        ] {
            let found = parse(&format!("knownConsumers:\n- {entry}\n"))
                .err()
                .unwrap_or_default();
            let found = located(&found).join(" ");
            match expected {
                Some(expected) => assert!(
                    found.starts_with("2: ") && found.contains(expected),
                    "{entry}: {found}"
                ),
                None => assert_eq!(found, "", "{entry}"),
            }
        }
    }

    #[test]
    fn an_unknown_key_is_a_fault_with_its_line() {
        for (text, line, word) in [
            ("exemptoins: []\n", "1: ", "exemptoins"),
            ("exemptions:\n- reason: r\n  nmae: x\n", "3: ", "nmae"),
            (
                "exemptions: 3\n",
                "1: ",
                "a list is expected here, as in `[a, b]`",
            ),
            ("exemptions: [3]\n", "1: ", "a mapping is expected here"),
            ("grantsElsewhere: [a]\n", "1: ", "a text is expected here"),
            (
                "{}\n---\n{}\n",
                "",
                "the file has several documents: put all keys",
            ),
            ("a: [\n", "", ""),
            (
                "exemptions: []\nexemptions: []\n",
                "2: ",
                "duplicate mapping key: exemptions: keep one of the two",
            ),
        ] {
            let fault = &faults(text)[0];
            assert!(fault.starts_with(line) && fault.contains(word), "{fault}");
        }
    }
}
