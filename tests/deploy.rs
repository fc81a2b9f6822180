//! The rights that `deploy/` ships are what the program uses: tested against the list of kinds that
//! it reads, and on the real API server.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{collections::BTreeSet, fs};

use serde_json::Value;
use token_exposure::source::KINDS;

mod rig;
use rig::{
    ControlPlane,
    helm::{objects, render},
    scan_files,
};

/// `(group, resource, verb)` of every rule that some manifests grant to our account.
fn granted(manifests: &str) -> BTreeSet<(String, String, String)> {
    let objects = objects(manifests);
    let of = |kind: &str| {
        let kind = kind.to_owned();
        objects.iter().filter(move |object| object["kind"] == kind)
    };
    let bound: Vec<_> = of("ClusterRoleBinding")
        .map(|binding| &binding["roleRef"]["name"])
        .collect();
    assert_eq!(of("RoleBinding").count() + of("Role").count(), 0);
    let roles = of("ClusterRole").filter(|role| bound.contains(&&role["metadata"]["name"]));
    let strings = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item.as_str().unwrap().to_owned())
            .collect()
    };
    let mut granted = BTreeSet::new();
    for rule in roles.flat_map(|role| role["rules"].as_array().unwrap()) {
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                for verb in strings(&rule["verbs"]) {
                    granted.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    granted
}

/// What `deploy/install.yaml` grants.
fn shipped() -> BTreeSet<(String, String, String)> {
    granted(&fs::read_to_string("deploy/install.yaml").unwrap())
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
fn secrets_are_read_where_the_value_says_so_and_nothing_else_is() {
    let rights = granted(&render(&["--set", "legacyTokens.readSecrets=true"]).unwrap());
    let more: Vec<_> = rights.difference(&shipped()).cloned().collect();
    let secrets = |verb: &str| (String::new(), "secrets".to_owned(), verb.to_owned());
    assert_eq!(more, [secrets("list"), secrets("watch")]);
}

/// Nobody but who may read everything reads reports, until somebody says so.
#[test]
fn reports_are_in_no_role_that_people_have() {
    let plane = ControlPlane::start(&[]);
    plane.namespace("shop");
    let may = |role: &str| {
        let binding = format!("--clusterrole={role}");
        let user = format!("--as={role}-user");
        let subject = format!("--user={role}-user");
        plane.kubectl(&[
            "-n",
            "shop",
            "create",
            "rolebinding",
            role,
            &binding,
            &subject,
        ]);
        let asked = [
            "-n",
            "shop",
            "auth",
            "can-i",
            "list",
            "tokenexposurereports",
            &user,
        ];
        let output = plane.try_kubectl(&asked, "");
        String::from_utf8(output.stdout).unwrap().trim() == "yes"
    };
    let roles = ["view", "edit", "admin", "token-exposure-report-reader"];
    assert_eq!(roles.map(may), [false, false, false, true]);

    let aggregated = render(&["--set", "reportReader.aggregateTo={view}"]).unwrap();
    plane.kubectl(&["-n", "shop", "delete", "rolebinding", "--all"]);
    let applied = plane.try_kubectl(&["apply", "--server-side", "-f", "-"], &aggregated);
    assert!(applied.status.success());
    let view = || plane.kubectl(&["get", "clusterrole", "view", "-o", "yaml"]);
    rig::await_that("`view` includes reports", || {
        view().contains("tokenexposurereports")
    });
    // `edit` and `admin` include `view`.
    assert_eq!(roles.map(may), [true, true, true, true]);
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
