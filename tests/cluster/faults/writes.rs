//! What others can make us write or keep, and writes that are rejected.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use token_exposure::api::{TokenExposureReport, TokenExposureReportSpec};

use super::{UNNEEDED, World, rejected, unneeded, unneeded_in};
use crate::rig::{
    Controller, PATIENCE, await_that, holds_within,
    oracle::reports_equal_to_scans,
    pool,
    proxy::{Answer, Cut},
};

/// Somebody, or the garbage collector, deletes a report whenever it is there.
#[test]
fn a_report_that_is_deleted_again_and_again_is_written_ever_more_rarely() {
    let plane = pool::installed();
    let controller = plane.controller(&[]);
    plane.namespace("many");
    plane.apply(&unneeded("other"));
    plane.await_report("many", "other", UNNEEDED);
    controller.settle();
    // The first write of the report is one of those that do not wait.
    let writes = controller.writes();
    plane.apply(&unneeded("victim"));
    plane.await_report("many", "victim", UNNEEDED);
    controller.settle();
    let delete = || {
        plane.delete("/apis/tokenexposure.io/v1alpha1/namespaces/many/tokenexposurereports/victim");
        std::thread::sleep(Duration::from_millis(20));
    };
    // 20 writes come before.
    let is_delayed = || {
        delete();
        controller.metric(r#"token_exposure_delayed_writes_total{cause="flapping"}"#) >= 1.0
    };
    let delayed = holds_within(5 * PATIENCE, Duration::ZERO, is_delayed);
    assert!(delayed, "the next write waits: {}", controller.log());
    let at_once = controller.writes() - writes;
    assert!((20.0..=22.0).contains(&at_once), "{at_once}");
    let until = Instant::now() + Duration::from_secs(12);
    while Instant::now() < until {
        delete();
    }
    // After 1, 2, 4 and 8 s.
    let later = controller.writes() - writes - at_once;
    assert!((2.0..=5.0).contains(&later), "{later}");
    assert!(
        controller.log().contains("changes all the time"),
        "{}",
        controller.log()
    );
    // The others do not wait.
    plane.apply(&unneeded("third"));
    plane.await_report("many", "third", UNNEEDED);
    plane.await_report("many", "victim", UNNEEDED);
}

/// One person's binding concerns every account: it costs no more than the budget, and the end is right.
#[test]
fn a_flapping_binding_costs_at_most_the_budget() {
    let plane = pool::installed();
    let accounts: String = (0..200)
        .map(|number| unneeded(&format!("account-{number}")))
        .collect();
    plane.namespace("many");
    plane.apply(&accounts);
    let controller = plane.controller(&["--writes-per-second=20"]);
    plane.await_report("many", "account-99", UNNEEDED);
    controller.settle();
    let (writes, began) = (controller.writes(), Instant::now());
    let create = [
        "create",
        "clusterrolebinding",
        "all",
        "--clusterrole=view",
        "--group=system:serviceaccounts:many",
    ];
    while began.elapsed() < Duration::from_secs(12) {
        plane.kubectl(&create);
        plane.kubectl(&["delete", "clusterrolebinding", "all"]);
    }
    let written = controller.writes() - writes;
    let budget = 20.0 * (began.elapsed().as_secs_f64() + 1.0) + 16.0;
    assert!(written <= budget, "{written} > {budget}");
    assert!(written > 50.0, "{written}");
    // Each time, the verdicts of 200 accounts change.
    let lines = controller.log().matches("verdict changed").count();
    assert!((100..=210).contains(&lines), "{lines}");
    await_that("nothing waits", || {
        controller.metric("token_exposure_pending_writes") == 0.0
    });
    controller.settle();
    let live = reports_equal_to_scans(&plane, "findings");
    assert!(
        live.iter()
            .filter(|report| report["status"]["verdict"] == "Unneeded")
            .count()
            >= 200
    );
}

/// What everybody who may create pods can legally put into them does not make us run out of memory.
#[test]
#[ignore = "takes minutes: `make faults`"]
fn pods_with_large_fields_cost_little_and_are_stated_gaps() {
    let plane = pool::installed();
    let controller = plane.controller(&[]);
    plane.namespace("many");
    plane.apply(&unneeded("honest"));
    let long = "x".repeat(60_000);
    let pod = |number: usize| -> Value {
        let (mut owner, mut path, mut audience) =
            ("Odd".to_owned(), "/t".to_owned(), "a".to_owned());
        match number % 3 {
            0 => owner = format!("K{number}{long}"),
            1 => path = format!("/{number}{long}"),
            _ => audience = format!("{number}{long}"),
        }
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("odd-{number}"), "namespace": "many", "ownerReferences": [
                {"apiVersion": "v1", "kind": owner, "name": "o", "uid": "u", "controller": true}]},
            "spec": {"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "t", "mountPath": path}]}],
                "volumes": [{"name": "t", "projected": {"sources": [
                    {"serviceAccountToken": {"path": "token", "audience": audience}}]}}]}})
    };
    for begin in (0..1_200).step_by(50) {
        let pods: Vec<_> = (begin..begin + 50).map(pod).collect();
        plane.apply(&json!({"apiVersion": "v1", "kind": "List", "items": pods}).to_string());
    }
    plane.await_report("many", "default", Some(("Unknown", "LimitExceeded")));
    plane.await_report("many", "honest", UNNEEDED);
    controller.settle();
    assert_eq!(controller.get("/healthz").unwrap().0, 200);
    let status = fs::read_to_string(format!("/proc/{}/status", controller.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: u64 = peak
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    assert!(peak < 64 * 1_024, "{peak} kB");
    reports_equal_to_scans(&plane, "findings");
}

/// A policy that rejects the reports for which an expression holds.
fn rejecting(expression: &str) -> String {
    format!(
        r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: rejecting}}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - apiGroups: [tokenexposure.io]
        apiVersions: ["*"]
        operations: [CREATE, UPDATE]
        resources: [tokenexposurereports]
  validations: [{{expression: '!({expression})', message: "not here"}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: rejecting}}
spec: {{policyName: rejecting, validationActions: [Deny]}}
"#
    )
}

/// Waits until writes are rejected; they are then tried ever more rarely, and the log does not fill.
fn is_tried_rarely(controller: &Controller, accounts: f64) {
    await_that("a write is rejected", || rejected(controller) >= 1.0);
    tries_stay_rare(controller, accounts);
}

fn tries_stay_rare(controller: &Controller, accounts: f64) {
    std::thread::sleep(Duration::from_secs(8));
    // After 0.5, 1, 2, 4 s.
    let tries = rejected(controller);
    assert!(tries <= 6.0 * accounts, "{tries}: {}", controller.log());
    let lines = controller.log().matches("report not written").count();
    assert!(lines <= 3, "{}", controller.log());
}

/// Admission, a quota or another definition of the kind rejects reports: those of others are written, each is tried
/// ever more rarely, and written once it can be.
#[test]
fn rejected_reports_are_tried_ever_more_rarely() {
    let plane = pool::installed();
    plane.namespace("many");
    plane.apply(&rejecting(r#"object.metadata.name == "victim""#));
    await_that("the policy is in force", || {
        let victim = TokenExposureReport::new(
            "victim",
            TokenExposureReportSpec {
                service_account_name: "victim".to_owned(),
            },
        );
        let mut victim = serde_json::to_value(victim).unwrap();
        victim["metadata"]["namespace"] = "many".into();
        let created = plane.try_kubectl(
            &["create", "--dry-run=server", "-f", "-"],
            &victim.to_string(),
        );
        !created.status.success()
    });
    let controller = plane.controller(&[]);
    plane.apply(&["victim", "other"].map(unneeded).concat());
    is_tried_rarely(&controller, 1.0);
    plane.await_report("many", "other", UNNEEDED);
    assert!(!controller.log().contains("grant "), "{}", controller.log());
    plane.kubectl(&["delete", "validatingadmissionpolicybinding", "rejecting"]);
    plane.await_report("many", "victim", UNNEEDED);

    // A quota. Its controller has to count the reports before it is in force.
    plane.namespace("full");
    plane.kubectl(&[
        "-n",
        "full",
        "create",
        "quota",
        "none",
        "--hard=count/tokenexposurereports.tokenexposure.io=0",
    ]);
    await_that("the quota is in force", || {
        plane.get(&["-n", "full", "quota", "none"])["status"]["hard"].is_object()
    });
    let before = rejected(&controller);
    plane.apply(&unneeded_in("full", "web"));
    await_that("the quota rejects it", || rejected(&controller) > before);
    assert!(!controller.log().contains("grant "), "{}", controller.log());
    plane.kubectl(&["-n", "full", "delete", "quota", "none"]);
    plane.await_report("full", "web", UNNEEDED);
    controller.settle();
    reports_equal_to_scans(&plane, "findings");
}

/// The definition of the kind is deleted, and installed again: reports are written again.
#[test]
fn reports_return_with_their_definition() {
    let plane = pool::installed();
    plane.namespace("many");
    plane.apply(&["a", "b"].map(unneeded).concat());
    let controller = plane.controller(&[]);
    plane.await_report("many", "a", UNNEEDED);
    plane.await_report("many", "b", UNNEEDED);
    plane.kubectl(&["delete", "crd", "tokenexposurereports.tokenexposure.io"]);
    // An older API server accepts reports until their definition is gone, and then says nothing of their end.
    let errors = r#"token_exposure_watch_errors_total{kind="TokenExposureReport"}"#;
    await_that("a write is rejected, or the watch ends", || {
        rejected(&controller) >= 1.0 || controller.metric(errors) >= 1.0
    });
    tries_stay_rare(&controller, 3.0);
    assert_eq!(controller.get("/healthz").unwrap().0, 200);
    plane.install();
    for account in ["a", "b"] {
        plane.await_report("many", account, UNNEEDED);
    }
    controller.settle();
    reports_equal_to_scans(&plane, "findings");
}

/// While the ServiceAccounts cannot be watched, one is deleted and created again: the garbage collector deletes each
/// report that names the old one as its owner. That costs no more than another report that flaps.
#[test]
#[ignore = "takes minutes: `make faults`"]
fn a_report_of_a_recreated_account_does_not_loop_with_the_garbage_collector() {
    let mut world = World::start(&[]);
    world.plane.apply(&unneeded_in("shop", "again"));
    world.plane.await_report("shop", "again", UNNEEDED);
    world.controller.settle();
    let owner = || {
        let report = world.plane.get(&["-n", "shop", "ter", "again"]);
        report["metadata"]["ownerReferences"][0]["uid"].clone()
    };
    let (old, writes) = (owner(), world.controller.writes());
    world.proxy.fail("/serviceaccounts", Answer::Nothing);
    world.proxy.cut(Cut::End);
    std::thread::sleep(Duration::from_secs(2));
    let account = ["-n", "shop", "delete", "serviceaccount", "again"];
    world.plane.kubectl(&account);
    world
        .plane
        .kubectl(&["-n", "shop", "create", "serviceaccount", "again"]);
    // The garbage collector looks for new kinds each half minute; how often it deletes the report is up to it.
    std::thread::sleep(Duration::from_mins(1));
    let written = world.controller.writes() - writes;
    assert!(
        (1.0..=60.0).contains(&written),
        "{written}: {}",
        world.controller.log()
    );
    world.proxy.pass();
    await_that("the report names the new account as its owner", || {
        world.plane.report("shop", "again").is_some() && owner() != old
    });
    world.recovers("a recreated account");
    reports_equal_to_scans(&world.plane, "findings");
}
