//! Files: audit logs and manifests.

use std::{fs, process::Command, time::Instant};

use serde_json::Value;

use crate::{measure::measure, rig::program_path};

/// An event of the token of one of 10,000 pods, as the API server writes it.
pub(crate) fn audit_event(n: usize) -> String {
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
