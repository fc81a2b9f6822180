//! Reports with the CustomResourceDefinition of another version: up to November 2026 the status of a report was a
//! subresource, which was written apart.

use serde_json::{Value, json};
use token_exposure::api::definitions;

use crate::rig::{
    ControlPlane, await_that,
    oracle::{is_observed, reports_equal_to_scans},
    pool,
};

const UNNEEDED: Option<(&str, &str)> = Some(("Unneeded", "NoPermissions"));

/// Installs the definition of reports of this version, or as it was.
fn install(plane: &ControlPlane, is_earlier: bool) {
    let [reports, _] = definitions();
    let mut reports = serde_json::to_value(reports).unwrap();
    if is_earlier {
        reports["spec"]["versions"][0]["subresources"] = json!({ "status": {} });
    }
    plane.apply(&reports.to_string());
    await_writes_of_status(plane, is_earlier);
}

/// Waits until the API server has, or has not, a status of reports that is written apart.
fn await_writes_of_status(plane: &ControlPlane, are_there: bool) {
    await_that("the definition is in force", || {
        let kinds = plane.ask("/apis/tokenexposure.io/v1alpha1").unwrap();
        let kinds = kinds.unwrap()["resources"].take();
        let mut names = kinds.as_array().unwrap().iter();
        names.any(|kind| kind["name"] == "tokenexposurereports/status") == are_there
    });
}

/// Writes a part of a report as earlier versions did.
fn write_as_earlier(plane: &ControlPlane, report: &Value, flags: &[&str]) {
    let by_us = ["apply", "--server-side", "--field-manager=token-exposure"];
    let args = [&by_us[..], flags, &["-f", "-"]].concat();
    let output = plane.try_kubectl(&args, &report.to_string());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
}

/// The report of an account of namespace `shop`.
fn report(plane: &ControlPlane, account: &str) -> Value {
    plane.get(&["-n", "shop", "ter", account])
}

/// A report keeps nothing of what an earlier version has written, and the controller comes to rest.
#[test]
fn reports_of_an_earlier_version_are_taken_over() {
    let plane = pool::installed();
    plane.namespace("shop");
    plane.kubectl(&["-n", "shop", "run", "web", "--image=nginx"]);
    install(&plane, true);
    let name = json!({ "name": "default", "namespace": "shop" });
    let object = json!({
        "apiVersion": "tokenexposure.io/v1alpha1", "kind": "TokenExposureReport", "metadata": name,
        "spec": { "serviceAccountName": "default" },
    });
    write_as_earlier(&plane, &object, &[]);
    let mut with_status = object;
    // A condition and an exemption that are no more.
    with_status["status"] = json!({
        "verdict": "Needed", "message": "earlier", "observedGeneration": 1,
        "exemption": { "state": "Active", "reason": "earlier", "by": "earlier" },
        "conditions": [{ "type": "Earlier", "status": "True", "reason": "Earlier", "message": "" }],
    });
    write_as_earlier(&plane, &with_status, &["--subresource=status"]);
    assert_eq!(report(&plane, "default")["status"]["verdict"], "Needed");

    install(&plane, false);
    let controller = plane.controller(&[]);
    plane.await_report("shop", "default", UNNEEDED);
    controller.settle();
    reports_equal_to_scans(&plane, "findings");
    assert!(is_observed(&report(&plane, "default")));
    // One request, and one that removes what is left.
    let replaced =
        controller.metric(r#"token_exposure_report_writes_total{operation="replace_status"}"#);
    assert!((replaced - 1.0).abs() < f64::EPSILON, "{replaced}");
    let log = controller.log();
    assert!(
        !log.contains("are removed") && !log.contains("does not keep"),
        "{log}"
    );
}

/// The definition may be older than the controller, and change while it runs: as in an upgrade, and in a rollback.
#[test]
fn reports_are_written_with_either_definition() {
    let plane = pool::installed();
    plane.namespace("shop");
    install(&plane, true);
    plane.kubectl(&["-n", "shop", "run", "web", "--image=nginx"]);
    let controller = plane.controller(&[]);
    let bind =
        "create rolebinding binding --clusterrole=view --serviceaccount=shop:default -n shop";
    let bind: Vec<_> = bind.split(' ').collect();
    let annotate = |annotation: &str| {
        plane.kubectl(&["-n", "shop", "annotate", "pod", "web", annotation]);
    };
    for is_earlier in [true, false, true, false] {
        install(&plane, is_earlier);
        plane.await_report("shop", "default", UNNEEDED);
        plane.kubectl(&bind);
        plane.await_report("shop", "default", None);
        plane.kubectl(&["-n", "shop", "delete", "rolebinding", "binding"]);
        plane.await_report("shop", "default", UNNEEDED);
        // A verdict that changes while its report stays.
        annotate("vault.hashicorp.com/agent-inject=true");
        await_that("the verdict changes", || {
            plane
                .report("shop", "default")
                .is_some_and(|(verdict, _)| verdict != "Unneeded")
        });
        annotate("vault.hashicorp.com/agent-inject-");
        plane.await_report("shop", "default", UNNEEDED);
        controller.settle();
        reports_equal_to_scans(&plane, "findings");
        let report = report(&plane, "default");
        assert!(is_observed(&report), "{is_earlier}: {report}");
    }
}
