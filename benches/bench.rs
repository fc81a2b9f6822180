//! Measures on a real control plane, with the release binary: `make bench`. Prints figures and asserts
//! nothing about time: these machines are shared, so compare only within one run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a measurement that cannot go on fails"
)]
#![allow(clippy::print_stdout, reason = "figures are printed")]

use std::{
    collections::HashMap,
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{
    core::v1::{Namespace, Pod, ServiceAccount},
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use token_exposure::api::TokenExposureReport;

#[path = "../tests/rig/mod.rs"]
mod rig;
use rig::{ControlPlane, Controller, program_path, runtime};

/// The number of concurrent requests when loading.
const LOADERS: usize = 16;

/// The size of a cluster.
#[derive(Clone, Copy)]
struct Shape {
    namespaces: usize,
    accounts: usize,
    pods: usize,
    bindings: usize,
}

const TEAM: Shape = Shape {
    namespaces: 100,
    accounts: 600,
    pods: 2_000,
    bindings: 900,
};
const PRODUCTION: Shape = Shape {
    namespaces: 300,
    accounts: 3_000,
    pods: 10_000,
    bindings: 6_000,
};

async fn create<K>(client: &Client, namespace: &str, object: Value)
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object).unwrap();
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &object).await.unwrap();
}

impl Shape {
    fn namespace(self, n: usize) -> String {
        format!("ns-{}", n % self.namespaces)
    }

    /// Namespace and name of the nth account.
    fn account(self, n: usize) -> (String, String) {
        let n = n % self.accounts;
        (self.namespace(n), format!("account-{n}"))
    }

    /// Fills a cluster. Every second account has a permission; the pods of the others are findings.
    async fn load(self, client: &Client) {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let namespaces = &namespaces;
        each(self.namespaces, |n| async move {
            let namespace: Namespace =
                serde_json::from_value(json!({ "metadata": { "name": self.namespace(n) } }))
                    .unwrap();
            namespaces
                .create(&PostParams::default(), &namespace)
                .await
                .unwrap();
        })
        .await;
        each(self.namespaces, |n| async move {
            let role = json!({ "metadata": { "name": "reader" }, "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] }] });
            create::<Role>(client, &self.namespace(n), role).await;
        })
        .await;
        each(self.accounts, |n| async move {
            let (namespace, name) = self.account(n);
            create::<ServiceAccount>(client, &namespace, json!({ "metadata": { "name": name } }))
                .await;
        })
        .await;
        each(self.bindings, |n| async move {
            let (namespace, name) = self.account(2 * n + 1);
            create::<RoleBinding>(client, &namespace, binding(&format!("binding-{n}"), &name))
                .await;
        })
        .await;
        each(self.pods, |n| async move {
            let (namespace, account) = self.account(n);
            create::<Pod>(client, &namespace, pod(&format!("pod-{n}"), &account)).await;
        })
        .await;
    }
}

/// Runs something n times, several at a time.
async fn each<F: Future<Output = ()>>(n: usize, what: impl Fn(usize) -> F) {
    stream::iter(0..n)
        .map(what)
        .buffer_unordered(LOADERS)
        .collect::<Vec<_>>()
        .await;
}

fn binding(name: &str, account: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader" },
        "subjects": [{ "kind": "ServiceAccount", "name": account }],
    })
}

/// A pod of about 10 KB, a usual size.
fn pod(name: &str, account: &str) -> Value {
    let env: Vec<_> = (0..30).map(|n| json!({ "name": format!("SETTING_NUMBER_{n}"), "value": format!("value-{n}-of-a-setting") })).collect();
    let container = |container: &str| {
        json!({
            "name": container, "image": "example/image:1.2.3", "env": env,
            "resources": { "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "memory": "256Mi" } },
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
        })
    };
    json!({
        "metadata": { "name": name, "labels": { "app": account, "team": "a-team" }, "annotations": { "note": "x".repeat(1_000) } },
        "spec": { "serviceAccountName": account, "initContainers": [container("init")], "containers": [container("main"), container("side")] },
    })
}

/// A value from `/proc/PID/status`, in KiB.
fn status_kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

/// The CPU seconds that a process has used.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let ticks = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(11)
        .take(2);
    // On every Linux, user space sees hundredths of a second.
    ticks
        .map(|ticks| ticks.parse::<f64>().unwrap() / 100.0)
        .sum()
}

/// Runs a command; returns its CPU seconds and peak memory in MiB.
fn measure(command: &mut Command) -> (f64, f64) {
    let mut child: Child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut cpu, mut peak) = (0.0, 0);
    while child.try_wait().unwrap().is_none() {
        cpu = cpu_seconds(child.id()).max(cpu);
        peak = status_kib(child.id(), "VmHWM").max(peak);
        std::thread::sleep(Duration::from_millis(2));
    }
    (cpu, mib(peak))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// The value that this share of the samples does not exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

#[test]
#[ignore = "measures; run by `make bench`"]
fn event_to_report() {
    let plane = ControlPlane::start(&[]);
    runtime().block_on(async {
        let client = plane.client().await;
        TEAM.load(&client).await;
        let controller = plane.controller(&[]);
        controller.settle();

        let reports: Api<TokenExposureReport> = Api::all(client.clone());
        let mut seen = watcher(reports, watcher::Config::default()).default_backoff().boxed();
        // Existing reports are read first.
        while !matches!(seen.try_next().await.unwrap(), Some(watcher::Event::InitDone)) {}

        // 20 changes a second for 30 s: bindings are created and deleted, each of another account,
        // and each change creates or deletes a report.
        let mut sent: HashMap<(String, String), Instant> = HashMap::new();
        let (mut waits, mut change) = (Vec::new(), 0_usize);
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        let ends = Instant::now() + Duration::from_secs(40);
        while Instant::now() < ends && (change < 600 || !sent.is_empty()) {
            tokio::select! {
                _ = tick.tick(), if change < 600 => {
                    let account = if change < 300 { 2 * change } else { 2 * (change - 300) };
                    let (namespace, name) = TEAM.account(account);
                    sent.insert((namespace.clone(), name.clone()), Instant::now());
                    let client = client.clone();
                    if change < 300 {
                        tokio::spawn(async move { create::<RoleBinding>(&client, &namespace, binding(&format!("bench-{name}"), &name)).await; });
                    } else {
                        tokio::spawn(async move {
                            let bindings: Api<RoleBinding> = Api::namespaced(client, &namespace);
                            bindings.delete(&format!("bench-{name}"), &DeleteParams::default()).await.unwrap();
                        });
                    }
                    change += 1;
                }
                event = seen.try_next() => {
                    let (watcher::Event::Apply(report) | watcher::Event::Delete(report)) = event.unwrap().unwrap() else { continue };
                    // A new report has two events: the object, then its status.
                    let is_complete = report.metadata.deletion_timestamp.is_some() || report.status.is_some();
                    if let Some(sent) = is_complete.then(|| sent.remove(&(report.namespace().unwrap(), report.name_any()))).flatten() {
                        waits.push(sent.elapsed().as_secs_f64() * 1000.0);
                    }
                }
            }
        }
        waits.sort_by(f64::total_cmp);
        println!(
            "event to report, 2,000 pods, 20 changes/s: p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms ({} of {change} changes seen)",
            percentile(&waits, 50), percentile(&waits, 99), percentile(&waits, 100), waits.len(),
        );
        println!("  controller: {:.1} MiB peak", mib(status_kib(controller.pid(), "VmHWM")));
    });
}

#[test]
#[ignore = "measures; run by `make bench`"]
fn memory_noise_and_live_scan() {
    let plane = ControlPlane::start(&[]);
    runtime().block_on(async {
        let client = plane.client().await;
        let began = Instant::now();
        PRODUCTION.load(&client).await;
        println!(
            "loaded 10,000 pods, 3,000 accounts, 6,000 bindings in {:.0} s",
            began.elapsed().as_secs_f64()
        );
        let size = plane.get(&["-n", "ns-0", "pod", "pod-0"]).to_string().len();
        println!("a pod has {size} bytes of JSON");

        let began = Instant::now();
        let controller = plane.controller(&[]);
        println!("ready after {:.1} s", began.elapsed().as_secs_f64());
        controller.settle();
        println!(
            "all reports written after {:.1} s: {} writes",
            began.elapsed().as_secs_f64() - 1.0,
            controller.writes()
        );
        let memory = |when: &str| {
            let (now, peak) = (
                status_kib(controller.pid(), "VmRSS"),
                status_kib(controller.pid(), "VmHWM"),
            );
            println!(
                "memory, {when}: {:.1} MiB, peak {:.1} MiB",
                mib(now),
                mib(peak)
            );
        };
        memory("after the first sync");

        noise(&client, &controller).await;
        relist(&plane, &controller).await;
        memory("after a full relist");

        let kubeconfig = plane.kubeconfig();
        let scan = || {
            let mut scan = Command::new(program_path());
            scan.args(["scan", "-A", "-o", "json", "--kubeconfig"])
                .arg(&kubeconfig);
            measure(&mut scan)
        };
        for _ in 0..3 {
            let (cpu, peak) = scan();
            println!("live scan: {cpu:.2} CPU s, {peak:.1} MiB peak");
        }
    });
}

/// Patches the status of pods 10,000 times, 500 a second.
async fn noise(client: &Client, controller: &Controller) {
    let (writes, cpu) = (controller.writes(), cpu_seconds(controller.pid()));
    let reconciled = controller.metric("token_exposure_reconcile_duration_seconds_count");
    let began = Instant::now();
    // 500 a second, or as many as the API server can handle.
    let due = tokio::time::interval(Duration::from_millis(2));
    let due = stream::unfold((due, 0_usize), |(mut due, n)| async move {
        due.tick().await;
        Some((n, (due, n + 1)))
    });
    let patched = due
        .take(10_000)
        .map(|n| async move {
            let (namespace, _) = PRODUCTION.account(n % PRODUCTION.pods);
            let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
            let status = json!({ "status": { "message": format!("change {n}") } });
            pods.patch_status(
                &format!("pod-{}", n % PRODUCTION.pods),
                &PatchParams::default(),
                &Patch::Merge(&status),
            )
            .await
            .unwrap();
        })
        .buffer_unordered(4 * LOADERS)
        .count()
        .await;
    let seconds = began.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(1)).await;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = patched as f64 / seconds;
    println!(
        "noise, {rate:.0} status patches/s for {seconds:.0} s: {} writes, {} reconciles, {:.1} % of one core",
        controller.writes() - writes,
        controller.metric("token_exposure_reconcile_duration_seconds_count") - reconciled,
        (cpu_seconds(controller.pid()) - cpu) / seconds * 100.0,
    );
}

/// Restarts the API server: its watch cache is empty, and every watch starts again.
async fn relist(plane: &ControlPlane, controller: &Controller) {
    plane.restart_api_server();
    let event = r#"token_exposure_last_event_timestamp_seconds{kind="Pod"}"#;
    let before = controller.metric(event);
    let deadline = Instant::now() + Duration::from_mins(3);
    while controller.metric(event) <= before + 5.0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    println!(
        "relisted; errors of the pods' watch: {}",
        controller.metric(r#"token_exposure_watch_errors_total{kind="Pod"}"#)
    );
}

/// An event of the token of one of 10,000 pods, as the API server writes it.
fn audit_event(n: usize) -> String {
    let (pod, second) = (n % 10_000, n / 100 % 86_400);
    let (account, namespace) = (pod % 3_000, pod % 300);
    let time = format!(
        "2026-11-26T{:02}:{:02}:{:02}.{:06}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        n % 1_000_000
    );
    format!(
        "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\"auditID\":\"{n:08x}-dac7-4cf4-98e5-830daabc18fb\",\
         \"stage\":\"ResponseComplete\",\"requestURI\":\"/api/v1/namespaces/ns-{namespace}/configmaps?limit=500\\u0026resourceVersion=0\",\"verb\":\"list\",\
         \"user\":{{\"username\":\"system:serviceaccount:ns-{namespace}:account-{account}\",\"uid\":\"76faab82-9eac-4c0a-9a48-6fc6efc228da\",\
         \"groups\":[\"system:serviceaccounts\",\"system:serviceaccounts:ns-{namespace}\",\"system:authenticated\"],\
         \"extra\":{{\"authentication.kubernetes.io/credential-id\":[\"JTI={pod:08x}-dac7-4cf4-98e5-830daabc18fb\"],\
         \"authentication.kubernetes.io/node-name\":[\"node-1\"],\"authentication.kubernetes.io/node-uid\":[\"76faab82-9eac-4c0a-9a48-6fc6efc228da\"],\
         \"authentication.kubernetes.io/pod-name\":[\"pod-{pod}\"],\"authentication.kubernetes.io/pod-uid\":[\"{pod:08x}-dac7-4cf4-98e5-830daabc18fb\"]}}}},\
         \"sourceIPs\":[\"10.0.0.1\"],\"userAgent\":\"manager/v0.0.0 (linux/amd64) kubernetes/$Format\",\
         \"objectRef\":{{\"resource\":\"configmaps\",\"namespace\":\"ns-{namespace}\",\"apiVersion\":\"v1\"}},\
         \"responseStatus\":{{\"metadata\":{{}},\"code\":200}},\"requestReceivedTimestamp\":\"{time}\",\"stageTimestamp\":\"{time}\",\
         \"annotations\":{{\"authorization.k8s.io/decision\":\"allow\",\"authorization.k8s.io/reason\":\
         \"RBAC: allowed by RoleBinding \\\"reader/ns-{namespace}\\\" of Role \\\"reader\\\" to ServiceAccount \\\"account-{account}/ns-{namespace}\\\"\"}}}}\n"
    )
}

/// The worst case: each event is of a token, and must be parsed.
#[test]
#[ignore = "measures; run by `make bench`"]
fn audit_logs() {
    const EVENTS: usize = 400_000;
    let dir = tempfile::tempdir().unwrap();
    let (log, more) = (dir.path().join("audit.log"), dir.path().join("more"));
    let text: String = (0..EVENTS).map(audit_event).collect();
    fs::write(&log, &text).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let megabytes = text.len() as f64 / 1e6;
    fs::create_dir(&more).unwrap();
    for n in 0..25 {
        fs::hard_link(&log, more.join(format!("{n}.log"))).unwrap();
    }
    let dump = dir.path().join("dump.yaml");
    fs::write(
        &dump,
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: account-1, namespace: ns-1}\n",
    )
    .unwrap();
    let read = |logs: &std::path::Path| {
        let mut scan = Command::new(program_path());
        scan.args(["scan", "-o", "json"])
            .arg(&dump)
            .arg("--audit-log")
            .arg(logs);
        measure(&mut scan)
    };
    println!("{} bytes an event", text.len() / EVENTS);
    for _ in 0..3 {
        let (cpu, peak) = read(&log);
        println!(
            "{megabytes:.0} MB of audit log: {cpu:.2} CPU s, {:.0} MB/s a core, {peak:.1} MiB peak",
            megabytes / cpu
        );
    }
    let (cpu, peak) = read(&more);
    println!(
        "25 such files: {cpu:.2} CPU s, {:.0} MB/s a core, {peak:.1} MiB peak",
        25.0 * megabytes / cpu
    );
    let began = Instant::now();
    let parsed = text
        .lines()
        .filter(|line| serde_json::from_str::<Value>(line).is_ok())
        .count();
    println!(
        "for comparison, {parsed} lines as serde_json::Value in this build: {:.0} MB/s",
        megabytes / began.elapsed().as_secs_f64()
    );
    let mut jq = Command::new("jq");
    jq.arg("-c").arg("select(.user.username==\"x\")").arg(&log);
    if jq.output().is_ok() {
        println!(
            "for comparison, jq: {:.0} MB/s",
            megabytes / measure(&mut jq).0
        );
    }
}

#[test]
#[ignore = "measures; run by `make bench`"]
fn files() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..5_000 {
        let text = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: app-{n}, namespace: team-{}}}\nspec:\n  replicas: 2\n  selector:\n    \
             matchLabels: {{app: app-{n}}}\n  template:\n    metadata:\n      labels: {{app: app-{n}}}\n    spec:\n      serviceAccountName: app-{n}\n      \
             containers:\n        - name: main\n          image: example/app:{n}\n          ports: [{{containerPort: 8080}}]\n          env:\n            \
             - {{name: A, value: \"1\"}}\n            - {{name: B, value: \"2\"}}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: app-{n}, \
             namespace: team-{0}}}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: app-{n}, namespace: team-{0}}}\nrules:\n  - \
             apiGroups: [\"\"]\n    resources: [configmaps]\n    verbs: [get]\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: \
             {{name: app-{n}, namespace: team-{0}}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: app-{n}}}\nsubjects:\n  - {{kind: \
             ServiceAccount, name: app-{n}}}\n",
            n % 50
        );
        fs::write(dir.path().join(format!("app-{n}.yaml")), text).unwrap();
    }
    for _ in 0..3 {
        let (cpu, peak) = measure(
            Command::new(program_path())
                .args(["scan", "-o", "json"])
                .arg(dir.path()),
        );
        println!("5,000 files with 20,000 documents: {cpu:.2} CPU s, {peak:.1} MiB peak");
    }
}
