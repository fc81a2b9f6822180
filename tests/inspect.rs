//! `inspect` as people pipe tokens into it; what it prints is never the token.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{fs, path::Path, process::Command};

mod rig;
use rig::{ControlPlane, await_that, program};

/// Runs `inspect`: the exit code, standard output and standard error.
fn inspect(args: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    let output = program(&[&["inspect"], args].concat(), stdin);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn a_token_of_the_real_api_server_is_dissected() {
    let plane = ControlPlane::bare(&[]);
    plane.namespace("shop");
    plane.kubectl(&["-n", "shop", "create", "serviceaccount", "mail"]);
    let token = plane.kubectl(&["-n", "shop", "create", "token", "mail", "--duration=1h"]);
    let (code, shown, error) = inspect(&["-"], &token);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    for part in [
        "Token of ServiceAccount shop/mail\n",
        "  bound to  nothing but its account: it cannot be revoked before it expires\n",
        "  for       https://kubernetes.default.svc",
        " second",
        "  expires   20",
        "(credential id of audit logs)",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // Neither the claims as they are written, nor the signature.
    for part in token.trim().split('.') {
        assert!(!shown.contains(part), "{shown}");
    }
    let file = plane.file("token");
    fs::write(&file, &token).unwrap();
    let (code, from_file, _) = inspect(&[file.to_str().unwrap()], "");
    assert_eq!(
        (code, from_file.lines().count()),
        (Some(0), shown.lines().count())
    );
}

/// What the cluster says of a token, and that it never gets out, whatever is logged.
#[test]
fn the_api_server_is_asked_about_a_token() {
    let plane = ControlPlane::bare(&[]);
    plane.namespace("shop");
    let rbac = "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: edits, namespace: dev}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tests-edit}\nsubjects: [{kind: ServiceAccount, name: robot, namespace: shop}]\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: tests-edit}\nrules: [{apiGroups: [''], resources: [configmaps], verbs: [update]}]\n";
    plane.namespace("dev");
    plane.apply(rbac);
    plane.kubectl(&["-n", "shop", "create", "serviceaccount", "robot"]);
    let token = |args: &[&str]| plane.kubectl(&[&["-n", "shop", "create", "token"], args].concat());
    let admin = plane.kubeconfig();
    let ask = |token: &str, kubeconfig: &Path| {
        let mut inspect = Command::new(rig::PROGRAM);
        inspect.args(["inspect", "-", "--with-cluster", "--kubeconfig"]);
        inspect.arg(kubeconfig).env("RUST_LOG", "trace");
        let output = rig::run(&mut inspect, token);
        let shown = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        for part in token.trim().split('.').filter(|part| !part.is_empty()) {
            assert!(!shown.concat().contains(part), "{shown:?}");
        }
        (output.status.code(), shown)
    };

    let robot = token(&["robot"]);
    let (code, [shown, _]) = ask(&robot, &admin);
    assert_eq!(code, Some(0), "{shown}");
    for part in [
        "\nAPI SERVER https://127.0.0.1:",
        "\n  accepts it as system:serviceaccount:shop:robot\n",
        "\n  in the groups system:serviceaccounts, system:serviceaccounts:shop, system:authenticated\n",
        "\nPERMISSIONS: granted to the account itself\n",
        "  RoleBinding dev/edits -> ClusterRole tests-edit: grants\n",
        "      update configmaps\n",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    // Whoever may not read bindings learns what the token itself is told.
    let own = plane.file("own.kubeconfig");
    let text = fs::read_to_string(&admin).unwrap();
    fs::write(&own, text.replace("admintoken", robot.trim())).unwrap();
    let (code, [shown, _]) = ask(&robot, &own);
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains(
            "PERMISSIONS in namespace shop: nothing beyond what every identity may\n  note: that is"
        ),
        "{shown}"
    );

    // One for somebody else, one of an account that is gone, and one that another cluster signed.
    let foreign = token(&["robot", "--audience=vault"]);
    let (code, [shown, _]) = ask(&foreign, &admin);
    assert_eq!(code, Some(1), "{shown}");
    assert!(
        shown.contains("does not accept it: 401 Unauthorized"),
        "{shown}"
    );
    assert!(shown.contains("the API server says: "), "{shown}");
    // Without the right to ask for the reason, the likely ones are told.
    let (code, [shown, _]) = ask(&foreign, &own);
    assert_eq!(code, Some(1), "{shown}");
    assert!(
        shown.contains("another cluster issued it, its audience is another"),
        "{shown}"
    );
    plane.kubectl(&["-n", "shop", "delete", "serviceaccount", "robot"]);
    await_that("the token ends with its account", || {
        let (code, [shown, _]) = ask(&robot, &admin);
        code == Some(1) && shown.contains("401 Unauthorized")
    });
    let (code, [shown, error]) = ask(&robot, Path::new("missing"));
    assert_eq!((code, shown.as_str()), (Some(2), ""), "{error}");
}

#[test]
fn what_is_no_token_gets_a_clear_error_without_it() {
    let secret = "c2VjcmV0LXNpZ25hdHVyZQ";
    for (args, input, expected) in [
        (
            &["-"][..],
            String::new(),
            "standard input: there is no token",
        ),
        (
            &["-"],
            secret.to_owned(),
            "standard input: this is no JSON Web Token: it must have three parts",
        ),
        (
            &["-"],
            format!("e30.{secret}.{secret}"),
            "standard input: this is no JSON Web Token: its second part does not hold claims",
        ),
        (
            &["-"],
            format!("e30.!{secret}!.{secret}"),
            "its parts are not base64url",
        ),
        (
            &["-"],
            format!("e30.e30.{secret}"),
            "this JSON Web Token is not one of a ServiceAccount",
        ),
        (
            &["missing"],
            String::new(),
            "missing: No such file or directory",
        ),
    ] {
        let (code, shown, error) = inspect(args, &input);
        assert_eq!((code, shown.as_str()), (Some(2), ""), "{input}");
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(!error.contains(secret), "{error}");
    }
}

#[test]
fn without_a_file_it_looks_where_pods_have_theirs() {
    let own = Path::new("/var/run/secrets/kubernetes.io/serviceaccount/token");
    if own.exists() {
        return;
    }
    let (code, _, error) = inspect(&[], "");
    assert_eq!(code, Some(2));
    assert!(
        error.contains("serviceaccount/token (give a FILE, or - for standard input)"),
        "{error}"
    );
}
