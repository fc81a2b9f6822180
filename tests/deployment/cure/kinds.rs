//! Every kind of workload, in a namespace that enforces the `restricted` Pod Security Standard: their next pods have no
//! token, and their own objects stay as people wrote them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{await_switch, controller, plane, token};
use crate::rig::{ControlPlane, PATIENCE, await_that, holds_within};

const NAMESPACE: &str = "shop";

/// The workload of each kind that the summary names.
const LISTED: [&str; 8] = [
    "default/CronJob/backup",
    "default/DaemonSet/agent",
    "default/Deployment/web",
    "default/Job/migrate",
    "default/Pod/bare",
    "default/ReplicaSet/set",
    "default/ReplicationController/old",
    "default/StatefulSet/db",
];

/// The pod template of all of them.
fn template(name: &str, restart: &str) -> Value {
    let context = json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } });
    json!({
        "metadata": { "labels": { "app": name } },
        "spec": {
            "restartPolicy": restart,
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{ "name": "c", "image": "i", "securityContext": context }],
        },
    })
}

fn workload(api_version: &str, kind: &str, name: &str) -> Value {
    let pod = template(name, "Always");
    let mut selector = json!({ "matchLabels": { "app": name } });
    let spec = match kind {
        "Pod" => pod["spec"].clone(),
        "Job" => json!({ "template": template(name, "Never") }),
        "CronJob" => {
            let job = json!({ "spec": { "template": template(name, "Never") } });
            json!({ "schedule": "0 4 1 1 *", "jobTemplate": job })
        }
        _ => {
            if kind == "ReplicationController" {
                selector = json!({ "app": name });
            }
            json!({ "selector": selector, "template": pod })
        }
    };
    json!({ "apiVersion": api_version, "kind": kind, "spec": spec,
        "metadata": { "name": name, "namespace": NAMESPACE, "labels": { "app": name } } })
}

fn workloads() -> [Value; 8] {
    [
        workload("apps/v1", "Deployment", "web"),
        workload("apps/v1", "StatefulSet", "db"),
        workload("apps/v1", "DaemonSet", "agent"),
        workload("apps/v1", "ReplicaSet", "set"),
        workload("v1", "ReplicationController", "old"),
        workload("batch/v1", "Job", "migrate"),
        workload("batch/v1", "CronJob", "backup"),
        workload("v1", "Pod", "bare"),
    ]
}

/// The pods by the kind of their workload.
fn pods(plane: &ControlPlane) -> Vec<Value> {
    let mut pods = plane.get(&["-n", NAMESPACE, "pods"]);
    let pods = pods["items"].as_array_mut().unwrap();
    pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    std::mem::take(pods)
}

/// Recreates all pods, as evictions and schedules do.
fn recreate(plane: &ControlPlane, round: usize) {
    let n = ["-n", NAMESPACE];
    let old: Vec<_> = pods(plane)
        .iter()
        .map(|pod| pod["metadata"]["uid"].clone())
        .collect();
    let jobs = ["delete", "job", "--all", "--cascade=foreground"];
    plane.kubectl(&[&n, &jobs[..]].concat());
    let gone = ["delete", "pod", "--all", "--now"];
    plane.kubectl(&[&n, &gone[..]].concat());
    for name in ["Job", "Pod"] {
        let again = workloads().into_iter().find(|found| found["kind"] == name);
        plane.apply(&again.unwrap().to_string());
    }
    let job = format!("backup-2941234{round}");
    let scheduled = ["create", "job", &job, "--from=cronjob/backup"];
    plane.kubectl(&[&n, &scheduled[..]].concat());
    let mut names = Vec::new();
    let all_again = holds_within(PATIENCE, Duration::from_millis(200), || {
        let now = pods(plane);
        let is_new = |pod: &Value| !old.contains(&pod["metadata"]["uid"]);
        names = now
            .iter()
            .map(|pod| pod["metadata"]["name"].clone())
            .collect();
        now.len() == LISTED.len() && now.iter().all(is_new)
    });
    assert!(all_again, "each workload has another pod: {names:?}");
}

#[test]
#[ignore = "takes minutes; run by `make soak`"]
fn the_next_pods_of_every_kind_have_no_token_and_nothing_drifts() {
    let test = "the_next_pods_of_every_kind_have_no_token_and_nothing_drifts";
    let Some(plane) = plane(test) else { return };
    let _controller = controller(&plane);
    await_switch(&plane, true);
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    plane.kubectl(&["label", "namespace", NAMESPACE, restricted]);
    // DaemonSets have a pod for each node.
    plane.apply(r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}"#);
    plane.kubectl(&["taint", "node", "n", "node.kubernetes.io/not-ready-"]);
    let all = json!({ "apiVersion": "v1", "kind": "List", "items": workloads() }).to_string();
    let applied = plane.try_kubectl(&["apply", "-f", "-"], &all);
    assert!(applied.status.success(), "{applied:?}");
    recreate(&plane, 1);
    let path =
        "/apis/tokenexposure.io/v1alpha1/namespaces/shop/tokenexposuresummaries/token-exposure";
    let expected = format!("|{}|", LISTED.join("|"));
    let mut listed = Value::Null;
    await_that("all are listed", || {
        let found = plane.ask(path).unwrap().unwrap_or_default();
        listed = found["status"]["curable"].clone();
        listed == *expected
    });
    let generations = || {
        let all = plane.get(&[
            "-n",
            NAMESPACE,
            "deployment,statefulset,daemonset,rs,rc,cronjob",
        ]);
        let items = all["items"].as_array().unwrap().iter();
        let one = |object: &Value| (object["metadata"]["name"].clone(), object["spec"].clone());
        items.map(one).collect::<Vec<_>>()
    };
    let before = generations();
    for round in 2..4 {
        recreate(&plane, round);
        for pod in pods(&plane) {
            assert!(token(&pod).is_null(), "{pod}");
        }
        plane.await_report(NAMESPACE, "default", Some(("Withheld", "LeftOut")));
    }
    assert_eq!(generations(), before, "templates stay as they are");
    // As GitOps compares them: on the client, and by server-side apply.
    for more in [&[][..], &["--server-side", "--force-conflicts"]] {
        let again = plane.try_kubectl(&[&["apply", "-f", "-"], more].concat(), &all);
        assert!(again.status.success(), "{again:?}");
        let diff = plane.try_kubectl(&[&["diff", "-f", "-"], more].concat(), &all);
        let said = String::from_utf8_lossy(&diff.stdout);
        let error = String::from_utf8_lossy(&diff.stderr);
        assert_eq!(diff.status.code(), Some(0), "{said}{error}");
        let dry = ["apply", "--dry-run=server", "-f", "-"];
        let dry = plane.try_kubectl(&[&dry[..], more].concat(), &all);
        let said = String::from_utf8_lossy(&dry.stdout);
        assert!(dry.status.success(), "{dry:?}");
        assert!(!said.contains("created"), "{said}");
    }
    assert_eq!(generations(), before, "nothing was applied");
    assert!(pods(&plane).iter().all(|pod| token(pod).is_null()));
}

/// Generations of a pod, with a permission that comes and goes: each ends as the permission says.
#[test]
#[ignore = "takes minutes; run by `make soak`"]
fn fifty_generations_of_pods_never_flap() {
    let test = "fifty_generations_of_pods_never_flap";
    let Some(plane) = plane(test) else { return };
    let controller = controller(&plane);
    await_switch(&plane, true);
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "namespace": NAMESPACE },
        "spec": { "containers": [{ "name": "c", "image": "i" }] } });
    let path = "/api/v1/namespaces/shop/pods/p";
    let created = || {
        plane.delete(&format!("{path}?gracePeriodSeconds=0"));
        plane.create(&pod).unwrap();
        plane.ask(path).unwrap().unwrap()
    };
    let rbac = "rbac.authorization.k8s.io";
    let binding = json!({ "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding",
        "metadata": { "name": "b", "namespace": NAMESPACE },
        // Nothing that the policy itself asks for.
        "roleRef": { "apiGroup": rbac, "kind": "ClusterRole", "name": "system:kube-scheduler" },
        "subjects": [{ "kind": "ServiceAccount", "name": "default" }] });
    let of_binding = format!("/apis/{rbac}/v1/namespaces/shop/rolebindings/b");
    let await_listed = || super::await_listed(&plane, "|default/Pod/p|");
    created();
    await_listed();
    for generation in 0..50 {
        let found = created();
        assert!(token(&found).is_null(), "{generation}: {found}");
        let controller = controller.log();
        if generation % 10 != 9 {
            continue;
        }
        plane.await_report(NAMESPACE, "default", Some(("Withheld", "LeftOut")));
        plane.create(&binding).unwrap();
        plane.await_report(NAMESPACE, "default", Some(("Review", "MissingToken")));
        for _ in 0..3 {
            assert!(!token(&created()).is_null(), "{generation}: {controller}");
        }
        plane.await_report(NAMESPACE, "default", None);
        plane.delete(&of_binding);
        plane.await_report(NAMESPACE, "default", Some(("Unneeded", "NoPermissions")));
        await_listed();
    }
}
