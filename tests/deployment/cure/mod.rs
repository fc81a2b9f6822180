//! The MutatingAdmissionPolicy of the chart on the real API server: it withholds the tokens of pods that need none, only
//! while the controller is in sync, and a permission brings them back.

mod kinds;
mod many;
mod neighbours;
mod random;
mod switch;
mod threats;

use std::path::Path;

use serde_json::{Value, json};

use crate::rig::{
    ControlPlane, Controller, await_that,
    feature::Feature,
    helm::{RELEASE, controller_args},
    pool::{self, Lent},
};

const SWITCH: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/token-exposure/rolebindings/token-exposure-cure-active";

/// A control plane with the policy; `None` where its API server has none.
fn plane(test: &str) -> Option<Lent> {
    let plane = pool::bare();
    if plane.lacks(Feature::MutatingAdmissionPolicy, test) {
        return None;
    }
    prepare(&plane);
    Some(plane)
}

/// Installs the chart with the policy, and opts a namespace in.
fn prepare(plane: &ControlPlane) {
    plane.own_namespace();
    plane.release("cure.mode=LeaveOut,cure.gracePeriod=1s");
    plane.namespace("shop");
    plane.kubectl(&[
        "label",
        "namespace",
        "shop",
        "tokenexposure.io/cure=leave-out",
    ]);
}

/// The arguments of the controller in the Deployment.
fn arguments(plane: &ControlPlane) -> Vec<String> {
    let deployment = plane.get(&["-n", RELEASE, "deployment", RELEASE]);
    controller_args(&[deployment])
}

/// The variables that the Deployment takes from the pod of the controller.
fn environment(plane: &ControlPlane) -> [(&'static str, String); 4] {
    let mut pod = Value::Null;
    await_that("the pod of the controller exists", || {
        let mut pods = plane.get(&["-n", RELEASE, "pods"]);
        let pods = pods["items"].as_array_mut().unwrap();
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        pod = pods.pop().unwrap_or_default()["metadata"].take();
        pod["uid"].is_string()
    });
    let word = |field: &str| pod[field].as_str().unwrap().to_owned();
    [
        ("POD_NAMESPACE", RELEASE.to_owned()),
        ("POD_SERVICE_ACCOUNT", RELEASE.to_owned()),
        ("POD_NAME", word("name")),
        ("POD_UID", word("uid")),
    ]
}

/// The controller as the pod of the Deployment would run it.
pub(super) fn controller(plane: &ControlPlane) -> Controller {
    let args = arguments(plane);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    controller_with(plane, &args)
}

/// The same with these arguments.
pub(super) fn controller_with(plane: &ControlPlane, args: &[&str]) -> Controller {
    controller_at(plane, &plane.own_kubeconfig(), args)
}

/// The same at another address of the API server.
fn controller_at(plane: &ControlPlane, kubeconfig: &Path, args: &[&str]) -> Controller {
    let own = ["--kubeconfig", kubeconfig.to_str().unwrap()];
    let environment = environment(plane);
    let environment: Vec<_> = environment
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    let controller = Controller::start_with(&[&own, args].concat(), &environment);
    await_that("it is ready, as leader or standby", || {
        controller
            .get("/readyz")
            .is_some_and(|(code, _)| code == 200)
    });
    controller
}

pub(super) fn await_switch(plane: &ControlPlane, on: bool) {
    await_that(&format!("the switch is on: {on}"), || {
        plane.ask(SWITCH).is_ok_and(|found| found.is_some() == on)
    });
}

fn await_listed(plane: &ControlPlane, listed: &str) {
    let path =
        "/apis/tokenexposure.io/v1alpha1/namespaces/shop/tokenexposuresummaries/token-exposure";
    await_that(listed, || {
        let found = plane.ask(path).unwrap().unwrap_or_default();
        found["status"]["curable"] == listed
    });
}

/// Recreates the pod of a Deployment, and returns the new one.
fn recreated(plane: &ControlPlane, name: &str) -> Value {
    let label = format!("app={name}");
    let pods = || plane.get(&["-n", "shop", "pods", "-l", &label])["items"].take();
    let before = pods()[0]["metadata"]["uid"].clone();
    plane.kubectl(&["-n", "shop", "delete", "pod", "-l", &label, "--now"]);
    let mut pod = Value::Null;
    await_that("another pod is created", || {
        let mut pods = pods();
        pod = pods.as_array_mut().unwrap().pop().unwrap_or_default();
        pod["metadata"]["uid"].is_string() && pod["metadata"]["uid"] != before
    });
    pod
}

/// The sources of the injected volume of a pod.
fn sources(pod: &Value) -> Vec<Value> {
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let injected = volumes.iter().find(|volume| {
        let name = volume["name"].as_str().unwrap();
        name.starts_with("kube-api-access-")
    });
    injected.unwrap()["projected"]["sources"]
        .as_array()
        .unwrap()
        .clone()
}

/// The token source of a pod; null without one.
fn token(pod: &Value) -> Value {
    let sources = sources(pod).into_iter();
    let mut tokens = sources.map(|mut source| source["serviceAccountToken"].take());
    tokens.find(|token| !token.is_null()).unwrap_or_default()
}

fn bind(plane: &ControlPlane, verb: &[&str]) {
    plane.kubectl(&[&["-n", "shop"], verb].concat());
}

const GRANT: [&str; 5] = [
    "create",
    "rolebinding",
    "view",
    "--clusterrole=view",
    "--serviceaccount=shop:default",
];

#[test]
fn an_unneeded_token_is_left_out_of_the_next_pod_and_a_permission_brings_it_back() {
    let test = "an_unneeded_token_is_left_out_of_the_next_pod_and_a_permission_brings_it_back";
    let Some(plane) = plane(test) else { return };
    let controller = controller(&plane);
    await_switch(&plane, true);
    plane.kubectl(&["-n", "shop", "create", "deployment", "web", "--image=nginx"]);
    await_listed(&plane, "|default/Deployment/web|");
    let mut pod = Value::Null;
    await_that("the policy acts", || {
        pod = recreated(&plane, "web");
        token(&pod).is_null()
    });
    assert_eq!(sources(&pod).len(), 2, "ca.crt and namespace stay: {pod}");
    let said = &pod["metadata"]["annotations"]["tokenexposure.io/withheld"];
    assert!(said.as_str().unwrap().starts_with("LeftOut: "), "{said}");
    plane.await_report("shop", "default", Some(("Withheld", "LeftOut")));
    let report = plane.get(&["-n", "shop", "ter", "default"]);
    assert!(
        report["status"]["workloads"][0]["leftOutSince"].is_string(),
        "{report}"
    );
    let wide = plane.kubectl(&["-n", "shop", "get", "ter", "-o", "wide"]);
    assert!(wide.contains("a policy left it out"), "{wide}");
    let left_out = r#"token_exposure_cured_pods{mode="LeaveOut"}"#;
    await_that("the metric counts it", || controller.metric(left_out) > 0.5);
    // What makes it last without the policy.
    let patch = plane.scan(&["-n", "shop", "-o", "patch"]);
    let patch = String::from_utf8(patch.stdout).unwrap();
    assert!(
        patch.contains("\nautomountServiceAccountToken: false\n"),
        "{patch}"
    );
    let preview = plane.scan(&["-n", "shop", "--preview-cure"]);
    let preview = String::from_utf8(preview.stdout).unwrap();
    assert!(
        preview.contains("shop/default: Deployment/web, 1 pod, as now"),
        "{preview}"
    );

    // Generations of pods, with a permission that comes and goes.
    for _ in 0..3 {
        assert!(token(&recreated(&plane, "web")).is_null());
        plane.await_report("shop", "default", Some(("Withheld", "LeftOut")));
        bind(&plane, &GRANT);
        // At once, before the controller can know it.
        assert!(!token(&recreated(&plane, "web")).is_null(), "RBAC is asked");
        plane.await_report("shop", "default", None);
        await_listed(&plane, "|");
        bind(&plane, &["delete", "rolebinding", "view"]);
        await_listed(&plane, "|default/Deployment/web|");
        assert!(token(&recreated(&plane, "web")).is_null());
    }
    plane.await_report("shop", "default", Some(("Withheld", "LeftOut")));
    bind(&plane, &GRANT);
    plane.await_report("shop", "default", Some(("Review", "MissingToken")));
    let report = plane.get(&["-n", "shop", "ter", "default"]);
    let advice = report["status"]["remediation"]["summary"].to_string();
    assert!(
        advice.contains("kubectl -n shop rollout restart deployment/web"),
        "{advice}"
    );
    bind(&plane, &["delete", "rolebinding", "view"]);
    await_listed(&plane, "|default/Deployment/web|");

    // The switch goes with the controller.
    let (status, _, log) = controller.terminate();
    assert!(status.success(), "{log}");
    await_switch(&plane, false);
    await_that("the token stays", || {
        !token(&recreated(&plane, "web")).is_null()
    });
}

#[test]
fn whoever_asks_for_the_token_keeps_it_and_a_namespace_decides_how_far_the_policy_goes() {
    let test =
        "whoever_asks_for_the_token_keeps_it_and_a_namespace_decides_how_far_the_policy_goes";
    let Some(plane) = plane(test) else { return };
    let _controller = controller(&plane);
    await_switch(&plane, true);
    let pod = |change: &Value| {
        let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "namespace": "shop" },
            "spec": { "containers": [{ "name": "c", "image": "i" }] } });
        for part in ["metadata", "spec"] {
            for (key, value) in change[part].as_object().into_iter().flatten() {
                pod[part][key] = value.clone();
            }
        }
        pod
    };
    let created = |change: &Value| -> Value {
        let args = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        let output = plane.try_kubectl(&args, &pod(change).to_string());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    plane.apply(&pod(&json!({})).to_string());
    await_listed(&plane, "|default/Pod/p|");
    // A dry run asks for the name of the pod that exists: it goes, and stays listed.
    plane.kubectl(&["-n", "shop", "delete", "pod", "p", "--now"]);
    await_that("the policy acts", || token(&created(&json!({}))).is_null());
    let annotated = |key: &str, value: &str| json!({ "metadata": { "name": "p", "namespace": "shop", "annotations": { key: value } } });
    for (what, change) in [
        (
            "another name",
            json!({ "metadata": { "name": "q", "namespace": "shop" } }),
        ),
        (
            "asks for it",
            json!({ "spec": { "automountServiceAccountToken": true } }),
        ),
        ("is exempted", annotated("tokenexposure.io/exempt", "why")),
        (
            "a consumer",
            annotated("vault.hashicorp.com/agent-inject", "true"),
        ),
        (
            "is labelled",
            json!({ "metadata": { "name": "p", "namespace": "shop", "labels": { "tokenexposure.io/cure": "off" } } }),
        ),
    ] {
        assert!(!token(&created(&change)).is_null(), "{what}");
    }
    let label = |value: &str| {
        plane.kubectl(&[
            "label",
            "--overwrite",
            "namespace",
            "shop",
            &format!("tokenexposure.io/cure={value}"),
        ]);
    };
    label("neuter");
    await_that("the token is useless", || {
        token(&created(&json!({})))["audience"] == "tokenexposure.io/withheld"
    });
    label("off");
    await_that("the token stays", || {
        let token = token(&created(&json!({})));
        !token.is_null() && token["audience"].is_null()
    });
    label("leave-out");
    await_that("the policy acts again", || {
        token(&created(&json!({}))).is_null()
    });
    plane.release("cure.mode=Off");
    await_that("the policy is gone", || {
        !token(&created(&json!({}))).is_null()
    });
}
