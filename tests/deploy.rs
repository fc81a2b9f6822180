//! The rights that `deploy/` ships are what the program uses: tested against the list of kinds that
//! it reads, and on the real API server.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{collections::BTreeSet, fs};

use serde::Deserialize;
use serde_json::Value;
use token_exposure::source::KINDS;

mod rig;
use rig::{ControlPlane, scan_files};

fn documents() -> Vec<Value> {
    let install = fs::read_to_string("deploy/install.yaml").unwrap();
    serde_yaml::Deserializer::from_str(&install)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

/// `(group, resource, verb)` of every rule shipped.
fn shipped() -> BTreeSet<(String, String, String)> {
    let strings = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item.as_str().unwrap().to_owned())
            .collect()
    };
    let mut shipped = BTreeSet::new();
    for document in documents()
        .iter()
        .filter(|document| document["kind"] == "ClusterRole")
    {
        for rule in document["rules"].as_array().unwrap() {
            for group in strings(&rule["apiGroups"]) {
                for resource in strings(&rule["resources"]) {
                    for verb in strings(&rule["verbs"]) {
                        shipped.insert((group.clone(), resource.clone(), verb));
                    }
                }
            }
        }
    }
    shipped
}

#[test]
fn the_rights_shipped_are_those_of_the_kinds_that_are_read_and_nothing_else() {
    let mut needed = BTreeSet::new();
    let mut need = |group: &str, resource: &str, verbs: &[&str]| {
        needed.extend(
            verbs
                .iter()
                .map(|verb| (group.to_owned(), resource.to_owned(), (*verb).to_owned())),
        );
    };
    for kind in KINDS {
        need(kind.group(), kind.plural(), &["list", "watch"]);
    }
    need(
        "tokenexposure.io",
        "tokenexposurereports",
        &["list", "watch", "create", "patch", "delete"],
    );
    need(
        "tokenexposure.io",
        "tokenexposurereports/status",
        &["patch"],
    );
    need("authorization.k8s.io", "subjectaccessreviews", &["create"]);
    assert_eq!(shipped(), needed);
}

#[test]
fn our_own_pod_passes_our_own_scan() {
    let (reports, code, _) = scan_files(&["deploy/install.yaml".as_ref()], &[]);
    assert_eq!(code, 0);
    let verdicts: Vec<_> = reports
        .iter()
        .map(|report| (&report["metadata"]["name"], &report["status"]["verdict"]))
        .collect();
    assert_eq!(
        verdicts,
        [(&Value::from("token-exposure"), &Value::from("Needed"))]
    );
    let carriers = &reports[0]["status"]["workloads"][0]["carriers"];
    assert_eq!(
        (
            carriers[0]["source"].as_str(),
            carriers[0]["expirationSeconds"].as_i64()
        ),
        (Some("Explicit"), Some(3600))
    );
}

/// The API server's audit log names each request of ours; none may be refused, every right that is
/// shipped must be used, and nothing may be listed in one piece.
#[test]
fn the_requests_seen_are_the_rights_shipped() {
    let plane = ControlPlane::audited(&[]);
    plane.namespace("shop");
    let controller = plane.controller(&[]);
    plane.kubectl(&["-n", "shop", "run", "web", "--image=nginx"]);
    plane.await_report("shop", "default", Some(("Unneeded", "NoPermissions")));
    plane.kubectl(&["-n", "shop", "delete", "pod", "web", "--now"]);
    plane.await_report("shop", "default", None);
    let (status, ..) = controller.terminate();
    assert!(status.success());

    let mut seen = BTreeSet::new();
    for event in plane.own_requests() {
        let uri = event["requestURI"].as_str().unwrap();
        assert_ne!(event["responseStatus"]["code"], 403, "refused: {uri}");
        let object = &event["objectRef"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let sub = text(&object["subresource"]);
        let resource = text(&object["resource"]) + if sub.is_empty() { "" } else { "/" } + &sub;
        let verb = text(&event["verb"]);
        if verb == "list" {
            assert!(uri.contains("limit="), "listed in one piece: {uri}");
        }
        seen.insert((text(&object["apiGroup"]), resource, verb));
    }
    // Where the server streams the initial list, nothing but the check for the CRD lists; where it
    // does not, pages are listed.
    let streamed: BTreeSet<_> = KINDS
        .map(|kind| {
            (
                kind.group().to_owned(),
                kind.plural().to_owned(),
                "list".to_owned(),
            )
        })
        .into();
    // Server-side apply creates: it is asked as a patch, and authorized as a creation besides.
    let created = (
        "tokenexposure.io".to_owned(),
        "tokenexposurereports".to_owned(),
        "create".to_owned(),
    );
    let expected: BTreeSet<_> = shipped()
        .into_iter()
        .filter(|right| !streamed.contains(right) && *right != created)
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn the_deployment_meets_the_restricted_pod_security_standard() {
    let plane = ControlPlane::start(&[]);
    let pods = || {
        plane.get(&["-n", "token-exposure", "pods"])["items"]
            .as_array()
            .unwrap()
            .len()
    };
    // The namespace enforces it: a pod that does not meet it is not made.
    rig::await_that("the pod is admitted", || pods() == 1);
    let _controller = plane.controller(&["--report-scope", "all"]);
    plane.await_report(
        "token-exposure",
        "token-exposure",
        Some(("Needed", "DirectGrant")),
    );
}
