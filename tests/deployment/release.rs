//! A release of the chart on the real control plane: installed, upgraded, rolled back, uninstalled.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::rig::{
    ControlPlane, await_that,
    helm::{CHART, RELEASE},
    pool,
};

const CRD: &str = "tokenexposurereports.tokenexposure.io";
const UNNEEDED: Option<(&str, &str)> = Some(("Unneeded", "NoPermissions"));

/// An older chart: its CRD lacks a short name, and its version is lower.
fn older_chart(to: &Path) {
    for entry in walkdir::WalkDir::new(CHART) {
        let entry = entry.unwrap();
        let path = to.join(entry.path().strip_prefix(CHART).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::copy(entry.path(), path).unwrap();
        }
    }
    let version = format!("ersion: {}", env!("CARGO_PKG_VERSION"));
    for (file, new, old) in [
        ("Chart.yaml".to_owned(), &*version, "ersion: 0.0.9"),
        (format!("files/{CRD}.yaml"), "    - ters\n", ""),
    ] {
        let text = fs::read_to_string(to.join(&file)).unwrap();
        assert!(text.contains(new), "{file} has {new:?}");
        fs::write(to.join(&file), text.replace(new, old)).unwrap();
    }
}

fn short_names(plane: &ControlPlane) -> Value {
    plane.get(&["crd", CRD])["spec"]["names"]["shortNames"].clone()
}

/// The objects of the release, by kind and name.
fn of_release(plane: &ControlPlane) -> Vec<String> {
    let kinds = "crd,clusterrole,clusterrolebinding,serviceaccount,configmap,deployment,service,\
                 validatingadmissionpolicy,validatingadmissionpolicybinding,networkpolicy,poddisruptionbudget";
    let label = "app.kubernetes.io/managed-by=Helm";
    let found = plane.kubectl(&["get", kinds, "-A", "-l", label, "-o", "name"]);
    found.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn an_upgrade_updates_the_crd_and_an_uninstall_keeps_the_reports_unless_configured() {
    let plane = pool::bare();
    plane.own_namespace();
    let dir = tempfile::tempdir().unwrap();
    older_chart(dir.path());
    let older = dir.path().to_str().unwrap();

    // The first version, with a running controller.
    let notes = plane.helm(&["install", RELEASE, older]);
    for next in [
        "kubectl -n token-exposure rollout status deployment/token-exposure",
        "kubectl get tokenexposurereports -A",
        "kubectl describe tokenexposurereport -n NAMESPACE NAME",
    ] {
        assert!(notes.contains(next), "{notes}");
    }
    assert_eq!(short_names(&plane), json!(["ter"]));
    plane.namespace("shop");
    plane.kubectl(&["-n", "shop", "run", "web", "--image=nginx"]);
    let controller = plane.controller(&[]);
    plane.await_report("shop", "default", UNNEEDED);
    drop(controller);
    let uid =
        || plane.get(&["-n", "shop", "tokenexposurereport", "default"])["metadata"]["uid"].clone();
    let made = uid();

    // The next, with other values; then back and forth again.
    let all = "replicaCount=2,networkPolicy.enabled=true,podDisruptionBudget.enabled=true,config.apiAudiences={api}";
    plane.helm(&["upgrade", RELEASE, CHART, "--set", all]);
    assert_eq!(short_names(&plane), json!(["ter", "ters"]));
    assert!(
        of_release(&plane).contains(&"networkpolicy.networking.k8s.io/token-exposure".to_owned())
    );
    plane.helm(&["rollback", RELEASE, "1"]);
    assert_eq!(short_names(&plane), json!(["ter"]));
    assert!(
        !of_release(&plane).contains(&"networkpolicy.networking.k8s.io/token-exposure".to_owned())
    );
    plane.helm(&["upgrade", RELEASE, CHART]);
    assert_eq!(
        (short_names(&plane), uid()),
        (json!(["ter", "ters"]), made.clone())
    );
    let controller = plane.controller(&[]);
    controller.settle();
    drop(controller);
    assert_eq!(uid(), made);

    // After the uninstall, the CRDs and the reports are kept; a new release adopts them.
    plane.helm(&["uninstall", RELEASE]);
    let definition = |kind| format!("customresourcedefinition.apiextensions.k8s.io/{kind}");
    let kept = [CRD, "tokenexposuresummaries.tokenexposure.io"].map(definition);
    assert_eq!(of_release(&plane), kept);
    assert_eq!(uid(), made);
    plane.helm(&["install", RELEASE, CHART, "--set", "crds.keep=false"]);
    assert_eq!(uid(), made);

    // With `crds.keep=false` they are deleted.
    plane.helm(&["uninstall", RELEASE]);
    await_that("the CRDs are deleted", || of_release(&plane).is_empty());
}

#[test]
fn helm_adopts_what_kubectl_installed() {
    let plane = pool::installed();
    plane.namespace("shop");
    plane.kubectl(&["-n", "shop", "run", "web", "--image=nginx"]);
    let controller = plane.controller(&[]);
    plane.await_report("shop", "default", UNNEEDED);
    drop(controller);
    let refused = plane.try_helm(&["install", RELEASE, CHART]);
    assert!(
        !refused.status.success(),
        "helm adopts objects only when asked"
    );
    plane.helm(&[
        "install",
        RELEASE,
        CHART,
        "--take-ownership",
        "--force-conflicts",
    ]);
    let all = of_release(&plane);
    assert!(all.len() >= 7, "{all:?}");
    assert_eq!(plane.report("shop", "default").unwrap().0, "Unneeded");
    let pods = || {
        plane.get(&["-n", RELEASE, "pods"])["items"]
            .as_array()
            .unwrap()
            .len()
    };
    await_that("there is one pod", || pods() == 1);
}
