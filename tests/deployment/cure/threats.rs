//! What others can do: forge or delete a summary, grant the switch's permission to the controller, kill and freeze it. Any
//! doubt leaves the token in.

use std::fs;

use serde_json::{Value, json};

use super::{
    SWITCH, arguments, await_listed, await_switch, controller, controller_with, environment, plane,
    token,
};
use crate::rig::{ControlPlane, await_that, helm::RELEASE, program_path, signal};

const SUMMARY: &str =
    "/apis/tokenexposure.io/v1alpha1/namespaces/shop/tokenexposuresummaries/token-exposure";

/// The pod that would be created.
fn dry(plane: &ControlPlane, name: &str, account: &str) -> Value {
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "shop" },
        "spec": { "serviceAccountName": account, "containers": [{ "name": "c", "image": "i" }] } });
    let args = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
    let output = plane.try_kubectl(&args, &pod.to_string());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn has_token(plane: &ControlPlane, name: &str, account: &str) -> bool {
    !token(&dry(plane, name, account)).is_null()
}

fn run_pod(plane: &ControlPlane, name: &str, account: &str) {
    plane
        .create(&json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "shop" },
            "spec": { "serviceAccountName": account, "containers": [{ "name": "c", "image": "i" }] } }))
        .unwrap();
}

fn forge(plane: &ControlPlane, curable: &str) {
    let change = json!({ "status": { "curable": curable } });
    plane.merge(&format!("{SUMMARY}/status"), &change);
}

/// Of all verbs on all resources that the policy asks RBAC for; `view`, `edit` and the like have many of them.
#[test]
fn a_forged_summary_takes_no_token_from_an_account_with_a_common_permission() {
    let test = "a_forged_summary_takes_no_token_from_an_account_with_a_common_permission";
    let Some(plane) = plane(test) else { return };
    let controller = controller(&plane);
    await_switch(&plane, true);
    plane.kubectl(&["-n", "shop", "create", "serviceaccount", "granted"]);
    plane.kubectl(&["-n", "shop", "create", "serviceaccount", "free"]);
    run_pod(&plane, "free", "free");
    await_listed(&plane, "|free/Pod/free|");
    // It stays listed without a pod.
    plane.delete("/api/v1/namespaces/shop/pods/free?gracePeriodSeconds=0");
    await_that("the policy acts", || !has_token(&plane, "free", "free"));

    // It is restored at once while the controller runs.
    let forged = "|free/Pod/free|granted/Pod/p|";
    forge(&plane, forged);
    await_listed(&plane, "|free/Pod/free|");

    // Frozen, it restores nothing, and the switch is still on.
    signal("STOP", controller.pid());
    forge(&plane, forged);
    await_that("the policy acts by it", || {
        !has_token(&plane, "p", "granted")
    });
    let rbac = "rbac.authorization.k8s.io";
    let grant = |role: &str, rules: &Value| {
        plane.apply(
            &json!({ "apiVersion": format!("{rbac}/v1"), "kind": "Role",
            "metadata": { "name": role, "namespace": "shop" }, "rules": rules })
            .to_string(),
        );
        let binding = json!({ "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding",
            "metadata": { "name": role, "namespace": "shop" },
            "roleRef": { "apiGroup": rbac, "kind": "Role", "name": role },
            "subjects": [{ "kind": "ServiceAccount", "name": "granted" }] });
        plane.apply(&binding.to_string());
    };
    // What the policy asks for, as it is installed.
    let policy = plane.get(&["mutatingadmissionpolicy", "token-exposure-cure"]);
    let variables = policy["spec"]["variables"].as_array().unwrap().iter();
    let asked = |field: &str| -> Vec<String> {
        variables
            .clone()
            .filter(|variable| variable["name"].as_str().unwrap().starts_with("may"))
            .flat_map(|variable| {
                let expression = variable["expression"].as_str().unwrap().to_owned();
                let parts: Vec<_> = expression
                    .split(&format!("{field}(\""))
                    .skip(1)
                    .map(|part| part.split('"').next().unwrap().to_owned())
                    .collect();
                parts
            })
            .collect()
    };
    let (groups, resources, verbs) = (asked("group"), asked("resource"), asked("check"));
    assert!(groups.len() >= 8 && groups.len() == resources.len() && groups.len() == verbs.len());
    for ((group, resource), verb) in groups.iter().zip(&resources).zip(&verbs) {
        grant(
            "one",
            &json!([{ "apiGroups": [group], "resources": [resource], "verbs": [verb] }]),
        );
        await_that(&format!("{verb} {group}/{resource} is seen"), || {
            has_token(&plane, "p", "granted")
        });
        plane.kubectl(&["-n", "shop", "delete", "rolebinding", "one"]);
        await_that("it is gone", || !has_token(&plane, "p", "granted"));
    }
    for role in ["view", "edit", "admin", "cluster-admin", "system:node"] {
        let cluster_role = format!("--clusterrole={role}");
        let args = ["-n", "shop", "create", "rolebinding", "one"];
        let args = [&args[..], &[&cluster_role, "--serviceaccount=shop:granted"]].concat();
        plane.kubectl(&args);
        await_that(role, || has_token(&plane, "p", "granted"));
        plane.kubectl(&["-n", "shop", "delete", "rolebinding", "one"]);
    }

    // Without a summary nothing is withheld, whatever the switch says.
    plane.delete(SUMMARY);
    await_that("the token stays", || has_token(&plane, "free", "free"));
    signal("CONT", controller.pid());
    await_listed(&plane, "|free/Pod/free|");
}

/// Who has everything has the permission of the switch too: then it could not be switched off, and nothing is listed.
#[test]
fn nothing_is_listed_while_something_else_grants_the_permission_of_the_switch() {
    let test = "nothing_is_listed_while_something_else_grants_the_permission_of_the_switch";
    let Some(plane) = plane(test) else { return };
    plane.kubectl(&[
        "create",
        "clusterrolebinding",
        "everything",
        "--clusterrole=cluster-admin",
        "--serviceaccount=token-exposure:token-exposure",
    ]);
    let controller = controller(&plane);
    run_pod(&plane, "p", "default");
    await_that("it says why", || {
        controller.log().contains("something else than the switch")
    });
    await_listed(&plane, "|");
    assert!(plane.ask(SWITCH).unwrap().is_none());
    plane.kubectl(&["delete", "clusterrolebinding", "everything"]);
    await_listed(&plane, "|default/Pod/p|");
    await_switch(&plane, true);
}

/// A process that was killed leaves the switch on. The next one deletes it before anything can fail, and waits for the
/// grace period: one that is killed again and again never switches it on.
#[test]
fn a_killed_process_leaves_the_switch_off_for_the_grace_period() {
    let test = "a_killed_process_leaves_the_switch_off_for_the_grace_period";
    let Some(plane) = plane(test) else { return };
    let first = controller(&plane);
    await_switch(&plane, true);
    signal("KILL", first.pid());
    drop(first);
    assert!(plane.ask(SWITCH).unwrap().is_some(), "nobody deleted it");

    // It cannot start, and has deleted it.
    let broken = plane.file("broken.yaml");
    fs::write(&broken, "exemptoins: []\n").unwrap();
    let kubeconfig = plane.own_kubeconfig();
    let mut command = std::process::Command::new(program_path());
    command.args(["controller", "--kubeconfig", kubeconfig.to_str().unwrap()]);
    command.args(arguments(&plane));
    command.args(["--config", broken.to_str().unwrap()]);
    command.envs(environment(&plane));
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    assert!(plane.ask(SWITCH).unwrap().is_none(), "{output:?}");

    // Left on again, and a grace period that does not end in this test.
    let second = controller(&plane);
    await_switch(&plane, true);
    signal("KILL", second.pid());
    drop(second);
    let args = arguments(&plane);
    let longer = |arg: &String| arg.replace("period=1s", "period=1h");
    let args: Vec<_> = args.iter().map(longer).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let third = controller_with(&plane, &args);
    assert!(plane.ask(SWITCH).unwrap().is_none());
    third.settle();
    run_pod(&plane, "p", "default");
    plane.await_report("shop", "default", Some(("Unneeded", "NoPermissions")));
    assert!(plane.ask(SWITCH).unwrap().is_none());
    // One that ends in order leaves nothing behind, and the next one does not wait.
    let (status, _, log) = third.terminate();
    assert!(status.success(), "{log}");
    let _fourth = controller(&plane);
    await_switch(&plane, true);
}

/// The binding goes with the pod of the controller, and with nothing else that has its name.
#[test]
fn the_switch_goes_with_the_pod_of_the_controller() {
    let test = "the_switch_goes_with_the_pod_of_the_controller";
    let Some(plane) = plane(test) else { return };
    let controller = controller(&plane);
    await_switch(&plane, true);
    signal("STOP", controller.pid());
    plane.kubectl(&["-n", RELEASE, "delete", "pod", "--all", "--now"]);
    await_switch(&plane, false);
}
