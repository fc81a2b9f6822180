//! The program compared with the real API server, on random cases: predicted pods with pods after
//! admission, computed permissions with SubjectAccessReviews, and the reports of a cluster with scans
//! of it.
//!
//! `SEED=…` selects other cases, `CASES=…` their number.
#![allow(clippy::print_stdout, reason = "the seed and the counts are printed")]

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};
use token_exposure::{
    index::Index,
    model::{Level, Rule, ServiceAccountRef},
    token::automount::should_automount,
};

use crate::rig::{
    load,
    oracle::{
        CUSTOM, TOKEN_SECRET, carried, carried_by_custom, carried_by_template, comparable,
        custom_object, level, reports_equal_to_scans_with,
    },
    path_of, pool,
    random::{Random, cases},
    runtime,
    shared::{bare, unwatched},
};

// === admission ===

const PATHS: [&str; 6] = [
    "/var/run/secrets/kubernetes.io/serviceaccount",
    "/var/run/secrets/kubernetes.io/serviceaccount/",
    "/var/run/secrets/kubernetes.io",
    "/run/secrets/kubernetes.io/serviceaccount",
    "/token",
    "/etc/else",
];
const VOLUMES: [&str; 5] = [
    "kube-api-access-mine",
    "kube-api-access-abcde",
    "kube-api-access",
    "data",
    "identity",
];
const SUB_PATHS: [&str; 7] = [
    "",
    "token",
    "ca.crt",
    "..data/token",
    "aws",
    ".",
    "aws/token",
];

fn volume(random: &mut Random, name: &str) -> Value {
    match random.below(6) {
        0 | 1 => return json!({ "name": name, "emptyDir": {} }),
        2 => return json!({ "name": name, "secret": { "secretName": TOKEN_SECRET } }),
        _ => {}
    }
    let source = |random: &mut Random| match random.below(5) {
        0 => {
            json!({ "secret": { "name": TOKEN_SECRET, "items": [{ "key": "token", "path": "aws/token" }] } })
        }
        1 => {
            json!({ "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": { "fieldPath": "metadata.namespace" } }] } })
        }
        _ => json!({ "serviceAccountToken": {
            "path": random.pick(&["token", "aws/token", "t"]),
            "audience": random.pick(&["", "", "sts.amazonaws.com", "vault"]),
            "expirationSeconds": random.pick(&[3607, 3600, 600, 86400]),
        } }),
    };
    let sources: Vec<_> = (0..=random.below(2)).map(|_| source(random)).collect();
    json!({ "name": name, "projected": { "sources": sources } })
}

fn container(random: &mut Random, name: &str, volumes: &[&str]) -> Value {
    let mut mounts: Vec<Value> = Vec::new();
    for path in PATHS {
        if !volumes.is_empty() && random.below(4) == 0 {
            let mut mount = json!({ "name": random.pick(volumes), "mountPath": path });
            match random.below(6) {
                0 => mount["subPath"] = json!(random.pick(&SUB_PATHS)),
                1 => mount["subPathExpr"] = json!("token"),
                _ => {}
            }
            mounts.push(mount);
        }
    }
    let mut container = json!({ "name": name, "image": "i", "volumeMounts": mounts });
    settings(random, &mut container);
    match random.below(8) {
        0 => container["envFrom"] = json!([{ "secretRef": { "name": TOKEN_SECRET } }]),
        1 => {
            let key = random.pick(&["token", "namespace"]);
            let from = json!({ "secretKeyRef": { "name": TOKEN_SECRET, "key": key } });
            container["env"] = json!([{ "name": "T", "valueFrom": from }]);
        }
        _ => {}
    }
    container
}

/// What a client may be recognised by: arguments, probes, hooks and configuration.
fn settings(random: &mut Random, container: &mut Value) {
    let text = *random.pick(&[
        "run --in-cluster",
        "kubectl get pods",
        "vault login -method=kubernetes",
        "cat /var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
        "DIR=/var/run/secrets/kubernetes.io/serviceaccount",
    ]);
    let exec = json!({ "exec": { "command": ["sh", "-c", text] } });
    match random.below(14) {
        0 => container["args"] = json!(["sh", "-c", text]),
        1 => container["readinessProbe"] = exec,
        2 => container["lifecycle"] = json!({ "preStop": exec }),
        3 => {
            container["envFrom"] =
                json!([{ "configMapRef": { "name": "settings", "optional": true } }]);
        }
        4 => {
            let from = json!({ "configMapKeyRef": { "name": "settings", "key": "uri" } });
            container["env"] = json!([{ "name": "URI", "valueFrom": from }]);
        }
        _ => {}
    }
}

type Owner = (
    (&'static str, &'static str),
    &'static str,
    (&'static str, &'static str, &'static str),
);

/// Owners of pods: the controller, the label that names the workload where that is another object, and what users call
/// the workload, with the path to the pod spec if it is spelled as Kubernetes does.
const OWNERS: [Owner; 8] = [
    (
        ("ray.io/v1", "RayCluster"),
        "",
        (
            "ray.io/v1",
            "RayCluster",
            "spec/workerGroupSpecs/0/template/spec",
        ),
    ),
    (
        ("batch.volcano.sh/v1alpha1", "Job"),
        "",
        (
            "batch.volcano.sh/v1alpha1",
            "Job",
            "spec/tasks/0/template/spec",
        ),
    ),
    (
        ("kubeflow.org/v1", "PyTorchJob"),
        "",
        (
            "kubeflow.org/v1",
            "PyTorchJob",
            "spec/pytorchReplicaSpecs/Worker/template/spec",
        ),
    ),
    (
        ("apps.kruise.io/v1alpha1", "CloneSet"),
        "",
        ("apps.kruise.io/v1alpha1", "CloneSet", "spec/template/spec"),
    ),
    (
        ("own.example/v1", "Machinery"),
        "",
        ("own.example/v1", "Machinery", "spec/parts/0/deep/1/pods"),
    ),
    (
        ("actions.summerwind.dev/v1alpha1", "Runner"),
        "runner-deployment-name",
        (
            "actions.summerwind.dev/v1alpha1",
            "RunnerDeployment",
            "spec/template/spec",
        ),
    ),
    (
        ("tekton.dev/v1", "TaskRun"),
        "tekton.dev/pipelineRun",
        ("", "", ""),
    ),
    (("argoproj.io/v1alpha1", "Workflow"), "", ("", "", "")),
];

/// Gives a pod labels, and maybe an owner of a custom kind: returns that as a file would have it.
fn owned(random: &mut Random, n: usize, pod: &mut Value) -> Option<Value> {
    if random.below(4) == 0 {
        let value = random.pick(&["enabled", "disabled"]);
        pod["metadata"]["labels"] = json!({ "kuma.io/sidecar-injection": value });
    }
    if random.below(2) == 0 {
        return None;
    }
    let ((api_version, kind), label, outer) = *random.pick(&OWNERS);
    let (inner_name, outer_name) = (format!("inner-{n}"), format!("outer-{n}"));
    let template = pod.clone();
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": api_version, "kind": kind, "name": inner_name, "controller": true,
        "uid": "8f2bb0f6-5f0c-4a7e-9d0e-0123456789ab" }]);
    let name = if label.is_empty() {
        inner_name
    } else {
        pod["metadata"]["labels"][label] = json!(outer_name);
        outer_name
    };
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    (!outer.1.is_empty()).then(|| custom_object(outer, namespace, &name, &template))
}

fn pod(random: &mut Random, n: usize, namespace: &str, account: &str) -> Value {
    let volumes = random.some(&VOLUMES, 3);
    let declared: Vec<_> = volumes.iter().map(|name| volume(random, name)).collect();
    let mut spec = json!({
        "containers": [container(random, "c", &volumes), container(random, "d", &volumes)],
        "volumes": declared,
    });
    if random.below(2) == 0 {
        spec["initContainers"] = json!([container(random, "i", &volumes)]);
    }
    let field = *random.pick(&["serviceAccountName", "serviceAccount"]);
    spec[field] = json!(account);
    match random.below(4) {
        0 => spec["automountServiceAccountToken"] = json!(true),
        1 => spec["automountServiceAccountToken"] = json!(false),
        2 => spec["automountServiceAccountToken"] = Value::Null,
        _ => {}
    }
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": format!("p{n}"), "namespace": namespace }, "spec": spec })
}

#[test]
fn predictions_for_pods_match_admission() {
    let plane = unwatched();
    plane.namespace("random");
    let accounts = [("unset", None), ("on", Some(true)), ("off", Some(false))];
    for (name, automount) in accounts {
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name, "namespace": "random" }, "automountServiceAccountToken": automount });
        plane.apply(&account.to_string());
    }
    let mut random = Random::from_env();
    let count = cases(1_000);
    let pods: Vec<_> = (0..count)
        .map(|n| {
            let (name, automount) = *random.pick(&accounts);
            (pod(&mut random, n, "random", name), name, automount)
        })
        .collect();
    let admitted = runtime().block_on(async {
        let api: Api<Pod> = Api::namespaced(plane.client().await, "random");
        let api = &api;
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let dry_run = &dry_run;
        let compare = |(n, (pod, name, automount)): (
            usize,
            (Value, &'static str, Option<bool>),
        )| async move {
            let object: Pod = serde_json::from_value(pod.clone()).unwrap();
            let stored = match api.create(dry_run, &object).await {
                Ok(stored) => serde_json::to_value(stored).unwrap(),
                Err(kube::Error::Api(status)) if status.code == 422 => return 0,
                Err(error) => panic!("{error}: {pod}"),
            };
            assert!(stored["metadata"]["uid"].is_string());
            let own = pod["spec"]["automountServiceAccountToken"].as_bool();
            let told_apart = own.is_some() || should_automount(own, automount);
            let predicted = comparable(carried(&pod, name, automount), told_apart);
            let of_template = carried_by_template(&pod, name, automount);
            assert_eq!(predicted, comparable(of_template, told_apart), "{pod:#}");
            // Reading a file takes longer than asking the API server: each pod is in one custom kind.
            let kind = CUSTOM[n % CUSTOM.len()];
            let of_custom = carried_by_custom(kind, &pod, name, automount);
            assert_eq!(
                predicted,
                comparable(of_custom, told_apart),
                "{kind:?}: {pod:#}"
            );
            let found = comparable(carried(&stored, name, automount), told_apart);
            assert_eq!(
                predicted, found,
                "account {automount:?}, {pod:#}\nbecame {stored:#}"
            );
            1
        };
        stream::iter(pods.into_iter().enumerate())
            .map(compare)
            .buffer_unordered(8)
            .fold(0, |sum, one| async move { sum + one })
            .await
    });
    println!("{admitted} of {count} pods admitted, all as predicted");
    assert!(
        admitted > count / 2,
        "too few of the random pods are valid: {admitted} of {count}"
    );
}

// === RBAC ===

const NAMESPACES: [&str; 2] = ["one", "two"];
const ACCOUNTS: [&str; 2] = ["x", "y"];

fn rule(random: &mut Random, urls: bool) -> Value {
    if urls && random.below(5) == 0 {
        let urls = random.some(
            &[
                "/metrics",
                "/metrics/*",
                "/api/*",
                "/api",
                "*",
                "/healthz/**",
                "/version",
            ],
            2,
        );
        return json!({ "nonResourceURLs": urls, "verbs": random.some(&["get", "post", "*"], 2) });
    }
    let mut rule = json!({
        "apiGroups": random.some(&["", "apps", "authorization.k8s.io", "*", "core"], 2),
        "resources": random.some(&["pods", "pods/log", "deployments/scale", "*/scale", "*", "selfsubjectaccessreviews", "namespaces", "pods/*"], 3),
        "verbs": random.some(&["get", "list", "create", "*", "GET"], 2),
    });
    if random.below(4) == 0 {
        rule["resourceNames"] = json!(random.some(&["a", "b", ""], 2));
    }
    rule
}

fn subject(random: &mut Random) -> Value {
    let (namespace, name) = (*random.pick(&NAMESPACES), *random.pick(&ACCOUNTS));
    let group = |name: String| json!({ "kind": "Group", "name": name, "apiGroup": "rbac.authorization.k8s.io" });
    match random.below(12) {
        0 => group("system:authenticated".to_owned()),
        1 => group("system:serviceaccounts".to_owned()),
        2 | 3 => group(format!("system:serviceaccounts:{namespace}")),
        4 => group("developers".to_owned()),
        5 => {
            json!({ "kind": "User", "name": format!("system:serviceaccount:{namespace}:{name}"), "apiGroup": "rbac.authorization.k8s.io" })
        }
        6 => json!({ "kind": "User", "name": "*", "apiGroup": "rbac.authorization.k8s.io" }),
        _ => json!({ "kind": "ServiceAccount", "name": name, "namespace": namespace }),
    }
}

/// Roles and bindings, some without their role or without rules.
fn world(random: &mut Random) -> Vec<Value> {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let api_version = format!("{GROUP}/v1");
    let mut objects = Vec::new();
    for name in ["r", "s", "t"] {
        let mut role = |kind: &str, namespace: Option<&str>| {
            let rules: Vec<_> = (0..random.below(3))
                .map(|_| rule(random, namespace.is_none()))
                .collect();
            objects.push(json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name, "namespace": namespace }, "rules": rules }));
        };
        role("ClusterRole", None);
        role("Role", Some("one"));
        role("Role", Some("two"));
    }
    for n in 0..4 {
        for namespace in [None, Some("one"), Some("two")] {
            let role_kind = if namespace.is_some() {
                *random.pick(&["Role", "ClusterRole"])
            } else {
                "ClusterRole"
            };
            let kind = if namespace.is_some() {
                "RoleBinding"
            } else {
                "ClusterRoleBinding"
            };
            let subjects: Vec<_> = (0..random.below(3)).map(|_| subject(random)).collect();
            let role = random.pick(&["r", "s", "t", "missing", "system:discovery"]);
            objects.push(json!({
                "apiVersion": api_version, "kind": kind, "metadata": { "name": format!("b{n}"), "namespace": namespace },
                "roleRef": { "apiGroup": GROUP, "kind": role_kind, "name": role }, "subjects": subjects,
            }));
        }
    }
    objects
}

#[test]
fn computed_permissions_match_access_reviews() {
    let plane = bare();
    for namespace in NAMESPACES {
        plane.namespace(namespace);
    }
    let mut random = Random::from_env();
    let count = cases(6);
    let mut seen: BTreeMap<Level, usize> = BTreeMap::new();
    for _ in 0..count {
        let objects = world(&mut random);
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
        plane.apply(&list);

        // The default permissions are among the bootstrap objects that scans of files add.
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("world.json");
        std::fs::write(&file, &list).unwrap();
        let mut index = Index::new(&[]);
        assert_eq!(load(&file, &mut index).problems, []);
        let rules: BTreeSet<Rule> = objects
            .iter()
            .flat_map(|object| object["rules"].as_array().cloned().unwrap_or_default())
            .map(|rule| token_exposure::facts::rbac::rule(&serde_json::from_value(rule).unwrap()))
            .collect();
        let rules: Vec<_> = rules.into_iter().collect();
        runtime().block_on(async {
            let client = plane.client().await;
            for (namespace, name) in NAMESPACES
                .iter()
                .flat_map(|namespace| ACCOUNTS.map(|name| (*namespace, name)))
            {
                let account = ServiceAccountRef::new(namespace, name);
                let ours = index.assess(&account).permissions;
                let theirs = level(&client, &account, &rules, &NAMESPACES).await;
                assert_eq!(ours.level, theirs, "{account}: {:#?}\n{list}", ours.grants);
                *seen.entry(theirs).or_default() += 1;
            }
        });
        let gone = plane.try_kubectl(&["delete", "-f", "-", "--wait=false"], &list);
        assert!(
            gone.status.success(),
            "{}",
            String::from_utf8_lossy(&gone.stderr)
        );
    }
    println!("{count} worlds, levels {seen:?}: all as reviewed");
    assert!(seen.len() > 1, "the worlds are all alike: {seen:?}");
}

// === everything together ===

/// How often each verdict and reason was seen.
type Verdicts = BTreeMap<String, usize>;

/// The same accounts change with each world, and a controller writes such reports ever more rarely: a new one does not.
const WORLDS_OF_A_CONTROLLER: usize = 2;

/// `CASES` says how many worlds; many are spread over several control planes.
#[test]
fn reports_equal_scans_and_scans_of_dumps() {
    const PLANES: usize = 4;
    let random = Random::from_env();
    let count = cases(6);
    let planes = count.div_ceil(6).min(PLANES);
    let seen = std::thread::scope(|scope| {
        let planes: Vec<_> = (0..planes)
            .map(|number| {
                let mut random = random.fork(number);
                scope.spawn(move || worlds(count.div_ceil(planes), &mut random))
            })
            .collect();
        let seen = planes.into_iter().map(|plane| plane.join().unwrap());
        seen.collect::<Vec<_>>()
    });
    let mut verdicts = Verdicts::new();
    for (verdict, times) in seen.into_iter().flatten() {
        *verdicts.entry(verdict).or_default() += times;
    }
    println!("{count} worlds, verdicts {verdicts:?}: one answer each");
    assert!(verdicts.len() > 4, "the worlds are all alike: {verdicts:?}");
}

fn worlds(count: usize, random: &mut Random) -> Verdicts {
    let plane = pool::installed();
    let start = || plane.controller(&["--report-scope=all"]);
    let mut controller = start();
    for namespace in NAMESPACES {
        plane.namespace(namespace);
    }
    let mut verdicts = Verdicts::new();
    // Pods whose account goes before them.
    let mut left = Vec::new();
    for n in 0..count {
        if n > 0 && n % WORLDS_OF_A_CONTROLLER == 0 {
            drop(controller);
            controller = start();
        }
        let objects = inhabited(random);
        for object in &objects {
            plane.create(object).unwrap();
        }
        let injection = random.pick(&["enabled", "disabled"]);
        let labels =
            json!({ "metadata": { "labels": { "kuma.io/sidecar-injection": injection } } });
        plane.merge(&format!("/api/v1/namespaces/{}", NAMESPACES[0]), &labels);
        let mut pods = Vec::new();
        let mut owners = Vec::new();
        for p in 0..12 {
            let (namespace, name) = (*random.pick(&NAMESPACES), *random.pick(&ACCOUNTS));
            let mut pod = pod(random, 100 * n + p, namespace, name);
            let owner = owned(random, p, &mut pod);
            match plane.create(&pod) {
                Ok(()) => {
                    pods.push(pod);
                    owners.extend(owner);
                }
                Err(kube::Error::Api(status)) if status.code == 422 => {}
                Err(error) => panic!("{error}: {pod}"),
            }
        }
        controller.settle();
        for report in reports_equal_to_scans_with(&plane, "all", &owners) {
            let status = &report["status"];
            let verdict = format!("{}/{}", status["verdict"], status["reason"]);
            *verdicts.entry(verdict).or_default() += 1;
        }
        let stay = pods.split_off(pods.len() / 2);
        let gone = pods.iter().chain(&left).chain(&objects);
        gone.for_each(|object| plane.delete(&path_of(object)));
        left = stay;
    }
    verdicts
}

/// Roles, bindings and the accounts that they name.
fn inhabited(random: &mut Random) -> Vec<Value> {
    let mut objects = world(random);
    for namespace in NAMESPACES {
        for name in ACCOUNTS {
            let automount = random.pick(&[Some(true), Some(false), None, None]);
            let metadata = json!({ "name": name, "namespace": namespace });
            objects.push(json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "automountServiceAccountToken": automount }));
        }
    }
    objects
}
