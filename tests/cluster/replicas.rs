//! Several replicas of the controller on the real API server: the leader writes, the standbys have
//! everything they need to take over. Two that write at the same time write the same bytes.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use crate::rig::{
    ControlPlane, Controller, await_that,
    pool::{self, Lent},
    signal,
};

/// A control plane where our account may use a Lease, as with the chart's values for several replicas.
fn plane() -> Lent {
    let plane = pool::bare();
    plane.own_namespace();
    plane.release("replicaCount=2");
    plane.namespace("shop");
    plane
}

/// The kubeconfig of our account.
fn kubeconfig(plane: &ControlPlane) -> String {
    plane.own_kubeconfig().to_str().unwrap().to_owned()
}

fn replica(kubeconfig: &str, environment: &[(&str, &str)]) -> Controller {
    let args = ["--kubeconfig", kubeconfig, "--leader-elect"];
    let replica = Controller::start_with(&args, environment);
    await_that("the replica is ready, as leader or standby", || {
        replica.get("/readyz").is_some_and(|(code, _)| code == 200)
    });
    replica
}

fn leads(replica: &Controller) -> bool {
    replica.metric("token_exposure_leader") > 0.5
}

/// A pod with an unneeded token, and its own account.
fn unneeded_pod(plane: &ControlPlane, name: &str) {
    plane.kubectl(&["-n", "shop", "create", "serviceaccount", name]);
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{serviceAccountName: {name}, containers: [{{name: c, image: i}}]}}\n"
    );
    plane.apply(&pod);
}

/// The resource versions of all reports: they change with each write that changes a byte.
fn versions(plane: &ControlPlane) -> BTreeMap<String, String> {
    let reports = plane.get(&["ter", "-A"]);
    let reports = reports["items"].as_array().unwrap().iter();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    reports
        .map(|report| {
            let metadata = &report["metadata"];
            (word(&metadata["name"]), word(&metadata["resourceVersion"]))
        })
        .collect()
}

const UNNEEDED: Option<(&str, &str)> = Some(("Unneeded", "NoPermissions"));

#[test]
fn a_standby_takes_over_when_the_leader_exits_or_is_killed() {
    let plane = plane();
    let kubeconfig = kubeconfig(&plane);
    let first = replica(&kubeconfig, &[]);
    await_that("the first one leads", || leads(&first));
    let second = replica(&kubeconfig, &[]);
    unneeded_pod(&plane, "a");
    plane.await_report("shop", "a", UNNEEDED);
    assert!(leads(&first) && !leads(&second));
    first.settle();
    let written = second.writes() + second.summary_writes();
    assert_eq!(written.to_bits(), 0.0_f64.to_bits());
    // A standby has the same findings.
    let finding = "token_exposure_serviceaccounts{namespace=\"shop\",verdict=\"Unneeded\"}";
    await_that("a standby counts findings", || second.metric(finding) > 0.5);

    // A replica that exits releases the Lease: no standby waits for it to expire.
    let before = versions(&plane);
    let (status, _, log) = first.terminate();
    assert!(status.success(), "{log}");
    let lease = plane.get(&["-n", "token-exposure", "lease", "token-exposure"]);
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    assert!(
        holder.is_empty() || holder.ends_with(&second.pid().to_string()),
        "{lease}"
    );
    await_that("the second one leads", || leads(&second));
    unneeded_pod(&plane, "b");
    plane.await_report("shop", "b", UNNEEDED);
    let after = versions(&plane);
    assert_eq!(
        after["a"], before["a"],
        "an unchanged report is not written again"
    );

    // The Lease of a killed replica must expire first.
    let third = replica(&kubeconfig, &[]);
    signal("KILL", second.pid());
    unneeded_pod(&plane, "c");
    await_that("the third one leads", || leads(&third));
    plane.await_report("shop", "c", UNNEEDED);
}

#[test]
fn a_leader_that_was_suspended_no_longer_writes() {
    let plane = plane();
    let kubeconfig = kubeconfig(&plane);
    let first = replica(&kubeconfig, &[]);
    await_that("the first one leads", || leads(&first));
    let second = replica(&kubeconfig, &[]);
    signal("STOP", first.pid());
    unneeded_pod(&plane, "a");
    await_that("the second one leads", || leads(&second));
    plane.await_report("shop", "a", UNNEEDED);
    second.settle();
    let before = versions(&plane);
    signal("CONT", first.pid());
    await_that("the first one has noticed", || {
        first.log().contains("another replica leads")
    });
    assert!(!leads(&first) && leads(&second));
    unneeded_pod(&plane, "b");
    plane.await_report("shop", "b", UNNEEDED);
    assert_eq!(versions(&plane)["a"], before["a"]);
    assert_eq!(first.writes().to_bits(), 0.0_f64.to_bits());
}

/// Clocks are not compared: a replica whose clock is an hour fast or slow neither takes the Lease of
/// one that renews it, nor keeps others from taking its own.
#[test]
fn a_wrong_clock_changes_nothing() {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    assert!(
        Path::new(library).exists(),
        "`.ci/tools` installs libfaketime"
    );
    let plane = plane();
    let kubeconfig = kubeconfig(&plane);
    let fake = |offset| {
        [
            ("LD_PRELOAD", library),
            ("FAKETIME", offset),
            ("DONT_FAKE_MONOTONIC", "1"),
        ]
    };
    let slow = replica(&kubeconfig, &fake("-1h"));
    await_that("the slow one leads", || leads(&slow));
    let fast = replica(&kubeconfig, &fake("+1h"));
    // To the other, the Lease looks two hours old, and is renewed three times meanwhile.
    std::thread::sleep(std::time::Duration::from_secs(16));
    assert!(leads(&slow) && !leads(&fast));
    signal("KILL", slow.pid());
    await_that("the fast one leads", || leads(&fast));
    // Now the Lease looks as if it expired in the future.
    let right = replica(&kubeconfig, &[]);
    signal("KILL", fast.pid());
    await_that("the one with the right clock leads", || leads(&right));
    unneeded_pod(&plane, "a");
    plane.await_report("shop", "a", UNNEEDED);
}

/// Where no other replica leads meanwhile, the one that could not renew goes on, with what changed in between.
#[test]
fn what_changes_while_nobody_leads_is_written_by_the_same_leader() {
    let plane = plane();
    let replica = replica(&kubeconfig(&plane), &[]);
    await_that("it leads", || leads(&replica));
    plane.kubectl(&[
        "-n",
        "token-exposure",
        "delete",
        "rolebinding",
        "token-exposure-leader-election",
    ]);
    await_that("it leads no longer", || !leads(&replica));
    unneeded_pod(&plane, "a");
    await_that("the account is judged", || {
        replica.metric(r#"token_exposure_serviceaccounts{namespace="shop",verdict="Unneeded"}"#)
            > 0.5
    });
    assert_eq!(plane.report("shop", "a"), None);
    plane.release("replicaCount=2");
    plane.await_report("shop", "a", UNNEEDED);
}

#[test]
fn without_permissions_on_leases_a_replica_logs_that_and_keeps_reading() {
    let plane = pool::installed();
    let kubeconfig = kubeconfig(&plane);
    let replica = replica(&kubeconfig, &[]);
    await_that("the missing rule is named", || {
        replica
            .log()
            .contains("grant `get`, `create` and `update` on `leases`")
    });
    assert!(!leads(&replica));
    plane.release("replicaCount=2");
    await_that("it leads once it has permission", || leads(&replica));
}
