//! Proof of use on real API servers with audit logs: each kind of use, two API servers, one of them restarted.

mod proof;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use base64::Engine;
use http::Request;
use k8s_openapi::api::{
    authentication::v1::{
        BoundObjectReference, TokenRequest, TokenRequestSpec, TokenReview, TokenReviewSpec,
    },
    core::v1::{Pod, Secret, ServiceAccount},
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, PostParams},
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use crate::rig::{
    ControlPlane, Controller, PATIENCE,
    audit::{Certificates, batch, denied},
    await_that,
    feature::Feature,
    holds_within, runtime,
};

/// How long the logs must show no use, in seconds.
const REQUIRED: &str = "15s";

/// An account with a pod of its own; `permitted` accounts may read ConfigMaps.
fn account(name: &str, is_permitted: bool) -> Vec<Value> {
    let metadata = json!({ "name": name, "namespace": "shop" });
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader" },
        "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": "shop" }],
    });
    [
        vec![account],
        if is_permitted {
            vec![binding]
        } else {
            Vec::new()
        },
    ]
    .concat()
}

fn pod(account: &str) -> Value {
    let spec =
        json!({ "serviceAccountName": account, "containers": [{ "name": "c", "image": "i" }] });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": account, "namespace": "shop" }, "spec": spec })
}

fn template(account: &str) -> Value {
    let spec = json!({ "serviceAccountName": account, "restartPolicy": "Always", "containers": [{ "name": "c", "image": "i" }] });
    json!({ "metadata": { "labels": { "app": account } }, "spec": spec })
}

/// Accounts by whether they have a permission.
const PERMITTED: [&str; 10] = [
    "lists",
    "watches",
    "idle",
    "replicas",
    "backup",
    "legacy",
    "impersonated",
    "certificate",
    "again",
    "finds-nothing",
];
const OTHERS: [&str; 4] = ["refused", "discovers", "nothing", "vault"];

fn world() -> String {
    let rule = json!({ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"] });
    let mut items = vec![json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "reader", "namespace": "shop" }, "rules": [rule],
    })];
    items.extend(PERMITTED.iter().flat_map(|name| account(name, true)));
    items.extend(OTHERS.iter().flat_map(|name| account(name, false)));
    let all = PERMITTED.iter().chain(&OTHERS);
    items.extend(
        all.filter(|name| !["replicas", "backup"].contains(name))
            .map(|name| pod(name)),
    );
    items.push(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "replicas", "namespace": "shop" },
        "spec": { "replicas": 2, "selector": { "matchLabels": { "app": "replicas" } }, "template": template("replicas") },
    }));
    let mut job = template("backup");
    job["spec"]["restartPolicy"] = "Never".into();
    items.push(json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "backup-29412345", "namespace": "shop" }, "spec": { "template": job },
    }));
    items.push(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": { "name": "legacy", "namespace": "shop", "annotations": { "kubernetes.io/service-account.name": "legacy" } },
    }));
    items.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": "vault" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator" },
        "subjects": [{ "kind": "ServiceAccount", "name": "vault", "namespace": "shop" }],
    }));
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// A client with other credentials, perhaps for another API server.
async fn client_as(plane: &ControlPlane, server: &str, auth: AuthInfo) -> Client {
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    config.cluster_url = server.parse().unwrap();
    config.accept_invalid_certs = true;
    config.auth_info = auth;
    config.read_timeout = Some(PATIENCE);
    Client::try_from(config).unwrap()
}

fn bearer(token: &str) -> AuthInfo {
    AuthInfo {
        token: Some(token.to_owned().into()),
        ..AuthInfo::default()
    }
}

/// Asks for a path, and returns the status.
async fn ask(client: &Client, path: &str) -> u16 {
    let request = Request::get(path).body(Vec::new()).unwrap();
    match client.request::<Value>(request).await {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{path}: {error}"),
    }
}

/// A token that is bound to a pod, as the kubelet requests it.
async fn token_of(admin: &Client, account: &str, pod: &Pod) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), "shop");
    let request = TokenRequest {
        spec: TokenRequestSpec {
            bound_object_ref: Some(BoundObjectReference {
                kind: Some("Pod".to_owned()),
                api_version: Some("v1".to_owned()),
                name: Some(pod.name_any()),
                uid: pod.uid(),
            }),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await
        .unwrap();
    answer.status.unwrap().token
}

const CONFIG_MAPS: &str = "/api/v1/namespaces/shop/configmaps";

/// Uses tokens in each way; returns the connection of a watch that stays open, and the token of `idle`.
async fn use_tokens(plane: &ControlPlane, first: &str, second: &str) -> (impl Sized, String) {
    let admin = plane.client().await;
    let pods: Api<Pod> = Api::namespaced(admin.clone(), "shop");
    let token =
        async |account: &str| token_of(&admin, account, &pods.get(account).await.unwrap()).await;
    let lists = client_as(plane, first, bearer(&token("lists").await)).await;
    assert_eq!(ask(&lists, CONFIG_MAPS).await, 200);
    let finds_nothing = client_as(plane, second, bearer(&token("finds-nothing").await)).await;
    assert_eq!(
        ask(&finds_nothing, &format!("{CONFIG_MAPS}/none")).await,
        404
    );
    let refused = client_as(plane, second, bearer(&token("refused").await)).await;
    assert_eq!(ask(&refused, CONFIG_MAPS).await, 403);
    let discovers = client_as(plane, first, bearer(&token("discovers").await)).await;
    assert_eq!(ask(&discovers, "/version").await, 200);
    let watches = client_as(plane, second, bearer(&token("watches").await)).await;
    let request = Request::get(format!("{CONFIG_MAPS}?watch=true"))
        .body(Vec::new())
        .unwrap();
    let watch = watches.request_stream(request).await.unwrap();
    let replicas = pods
        .list(&kube::api::ListParams::default().labels("app=replicas"))
        .await
        .unwrap();
    let replica = client_as(
        plane,
        second,
        bearer(&token_of(&admin, "replicas", &replicas.items[0]).await),
    )
    .await;
    assert_eq!(ask(&replica, CONFIG_MAPS).await, 200);
    let secrets: Api<Secret> = Api::namespaced(admin.clone(), "shop");
    let legacy = secrets.get("legacy").await.unwrap().data.unwrap()["token"].clone();
    let legacy = client_as(plane, first, bearer(&String::from_utf8(legacy.0).unwrap())).await;
    assert_eq!(ask(&legacy, CONFIG_MAPS).await, 200);
    let certificate = AuthInfo {
        client_certificate: Some(plane.file("client.crt").display().to_string()),
        client_key: Some(plane.file("client.key").display().to_string()),
        ..AuthInfo::default()
    };
    let certificate = client_as(plane, first, certificate).await;
    assert_eq!(ask(&certificate, CONFIG_MAPS).await, 200);
    // A pod that used its token, and another one with its name.
    let gone = client_as(plane, first, bearer(&token("again").await)).await;
    assert_eq!(ask(&gone, CONFIG_MAPS).await, 200);
    pods.delete("again", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    // Creation times are whole seconds: a use in the same second may have been the new pod's.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let again: Pod = serde_json::from_value(pod("again")).unwrap();
    pods.create(&PostParams::default(), &again).await.unwrap();
    (watch, token("idle").await)
}

/// A certificate authority, and a certificate with the name of an account: the flags for the API server.
fn certificates(dir: &Path) -> String {
    let name = "/CN=system:serviceaccount:shop:certificate/O=system:serviceaccounts";
    let script = format!(
        "cd {} && ec='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1' && \
         openssl req -x509 $ec -nodes -subj /CN=ca -keyout ca.key -out ca.pem -days 2 && \
         openssl req $ec -nodes -subj '{name}' -keyout client.key -out client.csr && \
         printf extendedKeyUsage=clientAuth > extensions && \
         openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile extensions -out client.crt",
        dir.display()
    );
    let made = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    format!("--client-ca-file={}", dir.join("ca.pem").display())
}

/// The reasons of a scan with these logs, and perhaps with more flags, by account.
fn reasons(plane: &ControlPlane, logs: &[&str]) -> BTreeMap<String, String> {
    let items = scanned(plane, logs).into_iter();
    items
        .map(|item| {
            let word = |value: &Value| value.as_str().unwrap().to_owned();
            (
                word(&item["metadata"]["name"]),
                word(&item["status"]["reason"]),
            )
        })
        .filter(|(name, _)| name != "default")
        .collect()
}

/// The pauses of API servers that the logs show: on a machine that does too much, they are silent for a while.
fn pauses(plane: &ControlPlane, logs: &[&str]) -> Vec<String> {
    let items = scanned(plane, logs);
    let holes = items
        .iter()
        .filter_map(|item| item["status"]["use"]["holes"].as_array());
    let holes = holes.flatten().filter_map(Value::as_str);
    let pauses: BTreeSet<&str> = holes
        .filter(|hole| hole.starts_with("no event of API server "))
        .collect();
    pauses.into_iter().map(str::to_owned).collect()
}

/// The items of a scan with these logs, and perhaps with more flags.
fn scanned(plane: &ControlPlane, logs: &[&str]) -> Vec<Value> {
    let path = |log: &&str| {
        if log.starts_with("--") {
            (*log).to_owned()
        } else {
            plane.file(log).display().to_string()
        }
    };
    let logs: Vec<_> = logs.iter().map(path).collect();
    let logs: Vec<&str> = logs.iter().map(String::as_str).collect();
    let policy = plane.file("audit-policy.yaml").display().to_string();
    let own = [
        "-n",
        "shop",
        "-o",
        "json",
        "--report-scope",
        "all",
        "--audit-policy",
        &policy,
        "--evidence-window",
        REQUIRED,
    ];
    let scan = plane.scan(&[&own[..], &["--audit-log"], &logs].concat());
    let error = String::from_utf8_lossy(&scan.stderr);
    let list: Value = serde_json::from_slice(&scan.stdout).unwrap_or_else(|_| panic!("{error}"));
    list["items"].as_array().unwrap().clone()
}

fn never(reasons: &BTreeMap<String, String>) -> Vec<&str> {
    let never = reasons.iter().filter(|(_, reason)| *reason == "NeverUsed");
    never.map(|(name, _)| name.as_str()).collect()
}

/// Has a token reviewed, as Vault does.
async fn review(plane: &ControlPlane, server: &str, token_of_idle: String) {
    let admin = plane.client().await;
    let pods: Api<Pod> = Api::namespaced(admin.clone(), "shop");
    let token = token_of(&admin, "vault", &pods.get("vault").await.unwrap()).await;
    let reviews: Api<TokenReview> = Api::all(client_as(plane, server, bearer(&token)).await);
    let review = TokenReview {
        spec: TokenReviewSpec {
            token: Some(token_of_idle),
            ..TokenReviewSpec::default()
        },
        ..TokenReview::default()
    };
    let reviewed = reviews
        .create(&PostParams::default(), &review)
        .await
        .unwrap();
    assert_eq!(reviewed.status.unwrap().authenticated, Some(true));
}

/// The reason for each account.
fn expected() -> BTreeMap<String, String> {
    let expected = [
        ("again", "NeverUsed"),
        ("backup", "DirectGrant"),
        ("certificate", "NeverUsed"),
        ("discovers", "NoPermissions"),
        ("finds-nothing", "InUse"),
        ("idle", "NeverUsed"),
        ("impersonated", "NeverUsed"),
        ("legacy", "DirectGrant"),
        ("lists", "InUse"),
        ("nothing", "NoPermissions"),
        ("refused", "UsedWithoutPermission"),
        ("replicas", "InUse"),
        ("vault", "NeverUsed"),
        ("watches", "InUse"),
    ];
    expected
        .map(|(name, reason)| (name.to_owned(), reason.to_owned()))
        .into()
}

#[test]
#[expect(clippy::print_stdout, reason = "it is weaker then")]
fn each_kind_of_use_is_told_from_the_logs_of_two_api_servers() {
    let dir = tempfile::tempdir().unwrap();
    let plane = ControlPlane::audited(&[&certificates(dir.path())]);
    for file in ["client.crt", "client.key"] {
        std::fs::copy(dir.path().join(file), plane.file(file)).unwrap();
    }
    let first = std::fs::read_to_string(plane.file("server")).unwrap();
    let first = first.trim();
    let other = plane.second_api_server();
    let second = other.as_deref().unwrap_or(first);
    let logs = if other.is_some() {
        vec!["audit.log", "second/audit.log"]
    } else {
        vec!["audit.log"]
    };
    plane.namespace("shop");
    if other.is_some() {
        let has_lease = |log: &str| {
            let text = std::fs::read_to_string(plane.file(log)).unwrap_or_default();
            text.lines().any(|line| {
                line.contains("\"verb\":\"update\"") && line.contains("/leases/apiserver-")
            })
        };
        await_that("both API servers renew their Leases", || {
            logs.iter().all(|log| has_lease(log))
        });
    }
    plane.apply(&world());
    await_that("the controllers have made pods and the token", || {
        let pods = plane.get(&["-n", "shop", "pods"]);
        let secret = plane.get(&["-n", "shop", "secret", "legacy"]);
        pods["items"].as_array().unwrap().len() == 15 && secret["data"]["token"].is_string()
    });
    let runtime = runtime();
    let (watch, idle) = runtime.block_on(use_tokens(&plane, first, second));
    plane.kubectl(&[
        "-n",
        "shop",
        "get",
        "configmaps",
        "--as=system:serviceaccount:shop:impersonated",
        "--as-group=system:serviceaccounts",
    ]);
    let mut expected = expected();
    if plane.lacks(Feature::CertificateIds, "certificates are told apart") {
        // It may have been a token of a Secret.
        expected.insert("certificate".to_owned(), "DirectGrant".to_owned());
    }
    let mut found = BTreeMap::new();
    // Logs grow by a heartbeat every 10 seconds.
    let is_long = holds_within(Duration::from_mins(2), Duration::from_secs(3), || {
        found = reasons(&plane, &logs);
        never(&found).contains(&"again")
    });
    if !is_long {
        let pauses = pauses(&plane, &logs);
        assert!(!pauses.is_empty(), "not within 2 minutes: {found:?}");
        println!("nothing proves that a token was not used: {pauses:?}");
        for reason in expected.values_mut() {
            if reason == "NeverUsed" {
                "DirectGrant".clone_into(reason);
            }
        }
    }
    assert_eq!(found, expected);
    if other.is_some() {
        for log in &logs {
            assert_eq!(never(&reasons(&plane, &[log])), [""; 0], "only {log}");
        }
    }
    // Nothing is certain about anybody once somebody had a token reviewed.
    runtime.block_on(review(&plane, second, idle));
    let found = reasons(&plane, &logs);
    assert_eq!((never(&found), found["vault"].as_str()), (vec![], "InUse"));
    // A restart begins the window anew.
    plane.restart_api_server();
    let found = reasons(&plane, &logs);
    assert_eq!(never(&found), [""; 0]);
    assert_eq!(found["lists"], "InUse");
    drop(watch);
}

/// Logs grow by a heartbeat every 10 seconds.
fn await_that_long(what: &str, holds: impl FnMut() -> bool) {
    let held = holds_within(Duration::from_mins(2), Duration::from_secs(3), holds);
    assert!(held, "{what}: not within 2 minutes");
}

/// A port that is free now.
fn free_address() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().to_string()
}

/// The controllers of this test: each receives events at its own address.
fn listening(plane: &ControlPlane, certificates: &Certificates, address: &str) -> Controller {
    let mut args = certificates.controller_flags(address);
    args.extend(["--leader-elect", "--report-scope=all"].map(str::to_owned));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    plane.controller(&args)
}

/// What is kept across restarts.
fn kept(plane: &ControlPlane) -> Value {
    let map = plane.get(&["-n", "token-exposure", "configmap", "token-exposure-use"]);
    let value = map["binaryData"]["use.json.gz"].as_str().unwrap();
    let bytes = base64::prelude::BASE64_STANDARD.decode(value).unwrap();
    serde_json::from_reader(flate2::read::GzDecoder::new(&bytes[..])).unwrap()
}

const RESULTS: &str = "token_exposure_audit_batches_total";

/// Who may send events, and which.
fn only_known_clients_are_heard(controller: &Controller, certificates: &Certificates) {
    let address = controller.audit_address();
    let counts = |result: &str| controller.metric(&format!("{RESULTS}{{result=\"{result}\"}}"));
    // An answer comes within a second, also where the batch is not read yet.
    let are = |result: &str, expected: f64| {
        await_that(result, || (counts(result) - expected).abs() < 0.5);
    };
    let events: Vec<_> = (0..2_000)
        .map(|number| denied("shop", "nobody", &number.to_string()))
        .collect();
    let whole = batch(&events);
    for stranger in [Some("stranger"), None] {
        let answer = certificates.post(&address, stranger, None, whole.clone());
        assert_eq!(answer, None, "{stranger:?}");
    }
    let total = || controller.metric("token_exposure_audit_events_total");
    let before = total();
    assert!(before < 2_000.0, "nothing of a stranger is read");
    let post = |encoding, body| certificates.post(&address, Some("client"), encoding, body);
    assert_eq!(post(None, whole.clone()), Some(200));
    // An API server that got no answer sends a batch once more.
    assert_eq!(post(None, whole.clone()), Some(200));
    are("repeated", 1.0);
    await_that("they are read", || total() - before >= 2_000.0);
    assert!(total() - before < 3_900.0);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&batch(&[denied("shop", "nobody", "compressed")]))
        .unwrap();
    let gzip = gzip.finish().unwrap();
    assert_eq!(post(Some("gzip"), gzip), Some(200));
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    bomb.write_all(&vec![b' '; 64 << 20]).unwrap();
    let answer = post(Some("gzip"), bomb.finish().unwrap());
    assert!(matches!(answer, Some(200 | 413)), "{answer:?}");
    assert!(matches!(post(None, vec![b' '; 5 << 20]), Some(413) | None));
    are("too_large", 2.0);
    let answer = post(None, b"{\"kind\":\"Status\"}".to_vec());
    assert!(matches!(answer, Some(200 | 400)), "{answer:?}");
    are("malformed", 1.0);
    assert!(
        controller
            .log()
            .contains("a batch of audit events was refused")
    );
}

/// Uses a token at the API server, as the pod of the account does.
async fn ask_as(plane: &ControlPlane, account: &str, path: &str) -> u16 {
    let admin = plane.client().await;
    let pods: Api<Pod> = Api::namespaced(admin.clone(), "shop");
    let token = token_of(&admin, account, &pods.get(account).await.unwrap()).await;
    let server = std::fs::read_to_string(plane.file("server")).unwrap();
    ask(&client_as(plane, server.trim(), bearer(&token)).await, path).await
}

/// Sends a request with a URL of nearly 1 MB, which clients in Rust cannot.
fn ask_at_length(plane: &ControlPlane, token: &str) {
    let server = std::fs::read_to_string(plane.file("server")).unwrap();
    let address = server.trim().trim_start_matches("https://");
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-no_ign_eof", "-connect", address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("/version?{}", "a".repeat(900_000));
    let request = format!(
        "GET {url} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    client
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut answer)
        .unwrap();
    drop(stdin);
    client.wait().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// In the report of an account that used its token, and in the metrics of one with a finding.
fn the_last_use_is_shown(plane: &ControlPlane, controller: &Controller) {
    let report = plane.get(&["-n", "shop", "ter", "lists"]);
    for used in [
        &report["status"]["use"],
        &report["status"]["workloads"][0]["use"],
    ] {
        assert!(used["lastUsed"].is_string(), "{report}");
        assert!(used["lastUsedBeyondDefaults"].is_string(), "{report}");
    }
    assert!(report["status"]["permissions"]["direct"][0]["lastUsed"].is_string());
    let last =
        "token_exposure_last_used_timestamp_seconds{namespace=\"shop\",serviceaccount=\"refused\"}";
    let now = jiff::Timestamp::now().as_second();
    #[expect(clippy::cast_possible_truncation, reason = "a time in seconds")]
    let age = now - controller.metric(last) as i64;
    assert!((-2..120).contains(&age), "{age}");
}

#[test]
fn use_that_an_api_server_reports_changes_verdicts_and_survives_restarts() {
    let certificates = Certificates::new();
    let address = free_address();
    let flags = certificates.api_server_flags(&address);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let plane = ControlPlane::bare(&flags);
    plane.own_namespace();
    plane.release("replicaCount=2,audit.enabled=true,audit.secretName=unused");
    plane.namespace("shop");
    plane.apply(&world());
    let first = listening(&plane, &certificates, &address);
    // It does not receive what the first one does.
    let second = listening(&plane, &certificates, "127.0.0.1:0");
    plane.await_report("shop", "lists", Some(("Needed", "DirectGrant")));
    plane.await_report("shop", "refused", Some(("Unneeded", "NoPermissions")));
    let runtime = runtime();
    // They make no batch too large: see `memory["refused"]` below.
    let token = runtime.block_on(async {
        let admin = plane.client().await;
        let pods: Api<Pod> = Api::namespaced(admin.clone(), "shop");
        token_of(&admin, "discovers", &pods.get("discovers").await.unwrap()).await
    });
    for _ in 0..12 {
        ask_at_length(&plane, &token);
    }
    runtime.block_on(async {
        assert_eq!(ask_as(&plane, "lists", CONFIG_MAPS).await, 200);
        assert_eq!(ask_as(&plane, "refused", CONFIG_MAPS).await, 403);
        assert_eq!(ask_as(&plane, "discovers", "/version").await, 200);
    });
    let in_use = Some(("Needed", "InUse"));
    let refused = Some(("Review", "UsedWithoutPermission"));
    plane.await_report("shop", "lists", in_use);
    plane.await_report("shop", "refused", refused);
    plane.await_report("shop", "discovers", Some(("Unneeded", "NoPermissions")));
    await_that_long("a heartbeat of the API server has arrived", || {
        let report = plane.get(&["-n", "shop", "ter", "idle"]);
        report["status"]["use"]["window"]["grade"] == "Partial"
    });
    let heard = r#"token_exposure_audit_canaries_total{result="heard"}"#;
    await_that("a request of the controller comes back", || {
        first.metric(heard) > 0.5
    });
    the_last_use_is_shown(&plane, &first);
    only_known_clients_are_heard(&first, &certificates);
    plane.await_report("shop", "idle", Some(("Needed", "DirectGrant")));
    first.settle();

    // The standby takes over: it learns what was kept before it writes.
    let versions = || {
        let reports = plane.get(&["-n", "shop", "ter"]);
        let reports = reports["items"].as_array().unwrap().clone();
        let version = |report: &Value| report["metadata"]["resourceVersion"].clone();
        reports.iter().map(version).collect::<Vec<_>>()
    };
    let before = versions();
    let (_, took, log) = first.terminate();
    assert!(
        took < Duration::from_secs(10) && !log.contains("cannot write what"),
        "{log}"
    );
    let memory = kept(&plane);
    assert_eq!(memory["refused"], 3, "{memory}");
    assert!(memory["accounts"]["shop"]["lists"].is_object(), "{memory}");
    await_that("the standby leads", || {
        second.metric("token_exposure_leader") > 0.5
    });
    second.settle();
    assert_eq!(versions(), before, "{}", second.log());
    drop(second);
    // So does one that starts anew.
    let third = listening(&plane, &certificates, &address);
    third.settle();
    assert_eq!(versions(), before, "{}", third.log());
    let reports = plane.get(&["ter", "-A"]).to_string();
    assert!(
        !reports.contains("NeverUsed"),
        "nothing that arrives live is complete"
    );
    runtime.block_on(async { assert_eq!(ask_as(&plane, "watches", CONFIG_MAPS).await, 200) });
    plane.await_report("shop", "watches", in_use);
}
