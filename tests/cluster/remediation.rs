//! The patches of reports, applied by kubectl to the live objects and by kustomize to manifests.
//! Afterwards there are no findings, and a container that reads `ca.crt` still can.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::rig::{
    await_that,
    feature::Feature,
    kubectl, program,
    shared::{self, watched},
};

const CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// One workload for each remediation: through the account, by its own patch, and with its files kept.
fn workloads(namespace: &str) -> Value {
    let deployment = |name: &str, account: &str, spec: Value| {
        let labels = json!({ "app": name });
        let mut spec = spec;
        spec["serviceAccountName"] = json!(account);
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": namespace },
            "spec": {
                "strategy": { "type": "Recreate" }, "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": spec },
            },
        })
    };
    let account = |name: &str| json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name, "namespace": namespace } });
    let plain = json!({ "containers": [{ "name": "c", "image": "i" }] });
    let eager = json!({ "automountServiceAccountToken": true, "containers": [{ "name": "c", "image": "i" }] });
    let reader = json!({
        "initContainers": [{ "name": "i", "image": "i" }],
        "containers": [{ "name": "c", "image": "i", "args": [format!("--ca={CA}")], "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp" }] }],
        "volumes": [{ "name": "tmp", "emptyDir": {} }],
    });
    let cron = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "nightly", "namespace": namespace },
        "spec": { "schedule": "0 3 * * *", "jobTemplate": { "spec": { "template": { "spec": { "restartPolicy": "Never", "serviceAccountName": "mail", "automountServiceAccountToken": true, "containers": [{ "name": "c", "image": "i" }] } } } } },
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        account("web"), account("mail"),
        deployment("front", "web", plain.clone()), deployment("back", "web", eager), deployment("edge", "web", reader),
        deployment("mail", "mail", plain), cron,
    ] })
}

#[test]
fn the_patches_of_reports_disable_the_tokens() {
    let plane = watched();
    plane.namespace("patched");
    plane.apply(&workloads("patched").to_string());
    plane.await_report("patched", "mail", Some(("Unneeded", "NoPermissions")));
    await_that("all three workloads are told of", || {
        let report = plane.get(&["-n", "patched", "ter", "web"]);
        report["status"]["pods"] == 3
    });
    let reports = plane.get(&["-n", "patched", "ter"]);
    let mut patched = Vec::new();
    for report in reports["items"].as_array().unwrap() {
        for patch in report["status"]["remediation"]["patches"]
            .as_array()
            .unwrap()
        {
            let word = |field: &str| patch[field].as_str().unwrap();
            plane.kubectl(&[
                "-n",
                "patched",
                "patch",
                word("kind"),
                word("name"),
                "--type",
                word("type"),
                "--patch",
                word("patch"),
            ]);
            patched.push(format!("{}/{}", word("kind"), word("name")));
        }
    }
    assert_eq!(
        patched,
        [
            "ServiceAccount/mail",
            "Deployment/back",
            "Deployment/edge",
            "ServiceAccount/web",
        ]
    );
    plane.kubectl(&["-n", "patched", "delete", "pods", "--all", "--force"]);
    plane.await_report("patched", "web", None);
    plane.await_report("patched", "mail", None);
    await_that("the reader of ca.crt is made anew with it", || {
        let pods = plane.get(&["-n", "patched", "pods", "-l", "app=edge"]);
        let mounts = &pods["items"][0]["spec"]["containers"][0]["volumeMounts"];
        let files = pods["items"][0]["spec"]["initContainers"][0]["volumeMounts"].as_array();
        mounts.as_array().is_some_and(|mounts| mounts.len() == 2)
            && files.is_some_and(|mounts| mounts.len() == 1)
    });
}

/// As a user pastes them into a shell.
#[test]
fn the_commands_of_a_live_scan_leave_no_findings() {
    let plane = watched();
    plane.namespace("pasted");
    plane.apply(&workloads("pasted").to_string());
    await_that("the pods are there", || {
        let pods = plane.get(&["-n", "pasted", "pods"]);
        pods["items"].as_array().unwrap().len() == 4
    });
    let scan = plane.scan(&["-n", "pasted", "-o", "patch"]);
    assert_eq!(scan.status.code(), Some(1));
    let printed = String::from_utf8(scan.stdout).unwrap();
    let commands = printed
        .lines()
        .filter_map(|line| line.strip_prefix("# kubectl"));
    let commands: Vec<_> = commands.map(|rest| format!("\"$KUBECTL\"{rest}")).collect();
    assert_eq!(commands.len(), 4, "{printed}");
    let shell = Command::new("sh")
        .args(["-ec", &commands.join("\n")])
        .env("KUBECTL", kubectl())
        .env("KUBECONFIG", plane.kubeconfig())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&shell.stderr);
    assert!(shell.status.success(), "{said}");
    plane.kubectl(&["-n", "pasted", "delete", "pods", "--all", "--force"]);
    await_that("a scan is clean", || {
        let pods = plane.get(&["-n", "pasted", "pods"]);
        let made = pods["items"].as_array().unwrap().len() >= 4;
        made && plane.scan(&["-n", "pasted"]).status.code() == Some(0)
    });
}

#[test]
fn kustomize_accepts_the_printed_patches() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let manifests = workloads("shop").to_string();
    let scan = program(&["scan", "-o", "patch", "-"], &manifests);
    assert_eq!(scan.status.code(), Some(1));
    write("patches.yaml", &String::from_utf8(scan.stdout).unwrap());
    write("all.json", &manifests);
    let mut kustomization =
        json!({ "resources": ["all.json"], "patches": [{ "path": "patches.yaml" }] });
    if shared::bare().lacks(
        Feature::PatchesInOneFile,
        "`patches` of kustomize_accepts_the_printed_patches",
    ) {
        kustomization =
            json!({ "resources": ["all.json"], "patchesStrategicMerge": ["patches.yaml"] });
    }
    write("kustomization.yaml", &kustomization.to_string());
    let built = Command::new(kubectl())
        .args(["kustomize", dir.path().to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{said}");
    let manifests = String::from_utf8(built.stdout).unwrap();
    assert!(manifests.contains("key: ca.crt"), "{manifests}");
    let scan = program(&["scan", "-"], &manifests);
    let shown = String::from_utf8_lossy(&scan.stdout);
    assert_eq!(scan.status.code(), Some(0), "{shown}");
    assert!(shown.ends_with("2 ServiceAccounts: 2 NoToken\n"), "{shown}");
}
