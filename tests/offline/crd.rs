//! The definitions in `crds/` are up to date, and so are their copies in the chart and in `deploy/install.yaml`.

use std::fs;

use serde_json::Value;

use crate::rig::{fresh, program};

const KINDS: [&str; 2] = ["tokenexposurereports", "tokenexposuresummaries"];

/// Each kind with its generated definition.
fn generated() -> Vec<(&'static str, String)> {
    let all = String::from_utf8(program(&["crd"], "").stdout).unwrap();
    let documents: Vec<_> = all.split("---\n").map(str::to_owned).collect();
    assert_eq!(documents.len(), KINDS.len());
    KINDS.into_iter().zip(documents).collect()
}

/// Each generated definition, parsed.
fn schemas() -> Vec<Value> {
    let definitions = generated().into_iter();
    let parsed = definitions.map(|(_, text)| -> Value { serde_yaml::from_str(&text).unwrap() });
    parsed
        .map(|mut crd| crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take())
        .collect()
}

#[test]
fn the_crd_is_fresh() {
    for (kind, text) in generated() {
        fresh(&format!("crds/{kind}.tokenexposure.io.yaml"), &text);
    }
}

#[test]
fn the_chart_has_the_crd() {
    for (kind, text) in generated() {
        fresh(
            &format!("deploy/chart/files/{kind}.tokenexposure.io.yaml"),
            &text,
        );
    }
}

/// The manifest has the generated text, with labels and an annotation in its metadata.
#[test]
fn the_manifest_to_install_contains_the_generated_crd() {
    let install = fs::read_to_string("deploy/install.yaml").unwrap();
    for (kind, text) in generated() {
        let head = format!("metadata:\n  name: {kind}.tokenexposure.io\n");
        let (before, after) = text.split_once(&head).expect("the CRD has its name");
        assert!(install.contains(&format!(
            "{before}{head}  annotations:\n    helm.sh/resource-policy: keep\n  labels:\n"
        )));
        assert!(install.contains(&format!("\n{after}")));
    }
}

#[test]
fn every_field_is_described() {
    let mut bare = Vec::new();
    for schema in schemas() {
        visit("", &schema, &mut bare);
    }
    assert_eq!(bare, Vec::<String>::new(), "fields without a description");
}

fn visit(path: &str, schema: &Value, bare: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if field["description"].as_str().is_none_or(str::is_empty) {
            bare.push(path.clone());
        }
        visit(&path, field, bare);
        visit(&path, &field["items"], bare);
    }
}

#[test]
fn every_list_and_name_list_of_the_status_is_bounded() {
    let mut unbounded = Vec::new();
    for schema in schemas() {
        lists(".status", &schema["properties"]["status"], &mut unbounded);
    }
    assert_eq!(unbounded, Vec::<String>::new(), "lists without maxItems");
    let status = &schemas()[1]["properties"]["status"]["properties"];
    for names in ["unneeded", "judgedOtherwise", "curable", "curableAccounts"] {
        assert!(status[names]["maxLength"].is_u64(), "{names}");
    }
}

fn lists(path: &str, schema: &Value, unbounded: &mut Vec<String>) {
    if schema["type"] == "array" && schema["maxItems"].is_null() {
        unbounded.push(path.to_owned());
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        lists(&format!("{path}.{name}"), field, unbounded);
    }
    if schema["items"].is_object() {
        lists(&format!("{path}[]"), &schema["items"], unbounded);
    }
}
