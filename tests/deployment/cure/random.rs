//! Random worlds: permissions that come and go shortly before and after a pod is created. What the policy did is judged by
//! the API server's own SubjectAccessReview.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use kube::Client;
use serde_json::{Value, json};
use token_exposure::model::ServiceAccountRef;

use super::{await_switch, controller, plane, token};
use crate::rig::{
    ControlPlane, PATIENCE, path_of,
    random::{Random, cases},
    runtime,
};

/// How many pods are created in a world, and how many worlds there are at a time.
const CREATIONS: usize = 10;
const AT_A_TIME: usize = 8;
/// From when on a permission must have brought the token back.
const BOUND: Duration = Duration::from_secs(2);
/// How often it is measured whether the machine is late.
const TICK: Duration = Duration::from_millis(20);
/// What the roles grant: of each kind of rule, and most of them are none that the policy itself asks for.
const RULES: [(&str, &str, &str, &str); 12] = [
    ("get", "", "pods", ""),
    ("create", "", "pods/exec", ""),
    ("get", "", "secrets", "one"),
    ("list", "", "persistentvolumeclaims", ""),
    ("update", "coordination.k8s.io", "leases", "lock"),
    ("create", "authentication.k8s.io", "tokenreviews", ""),
    ("patch", "apps", "statefulsets/scale", ""),
    ("watch", "example.com", "things", ""),
    ("impersonate", "", "users", ""),
    ("deletecollection", "batch", "jobs", ""),
    ("create", "", "events", ""),
    ("escalate", "rbac.authorization.k8s.io", "roles", ""),
];
const RBAC: &str = "rbac.authorization.k8s.io";

/// What happened in all worlds.
#[derive(Debug, Default)]
struct Counts {
    with_token: AtomicUsize,
    /// No permission, no token.
    cured: AtomicUsize,
    /// A permission, and no token: the permission was younger than the bound.
    missed: AtomicUsize,
    /// How old it was at most, in milliseconds.
    oldest: AtomicU64,
    /// No token, and the permission came after the pod.
    after: AtomicUsize,
    /// Of those that were missed: the permission was older than the bound, by less than the machine was late meanwhile.
    excused: AtomicUsize,
    /// When the machine let this test run late, and by how much.
    late: Mutex<Vec<(Instant, Duration)>>,
}

impl Counts {
    /// How late the machine let anything run at most between two times.
    async fn lag(&self, from: Instant, to: Instant) -> Duration {
        // What is late now is known when its tick has ended.
        tokio::time::sleep(2 * TICK).await;
        let late = self.late.lock().unwrap();
        let between = late
            .iter()
            .filter(|(ended, late)| *ended >= from && *ended <= to + *late);
        between.map(|(_, late)| *late).max().unwrap_or_default()
    }
}

/// A namespace with one workload.
struct World<'a> {
    client: Client,
    namespace: String,
    rule: (&'static str, &'static str, &'static str, &'static str),
    random: Random,
    counts: &'a Counts,
}

impl World<'_> {
    async fn send(&self, request: http::Request<Vec<u8>>) -> Option<Value> {
        match self.client.request(request).await {
            Ok(answer) => Some(answer),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => panic!("{}: {error}", self.namespace),
        }
    }

    async fn get(&self, path: &str) -> Option<Value> {
        self.send(http::Request::get(path).body(Vec::new()).unwrap())
            .await
    }

    async fn delete(&self, path: &str) {
        let now = format!("{path}?gracePeriodSeconds=0");
        self.send(http::Request::delete(now).body(Vec::new()).unwrap())
            .await;
    }

    async fn create(&self, object: &Value) -> Value {
        let path = path_of(object);
        let (collection, _) = path.rsplit_once('/').unwrap();
        let request = http::Request::post(collection).header("Content-Type", "application/json");
        let body = serde_json::to_vec(object).unwrap();
        self.send(request.body(body).unwrap()).await.unwrap()
    }

    /// Waits until something can be read.
    async fn await_that(&self, what: &str, path: &str, holds: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.get(path).await.unwrap_or_default();
            if holds(&found) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{}: {what}: {found}",
                self.namespace
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn object(&self, kind: &str, name: &str) -> Value {
        let is_rbac = kind.contains("Role");
        let version = if is_rbac {
            format!("{RBAC}/v1")
        } else {
            "v1".to_owned()
        };
        let mut object =
            json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name } });
        if !kind.starts_with("Cluster") && kind != "Namespace" {
            object["metadata"]["namespace"] = (*self.namespace).into();
        }
        object
    }

    fn rules(&self) -> Value {
        let (verb, group, resource, name) = self.rule;
        let mut rule = json!({ "verbs": [verb], "apiGroups": [group], "resources": [resource] });
        if !name.is_empty() {
            rule["resourceNames"] = json!([name]);
        }
        json!([rule])
    }

    /// What grants the permission, all by the name of the namespace: the objects that are there from the beginning.
    async fn begin(&self) {
        let mut namespace = self.object("Namespace", &self.namespace);
        namespace["metadata"]["labels"] = json!({ "tokenexposure.io/cure": "leave-out" });
        self.create(&namespace).await;
        let account = format!(
            "/api/v1/namespaces/{}/serviceaccounts/default",
            self.namespace
        );
        self.await_that("the account", &account, Value::is_object)
            .await;
        for kind in ["Role", "ClusterRole"] {
            let mut role = self.object(kind, &self.namespace);
            role["rules"] = self.rules();
            self.create(&role).await;
        }
    }

    /// Grants the permission in one of many ways; returns when the API server has said so.
    async fn grant(&mut self, way: usize) {
        let name = self.namespace.clone();
        let account =
            json!({ "kind": "ServiceAccount", "name": "default", "namespace": self.namespace });
        let group = json!({ "kind": "Group", "apiGroup": RBAC, "name": format!("system:serviceaccounts:{name}") });
        let user = json!({ "kind": "User", "apiGroup": RBAC, "name": format!("system:serviceaccount:{name}:default") });
        let (kind, role, subject) = match way {
            0 => ("RoleBinding", "Role", account),
            1 => ("RoleBinding", "ClusterRole", account),
            2 => ("ClusterRoleBinding", "ClusterRole", account),
            3 => ("RoleBinding", "Role", group),
            4 => ("ClusterRoleBinding", "ClusterRole", group),
            _ => ("RoleBinding", "ClusterRole", user),
        };
        let mut binding = self.object(kind, &name);
        binding["roleRef"] = json!({ "apiGroup": RBAC, "kind": role, "name": name });
        binding["subjects"] = json!([subject]);
        self.create(&binding).await;
    }

    async fn revoke(&self) {
        for kind in ["RoleBinding", "ClusterRoleBinding"] {
            self.delete(&path_of(&self.object(kind, &self.namespace)))
                .await;
        }
    }

    fn pod(&self) -> Value {
        let mut pod = self.object("Pod", "p");
        pod["spec"] = json!({ "containers": [{ "name": "c", "image": "i" }] });
        pod
    }

    /// Whether the account has the permission, by the API server's own answer.
    async fn has_permission(&self) -> bool {
        let (verb, group, resource, name) = self.rule;
        let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = json!({ "namespace": self.namespace, "verb": verb, "group": group, "resource": resource,
            "subresource": sub, "name": name });
        let account = ServiceAccountRef::new(&*self.namespace, "default");
        let groups = crate::rig::oracle::groups(&self.namespace);
        let review = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": { "user": account.username(), "groups": groups, "resourceAttributes": attributes } });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let request = http::Request::post(path).header("Content-Type", "application/json");
        let request = request.body(serde_json::to_vec(&review).unwrap()).unwrap();
        self.send(request).await.unwrap()["status"]["allowed"] == true
    }

    /// Waits until the controller lists the workload again.
    async fn await_listed(&self) {
        let summary = format!(
            "/apis/tokenexposure.io/v1alpha1/namespaces/{}/tokenexposuresummaries/token-exposure",
            self.namespace
        );
        self.await_that("it is listed", &summary, |found| {
            found["status"]["curable"] == "|default/Pod/p|"
        })
        .await;
    }

    /// Creates a pod around the time at which a permission is granted, or without one.
    async fn creation(&mut self) {
        const AFTER: Duration = Duration::from_millis(30);
        let pod = self.pod();
        self.revoke().await;
        self.await_listed().await;
        self.delete(&path_of(&pod)).await;
        let way = self.random.below(6);
        let pause = *self
            .random
            .pick(&[0, 0, 5, 20, 50, 100, 200, 500, 1_000, 2_000, 2_500]);
        let created = match self.random.below(8) {
            0 | 1 => self.create(&pod).await,
            2 => {
                let created = self.create(&pod).await;
                self.grant(way).await;
                if token(&created).is_null() {
                    self.counts.after.fetch_add(1, Relaxed);
                    self.await_missing().await;
                    return;
                }
                created
            }
            _ => {
                self.grant(way).await;
                let granted = Instant::now();
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let age = granted.elapsed();
                let created = self.create(&pod).await;
                let answered = Instant::now();
                if token(&created).is_null() {
                    // A young permission may not have reached the authorizer yet.
                    if age >= BOUND && self.has_permission().await {
                        let lag = self.counts.lag(granted, answered).await;
                        assert!(
                            age < BOUND + lag,
                            "{}: no token, {age:?} after way {way} granted {:?}",
                            self.namespace,
                            self.rule
                        );
                        self.counts.excused.fetch_add(1, Relaxed);
                    }
                    self.counts.missed.fetch_add(1, Relaxed);
                    let age = u64::try_from(age.as_millis()).unwrap();
                    self.counts.oldest.fetch_max(age, Relaxed);
                    self.await_missing().await;
                    return;
                }
                created
            }
        };
        let is_cured = token(&created).is_null();
        assert!(!is_cured || !self.has_permission().await);
        let count = if is_cured {
            &self.counts.cured
        } else {
            &self.counts.with_token
        };
        count.fetch_add(1, Relaxed);
        tokio::time::sleep(AFTER).await;
    }

    /// The report says at once that the token is missing.
    async fn await_missing(&self) {
        let report = format!(
            "/apis/tokenexposure.io/v1alpha1/namespaces/{}/tokenexposurereports/default",
            self.namespace
        );
        self.await_that("it is reported", &report, |found| {
            found["status"]["reason"] == "MissingToken"
        })
        .await;
    }

    async fn end(&self) {
        self.revoke().await;
        for kind in ["ClusterRole", "Namespace"] {
            self.delete(&path_of(&self.object(kind, &self.namespace)))
                .await;
        }
    }
}

/// Notes when the machine lets this test run late: it treats the controller no better.
async fn measure_lag(counts: &Counts) {
    loop {
        let began = Instant::now();
        tokio::time::sleep(TICK).await;
        let late = began.elapsed().saturating_sub(TICK);
        if late > TICK {
            counts.late.lock().unwrap().push((Instant::now(), late));
        }
    }
}

async fn run(plane: &ControlPlane, random: &Random, worlds: usize, counts: &Counts) {
    let client = plane.client().await;
    let world = |number: usize| {
        let mut random = random.fork(number);
        let rule = *random.pick(&RULES);
        let mut world = World {
            client: client.clone(),
            namespace: format!("world-{number}"),
            rule,
            random,
            counts,
        };
        async move {
            world.begin().await;
            world.create(&world.pod()).await;
            for _ in 0..CREATIONS {
                world.creation().await;
            }
            world.end().await;
        }
    };
    let worlds = stream::iter(0..worlds).map(world);
    let worlds = worlds.buffer_unordered(AT_A_TIME).for_each(|()| async {});
    tokio::select! {
        () = worlds => {}
        () = measure_lag(counts) => {}
    }
}

/// `SEED` replays a run, `CASES` says how many pods: `make soak` creates 10,000.
#[test]
#[expect(clippy::print_stdout, reason = "the misses are counted")]
fn no_pod_lacks_a_token_whose_account_had_a_permission_for_two_seconds() {
    let test = "no_pod_lacks_a_token_whose_account_had_a_permission_for_two_seconds";
    let Some(plane) = plane(test) else { return };
    plane.release("cure.mode=LeaveOut,cure.gracePeriod=0s");
    let controller = controller(&plane);
    await_switch(&plane, true);
    let random = Random::from_env();
    let counts = Counts::default();
    let worlds = cases(300).div_ceil(CREATIONS);
    runtime().block_on(run(&plane, &random, worlds, &counts));
    let late = std::mem::take(&mut *counts.late.lock().unwrap());
    let worst = late.iter().map(|(_, late)| *late).max();
    println!("{counts:?}, late at most {worst:?}");
    let cured = counts.cured.load(Relaxed);
    assert!(
        cured > worlds,
        "the policy acts: {counts:?}, {}",
        controller.log()
    );
}
