//! `--legacy-tokens` on the real control plane: the metadata of Secrets says whose tokens they hold.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::rig::{ControlPlane, await_that};

/// A Secret of any name with the token of `old`, one of another type with the same annotation, one
/// that is suspected by its name only, and pods that use them.
fn world() -> String {
    let secret = |name: &str, kind: &str| {
        let annotations = json!({ "kubernetes.io/service-account.name": "old" });
        json!({ "apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": { "name": name, "namespace": "shop", "annotations": annotations }, "stringData": { "x": "never read" } })
    };
    let account = |name: &str| json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name, "namespace": "shop" }, "automountServiceAccountToken": false });
    let pod = |name: &str, account: &str, secret: &str| {
        let source = json!([{ "secretRef": { "name": secret } }]);
        let spec = json!({ "serviceAccountName": account, "containers": [{ "name": "c", "image": "i", "envFrom": source }] });
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "shop" }, "spec": spec })
    };
    let items = [
        account("old"),
        account("new"),
        secret("build-robot", "kubernetes.io/service-account-token"),
        secret("annotated", "Opaque"),
        secret("new-token-abcde", "Opaque"),
        pod("a", "new", "build-robot"),
        pod("b", "new", "annotated"),
        pod("c", "new", "new-token-abcde"),
    ];
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// The verdicts of a scan by account.
fn verdicts(plane: &ControlPlane, args: &[&str]) -> Vec<String> {
    let scan = plane.scan(&[&["-n", "shop", "--report-scope=all", "-o", "json"], args].concat());
    let list: Value = serde_json::from_slice(&scan.stdout).unwrap();
    let line = |report: &Value| {
        let (name, status) = (&report["metadata"]["name"], &report["status"]);
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        format!(
            "{} {} {}",
            word(name),
            word(&status["verdict"]),
            word(&status["reason"])
        )
    };
    let reports = list["items"].as_array().unwrap().iter();
    reports
        .map(line)
        .filter(|line| !line.starts_with("default "))
        .collect()
}

#[test]
fn secrets_show_which_account_their_token_belongs_to() {
    let plane = ControlPlane::audited(&[]);
    plane.namespace("shop");
    plane.apply(&world());
    assert_eq!(
        verdicts(&plane, &[]),
        ["new Unknown SuspectedLegacyToken", "old NoToken NoPods"]
    );
    let told = ["new NoToken AutomountDisabled", "old Review LegacyToken"];
    assert_eq!(verdicts(&plane, &["--legacy-tokens"]), told);

    // The installed controller has no permission to: it logs that, and goes by the names of Secrets.
    let controller = plane.controller(&["--legacy-tokens", "--forbidden-after=1s"]);
    plane.await_report("shop", "new", Some(("Unknown", "SuspectedLegacyToken")));
    plane.await_report("shop", "old", None);
    let log = controller.log();
    assert!(
        log.contains("grant `list` and `watch` on `secrets`"),
        "{log}"
    );

    plane.kubectl(&[
        "create",
        "clusterrole",
        "secrets",
        "--verb=list,watch",
        "--resource=secrets",
    ]);
    plane.kubectl(&[
        "create",
        "clusterrolebinding",
        "secrets",
        "--clusterrole=secrets",
        "--serviceaccount=token-exposure:token-exposure",
    ]);
    plane.await_report("shop", "old", Some(("Review", "LegacyToken")));
    plane.await_report("shop", "new", None);

    // The data of the Secrets was never requested.
    let of_secrets: Vec<_> = plane
        .own_requests()
        .into_iter()
        .filter(|event| event["objectRef"]["resource"] == "secrets")
        .map(|event| event["requestURI"].as_str().unwrap().to_owned())
        .collect();
    assert!(!of_secrets.is_empty());
    for uri in of_secrets {
        assert!(
            uri.contains("fieldSelector=type%3Dkubernetes.io%2Fservice-account-token"),
            "{uri}"
        );
    }

    let requests = plane.requests();
    let mut lists = requests.iter().filter(|event| {
        let agent = event["userAgent"].as_str().unwrap_or_default();
        agent.starts_with("token-exposure")
            && event["verb"] == "list"
            && event["objectRef"]["resource"] == "secrets"
    });
    let answer = &lists.next().unwrap()["responseObject"];
    assert_eq!(answer["kind"], "PartialObjectMetadataList", "{answer}");

    // The API server writes the day into a label of the Secret.
    let token = plane.get(&["-n", "shop", "secret", "build-robot"])["data"]["token"].clone();
    let token = BASE64_STANDARD.decode(token.as_str().unwrap()).unwrap();
    let token = format!("--token={}", String::from_utf8(token).unwrap());
    plane.kubectl(&[&token, "get", "--raw", "/version"]);
    await_that("the report says when the token was used", || {
        let report = plane.get(&["-n", "shop", "ter", "old"]);
        let used = &report["status"]["use"];
        used["lastUsed"].is_string() && used["window"]["grade"] == "Unproven"
    });
    plane.kubectl(&[
        "-n",
        "shop",
        "label",
        "secret",
        "build-robot",
        "kubernetes.io/legacy-token-invalid-since=2026-01-01",
    ]);
    await_that("the report says that the token is invalid", || {
        let report = plane.get(&["-n", "shop", "ter", "old"]);
        report["status"]["workloads"][0]["notes"][0]
            .as_str()
            .is_some_and(|note| note.contains("marked invalid"))
    });
    plane.kubectl(&["-n", "shop", "delete", "secret", "build-robot"]);
    plane.await_report("shop", "old", None);
}
