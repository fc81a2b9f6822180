//! Reads the file of `--config`: exemptions, known consumers, baseline grants and API audiences.

use std::{collections::BTreeMap, fmt, path::Path};

use glob::Pattern;
use serde::Deserialize;
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use crate::{
    facts::{exemption::day, rbac, rejected, wire},
    model::{
        Config,
        config::{ConsumerRule, ExemptionRule},
    },
    text::{self, Malformed},
};

/// What is wrong with a configuration file: each fault with file, line and fix.
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
/// All that is wrong with it; none of it counts then.
pub fn read(path: &Path) -> Result<Config, Faults> {
    let text = text::open(path)
        .and_then(text::read)
        .map_err(|error| Faults(vec![format!("{}: cannot be read: {error}", path.display())]))?;
    parse(&text).map_err(|faults| {
        let place = |fault: &Malformed| match (fault.line, fault.column) {
            (0, _) => path.display().to_string(),
            (line, 0) => format!("{}:{line}", path.display()),
            (line, column) => format!("{}:{line}:{column}", path.display()),
        };
        let told = |fault: &Malformed| format!("{}: {}", place(fault), fault.message);
        Faults(faults.iter().map(told).collect())
    })
}

/// A list, which may be left empty.
type Entries<T> = Option<Vec<Spanned<T>>>;

/// The file, as written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct File {
    api_audiences: Entries<String>,
    exemptions: Entries<ExemptionEntry>,
    known_consumers: Entries<ConsumerEntry>,
    baseline: Entries<RuleEntry>,
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

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ConsumerEntry {
    name: String,
    annotations: Vec<Box<str>>,
    variables: Vec<Box<str>>,
}

/// A `PolicyRule`, as a ClusterRole has it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RuleEntry {
    verbs: Vec<Box<str>>,
    api_groups: Vec<Box<str>>,
    resources: Vec<Box<str>>,
    resource_names: Vec<Box<str>>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<Box<str>>,
}

/// Parses a configuration; an empty one is as good as none.
fn parse(text: &str) -> Result<Config, Vec<Malformed>> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        with_snippet: false,
    };
    let file: Option<File> = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| vec![Malformed::from_yaml(&error)])?;
    let file = file.unwrap_or_default();
    let mut faults = Vec::new();
    let config = Config {
        api_audiences: all(file.api_audiences, &mut faults, audience),
        exemptions: all(file.exemptions, &mut faults, exemption),
        known_consumers: all(file.known_consumers, &mut faults, consumer),
        default_permissions: all(file.baseline, &mut faults, rule),
    };
    if faults.is_empty() {
        Ok(config)
    } else {
        Err(faults)
    }
}

/// What every entry of a list comes to; entries with a fault are told of.
fn all<T, U>(
    entries: Entries<T>,
    faults: &mut Vec<Malformed>,
    read: fn(&Spanned<T>) -> Result<U, Malformed>,
) -> Vec<U> {
    let mut read_all = Vec::new();
    for entry in entries.into_iter().flatten() {
        match read(&entry) {
            Ok(value) => read_all.push(value),
            Err(fault) => faults.push(fault),
        }
    }
    read_all
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
        let message = "the exemption names nothing: give `namespace`, `name` (of the ServiceAccount) or `labels` (of the pods); \"*\" means all";
        return Err(fault(entry, message));
    }
    let until = |written: &Spanned<String>| {
        let message = "`until` is no day: write it like 2027-01-31: ";
        day(&written.value).ok_or_else(|| fault(written, &format!("{message}{:?}", written.value)))
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

/// A pattern of names; all of them where nothing is said.
fn pattern(written: Option<&Spanned<String>>, field: &str) -> Result<Pattern, Malformed> {
    let Some(written) = written else {
        return Ok(Pattern::new("*").unwrap_or_default());
    };
    if written.value.is_empty() {
        let message = format!("`{field}` is empty: name one, or leave it out for all");
        return Err(fault(written, &message));
    }
    Pattern::new(&written.value).map_err(|error| {
        let message = format!(
            "`{field}` is no pattern: {}: {:?}",
            error.msg, written.value
        );
        fault(written, &message)
    })
}

fn consumer(entry: &Spanned<ConsumerEntry>) -> Result<ConsumerRule, Malformed> {
    let written = &entry.value;
    if written.name.trim().is_empty() {
        return Err(fault(entry, "the consumer has no `name`: give it one"));
    }
    if written.annotations.is_empty() && written.variables.is_empty() {
        let message = "nothing tells the pods of this consumer: give `annotations` or `variables`";
        return Err(fault(entry, message));
    }
    Ok(ConsumerRule {
        name: written.name.trim().into(),
        annotations: written.annotations.clone(),
        variables: written.variables.clone(),
    })
}

fn rule(entry: &Spanned<RuleEntry>) -> Result<crate::model::Rule, Malformed> {
    let written = &entry.value;
    let rule = wire::PolicyRule {
        verbs: written.verbs.clone(),
        api_groups: written.api_groups.clone(),
        resources: written.resources.clone(),
        resource_names: written.resource_names.clone(),
        non_resource_urls: written.non_resource_urls.clone(),
    };
    match rejected::rule(&rule, false) {
        Some(why) => Err(fault(entry, &format!("the rule {why}"))),
        None => Ok(rbac::rule(&rule)),
    }
}

/// A fault at the place of an entry.
fn fault<T>(entry: &Spanned<T>, message: &str) -> Malformed {
    let place = |number| usize::try_from(number).unwrap_or_default();
    Malformed {
        line: place(entry.referenced.line()),
        column: place(entry.referenced.column()),
        message: message.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::model::ServiceAccountRef;

    fn faults(text: &str) -> Vec<String> {
        let told = |fault: &Malformed| format!("{}: {}", fault.line, fault.message);
        parse(text).unwrap_err().iter().map(told).collect()
    }

    #[test]
    fn every_key_is_read() {
        let config = parse(
            "apiAudiences: [api]\n\
             exemptions:\n\
             - {reason: old, until: 2027-01-31, namespace: 'team-*', name: runner, labels: {app: ci}}\n\
             knownConsumers: [{name: Sesame, annotations: [sesame/inject], variables: [SESAME]}]\n\
             baseline: [{apiGroups: [''], resources: [configmaps], verbs: [get]}]\n",
        )
        .unwrap();
        let rule = &config.exemptions[0];
        let runner = ServiceAccountRef::new("team-a", "runner");
        let label = [("app".into(), "ci".into())];
        assert!(rule.applies_to(&runner, &label));
        assert!(!rule.applies_to(&runner, &[]));
        assert!(!rule.applies_to(&ServiceAccountRef::new("team", "runner"), &label));
        assert_eq!(rule.until.unwrap().to_string(), "2027-01-31");
        assert_eq!(config.api_audiences, ["api"]);
        assert_eq!(&*config.known_consumers[0].name, "Sesame");
        assert_eq!(config.default_permissions[0].to_string(), "get configmaps");
    }

    #[test]
    fn nothing_is_no_fault() {
        for text in ["", "# none\n", "{}", "exemptions: []\n", "exemptions:\n"] {
            assert_eq!(parse(text).unwrap(), Config::default(), "{text:?}");
        }
    }

    #[test]
    fn all_faults_are_told_with_their_lines_and_the_fix() {
        let text = "exemptions:\n\
                    - namespace: a\n\
                    - {reason: r}\n\
                    - reason: r\n  name: x\n  until: tomorrow\n\
                    - {reason: r, name: 'a[', until: 2027-01-31}\n\
                    knownConsumers:\n- name: x\n- variables: [A]\n\
                    baseline:\n- resources: [pods]\n  verbs: [get]\n";
        assert_eq!(
            faults(text),
            [
                "2: the exemption has no `reason`: say why the token stays",
                "3: the exemption names nothing: give `namespace`, `name` (of the ServiceAccount) or `labels` (of the pods); \"*\" means all",
                "6: `until` is no day: write it like 2027-01-31: \"tomorrow\"",
                "7: `name` is no pattern: invalid range pattern: \"a[\"",
                "9: nothing tells the pods of this consumer: give `annotations` or `variables`",
                "10: the consumer has no `name`: give it one",
                "12: the rule has no `apiGroups`: the core group is `\"\"`",
            ]
        );
    }

    #[test]
    fn a_key_that_is_not_known_is_a_fault_with_its_line() {
        for (text, line, word) in [
            ("exemptoins: []\n", "1: ", "exemptoins"),
            ("exemptions:\n- reason: r\n  nmae: x\n", "3: ", "nmae"),
            ("exemptions: 3\n", "1: ", "sequence"),
            ("a: [\n", "", ""),
            ("exemptions: []\nexemptions: []\n", "2: ", "duplicate"),
        ] {
            let fault = &faults(text)[0];
            assert!(fault.starts_with(line) && fault.contains(word), "{fault}");
        }
    }
}
