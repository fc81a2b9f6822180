//! Since when does a workload run? Only pods that are known to run, and what controllers were seen to make, say so.

use super::*;

fn whole_seconds(seconds: i64) -> String {
    time(seconds).replace(".000000", "")
}

/// What an account is whose only pod belongs to this owner, and has this status.
fn reason_of(owner: &str, status: &Value) -> Reason {
    let mut world = World::new();
    let pod = pod(&mut world, "idle-0");
    pod["status"] = status.clone();
    match owner {
        "" => drop(
            pod["metadata"]
                .as_object_mut()
                .unwrap()
                .remove("ownerReferences"),
        ),
        kind => pod["metadata"]["ownerReferences"][0]["kind"] = kind.into(),
    }
    world.reasons(&world.events, ALL)["idle"]
}

/// The status of a container that does not run.
fn crashing(state: &Value) -> Value {
    json!({ "restartCount": 12, "state": state })
}

/// A status with that of an init container.
fn with_init(mut status: Value, state: &Value) -> Value {
    status["initContainerStatuses"] = json!([{ "state": state }]);
    status
}

#[test]
fn only_a_pod_that_runs_shows_that_its_token_was_not_used() {
    let start = whole_seconds(-890);
    let container = |started: i64, restarts: i64| json!({ "restartCount": restarts, "state": { "running": { "startedAt": whole_seconds(started) } } });
    let running = |statuses: &[Value]| json!({ "phase": "Running", "startTime": start, "containerStatuses": statuses });
    let pending = json!({ "phase": "Pending", "conditions": waiting() });
    for owner in ["DaemonSet", "Job", ""] {
        for (status, expected) in [
            (running(&[]), Reason::NeverUsed),
            (pending.clone(), Reason::DirectGrant),
            (
                json!({ "phase": "Succeeded", "startTime": start }),
                Reason::DirectGrant,
            ),
        ] {
            assert_eq!(reason_of(owner, &status), expected, "{owner} {status}");
        }
    }
    for status in [
        json!({ "phase": "Pending", "startTime": start, "conditions": waiting() }),
        // Where others run, this one waits for a scheduler that does not exist.
        json!({ "phase": "Pending" }),
        pending,
        json!({ "phase": "Succeeded", "startTime": start }),
        json!({ "phase": "Failed", "startTime": start }),
        json!({ "phase": "Unknown", "startTime": start }),
        // It waited for a node, or for an image.
        json!({ "phase": "Running", "startTime": whole_seconds(LENGTH - 600) }),
        running(&[container(-880, 0), container(LENGTH - 600, 0)]),
        json!({ "phase": "Running", "containerStatuses": [container(LENGTH - 600, 0)] }),
        // It crashes, also between its crashes.
        running(&[
            container(-880, 0),
            crashing(&json!({ "waiting": { "reason": "CrashLoopBackOff" } })),
        ]),
        running(&[crashing(&json!({ "terminated": { "exitCode": 1 } }))]),
        // Its init containers took long.
        with_init(
            running(&[container(LENGTH - 300, 1)]),
            &json!({ "terminated": { "finishedAt": whole_seconds(LENGTH - 600) } }),
        ),
        with_init(
            running(&[container(LENGTH - 300, 1)]),
            &json!({ "running": { "startedAt": whole_seconds(LENGTH - 600) } }),
        ),
    ] {
        assert_eq!(
            reason_of("StatefulSet", &status),
            Reason::DirectGrant,
            "{status}"
        );
    }
    // A container that restarts has run before; nothing is said of the pod, or not when.
    for status in [
        json!(null),
        json!({ "phase": null }),
        json!({ "phase": "Running" }),
        running(&[container(-880, 0)]),
        running(&[container(LENGTH - 600, 3)]),
        with_init(
            running(&[container(LENGTH - 300, 1)]),
            &json!({ "terminated": { "finishedAt": whole_seconds(-880) } }),
        ),
    ] {
        assert_eq!(
            reason_of("StatefulSet", &status),
            Reason::NeverUsed,
            "{status}"
        );
    }
}

#[test]
fn new_pods_count_as_running_where_no_pod_has_a_scheduler_or_a_kubelet() {
    let mut world = World::new();
    for object in &mut world.objects {
        if object["kind"] == "Pod" {
            object["status"] = json!({ "phase": "Pending" });
        }
    }
    assert_eq!(world.reasons(&world.events, ALL), world.expected);
}

/// A token that is bound to no pod is used while the pod is there, and its containers have not started yet.
#[test]
fn a_use_by_whom_is_not_known_counts_from_when_the_pod_was_created() {
    for (seconds, expected) in [(-1, Reason::NeverUsed), (30, Reason::DirectGrant)] {
        let mut world = World::new();
        let pod = pod(&mut world, "idle-0");
        pod["metadata"]["creationTimestamp"] = whole_seconds(10).into();
        pod["status"] = json!({ "phase": "Running", "startTime": whole_seconds(60) });
        let user = token("idle", "other-3", &uid_of_gone());
        world.ask(10 + seconds, &user, "get", 200, &allowed_by("idle"));
        assert_eq!(
            world.reasons(&world.events, ALL)["idle"],
            expected,
            "{seconds}"
        );
    }
}

/// The conditions of a pod that has no node.
fn waiting() -> Value {
    json!([{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable" }])
}

/// A user that is an account of kube-system.
fn controller(name: &str) -> Value {
    let mut user = token(name, name, &uid(900));
    user["username"] = format!("system:serviceaccount:kube-system:{name}").into();
    user
}

/// Somebody creates an object.
fn create(world: &mut World, seconds: i64, user: &Value, resource: (&str, &str), name: &str) {
    let object = json!({ "apiGroup": resource.0, "resource": resource.1, "namespace": "shop", "name": name });
    let id = format!("create-{}", world.events.len());
    let value = event(&id, user, "create", &object, 201, "");
    world.log(0, seconds, value);
}

const REPLICA_SETS: (&str, &str) = ("apps", "replicasets");
const JOBS: (&str, &str) = ("batch", "jobs");
const SCHEDULER: &str = "system:kube-scheduler";

/// A world with a Deployment `zero`, whose pods have these phases and are a minute old.
fn deployment(phases: &[&str]) -> World {
    let mut world = World::new();
    world.account("zero", true, LENGTH - 60, Reason::DirectGrant);
    let pod = world.objects.pop().unwrap();
    let mut template = json!({ "metadata": { "labels": { "app": "zero" } }, "spec": pod["spec"] });
    template["spec"] = json!({ "serviceAccountName": "zero", "containers": [{ "name": "c" }] });
    let selector = json!({ "matchLabels": { "app": "zero" } });
    let owner = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "zero", "uid": uid(77), "controller": true });
    let spec = json!({ "replicas": phases.len(), "selector": selector, "template": template });
    world.objects.push(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "zero", "namespace": "shop", "uid": uid(77) }, "spec": spec,
    }));
    world.objects.push(json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": spec,
        "metadata": { "name": "zero-7d4b9c5f6", "namespace": "shop", "uid": uid(78), "ownerReferences": [owner] },
    }));
    for (number, phase) in phases.iter().enumerate() {
        let mut pod = pod.clone();
        let suffix = ["x7k2p", "b2b2c"][number];
        pod["metadata"]["name"] = format!("zero-7d4b9c5f6-{suffix}").into();
        pod["metadata"]["uid"] = uid(80 + number).into();
        pod["metadata"]["labels"] = json!({ "app": "zero", "pod-template-hash": "7d4b9c5f6" });
        pod["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "zero-7d4b9c5f6", "uid": uid(78), "controller": true,
        }]);
        pod["status"]["phase"] = (*phase).into();
        pod["status"]["conditions"] = waiting();
        world.objects.push(pod);
    }
    world
}

#[test]
fn a_deployment_is_as_old_as_its_earlier_pods_while_it_has_one_that_runs() {
    for (phases, expected) in [
        (&["Running", "Running"][..], Reason::NeverUsed),
        (&["Running", "Pending"], Reason::NeverUsed),
        (&["Pending", "Pending"], Reason::DirectGrant),
        (&["Succeeded"], Reason::DirectGrant),
        // It was scaled to zero.
        (&[], Reason::DirectGrant),
    ] {
        let mut world = deployment(phases);
        bind(&mut world, 10, SCHEDULER, "zero-7d4b9c5f6-b2b2b", 201);
        let found = world.reasons(&world.events, ALL);
        assert_eq!(found["zero"], expected, "{phases:?}");
        // Without an earlier one, it is young.
        let world = deployment(phases);
        assert_eq!(
            world.reasons(&world.events, ALL)["zero"],
            Reason::DirectGrant
        );
    }
}

#[test]
fn an_earlier_version_of_a_deployment_counts_if_its_controller_made_it() {
    let mallory = json!({ "username": "mallory", "groups": ["system:authenticated"] });
    let maker = controller("deployment-controller");
    for (user, name, expected) in [
        (Some(&maker), "zero-6c8d7f9b5", Reason::NeverUsed),
        (Some(&maker), "zero-two-6c8d7f9b5", Reason::DirectGrant),
        (Some(&mallory), "zero-6c8d7f9b5", Reason::DirectGrant),
        (
            Some(&controller("default")),
            "zero-6c8d7f9b5",
            Reason::DirectGrant,
        ),
        // A pod of something else has such a name.
        (None, "", Reason::DirectGrant),
    ] {
        let mut world = deployment(&["Running"]);
        if let Some(user) = user {
            create(&mut world, 15, user, REPLICA_SETS, name);
        }
        bind(&mut world, 20, SCHEDULER, "zero-6c8d7f9b5-b2b2b", 201);
        let found = world.reasons(&world.events, ALL);
        assert_eq!(found["zero"], expected, "{user:?} {name}");
    }
}

/// A world with a CronJob `nightly`, whose pods have these phases and were created a minute after each other.
fn cron_job(phases: &[&str]) -> World {
    let mut world = World::new();
    world.account("nightly", true, 60, Reason::DirectGrant);
    let pod = world.objects.pop().unwrap();
    let template =
        json!({ "spec": { "serviceAccountName": "nightly", "containers": [{ "name": "c" }] } });
    world.objects.push(json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "nightly", "namespace": "shop" },
        "spec": { "schedule": "@daily", "jobTemplate": { "spec": { "template": template } } },
    }));
    for (number, phase) in phases.iter().enumerate() {
        let mut pod = pod.clone();
        let created = whole_seconds(60 + 60 * i64::try_from(number).unwrap());
        pod["metadata"]["name"] = format!("nightly-2941234{number}-x7k2p").into();
        pod["metadata"]["uid"] = uid(80 + number).into();
        pod["metadata"]["creationTimestamp"] = created.clone().into();
        pod["metadata"]["ownerReferences"] = json!([{ "apiVersion": "batch/v1", "kind": "Job", "name": format!("nightly-2941234{number}"), "controller": true }]);
        pod["status"] = json!({ "phase": phase, "startTime": created });
        world.objects.push(pod);
    }
    world
}

#[test]
fn a_cron_job_ran_when_its_pods_did() {
    for (phases, expected) in [
        (
            &["Succeeded", "Succeeded", "Succeeded"][..],
            Reason::NeverUsed,
        ),
        (&["Succeeded", "Succeeded", "Running"], Reason::NeverUsed),
        (&["Succeeded", "Succeeded", "Pending"], Reason::DirectGrant),
        // They may never have started.
        (&["Succeeded", "Succeeded", "Failed"], Reason::DirectGrant),
        (&["Pending", "Pending", "Pending"], Reason::DirectGrant),
        (&["Succeeded", "Succeeded"], Reason::DirectGrant),
        (&[], Reason::DirectGrant),
    ] {
        let mut world = cron_job(phases);
        // That they got a node does not show that they started.
        for run in 0..phases.len() {
            let job = format!("nightly-2941234{run}");
            create(
                &mut world,
                61,
                &controller("cronjob-controller"),
                JOBS,
                &job,
            );
            bind(&mut world, 62, SCHEDULER, &format!("{job}-x7k2p"), 201);
        }
        let found = world.reasons(&world.events, ALL);
        assert_eq!(found["nightly"], expected, "{phases:?}");
    }
}

#[test]
fn pods_that_are_named_like_those_of_a_cron_job_are_no_runs_of_it() {
    let maker = controller("cronjob-controller");
    let mallory = token("busy", "busy-0", &uid(901));
    for (user, jobs, expected) in [
        (Some(&maker), 3, Reason::NeverUsed),
        (Some(&maker), 2, Reason::DirectGrant),
        (Some(&mallory), 3, Reason::DirectGrant),
        (Some(&controller("job-controller")), 3, Reason::DirectGrant),
        (None, 0, Reason::DirectGrant),
    ] {
        let mut world = cron_job(&[]);
        for run in 0..3 {
            let job = format!("nightly-2941234{run}");
            if let Some(user) = user.filter(|_| run < jobs) {
                create(&mut world, 20, user, JOBS, &job);
            }
            bind(&mut world, 21, SCHEDULER, &format!("{job}-b2b2b"), 201);
        }
        let found = world.reasons(&world.events, ALL);
        assert_eq!(found["nightly"], expected, "{user:?} {jobs}");
    }
}

#[test]
fn runs_of_a_cron_job_before_the_logs_begin_are_no_runs_in_them() {
    for (began, expected) in [(120, Reason::NeverUsed), (-3600, Reason::DirectGrant)] {
        let mut world = cron_job(&["Succeeded"; 3]);
        let pods = world.objects.iter_mut();
        for pod in pods.filter(|pod| pod["spec"]["serviceAccountName"] == "nightly") {
            pod["metadata"]["creationTimestamp"] = whole_seconds(began).into();
            pod["status"]["startTime"] = whole_seconds(began).into();
        }
        let found = world.reasons(&world.events, ALL);
        assert_eq!(found["nightly"], expected, "{began}");
    }
}

#[test]
fn what_no_controller_could_create_is_no_run() {
    for (job, binding, expected) in [
        (201, 201, Reason::NeverUsed),
        (500, 201, Reason::DirectGrant),
        (403, 201, Reason::DirectGrant),
        (201, 500, Reason::DirectGrant),
    ] {
        let mut world = cron_job(&[]);
        for run in 0..3 {
            let name = format!("nightly-2941234{run}");
            create(
                &mut world,
                20,
                &controller("cronjob-controller"),
                JOBS,
                &name,
            );
            let created = world.events.last_mut().unwrap();
            created.value["responseStatus"]["code"] = job.into();
            bind(&mut world, 21, SCHEDULER, &format!("{name}-b2b2b"), binding);
        }
        let found = world.reasons(&world.events, ALL);
        assert_eq!(found["nightly"], expected, "{job} {binding}");
    }
}
