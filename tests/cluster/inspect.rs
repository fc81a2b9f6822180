//! `inspect` with tokens that the real API server issues; it never prints the token.

use std::{fs, path::Path, process::Command};

use crate::rig::{await_that, inspect, program_path, run, shared::watched};

#[test]
fn inspect_shows_the_claims_of_an_issued_token() {
    let plane = watched();
    plane.namespace("dissected");
    plane.kubectl(&["-n", "dissected", "create", "serviceaccount", "mail"]);
    let token = plane.kubectl(&[
        "-n",
        "dissected",
        "create",
        "token",
        "mail",
        "--duration=1h",
    ]);
    let (code, shown, error) = inspect(&["-"], &token);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    for part in [
        "Token of ServiceAccount dissected/mail\n",
        "  bound to  only its ServiceAccount: it cannot be revoked before it expires\n",
        "  audience  https://kubernetes.default.svc",
        " second",
        "  expires   20",
        "(the credential id in audit logs)",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // Neither the encoded claims nor the signature.
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

/// The answer of the API server about a token; neither output nor logs contain the token.
#[test]
fn the_api_server_is_asked_about_a_token() {
    let plane = watched();
    plane.namespace("asked");
    let rbac = "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: edits, namespace: dev}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tests-edit}\nsubjects: [{kind: ServiceAccount, name: robot, namespace: asked}]\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: tests-edit}\nrules: [{apiGroups: [''], resources: [configmaps], verbs: [update]}]\n";
    plane.namespace("dev");
    plane.apply(rbac);
    plane.kubectl(&["-n", "asked", "create", "serviceaccount", "robot"]);
    let token =
        |args: &[&str]| plane.kubectl(&[&["-n", "asked", "create", "token"], args].concat());
    let admin = plane.kubeconfig();
    let ask = |token: &str, kubeconfig: &Path| {
        let mut inspect = Command::new(program_path());
        inspect.args(["inspect", "-", "--with-cluster", "--kubeconfig"]);
        inspect.arg(kubeconfig).env("RUST_LOG", "trace");
        let output = run(&mut inspect, token);
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
        "\n  the API server accepts the token: user system:serviceaccount:asked:robot\n",
        "\n  groups system:serviceaccounts, system:serviceaccounts:asked, system:authenticated\n",
        "\nPERMISSIONS: granted to the ServiceAccount by name\n",
        "  RoleBinding dev/edits -> ClusterRole tests-edit: grants\n",
        "      update configmaps\n",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    // Without permission to read bindings, the answer comes from a self review of the token.
    let own = plane.file("own.kubeconfig");
    let text = fs::read_to_string(&admin).unwrap();
    fs::write(&own, text.replace("admintoken", robot.trim())).unwrap();
    let (code, [shown, _]) = ask(&robot, &own);
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains(
            "PERMISSIONS in namespace asked: none beyond the default permissions of every authenticated user\n  note: this is"
        ),
        "{shown}"
    );

    // A token for another audience; at the end, one of a deleted account.
    let foreign = token(&["robot", "--audience=vault"]);
    let (code, [shown, _]) = ask(&foreign, &admin);
    assert_eq!(code, Some(1), "{shown}");
    assert!(
        shown.contains("rejects the token (401 Unauthorized)"),
        "{shown}"
    );
    assert!(shown.contains("the API server answered: "), "{shown}");
    // Without permission to review the token, the message lists likely reasons.
    let (code, [shown, _]) = ask(&foreign, &own);
    assert_eq!(code, Some(1), "{shown}");
    assert!(
        shown.contains("another cluster issued the token, it is for another audience"),
        "{shown}"
    );
    plane.kubectl(&["-n", "asked", "delete", "serviceaccount", "robot"]);
    await_that("the token is invalid without its account", || {
        let (code, [shown, _]) = ask(&robot, &admin);
        code == Some(1) && shown.contains("401 Unauthorized")
    });
    let (code, [shown, error]) = ask(&robot, Path::new("missing"));
    assert_eq!((code, shown.as_str()), (Some(2), ""), "{error}");
}
