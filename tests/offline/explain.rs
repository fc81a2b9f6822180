//! `explain` on manifests.

use serde_json::{Value, json};

use crate::rig::program;

/// Runs `explain` on manifests: the exit code, standard output and standard error.
fn explain(args: &[&str], manifests: &str) -> (Option<i32>, String, String) {
    let output = program(&[&["explain"], args].concat(), manifests);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// One account with everything: an auto-mounted token, one for an external audience, a Secret, a note, and
/// grants of all kinds.
fn manifests() -> String {
    let role = |name: &str, rules| json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": name }, "rules": rules });
    let reading = |group: &str, resource: &str| json!({ "apiGroups": [group], "resources": [resource], "verbs": ["get", "list"] });
    let bound = |kind: &str, role: &str| {
        let mut binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": role, "namespace": "shop" },
            "roleRef": { "kind": "ClusterRole", "name": role }, "subjects": [{ "kind": "ServiceAccount", "name": "web", "namespace": "shop" }],
        });
        if kind == "ClusterRoleBinding" {
            binding["metadata"]["namespace"] = json!(null);
        }
        binding
    };
    let discovery = json!({ "nonResourceURLs": ["/version"], "verbs": ["get"] });
    let named = json!({ "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["flags"], "verbs": ["get"] });
    let tokens =
        json!([{ "serviceAccountToken": { "audience": "sts.amazonaws.com", "path": "token" } }]);
    let container = json!({
        "name": "web", "image": "i", "envFrom": [{ "secretRef": { "name": "web-token-x7k2p" } }],
        "volumeMounts": [{ "name": "aws", "mountPath": "/aws" }],
    });
    let spec = json!({
        "serviceAccountName": "web", "hostPID": true, "containers": [container, { "name": "proxy", "image": "i" }],
        "volumes": [{ "name": "aws", "projected": { "sources": tokens } }],
    });
    let items = json!([
        { "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "web", "namespace": "shop" }, "secrets": [{ "name": "web-token-x7k2p" }] },
        { "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "front", "namespace": "shop" }, "spec": { "template": { "spec": spec } } },
        role("mixed", json!([reading("", "pods"), named, discovery])),
        role("odd", json!([reading("", "pods/*"), reading("core", "pods")])),
        bound("ClusterRoleBinding", "mixed"), bound("RoleBinding", "odd"), bound("RoleBinding", "elsewhere"),
    ]);
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// A pod as the policy that withholds tokens leaves it, and one without a token for another reason.
fn withheld() -> String {
    let pod = |name: &str, annotations: &Value| {
        json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": "shop", "uid": name, "annotations": annotations,
                "creationTimestamp": "2026-11-20T23:59:59Z" },
            "spec": { "serviceAccountName": name,
                "containers": [{ "name": "c", "image": "i", "volumeMounts": [{ "name": "kube-api-access-1",
                    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount" }] }],
                "volumes": [{ "name": "kube-api-access-1", "projected": { "sources": [
                    { "configMap": { "name": "kube-root-ca.crt" } }] } }] },
            "status": { "phase": "Running" } })
    };
    let items = [
        pod(
            "web",
            &json!({ "tokenexposure.io/withheld": "LeftOut: why" }),
        ),
        pod("other", &json!({})),
    ];
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

#[test]
fn the_day_on_which_a_token_was_withheld_is_said() {
    let (code, chain, error) = explain(&["shop/web", "-"], &withheld());
    assert_eq!(code, Some(0), "{error}");
    insta::assert_snapshot!(chain);
    let (_, chain, _) = explain(&["shop/other", "-"], &withheld());
    assert!(!chain.contains("withheld since"), "{chain}");
}

/// The page has the day in the row and in the chain.
#[test]
fn the_page_says_since_when_a_token_is_withheld() {
    let page = |input: &str| -> Value {
        let output = program(&["scan", "-o", "html", "--report-scope", "all", "-"], input);
        let page = String::from_utf8(output.stdout).unwrap();
        let (_, data) = page.split_once("id=\"data\">").unwrap();
        serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap()
    };
    let data = page(&withheld());
    assert_eq!(data["withheld"], true);
    let account = |name: &str| {
        let mut accounts = data["accounts"].as_array().unwrap().iter();
        accounts
            .find(|account| account["name"] == name)
            .unwrap()
            .clone()
    };
    let mut row = account("web");
    row["chain"].take();
    insta::assert_snapshot!(format!("{row:#}"));
    assert_eq!(account("other")["since"], "");
    let lines = data["lines"].as_array().unwrap();
    let place = lines
        .iter()
        .position(|line| line == "    token withheld since 2026-11-20 (UTC)");
    let chain = account("web")["chain"].clone();
    assert!(chain.as_array().unwrap().contains(&json!(place.unwrap())));
    assert_eq!(page(&manifests())["withheld"], false);
}

#[test]
fn the_whole_chain_reads_well() {
    let (code, chain, error) = explain(&["shop/web", "-"], &manifests());
    assert_eq!((code, error.as_str()), (Some(0), ""));
    insta::assert_snapshot!(chain);
}

#[test]
fn explain_accepts_a_workload_instead_of_its_account() {
    let (_, of_account, _) = explain(&["shop/web", "-"], &manifests());
    for target in [
        "shop/deployment/front",
        "shop/deploy/front",
        "shop/Deployment/front",
        "shop/deployment.apps/front",
        "shop/deployments.apps/front",
        "shop/sa/web",
        "shop/serviceaccount/web",
        "shop/ServiceAccounts/web",
        "system:serviceaccount:shop:web",
    ] {
        let (code, chain, error) = explain(&[target, "-"], &manifests());
        assert_eq!((code, &chain), (Some(0), &of_account), "{target}: {error}");
    }
}

/// As `kubectl -o name` prints objects.
#[test]
fn workloads_of_every_kind_are_found_by_their_resource() {
    let rollout = "{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: canary, namespace: shop}, spec: {template: {spec: {serviceAccountName: r, containers: [{name: c, image: i}]}}}}";
    let nightly = "{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly, namespace: shop}, spec: {jobTemplate: {spec: {template: {spec: {serviceAccountName: night, containers: [{name: c}]}}}}}}";
    let volcano = "{apiVersion: batch.volcano.sh/v1alpha1, kind: Job, metadata: {name: train, namespace: shop}, spec: {tasks: [{template: {spec: {serviceAccountName: v, containers: [{name: c, image: i}]}}}]}}";
    let manifests = [rollout, nightly, volcano].join("\n---\n");
    for (target, account) in [
        ("shop/rollout.argoproj.io/canary", Some("r")),
        ("shop/rollouts.argoproj.io/canary", Some("r")),
        ("shop/rollouts/canary", Some("r")),
        ("shop/cronjob.batch/nightly", Some("night")),
        ("shop/cronjobs.batch/nightly", Some("night")),
        ("shop/cj/nightly", Some("night")),
        ("shop/job.batch.volcano.sh/train", Some("v")),
        ("shop/jobs.batch.volcano.sh/train", Some("v")),
        ("shop/jobs.batch/train", None),
    ] {
        let (code, chain, error) = explain(&[target, "-"], &manifests);
        assert_eq!(code == Some(0), account.is_some(), "{target}: {error}");
        if let Some(account) = account {
            assert!(
                chain.contains(&format!("ServiceAccount shop/{account}")),
                "{target}: {chain}"
            );
        }
    }
}

#[test]
fn an_unknown_target_is_an_error_that_says_what_exists() {
    for (args, expected) in [
        (
            &["shop/nobody", "-"][..],
            "ServiceAccount shop/nobody was not found, and no pod uses it; ServiceAccounts in this namespace: web",
        ),
        (
            &["other/web", "-"],
            "namespace other has no ServiceAccounts and no pods, or does not exist",
        ),
        (
            &["shop/deploy/back", "-"],
            "Deployment back was not found in namespace shop, or uses no ServiceAccount",
        ),
        (
            &["web", "-"],
            "`web` is neither NAMESPACE/NAME nor NAMESPACE/KIND/NAME",
        ),
        (
            &["/web", "-"],
            "`/web` is neither NAMESPACE/NAME nor NAMESPACE/KIND/NAME",
        ),
        (
            &["system:serviceaccount:shop", "-"],
            "`system:serviceaccount:shop` is neither NAMESPACE/NAME",
        ),
        (
            &["--verdict", "nonsense"],
            "`nonsense` is not a verdict, a reason or the type of a note: use one of Unneeded, Review",
        ),
        (
            &["shop/web", "missing.yaml"],
            "missing.yaml: cannot be read",
        ),
    ] {
        let (code, chain, error) = explain(args, &manifests());
        assert_eq!((code, chain.as_str()), (Some(2), ""), "{args:?}: {error}");
        assert!(
            error.contains(&format!("error: {expected}")),
            "{args:?}: {error}"
        );
    }
}

#[test]
fn verdicts_and_reasons_are_explained_in_both_spellings() {
    let (_, one, _) = explain(&["--verdict", "RBACNotEnforced"], "");
    let (_, other, _) = explain(&["--verdict", "rbac-not-enforced"], "");
    assert_eq!(one, other);
    assert!(
        one.starts_with("RBACNotEnforced: Unknown: the API server allows everything"),
        "{one}"
    );
}

/// All names in the tables of README.md have a meaning.
#[test]
fn types_of_notes_are_explained_as_in_the_table() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let (_, table) = readme.split_once("| type | what was found |").unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let rows: Vec<_> = rows.collect();
    assert!(rows.len() > 4, "{rows:?}");
    for row in rows {
        let name = row.split('`').nth(1).unwrap();
        let (code, meaning, error) = explain(&["--verdict", name], "");
        assert_eq!(code, Some(0), "{error}");
        assert!(
            meaning.starts_with(&format!("{name}: a note: ")),
            "{meaning}"
        );
    }
}

/// A pod as an API server sends it, with or without the volume that admission injects.
fn live_pod(automount: Option<bool>, has_token: bool) -> serde_json::Value {
    let volume = "kube-api-access-x2k4q";
    let token = json!({ "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } });
    let root = json!({ "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } });
    let field = json!({ "path": "namespace", "fieldRef": { "fieldPath": "metadata.namespace" } });
    let namespace = json!({ "downwardAPI": { "items": [field] } });
    let mounts =
        json!([{ "name": volume, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount" }]);
    let none = json!([]);
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "namespace": "shop", "uid": "1" },
        "spec": {
            "automountServiceAccountToken": automount,
            "containers": [{ "name": "c", "image": "i", "volumeMounts": if has_token { &mounts } else { &none } }],
            "volumes": if has_token { json!([{ "name": volume, "projected": { "sources": [token, root, namespace] } }]) } else { none.clone() },
        },
    })
}

/// Policies and webhooks act after the ServiceAccount admission plugin: they can take the token out, and what they
/// set in `automountServiceAccountToken` comes too late.
#[test]
fn what_a_policy_did_to_a_pod_is_said() {
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default", "namespace": "shop" } });
    let explained = |pod: serde_json::Value| {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": [account, pod] });
        explain(&["shop/default", "-"], &list.to_string()).1
    };
    let removed = explained(live_pod(None, false));
    assert!(removed.contains("NoToken (AutomountDisabled)"), "{removed}");
    assert!(
        removed.contains("a policy or webhook took the token out of the pod"),
        "{removed}"
    );
    let late = explained(live_pod(Some(false), true));
    assert!(
        late.contains("Unneeded (NoPermissions)") && late.contains("auto-mounted token"),
        "{late}"
    );
    assert!(
        late.contains("sets the field after the token is injected, where it has no effect"),
        "{late}"
    );
    let disabled = explained(live_pod(Some(false), false));
    assert!(
        disabled.contains("NoToken (AutomountDisabled)") && !disabled.contains("policy"),
        "{disabled}"
    );
}

/// A request for a URL has no namespace, so that no RoleBinding applies to it.
#[test]
fn urls_granted_by_a_rolebinding_are_said_to_have_no_effect() {
    let manifests = r"
{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: shop}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: metrics}, rules: [{nonResourceURLs: [/metrics], verbs: [get]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: metrics, namespace: shop}, roleRef: {kind: ClusterRole, name: metrics}, subjects: [{kind: ServiceAccount, name: web}]}
";
    let (_, chain, _) = explain(&["shop/web", "-"], manifests);
    assert!(
        chain
            .contains("grants nothing: rules for URLs have an effect only in a ClusterRoleBinding"),
        "{chain}"
    );
    assert!(
        chain.contains("(no effect: a request for a URL has no namespace)"),
        "{chain}"
    );
}

/// Whoever administers one namespace can bind an account of another there: it is said, and judged as the
/// configuration asks.
#[test]
fn permissions_that_only_other_namespaces_grant_are_noted() {
    let manifests = r"
{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: shop}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}, spec: {serviceAccountName: web, containers: [{name: c}]}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: r, namespace: ci}, rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: b, namespace: ci}, roleRef: {kind: Role, name: r}, subjects: [{kind: ServiceAccount, name: web, namespace: shop}]}
";
    let note = "only other namespaces grant it permissions: RoleBinding b in namespace ci (Role r)";
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.yaml");
    let scanned = |content: &str| {
        std::fs::write(&config, content).unwrap();
        let args = [
            "scan",
            "-o",
            "json",
            "--report-scope=all",
            "--config",
            config.to_str().unwrap(),
            "-",
        ];
        let output = program(&args, manifests);
        let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        list["items"][0]["status"].clone()
    };
    let status = scanned("");
    assert_eq!(
        (&status["verdict"], &status["reason"]),
        (&json!("Needed"), &json!("DirectGrant"))
    );
    assert_eq!(
        status["notes"],
        json!([{ "type": "GrantedElsewhereOnly", "message": note }])
    );
    let status = scanned("grantsElsewhere: review\n");
    assert_eq!(
        (&status["verdict"], &status["reason"]),
        (&json!("Review"), &json!("GrantedElsewhere"))
    );
    assert!(
        status["message"].as_str().unwrap().contains(note),
        "{status}"
    );
    let status = scanned("grantsElsewhere: review\ntrustedNamespaces: [c*]\n");
    assert_eq!(
        (&status["verdict"], &status["notes"]),
        (&json!("Needed"), &json!(null))
    );
    let (_, chain, _) = explain(&["shop/web", "-"], manifests);
    assert!(chain.contains(&format!("note: {note}")), "{chain}");
    std::fs::write(&config, "grantsElsewhere: maybe\n").unwrap();
    let bad = program(
        &["scan", "--config", config.to_str().unwrap(), "-"],
        manifests,
    );
    let error = String::from_utf8(bad.stderr).unwrap();
    assert_eq!(bad.status.code(), Some(2));
    assert!(
        error.contains(
            "config.yaml:1:18: `grantsElsewhere` has an unknown value: use `needed` or `review`"
        ),
        "{error}"
    );
}
