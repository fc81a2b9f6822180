//! The summary of each namespace on the real API server: what it says, when it is written, and when it goes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::rig::{ControlPlane, Controller, await_that, pool};

/// The summary of a namespace.
fn summary(plane: &ControlPlane, namespace: &str) -> Option<Value> {
    let path = format!(
        "/apis/tokenexposure.io/v1alpha1/namespaces/{namespace}/tokenexposuresummaries/token-exposure"
    );
    plane.ask(&path).unwrap()
}

/// A field of the status of a summary; null without one.
fn status(plane: &ControlPlane, namespace: &str, field: &str) -> Value {
    let found = summary(plane, namespace);
    found.map_or(Value::Null, |found| found["status"][field].clone())
}

fn await_names(plane: &ControlPlane, namespace: &str, names: &str) {
    await_that(&format!("{namespace}: {names}"), || {
        status(plane, namespace, "unneeded") == names
    });
}

/// An account and its pod.
fn with_pod(plane: &ControlPlane, namespace: &str, account: &str) {
    plane.apply(&format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {account}, namespace: {namespace}}}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {{name: {account}, namespace: {namespace}}}\n\
         spec: {{serviceAccountName: {account}, containers: [{{name: c, image: i}}]}}\n"
    ));
}

fn bind(plane: &ControlPlane, account: &str) {
    let subject = format!("--serviceaccount=shop:{account}");
    plane.kubectl(&[
        "-n",
        "shop",
        "create",
        "rolebinding",
        account,
        "--clusterrole=view",
        &subject,
    ]);
}

fn forge(plane: &ControlPlane, status: &Value) {
    plane.kubectl(&[
        "-n",
        "shop",
        "patch",
        "tes",
        "token-exposure",
        "--subresource=status",
        "--type=merge",
        "-p",
        &json!({ "status": status }).to_string(),
    ]);
}

#[test]
fn a_summary_follows_the_answers_of_its_namespace_and_is_written_only_when_they_change() {
    let plane = pool::installed();
    for namespace in ["shop", "empty"] {
        plane.namespace(namespace);
    }
    for account in ["a", "b", "c"] {
        with_pod(&plane, "shop", account);
    }
    let exempt = "tokenexposure.io/exempt=the vendor wants it";
    plane.kubectl(&["-n", "shop", "annotate", "pod", "c", exempt]);
    plane.kubectl(&[
        "-n",
        "shop",
        "run",
        "more",
        "--image=i",
        "--overrides",
        r#"{"spec": {"serviceAccountName": "c"}}"#,
    ]);
    let controller = plane.controller(&[]);
    await_names(&plane, "shop", "|a|b|c|");
    assert_eq!(status(&plane, "shop", "judgedOtherwise"), "|c/Pod/c|");
    assert_eq!(summary(&plane, "empty"), None, "no account has a pod");
    let listed = plane.kubectl(&["get", "tes", "-n", "shop"]);
    let words: Vec<Vec<_>> = listed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        words[0],
        [
            "NAME", "ACCOUNTS", "UNNEEDED", "REVIEW", "UNKNOWN", "WITHHELD", "PODS", "AGE"
        ]
    );
    assert_eq!(
        words[1][..7],
        ["token-exposure", "3", "3", "0", "0", "0", "4"]
    );

    // A permission takes a name off at once.
    bind(&plane, "b");
    await_names(&plane, "shop", "|a|c|");
    assert_eq!(status(&plane, "shop", "accounts")["needed"], 1);
    plane.kubectl(&["-n", "shop", "delete", "rolebinding", "b"]);
    await_names(&plane, "shop", "|a|b|c|");

    // What somebody else changes is restored, and what nobody changes is not written.
    forge(
        &plane,
        &json!({ "unneeded": "|a|b|c|default|", "judgedOtherwise": "" }),
    );
    await_names(&plane, "shop", "|a|b|c|");
    plane.kubectl(&["-n", "shop", "delete", "tes", "--all"]);
    await_names(&plane, "shop", "|a|b|c|");
    controller.settle();
    drop(controller);
    let version = || summary(&plane, "shop").unwrap()["metadata"]["resourceVersion"].clone();
    let before = version();
    let controller = plane.controller(&[]);
    controller.settle();
    assert_eq!(controller.summary_writes().to_bits(), 0.0_f64.to_bits());
    assert_eq!(version(), before);

    // Another name is no summary, and the last pod takes it away.
    let other = json!({ "apiVersion": "tokenexposure.io/v1alpha1", "kind": "TokenExposureSummary",
        "metadata": { "name": "other", "namespace": "shop" }, "spec": {} });
    let refused = plane.try_kubectl(&["create", "-f", "-"], &other.to_string());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("a namespace has one summary"), "{said}");
    plane.kubectl(&["-n", "shop", "delete", "pods", "--all", "--now"]);
    await_that("the summary is gone", || summary(&plane, "shop").is_none());
    plane.kubectl(&["delete", "namespace", "shop"]);
    controller.settle();
    assert!(
        !controller.log().contains("not written"),
        "{}",
        controller.log()
    );
}

#[test]
fn a_namespace_that_leaves_the_selection_loses_its_summary() {
    let plane = pool::installed();
    for namespace in ["shop", "bank"] {
        plane.namespace(namespace);
        with_pod(&plane, namespace, "a");
    }
    let controller = plane.controller(&[]);
    await_names(&plane, "shop", "|a|");
    await_names(&plane, "bank", "|a|");
    drop(controller);
    let controller = plane.controller(&["-n", "shop"]);
    await_that("that of bank is gone", || summary(&plane, "bank").is_none());
    controller.settle();
    await_names(&plane, "shop", "|a|");
    drop(controller);
    plane.kubectl(&["label", "namespace", "bank", "team=a"]);
    let _controller = plane.controller(&["--namespace-selector=team=a"]);
    await_names(&plane, "bank", "|a|");
    await_that("that of shop is gone", || summary(&plane, "shop").is_none());
    plane.kubectl(&["label", "namespace", "shop", "team=a"]);
    await_names(&plane, "shop", "|a|");
    plane.kubectl(&["label", "namespace", "bank", "team-"]);
    await_that("that of bank is gone again", || {
        summary(&plane, "bank").is_none()
    });
}

/// A name is withdrawn before hundreds of reports that wait for the budget.
#[test]
fn a_name_is_withdrawn_outside_of_the_budget_of_writes() {
    let plane = pool::installed();
    plane.namespace("shop");
    with_pod(&plane, "shop", "a");
    let args = ["--writes-per-second=1", "--first-writes-per-second=20"];
    let controller: Controller = plane.controller(&args);
    await_names(&plane, "shop", "|a|");
    controller.settle();
    plane.namespace("many");
    for number in 0..20 {
        with_pod(&plane, "many", &format!("account-{number}"));
    }
    await_that("reports wait", || {
        controller.metric("token_exposure_pending_writes") > 10.0
    });
    bind(&plane, "a");
    let began = Instant::now();
    await_names(&plane, "shop", "|");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(controller.metric("token_exposure_pending_writes") > 5.0);
}
