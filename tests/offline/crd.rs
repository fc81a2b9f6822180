//! The CRD in `crds/` is up to date, and so are its copies in the chart and in `deploy/install.yaml`.

use std::fs;

use serde_json::Value;

use crate::rig::{fresh, program};

const CRD: &str = "crds/tokenexposurereports.tokenexposure.io.yaml";
const CHARTS: &str = "deploy/chart/files/tokenexposurereports.tokenexposure.io.yaml";

fn generated() -> String {
    String::from_utf8(program(&["crd"], "").stdout).unwrap()
}

#[test]
fn the_crd_is_fresh() {
    fresh(CRD, &generated());
}

#[test]
fn the_chart_has_the_crd() {
    fresh(CHARTS, &generated());
}

/// The manifest has the generated text, with labels and an annotation in its metadata.
#[test]
fn the_manifest_to_install_contains_the_generated_crd() {
    let head = "metadata:\n  name: tokenexposurereports.tokenexposure.io\n";
    let spec = generated();
    let (before, after) = spec.split_once(head).expect("the CRD has its name");
    let install = fs::read_to_string("deploy/install.yaml").unwrap();
    assert!(install.contains(&format!(
        "{before}{head}  annotations:\n    helm.sh/resource-policy: keep\n  labels:\n"
    )));
    assert!(install.contains(&format!("\n{after}")));
}

#[test]
fn every_field_is_described() {
    let crd: Value = serde_yaml::from_str(&generated()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut bare = Vec::new();
    visit("", schema, &mut bare);
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
fn every_list_of_the_status_is_bounded() {
    let crd: Value = serde_yaml::from_str(&generated()).unwrap();
    let status = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
    let mut unbounded = Vec::new();
    lists(".status", status, &mut unbounded);
    assert_eq!(unbounded, Vec::<String>::new(), "lists without maxItems");
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
