//! `inspect` as people pipe tokens into it; what it prints is never the token.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{fs, path::Path};

mod rig;
use rig::{ControlPlane, program};

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
            "its second part is not base64url",
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
