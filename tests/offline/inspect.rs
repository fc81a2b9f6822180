//! `inspect` of other input than tokens; it never prints the input.

use std::path::Path;

use crate::rig::inspect;

#[test]
fn invalid_input_is_an_error_that_does_not_contain_it() {
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
            "standard input: this is not a JSON Web Token: it must have three parts",
        ),
        (
            &["-"],
            format!("e30.{secret}.{secret}"),
            "standard input: this is not a JSON Web Token: its second part does not hold claims",
        ),
        (
            &["-"],
            format!("e30.!{secret}!.{secret}"),
            "its parts are not base64url",
        ),
        (
            &["-"],
            format!("e30.e30.{secret}"),
            "this JSON Web Token is not a ServiceAccount token",
        ),
        (
            &["-"],
            format!("{{\"kind\": \"Secret\", \"data\": {{\"token\": \"{secret}\"}}}}"),
            "standard input: this is a Secret: pass its token, as in `kubectl get secret",
        ),
        (
            &["-"],
            format!("Authorization: Bearer eyJhbGciOiJub25lIn0.{secret}.{secret}"),
            "standard input: the token has `Bearer` before it",
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
fn flags_of_a_cluster_that_is_not_asked_are_said_to_have_no_effect() {
    let token = "e30.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6YTpiIn0.e30";
    let (code, _, error) = inspect(&["-", "--context", "x"], token);
    let warning = "warning: --context has no effect without `--with-cluster`\n";
    assert_eq!((code, &*error), (Some(0), warning));
}

#[test]
fn without_a_file_the_token_of_the_pod_is_read() {
    let own = Path::new("/var/run/secrets/kubernetes.io/serviceaccount/token");
    if own.exists() {
        return;
    }
    let (code, _, error) = inspect(&[], "");
    assert_eq!(code, Some(2));
    assert!(
        error.contains("serviceaccount/token (use FILE, or - for standard input)"),
        "{error}"
    );
}

/// Pasted where a file is expected: the shell has it in its history, and no message may repeat it.
#[test]
fn a_token_given_as_an_argument_is_never_printed() {
    let token = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6YTpiIn0.c2lnbmF0dXJl";
    let flag = format!("--kubeconfig={token}");
    for args in [
        &["inspect", token][..],
        &["inspect", &token[..40]],
        &["inspect", "-", token],
        &["inspect", &flag, "--with-cluster", "-"],
        &["scan", token],
        &["explain", token],
        &["explain", "--verdict", token],
        &["scan", "--no-such-flag", token],
        &[token],
    ] {
        let output = crate::rig::program(args, "");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(!said.contains("eyJhbGci"), "{said}");
    }
    let (_, _, error) = inspect(&[token], "");
    assert!(
        error.contains("the history of the shell has now") && error.contains("inspect -"),
        "{error}"
    );
}
