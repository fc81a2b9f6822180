//! The rules, case by case: manifests and what must be said of an account. The ids are those of the
//! catalogue of rules; each case is read as a file, or as a live object where it has a uid.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use serde_json::Value;
use token_exposure::{
    index::Index,
    model::{ApiAudiences, Exposure, ServiceAccountRef},
    source::files,
};

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    /// Objects that every case has besides its own.
    #[serde(default)]
    common: Vec<Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    says: String,
    #[serde(default)]
    objects: Vec<Value>,
    /// What the API server accepts; all there is.
    #[serde(default)]
    api_audiences: Vec<String>,
    /// By `namespace/name`.
    expect: BTreeMap<String, Expected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// `Verdict/Reason`.
    verdict: String,
    #[serde(default)]
    level: Option<String>,
    /// `Source audience seconds path containers…`, one line for each token.
    #[serde(default)]
    carriers: Option<Vec<String>>,
    /// `Effect Kind name Subject`, one line for each binding; those that everybody has are left out.
    #[serde(default)]
    grants: Option<Vec<String>>,
    /// `Kind/name` of each object that the remediation patches.
    #[serde(default)]
    patches: Option<Vec<String>>,
}

fn assess(case: &Case, common: &[Value]) -> BTreeMap<String, Exposure> {
    let dir = tempfile::tempdir().unwrap();
    let objects: Vec<_> = common.iter().chain(&case.objects).collect();
    let file = dir.path().join("case.json");
    fs::write(
        &file,
        serde_json::json!({ "kind": "List", "items": objects }).to_string(),
    )
    .unwrap();
    let mut index = Index::new(&[]);
    index.set_audiences(ApiAudiences {
        names: case.api_audiences.iter().cloned().collect(),
        complete: !case.api_audiences.is_empty(),
    });
    let outcome = files::load(&[file], "default", &mut index);
    assert_eq!(outcome.problems, [], "{}", case.id);
    let account = |name: &String| {
        let (namespace, account) = name.split_once('/').unwrap();
        (
            name.clone(),
            index.assess(&ServiceAccountRef::new(namespace, account)),
        )
    };
    case.expect.keys().map(account).collect()
}

fn check(case: &Case, name: &str, found: &Exposure, expected: &Expected) {
    let place = format!("{} ({}), {name}", case.id, case.says);
    assert_eq!(
        format!("{}/{}", found.verdict, found.reason),
        expected.verdict,
        "{place}: {}",
        found.message
    );
    if let Some(level) = &expected.level {
        assert_eq!(&format!("{:?}", found.permissions.level), level, "{place}");
    }
    if let Some(expected) = &expected.carriers {
        let carrier = |carrier: &token_exposure::model::Carrier| {
            let audience = if carrier.audience.is_empty() {
                "-"
            } else {
                &*carrier.audience
            };
            let drift = carrier
                .drift
                .map(|drift| format!(" {drift:?}"))
                .unwrap_or_default();
            let seconds = carrier.expiration_seconds;
            format!(
                "{:?}{} {audience} {} {} {}{drift}",
                carrier.source,
                if carrier.secret.is_empty() {
                    String::new()
                } else {
                    format!(" {}", carrier.secret)
                },
                seconds.map_or_else(|| "-".to_owned(), |seconds| seconds.to_string()),
                carrier
                    .mount_path
                    .replace("/var/run/secrets/kubernetes.io/serviceaccount", "P"),
                carrier.containers.join(" "),
            )
        };
        let found: Vec<_> = found
            .workloads
            .iter()
            .flat_map(|workload| &workload.carriers)
            .map(carrier)
            .collect();
        assert_eq!(&found, expected, "{place}");
    }
    if let Some(expected) = &expected.patches {
        let patches = found
            .remediation
            .iter()
            .flat_map(|remediation| &remediation.patches);
        let found: Vec<_> = patches.map(|patch| patch.target.to_string()).collect();
        assert_eq!(&found, expected, "{place}");
    }
    if let Some(expected) = &expected.grants {
        let covered = token_exposure::model::rbac::Effect::Covered;
        let grants = found
            .permissions
            .grants
            .iter()
            .filter(|grant| !(grant.via.is_group() && grant.effect == covered));
        let found: Vec<_> = grants
            .map(|grant| {
                format!(
                    "{:?} {} {} {}",
                    grant.effect,
                    grant.binding_kind(),
                    grant.binding,
                    grant.via
                )
            })
            .collect();
        assert_eq!(&found, expected, "{place}");
    }
}

/// Runs every case of a file, and tells all that fail.
fn run(file: &str) {
    let text = fs::read_to_string(Path::new("tests/vectors").join(file)).unwrap();
    let cases: Cases = serde_yaml::from_str(&text).unwrap();
    assert!(!cases.cases.is_empty());
    for case in &cases.cases {
        let found = assess(case, &cases.common);
        for (name, expected) in &case.expect {
            check(case, name, &found[name], expected);
        }
    }
}

#[test]
fn injection() {
    run("injection.yaml");
}

#[test]
fn carriers() {
    run("carriers.yaml");
}

#[test]
fn legacy_tokens() {
    run("legacy.yaml");
}

#[test]
fn subjects() {
    run("subjects.yaml");
}

#[test]
fn rules() {
    run("rules.yaml");
}

#[test]
fn remediation() {
    run("remediation.yaml");
}

#[test]
fn baselines() {
    run("baselines.yaml");
}
