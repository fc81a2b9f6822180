//! Which namespaces are judged: by name, pattern and label, and by what a person may read.

use std::fs;

use serde_json::Value;

use crate::rig::{
    ControlPlane, Controller, await_that, pool,
    shared::{sample, unwatched},
};

const UNNEEDED: Option<(&str, &str)> = Some(("Unneeded", "NoPermissions"));

/// Namespaces, each with a pod of its `default` account.
fn with_pods(plane: &ControlPlane, namespaces: &[&str]) {
    for namespace in namespaces {
        plane.namespace(namespace);
        plane.kubectl(&["-n", namespace, "run", "web", "--image=nginx"]);
    }
}

/// The reports that an earlier run without a selection leaves behind.
fn reported_once(plane: &ControlPlane, namespaces: &[&str]) {
    let controller = plane.controller(&[]);
    for namespace in namespaces {
        plane.await_report(namespace, "default", UNNEEDED);
    }
    drop(controller);
}

fn left_out(controller: &Controller, by: &str) -> f64 {
    controller.metric(&format!(
        "token_exposure_namespaces_left_out{{by=\"{by}\"}}"
    ))
}

fn pods(controller: &Controller, namespace: &str) -> String {
    let series = format!("token_exposure_pods{{namespace=\"{namespace}\",verdict=\"Unneeded\"}}");
    controller.metric(&series).to_string()
}

#[test]
fn a_namespace_enters_and_leaves_the_selection_by_its_label() {
    let plane = pool::installed();
    with_pods(&plane, &["shop", "bank"]);
    plane.kubectl(&["label", "namespace", "shop", "team=a"]);
    reported_once(&plane, &["shop", "bank"]);

    let controller = plane.controller(&["--namespace-selector", "team in (a, b)"]);
    plane.await_report("bank", "default", None);
    plane.await_report("shop", "default", UNNEEDED);
    controller.settle();
    let deleted = r#"token_exposure_report_writes_total{operation="delete"}"#;
    assert_eq!(controller.metric(deleted).to_string(), "1");
    let counted = [pods(&controller, "shop"), pods(&controller, "bank")];
    assert_eq!(counted, ["1", "0"]);
    let out = left_out(&controller, "namespace-selector");
    assert!(out >= 2.0, "{out}");
    let said = format!("{out} namespaces are left out by --namespace-selector");
    await_that("it says so", || controller.log().contains(&said));

    // What a namespace that is left out grants counts.
    let bind = [
        "-n",
        "bank",
        "create",
        "rolebinding",
        "view",
        "--clusterrole=view",
        "--serviceaccount=shop:default",
    ];
    plane.kubectl(&bind);
    plane.await_report("shop", "default", None);
    plane.kubectl(&["-n", "bank", "delete", "rolebinding", "view"]);
    plane.await_report("shop", "default", UNNEEDED);

    // One enters, with a pod that was created while it was left out.
    plane.kubectl(&["-n", "bank", "run", "more", "--image=nginx"]);
    plane.kubectl(&["label", "namespace", "bank", "team=b"]);
    plane.await_report("bank", "default", UNNEEDED);
    assert_eq!(
        plane.get(&["-n", "bank", "ter", "default"])["status"]["pods"],
        2
    );
    // Its events are followed.
    plane.kubectl(&["-n", "bank", "delete", "pod", "more", "--now"]);
    await_that("the pod is gone from the report", || {
        plane.get(&["-n", "bank", "ter", "default"])["status"]["pods"] == 1
    });

    // One leaves, and nothing in it is reported any more.
    plane.kubectl(&["label", "namespace", "shop", "team-"]);
    plane.await_report("shop", "default", None);
    plane.kubectl(&["-n", "shop", "run", "more", "--image=nginx"]);
    controller.settle();
    assert_eq!(plane.report("shop", "default"), None);
    assert_eq!(pods(&controller, "shop"), "0");
    let now = left_out(&controller, "namespace-selector");
    assert_eq!(now.to_bits(), out.to_bits());

    // A new namespace, whose first pod may be seen before its labels.
    let labelled = "{apiVersion: v1, kind: Namespace, metadata: {name: new, labels: {team: a}}}";
    let account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: own, namespace: new}}";
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: new}, spec: {serviceAccountName: own, containers: [{name: c, image: i}]}}";
    // Text that begins with a brace is JSON to an older kubectl.
    plane.apply(&["", labelled, account, pod].join("\n---\n"));
    plane.await_report("new", "own", UNNEEDED);
    let log = controller.terminate().2;
    // The binding of the namespace that is left out cleared a finding.
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn a_controller_that_may_not_read_namespaces_removes_no_report() {
    let plane = pool::installed();
    with_pods(&plane, &["shop"]);
    reported_once(&plane, &["shop"]);
    let mut role = plane.get(&["clusterrole", "token-exposure"]);
    let rules = role["rules"].as_array_mut().unwrap();
    let core = rules[0]["resources"].as_array_mut().unwrap();
    core.retain(|resource| resource != "namespaces");
    plane.try_kubectl(&["replace", "-f", "-"], &role.to_string());
    let args = ["--namespace-selector=team=a", "--forbidden-after=1s"];
    let controller = plane.controller(&args);
    controller.settle();
    assert_eq!(controller.writes().to_bits(), 0.0_f64.to_bits());
    assert!(plane.report("shop", "default").is_some());
    let log = controller.log();
    assert!(
        log.contains("grant `list` and `watch` on `namespaces`"),
        "{log}"
    );
}

#[test]
fn names_and_patterns_select_and_the_api_server_leaves_out_the_others() {
    let plane = ControlPlane::audited(&[]);
    with_pods(&plane, &["shop", "bank", "bakery"]);
    reported_once(&plane, &["shop", "bank", "bakery"]);
    let config = plane.file("config.yaml");
    fs::write(&config, "excludeNamespaces: [ba?k, kube-*]\n").unwrap();
    let path = config.to_str().unwrap();

    let names = ["-n", "shop", "-n", "bank", "--config", path];
    let controller = plane.controller(&names);
    plane.await_report("bank", "default", None);
    plane.await_report("bakery", "default", None);
    controller.settle();
    plane.await_report("shop", "default", UNNEEDED);
    let excluded = left_out(&controller, "exclude-namespace");
    assert_eq!(excluded.to_string(), "1");
    assert!(left_out(&controller, "namespace") >= 4.0);
    await_that("it says so", || {
        let log = controller.log();
        log.contains(", 1 by `excludeNamespaces` of the configuration")
    });
    // It asks for the pods of one namespace.
    let watches = || -> Vec<String> {
        let requests = plane.own_requests();
        let uris = requests
            .iter()
            .map(|event| event["requestURI"].as_str().unwrap().to_owned());
        uris.filter(|uri| uri.starts_with("/api/v1/pods?"))
            .collect()
    };
    let last = watches().pop().unwrap();
    assert!(
        last.contains("fieldSelector=metadata.namespace%3Dshop"),
        "{last}"
    );

    // The configuration changes.
    fs::write(&config, "excludeNamespaces: [shop]\n").unwrap();
    plane.await_report("shop", "default", None);
    plane.await_report("bank", "default", UNNEEDED);
    drop(controller);

    fs::write(&config, "excludeNamespaces: [bank, kube-*]\n").unwrap();
    let controller = plane.controller(&["--config", path]);
    plane.await_report("bank", "default", None);
    plane.await_report("shop", "default", UNNEEDED);
    plane.await_report("bakery", "default", UNNEEDED);
    let last = watches().pop().unwrap();
    assert!(
        last.contains("fieldSelector=metadata.namespace%21%3Dbank"),
        "{last}"
    );
    drop(controller);
}

/// The reports that a scan prints, of these namespaces.
fn reports(stdout: &[u8], namespaces: &[&str]) -> Vec<Value> {
    let list: Value = serde_json::from_slice(stdout).unwrap();
    let mut reports = list["items"].as_array().unwrap().clone();
    reports.retain(|report| {
        let namespace = report["metadata"]["namespace"].as_str().unwrap();
        namespaces.contains(&namespace)
    });
    reports
}

#[test]
fn a_scan_of_some_namespaces_is_the_part_of_the_whole_scan() {
    let plane = sample();
    let scan = |args: &[&str]| {
        let json = ["-o", "json", "--report-scope=all"];
        plane.scan(&[&json, args].concat())
    };
    let both = ["shop", "analytics"];
    let whole = reports(&scan(&["-A"]).stdout, &both);
    assert!(whole.len() > 8, "{whole:?}");
    let in_json = |stdout: &[u8]| -> Vec<Value> {
        let list: Value = serde_json::from_slice(stdout).unwrap();
        list["items"].as_array().unwrap().clone()
    };
    let part = scan(&["-n", "shop", "-n", "analytics", "-n", "no-such"]);
    assert_eq!(in_json(&part.stdout), whole);
    assert_eq!(String::from_utf8_lossy(&part.stderr), "");

    let by_label = scan(&[
        "--namespace-selector",
        "kubernetes.io/metadata.name in (shop,analytics)",
    ]);
    assert_eq!(in_json(&by_label.stdout), whole);
    let said = String::from_utf8_lossy(&by_label.stderr);
    assert!(
        said.starts_with("note: ") && said.contains(" left out by --namespace-selector;"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");

    let excluded = scan(&[
        "-n",
        "shop",
        "-n",
        "analytics",
        "--exclude-namespace",
        "ana*",
    ]);
    assert_eq!(in_json(&excluded.stdout), reports(&part.stdout, &["shop"]));
    let said = String::from_utf8_lossy(&excluded.stderr);
    let note = "1 namespace is left out by --exclude-namespace; what their RoleBindings grant to others counts";
    assert_eq!(said.trim_end(), format!("note: {note}"));
    let list: Value = serde_json::from_slice(&excluded.stdout).unwrap();
    assert!(list["messages"].to_string().contains(note), "{list}");
}

/// Somebody with the role `admin` in one namespace alone.
#[test]
fn a_person_who_may_read_one_namespace_gets_an_answer_for_it() {
    let plane = unwatched();
    with_pods(plane, &["theirs", "foreign"]);
    let theirs = |args: &[&str]| plane.kubectl(&[&["-n", "theirs"], args].concat());
    theirs(&["create", "serviceaccount", "bound"]);
    let overrides = r#"--overrides={"spec":{"serviceAccountName":"bound"}}"#;
    theirs(&["run", "bound", "--image=i", overrides]);
    theirs(&["create", "role", "reader", "--verb=get", "--resource=pods"]);
    theirs(&[
        "create",
        "rolebinding",
        "reader",
        "--role=reader",
        "--serviceaccount=theirs:bound",
    ]);
    theirs(&[
        "create",
        "rolebinding",
        "admin",
        "--clusterrole=admin",
        "--user=alice",
    ]);

    let alice = [
        "--as=alice",
        "--as-group=system:authenticated",
        "-o",
        "json",
        "--report-scope=all",
    ];
    let scan = |args: &[&str]| plane.scan(&[&alice, args].concat());
    let output = scan(&["-n", "theirs", "-n", "foreign"]);
    let found: Vec<_> = reports(&output.stdout, &["theirs", "foreign"])
        .iter()
        .map(|report| {
            let word = |value: &Value| value.as_str().unwrap().to_owned();
            let status = &report["status"];
            assert!(
                !word(&status["message"]).contains("rolebindings"),
                "{status}"
            );
            format!(
                "{} {}",
                word(&report["metadata"]["name"]),
                word(&status["reason"])
            )
        })
        .collect();
    assert_eq!(found, ["bound DirectGrant", "default Forbidden"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.lines().count(), 1, "{said}");
    let begins = "error: cannot list pods, serviceaccounts in namespace foreign; namespaces, clusterroles, clusterrolebindings; roles, rolebindings of other namespaces: ";
    assert!(said.starts_with(begins), "{said}");
    assert_eq!(said.matches("grant `list`").count(), 1, "{said}");

    // One namespace alone, whose object may be read.
    let output = scan(&["-n", "theirs"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let begins = "error: cannot list roles, rolebindings of other namespaces; clusterroles, clusterrolebindings: ";
    assert!(said.starts_with(begins), "{said}");
    assert_eq!(reports(&output.stdout, &["theirs"]).len(), 2);

    // Without a way to select, there is no answer.
    let output = scan(&["--namespace-selector=team=a"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("it is not known which namespaces --namespace-selector selects"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(2));
}
