//! Since when does a workload run? Only a pod that runs proves that a token is not used.

use serde_json::{Value, json};
use token_exposure::model::Reason;

use super::{ALL, LENGTH, World, bind, time, uid};

/// The reason for an account after a change of its objects.
fn reason_for(world: &World, account: &str) -> Reason {
    world.reasons(&world.events, ALL)[account]
}

fn object<'a>(world: &'a mut World, kind: &str, name: &str) -> &'a mut Value {
    let mut objects = world.objects.iter_mut();
    let found = objects.find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap()
}

#[test]
fn a_pod_counts_from_when_it_runs() {
    let (long, late) = (time(-900), time(LENGTH - 600));
    let unscheduled =
        json!([{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable" }]);
    for (status, expected) in [
        (json!({}), Reason::NeverUsed),
        // Neither the scheduler nor a kubelet has said anything yet.
        (json!({ "phase": "Pending" }), Reason::NeverUsed),
        (
            json!({ "phase": "Running", "startTime": long, "conditions": [{ "type": "Ready" }] }),
            Reason::NeverUsed,
        ),
        (
            json!({ "phase": "Running", "startTime": late }),
            Reason::DirectGrant,
        ),
        (
            json!({ "phase": "Pending", "conditions": unscheduled }),
            Reason::DirectGrant,
        ),
        (
            json!({ "phase": "Succeeded", "startTime": long }),
            Reason::DirectGrant,
        ),
        (
            json!({ "phase": "Failed", "startTime": long, "reason": "Evicted" }),
            Reason::DirectGrant,
        ),
    ] {
        let mut world = World::new();
        object(&mut world, "Pod", "idle-0")["status"] = status.clone();
        assert_eq!(reason_for(&world, "idle"), expected, "{status}");
    }
}

/// A world with a Deployment that has this many pods, which the scheduler has bound before the logs' window begins.
fn deployed(pods: usize) -> World {
    let mut world = World::new();
    world.account("web", true, 0, Reason::NeverUsed);
    world.objects.pop();
    for number in 0..2 {
        let name = format!("web-7d4b9c-{number}");
        bind(&mut world, 30, "system:kube-scheduler", &name, 201);
    }
    for number in 0..pods {
        let name = format!("web-7d4b9c-{number}");
        world.pod("web", &name, 30);
        let metadata = &mut object(&mut world, "Pod", &name)["metadata"];
        metadata["labels"] = json!({ "app": "web", "pod-template-hash": "7d4b9c" });
        metadata["ownerReferences"] = json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9c",
            "uid": uid(7), "controller": true }]);
    }
    let template = json!({ "metadata": { "labels": { "app": "web" } },
        "spec": { "serviceAccountName": "web", "containers": [{ "name": "c", "image": "i" }] } });
    world.objects.push(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "namespace": "shop", "uid": uid(8), "creationTimestamp": "2026-11-26T07:00:00Z" },
        "spec": { "replicas": pods, "selector": { "matchLabels": { "app": "web" } }, "template": template },
    }));
    world
}

#[test]
fn a_deployment_without_pods_that_run_is_not_said_to_use_no_token() {
    assert_eq!(reason_for(&deployed(2), "web"), Reason::NeverUsed);
    assert_eq!(reason_for(&deployed(0), "web"), Reason::DirectGrant);
    // One of two runs: the workload does.
    let mut world = deployed(2);
    for (number, expected) in [(0, Reason::NeverUsed), (1, Reason::DirectGrant)] {
        let name = format!("web-7d4b9c-{number}");
        object(&mut world, "Pod", &name)["status"] = json!({ "phase": "Failed" });
        assert_eq!(reason_for(&world, "web"), expected);
    }
}
