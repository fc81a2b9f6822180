//! What others can do: forge or delete a summary, grant the switch's permission to the controller, kill and freeze it. Any
//! doubt leaves the token in.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use serde_json::{Value, json};

use super::{
    SWITCH, arguments, await_listed, await_switch, controller, controller_with, environment, plane,
    prepare, token,
};
use crate::rig::{ControlPlane, await_that, feature::Feature, helm::RELEASE, program_path, signal};

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
        controller.log().contains("something other than the switch")
    });
    await_listed(&plane, "|");
    assert!(plane.ask(SWITCH).unwrap().is_none());
    plane.kubectl(&["delete", "clusterrolebinding", "everything"]);
    await_listed(&plane, "|default/Pod/p|");
    await_switch(&plane, true);
}

/// A switch that cannot be set is tried again now and then, and nothing is listed meanwhile.
#[test]
fn a_denied_switch_is_not_asked_for_all_the_time() {
    let test = "a_denied_switch_is_not_asked_for_all_the_time";
    let Some(plane) = plane(test) else { return };
    let role = [
        "-n",
        "token-exposure",
        "patch",
        "role",
        "token-exposure-cure",
    ];
    let creating = |verb: &str| {
        let patch = format!(
            r#"[{{"op":"test","path":"/rules/0/resources/0","value":"rolebindings"}},{{"op":"replace","path":"/rules/0/verbs","value":["{verb}"]}}]"#
        );
        plane.kubectl(&[&role[..], &["--type=json", "--patch", &patch]].concat());
    };
    creating("list");
    let controller = controller(&plane);
    run_pod(&plane, "p", "default");
    await_that("it says why", || {
        controller.log().contains("withholds tokens cannot be set")
    });
    await_listed(&plane, "|");
    let attempts = || {
        let metrics = plane.kubectl(&["get", "--raw", "/metrics"]);
        // It first asks whether something else grants the permission.
        let reviews = metrics.lines().filter(|line| {
            line.starts_with("apiserver_request_total{")
                && line.contains(r#"resource="subjectaccessreviews""#)
        });
        let counts = reviews.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
        counts.sum::<f64>()
    };
    let before = attempts();
    assert!(before > 0.5);
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(attempts() - before < 1.5, "it asked again and again");
    await_listed(&plane, "|");
    creating("create");
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

/// A finalizer keeps a summary that the controller deletes, and policies go on reading it.
#[test]
fn a_summary_that_a_finalizer_keeps_loses_its_names() {
    let test = "a_summary_that_a_finalizer_keeps_loses_its_names";
    let Some(plane) = plane(test) else { return };
    let controller = controller(&plane);
    await_switch(&plane, true);
    controller.settle();
    // No account of the namespace has a pod: it has no summary.
    let summary = json!({ "apiVersion": "tokenexposure.io/v1alpha1", "kind": "TokenExposureSummary",
        "metadata": { "name": "token-exposure", "namespace": "shop", "finalizers": ["example.com/stays"] }, "spec": {} });
    plane.apply(&summary.to_string());
    await_that("the controller has deleted it, and it stays", || {
        let found = plane.ask(SUMMARY).unwrap().unwrap();
        found["metadata"]["deletionTimestamp"].is_string()
    });
    forge(&plane, "|default/Pod/first|");
    await_listed(&plane, "|");
    await_that("a workload that was never judged has its token", || {
        has_token(&plane, "first", "default")
    });
    let no_finalizer = json!({ "metadata": { "finalizers": null } });
    plane.merge(SUMMARY, &no_finalizer);
    await_that("it is gone", || plane.ask(SUMMARY).unwrap().is_none());
}

/// Anybody can write the annotation of a withheld token. It gives none to a pod that says that it wants none.
#[test]
fn a_copied_annotation_gives_no_token_to_a_pod_that_refuses_it() {
    let test = "a_copied_annotation_gives_no_token_to_a_pod_that_refuses_it";
    let Some(plane) = plane(test) else { return };
    let controller = controller(&plane);
    await_switch(&plane, true);
    run_pod(&plane, "other", "default");
    await_listed(&plane, "|default/Pod/other|");
    let copy = |automount: &Value| {
        let mut pod = json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "copy", "namespace": "shop", "annotations": { "tokenexposure.io/withheld": "LeftOut" } },
            "spec": { "containers": [{ "name": "c", "image": "i", "volumeMounts": [
                { "name": "kube-api-access-copy", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true }] }],
                "volumes": [{ "name": "kube-api-access-copy", "projected": { "sources": [{ "configMap": { "name": "kube-root-ca.crt" } }] } }] } });
        if automount.is_boolean() {
            pod["spec"]["automountServiceAccountToken"] = automount.clone();
        }
        let args = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        let output = plane.try_kubectl(&args, &pod.to_string());
        assert!(output.status.success(), "{output:?}");
        token(&serde_json::from_slice(&output.stdout).unwrap())
    };
    await_that("the policy gives back what it withheld", || {
        !copy(&Value::Null).is_null()
    });
    assert!(!copy(&true.into()).is_null());
    assert!(copy(&false.into()).is_null(), "{}", controller.log());
}

/// An authorizer beside RBAC that has no opinion, until it fails.
struct Authorizer {
    address: String,
    fails: &'static AtomicBool,
}

impl Authorizer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let fails: &'static AtomicBool = Box::leak(Box::default());
        thread::spawn(move || {
            for connection in listener.incoming() {
                let connection = connection.unwrap();
                thread::spawn(move || answer(&connection, fails.load(Relaxed)));
            }
        });
        Self { address, fails }
    }
}

/// Answers one request; the API server may end the connection at any time.
fn answer(mut connection: &TcpStream, fails: bool) -> Option<()> {
    const NO_OPINION: &str = r#"{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","status":{"allowed":false}}"#;
    let mut reader = BufReader::new(connection);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    let status = if fails { "400 Bad Request" } else { "200 OK" };
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close");
    let length = NO_OPINION.len();
    write!(
        connection,
        "{head}\r\nContent-Length: {length}\r\n\r\n{NO_OPINION}"
    )
    .ok()
}

/// What an authorizer cannot answer may be a permission.
#[test]
fn an_authorizer_that_fails_leaves_the_token_in() {
    let test = "an_authorizer_that_fails_leaves_the_token_in";
    let authorizer = Authorizer::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("authorizer.yaml");
    let kubeconfig = json!({ "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": authorizer.address } }], "users": [{ "name": "c", "user": {} }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }] });
    fs::write(&file, kubeconfig.to_string()).unwrap();
    let config = format!(
        "--authorization-webhook-config-file={}",
        file.to_str().unwrap()
    );
    let plane = ControlPlane::bare(&[
        "--authorization-mode=Webhook",
        &config,
        "--authorization-webhook-version=v1",
        "--authorization-webhook-cache-unauthorized-ttl=1ms",
    ]);
    if plane.lacks(Feature::MutatingAdmissionPolicy, test) {
        return;
    }
    prepare(&plane);
    let controller = controller(&plane);
    await_switch(&plane, true);
    run_pod(&plane, "free", "default");
    await_listed(&plane, "|default/Pod/free|");
    plane.delete("/api/v1/namespaces/shop/pods/free?gracePeriodSeconds=0");
    await_that("the policy acts", || !has_token(&plane, "free", "default"));
    // The controller cannot take the name off the list, nor switch it off.
    signal("STOP", controller.pid());
    authorizer.fails.store(true, Relaxed);
    await_that("the token stays", || has_token(&plane, "free", "default"));
    assert!(plane.ask(SWITCH).unwrap().is_some());
    authorizer.fails.store(false, Relaxed);
    await_that("the policy acts again", || {
        !has_token(&plane, "free", "default")
    });
}
