//! `scan` on the real control plane: manifests assessed with the permissions of the cluster, and
//! impersonation.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::{Value, json};

use crate::rig::{
    program, program_path,
    shared::{sample, unwatched, watched},
};

fn deployment(name: &str, account: &str) -> Value {
    let spec =
        json!({ "serviceAccountName": account, "containers": [{ "name": "c", "image": "i" }] });
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": "judged" }, "spec": { "template": { "spec": spec } } })
}

/// Workloads, and a binding to a role that only the cluster has.
fn manifests() -> String {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "b", "namespace": "judged" },
        "roleRef": { "kind": "Role", "name": "reader" }, "subjects": [{ "kind": "ServiceAccount", "name": "both" }],
    });
    let items = json!([
        deployment("a", "bound"),
        deployment("b", "off"),
        deployment("c", "both"),
        deployment("d", "default"),
        deployment("e", "new"),
        binding,
    ]);
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// `name verdict reason` of each report in the namespace.
fn lines(stdout: &[u8]) -> Vec<String> {
    let list: Value = serde_json::from_slice(stdout).unwrap();
    let line = |report: &Value| {
        let (name, status) = (&report["metadata"]["name"], &report["status"]);
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let (verdict, reason) = (word(&status["verdict"]), word(&status["reason"]));
        format!("{} {verdict} {reason}", word(name))
    };
    let reports = list["items"].as_array().unwrap().iter();
    reports
        .filter(|report| report["metadata"]["namespace"] == "judged")
        .map(line)
        .collect()
}

#[test]
fn manifests_are_assessed_with_the_permissions_of_the_cluster() {
    let plane = watched();
    plane.namespace("judged");
    for name in ["bound", "off", "idle", "both"] {
        plane.kubectl(&["-n", "judged", "create", "serviceaccount", name]);
    }
    let off = r#"{"automountServiceAccountToken":false}"#;
    plane.kubectl(&["-n", "judged", "patch", "serviceaccount", "off", "-p", off]);
    plane.kubectl(&[
        "-n",
        "judged",
        "create",
        "rolebinding",
        "view",
        "--clusterrole=view",
        "--serviceaccount=judged:bound",
    ]);
    plane.kubectl(&[
        "-n",
        "judged",
        "create",
        "role",
        "reader",
        "--verb=get",
        "--resource=pods",
    ]);
    // A pod of the cluster is not part of the input.
    let idle = json!({ "serviceAccountName": "idle" });
    let overrides = json!({ "spec": idle }).to_string();
    plane.kubectl(&[
        "-n",
        "judged",
        "run",
        "idle",
        "--image=i",
        "--overrides",
        &overrides,
    ]);
    let file = plane.file("files.json");
    fs::write(&file, manifests()).unwrap();

    let args = ["-o", "json", "--report-scope=all", file.to_str().unwrap()];
    let alone = program(&[&["scan"], &args[..]].concat(), "");
    assert_eq!(
        lines(&alone.stdout),
        [
            "both Unknown UnresolvedRole",
            "bound Unneeded NoPermissions",
            "default Unneeded NoPermissions",
            "new Unneeded NoPermissions",
            "off Unneeded NoPermissions",
        ]
    );
    let scan = plane.scan(&[&["--with-cluster"], &args[..]].concat());
    assert_eq!(String::from_utf8_lossy(&scan.stderr), "");
    assert_eq!(scan.status.code(), Some(1));
    assert_eq!(
        lines(&scan.stdout),
        [
            "both Needed DirectGrant",
            "bound Needed DirectGrant",
            "default Unneeded NoPermissions",
            "idle NoToken NoPods",
            "new Unneeded NoPermissions",
            "off NoToken AutomountDisabled",
        ]
    );
    // Label selectors work on the API server as they do on files.
    let of = |selector: &str| {
        let output = plane.scan(&["-n", "judged", "-o", "json", "-l", selector]);
        lines(&output.stdout)
    };
    assert_eq!(of("run in (idle)"), ["idle Unneeded NoPermissions"]);
    assert_eq!(of("run!=idle"), [""; 0]);
    // `--with-cluster` needs files.
    let usage = plane.scan(&["--with-cluster"]);
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn scan_can_impersonate_another_user() {
    let plane = unwatched();
    let nobody = plane.scan(&["-A", "--as", "nobody", "--as-group", "system:authenticated"]);
    let said = String::from_utf8_lossy(&nobody.stderr);
    assert_eq!(nobody.status.code(), Some(2), "{said}");
    assert!(
        said.contains(r#"User "nobody" cannot list resource "pods""#),
        "{said}"
    );
    // One missing right is one message, not one for each kind.
    let errors: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{said}");
    let begins = "error: cannot list pods, serviceaccounts, namespaces, roles, clusterroles, rolebindings, clusterrolebindings: ";
    assert!(errors[0].starts_with(begins), "{said}");
    let master = plane.scan(&["-A", "--as", "somebody", "--as-group", "system:masters"]);
    assert_eq!(master.status.code(), Some(0));
}

/// A proxy that tunnels; returns its address, and how many tunnels it opened.
fn tunnels() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let opened = Arc::new(AtomicUsize::new(0));
    let count = opened.clone();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut head = BufReader::new(client.try_clone().unwrap()).lines();
            let asked = head.next().unwrap().unwrap();
            let target = asked.strip_prefix("CONNECT ").unwrap();
            let (target, _) = target.split_once(' ').unwrap();
            head.find(|line| line.as_deref().is_ok_and(str::is_empty));
            let server = TcpStream::connect(target).unwrap();
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            let copy = |from: &TcpStream, to: &TcpStream| {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                thread::spawn(move || io::copy(&mut from, &mut to));
            };
            copy(&client, &server);
            copy(&server, &client);
        }
    });
    (address, opened)
}

#[test]
fn the_api_server_is_reached_through_the_proxy_of_the_kubeconfig() {
    let plane = watched();
    plane.namespace("proxied");
    plane.kubectl(&["-n", "proxied", "run", "idle", "--image=i"]);
    let scan = |kubeconfig: &Path, proxy: Option<&str>| -> Output {
        let mut scan = Command::new(program_path());
        scan.args(["scan", "-n", "proxied", "-o", "json", "--kubeconfig"]);
        scan.arg(kubeconfig)
            .envs(proxy.map(|proxy| ("HTTPS_PROXY", proxy)));
        scan.output().unwrap()
    };
    let (address, opened) = tunnels();
    let proxied = plane.file("proxied");
    let kubeconfig = fs::read_to_string(plane.kubeconfig()).unwrap();
    let with_proxy = format!(r#"cluster: {{proxy-url: "http://{address}", server:"#);
    let with_proxy = kubeconfig.replace("cluster: {server:", &with_proxy);
    fs::write(&proxied, with_proxy).unwrap();
    let through = scan(&proxied, None);
    let found: Value = serde_json::from_slice(&through.stdout).unwrap();
    assert_eq!(
        found["items"][0]["metadata"]["name"], "default",
        "{through:?}"
    );
    let tunnels = opened.load(Ordering::Relaxed);
    assert!(tunnels > 0, "{through:?}");
    // The machine itself needs none, whatever the environment says.
    let beside = scan(&plane.kubeconfig(), Some(&format!("http://{address}")));
    assert_eq!(beside.stdout, through.stdout, "{beside:?}");
    assert_eq!(opened.load(Ordering::Relaxed), tunnels);
}

/// Every verdict, with every field that a report can have.
const EVERYTHING: &str = "\
{kind: ServiceAccount, apiVersion: v1, metadata: {name: told, annotations: {tokenexposure.io/exempt: because, tokenexposure.io/exempt-until: 2999-01-01}}}
---
{kind: Pod, apiVersion: v1, metadata: {name: told}, spec: {serviceAccountName: told, containers: [{name: c}]}}
---
{kind: Pod, apiVersion: v1, metadata: {name: odd}, spec: {serviceAccountName: odd, hostPID: true, automountServiceAccountToken: false,
  containers: [{name: c, volumeMounts: [{name: v, mountPath: /t}, {name: s, mountPath: /s}, {name: d, mountPath: /d}]}],
  volumes: [{name: v, projected: {sources: [{serviceAccountToken: {audience: mine, path: token}}, {podCertificate: {signerName: a/b, keyType: ED25519, credentialBundlePath: c}}]}},
    {name: s, secret: {secretName: odd-token-abcde}}, {name: d, csi: {driver: secrets-store.csi.k8s.io}}]}}
---
{kind: Pod, apiVersion: v1, metadata: {name: ended, annotations: {tokenexposure.io/exempt: because, tokenexposure.io/exempt-until: 2020-01-01}}, spec: {serviceAccountName: ended, containers: [{name: c}]}}
";

#[test]
fn the_api_server_stores_what_scan_prints() {
    let plane = unwatched();
    let sample = fs::read_to_string("tests/demo/sample.yaml").unwrap();
    let output = program(
        &["scan", "-o", "yaml", "--report-scope=all", "-"],
        &format!("{sample}\n---\n{EVERYTHING}"),
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    let list: Value = serde_yaml::from_str(&printed).unwrap();
    let reports = list["items"].as_array().unwrap();
    let verdicts: BTreeSet<_> = reports
        .iter()
        .map(|report| report["status"]["verdict"].as_str().unwrap())
        .collect();
    assert_eq!(
        verdicts.len(),
        6,
        "a report for every verdict: {verdicts:?}"
    );
    let namespaces: BTreeSet<_> = reports
        .iter()
        .map(|report| report["metadata"]["namespace"].as_str().unwrap())
        .collect();
    for namespace in namespaces.iter().filter(|name| **name != "default") {
        plane.kubectl(&["create", "namespace", namespace]);
    }
    let apply = ["apply", "--server-side", "--validate=strict", "-f", "-"];
    let output = plane.try_kubectl(&apply, &printed);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
    for report in reports {
        let text = |field: &str| report["metadata"][field].as_str().unwrap();
        let stored = plane.get(&["-n", text("namespace"), "ter", text("name")]);
        assert_eq!(
            (&stored["spec"], &stored["status"]),
            (&report["spec"], &report["status"])
        );
    }
}

#[test]
fn dumps_of_kubectl_give_the_reports_of_the_cluster() {
    let plane = sample();
    let kinds =
        "pods,serviceaccounts,namespaces,roles,clusterroles,rolebindings,clusterrolebindings";
    let args = ["-n", "shop", "-o", "json", "--report-scope=all"];
    let items = |output: &std::process::Output| {
        let list: Value = serde_json::from_slice(&output.stdout).unwrap();
        list["items"].clone()
    };
    let live = items(&plane.scan(&args));
    assert!(live.as_array().unwrap().len() > 5);
    for format in ["json", "yaml"] {
        let dump = plane.kubectl(&["get", kinds, "-A", "-o", format]);
        let audience = ["--api-audience=https://kubernetes.default.svc", "-"];
        let output = program(&[&["scan"], &args[2..], &audience].concat(), &dump);
        let scanned = items(&output);
        let in_shop = scanned.as_array().unwrap().iter();
        let in_shop: Vec<_> = in_shop
            .filter(|report| report["metadata"]["namespace"] == "shop")
            .collect();
        assert_eq!(in_shop, live.as_array().unwrap().iter().collect::<Vec<_>>());
    }
}

/// The tokens of an account that was deleted are dead (401): the controller and `scan` say the same.
#[test]
fn pods_of_an_account_that_does_not_exist_carry_no_valid_token() {
    let plane = watched();
    plane.namespace("orphans");
    plane.kubectl(&["-n", "orphans", "create", "serviceaccount", "gone"]);
    let overrides = r#"--overrides={"spec":{"serviceAccountName":"gone"}}"#;
    plane.kubectl(&["-n", "orphans", "run", "p", "--image=i", overrides]);
    plane.await_report("orphans", "gone", Some(("Unneeded", "NoPermissions")));
    plane.kubectl(&["-n", "orphans", "delete", "serviceaccount", "gone"]);
    plane.await_report("orphans", "gone", None);
    let scan = plane.scan(&["-n", "orphans", "-o", "json", "--report-scope=all"]);
    let list: Value = serde_json::from_slice(&scan.stdout).unwrap();
    let mut reports = list["items"].as_array().unwrap().iter();
    let gone = reports.find(|report| report["metadata"]["name"] == "gone");
    let status = &gone.unwrap()["status"];
    assert_eq!(status["reason"], "ServiceAccountMissing", "{status}");
    assert_eq!(status["verdict"], "NoToken");
    // A new account of the same name has another uid.
    plane.kubectl(&["-n", "orphans", "create", "serviceaccount", "gone"]);
    plane.await_report("orphans", "gone", Some(("Unneeded", "NoPermissions")));
}

/// A namespace admin binds a foreign account in the own namespace: the finding ends, and that is seen.
#[test]
fn a_finding_that_another_namespace_clears_is_logged_and_counted() {
    let plane = watched();
    plane.namespace("victim");
    plane.namespace("mallory");
    plane.kubectl(&["-n", "victim", "run", "p", "--image=i"]);
    plane.await_report("victim", "default", Some(("Unneeded", "NoPermissions")));
    let bind = [
        "create",
        "rolebinding",
        "hide",
        "--clusterrole=view",
        "--serviceaccount=victim:default",
    ];
    plane.kubectl(&[&["-n", "mallory"], &bind[..]].concat());
    plane.await_report("victim", "default", None);
    let log = fs::read_to_string(plane.file("controller.log")).unwrap();
    let line = log
        .lines()
        .find(|line| line.contains("cleared the finding"))
        .unwrap();
    assert!(
        line.contains("namespace=victim") && line.contains("RoleBinding hide in namespace mallory"),
        "{line}"
    );
}
