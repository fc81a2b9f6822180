//! `explain` on manifests.

use serde_json::json;

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
    ] {
        let (code, chain, error) = explain(&[target, "-"], &manifests());
        assert_eq!((code, &chain), (Some(0), &of_account), "{target}: {error}");
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
            &["--verdict", "nonsense"],
            "`nonsense` is not a verdict or a reason: use one of Unneeded, Review",
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
