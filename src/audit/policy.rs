//! Reads an audit policy, as `--audit-policy-file` of the API server does.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::event::lenient;
use crate::{
    text::{self, Problem},
    usage::{Policy, PolicyRule, Resources},
};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WirePolicy {
    api_version: String,
    kind: String,
    #[serde(deserialize_with = "lenient")]
    omit_stages: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    rules: Vec<WireRule>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireRule {
    level: String,
    #[serde(deserialize_with = "lenient")]
    omit_stages: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    users: Vec<Box<str>>,
    #[serde(deserialize_with = "lenient")]
    user_groups: Vec<Box<str>>,
    #[serde(deserialize_with = "lenient")]
    verbs: Vec<Box<str>>,
    #[serde(deserialize_with = "lenient")]
    resources: Vec<WireResources>,
    #[serde(deserialize_with = "lenient")]
    namespaces: Vec<Box<str>>,
    #[serde(rename = "nonResourceURLs", deserialize_with = "lenient")]
    urls: Vec<Box<str>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireResources {
    #[serde(deserialize_with = "lenient")]
    group: Box<str>,
    #[serde(deserialize_with = "lenient")]
    resources: Vec<Box<str>>,
    #[serde(deserialize_with = "lenient")]
    resource_names: Vec<Box<str>>,
}

/// Reads an audit policy from a file.
///
/// # Errors
/// When the file cannot be read, or is no policy.
pub fn policy(file: &Path) -> Result<Policy, Problem> {
    let problem = |message: String| Problem {
        place: file.display().to_string(),
        message,
    };
    let text = text::open(file).and_then(text::read);
    let text = text.map_err(|error| problem(format!("cannot be read: {error}")))?;
    parse(&text).map_err(problem)
}

fn parse(text: &str) -> Result<Policy, String> {
    let mut documents = text::yaml::parse(text).into_iter();
    let value: Value = match documents.next() {
        Some(Ok(value)) => value.value,
        Some(Err(error)) => return Err(text::Malformed::from_yaml(&error).message),
        None => return Err("is empty: an audit policy has `kind: Policy` and `rules`".to_owned()),
    };
    let wire: WirePolicy = serde_path_to_error::deserialize(&value)
        .map_err(|error| format!("`{}`: {}", error.path(), error.inner()))?;
    if wire.kind != "Policy" || !wire.api_version.starts_with("audit.k8s.io/") {
        return Err(
            "is not an audit policy: it has no `kind: Policy` of `audit.k8s.io/v1`".to_owned(),
        );
    }
    let omitted_everywhere = omitted(&wire.omit_stages);
    let rules = wire.rules.into_iter().enumerate().map(|(number, rule)| {
        let drops = match rule.level.as_str() {
            "None" => Some("level None"),
            "Metadata" | "Request" | "RequestResponse" => {
                omitted_everywhere.or_else(|| omitted(&rule.omit_stages))
            }
            other => return Err(format!("`rules[{number}].level` is not a level: `{other}`")),
        };
        let resources = rule.resources.into_iter().map(|entry| Resources {
            group: entry.group,
            resources: entry.resources,
            names: entry.resource_names,
        });
        Ok(PolicyRule {
            drops,
            users: rule.users,
            user_groups: rule.user_groups,
            verbs: rule.verbs,
            resources: resources.collect(),
            namespaces: rule.namespaces,
            urls: rule.urls,
        })
    });
    Ok(Policy {
        rules: rules.collect::<Result<_, _>>()?,
    })
}

/// The first omitted stage that a request needs to be seen: a watch is open for long before it is complete, and one that
/// panics never is.
fn omitted(stages: &[String]) -> Option<&'static str> {
    const NEEDED: [(&str, &str); 3] = [
        ("ResponseComplete", "omits the stage ResponseComplete"),
        ("ResponseStarted", "omits the stage ResponseStarted"),
        ("Panic", "omits the stage Panic"),
    ];
    let needed = NEEDED
        .iter()
        .find(|(stage, _)| stages.iter().any(|omitted| omitted == stage));
    needed.map(|(_, why)| *why)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_as_the_api_server_reads_it() {
        let text = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
                    - {level: None, users: [a], verbs: [get], resources: [{group: '', resources: [events]}]}\n\
                    - {level: Metadata, omitStages: [ResponseComplete], nonResourceURLs: [/version]}\n\
                    - {level: Metadata, omitStages: [ResponseStarted], verbs: [watch]}\n\
                    - {level: Metadata, omitStages: [Panic]}\n\
                    - {level: Metadata, userGroups: null}\n";
        let policy = parse(text).unwrap();
        let drops: Vec<_> = policy.rules.iter().map(|rule| rule.drops).collect();
        let omits = |stage: &str| Some(format!("omits the stage {stage}"));
        let drops: Vec<_> = drops
            .into_iter()
            .map(|why| why.map(str::to_owned))
            .collect();
        assert_eq!(
            drops,
            [
                Some("level None".to_owned()),
                omits("ResponseComplete"),
                omits("ResponseStarted"),
                omits("Panic"),
                None
            ]
        );
        assert_eq!(*policy.rules[0].resources[0].resources[0], *"events");
    }

    #[test]
    fn something_else_is_an_error_that_says_what_is_wrong() {
        for (text, error) in [
            ("", "is empty"),
            ("kind: Pod\napiVersion: v1\n", "is not an audit policy"),
            (
                "kind: Policy\napiVersion: audit.k8s.io/v1\nrules: [{level: All}]\n",
                "`rules[0].level` is not a level: `All`",
            ),
            (
                "kind: Policy\napiVersion: audit.k8s.io/v1\nrules: 1\n",
                "`rules`: invalid type",
            ),
        ] {
            let found = parse(text).unwrap_err();
            assert!(found.contains(error), "{found}");
        }
    }
}
