//! The generated files are fresh: the CRD of `crds/`, and its copy in `deploy/install.yaml`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::fs;

use serde_json::Value;

mod rig;
use rig::program;

const CRD: &str = "crds/tokenexposurereports.tokenexposure.io.yaml";
const INSTALL: &str = "deploy/install.yaml";

/// `make generate` sets it.
fn update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

fn generated() -> String {
    String::from_utf8(program(&["crd"], "").stdout).unwrap()
}

#[test]
fn the_crd_is_fresh() {
    if update() {
        fs::write(CRD, generated()).unwrap();
    }
    let fresh = fs::read_to_string(CRD).unwrap() == generated();
    assert!(fresh, "{CRD} is stale: run `make generate`");
}

#[test]
fn the_manifest_to_install_begins_with_the_crd() {
    let install = fs::read_to_string(INSTALL).unwrap();
    let rest = install
        .find("---\n")
        .expect("the CRD is followed by other documents");
    if update() {
        fs::write(INSTALL, generated() + &install[rest..]).unwrap();
        return;
    }
    let fresh = install[..rest] == generated();
    assert!(fresh, "{INSTALL} is stale: run `make generate`");
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
