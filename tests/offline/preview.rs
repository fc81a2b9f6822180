//! What the policy that withholds tokens would do, as `scan --preview-cure` says it.

use std::path::Path;

use crate::rig::{program, scan_in};

/// The lines of one workload each, by the first word after the account.
fn lines<'a>(text: &'a str, begin: &str) -> Vec<&'a str> {
    let part = text.split("\n\n").find(|part| part.starts_with(begin));
    let part = part.unwrap_or_else(|| panic!("{begin}: {text}"));
    part.lines().skip(1).map(str::trim).collect()
}

#[test]
fn each_workload_would_lose_its_token_or_keep_it_for_a_reason() {
    let (code, said, error) = scan_in(
        Path::new("."),
        &["--preview-cure", "tests/demo/sample.yaml"],
    );
    assert_eq!((code, &*error), (1, ""), "{said}");
    let lost = lines(&said, "Their next pods would have no token");
    assert!(
        lost.contains(&"shop/backup: CronJob/backup, 1 pod"),
        "{said}"
    );
    let kept = lines(&said, "Their next pods would have it");
    assert!(
        kept.iter().all(|line| line.matches(": ").count() >= 2),
        "{said}"
    );
    let permission = "the account has a permission; the verdict is Needed";
    assert!(kept.iter().any(|line| line.ends_with(permission)), "{said}");
    let void = lines(&said, "Not checked in this scan");
    assert!(void[0].starts_with("use: "), "{said}");
}

#[test]
fn what_speaks_for_a_token_is_named() {
    let pod = |name: &str, metadata: &str, spec: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop{metadata}}}\nspec: {{containers: [{{name: c, image: i}}]{spec}}}\n---\n"
        )
    };
    let input = [
        pod("plain", "", ""),
        pod("asks", "", ", automountServiceAccountToken: true"),
        pod(
            "ended",
            ", annotations: {tokenexposure.io/exempt: why, tokenexposure.io/exempt-until: 2020-01-31}",
            "",
        ),
        pod("promised", "", ", serviceAccountName: promised"),
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: promised, namespace: shop}\n---\n".to_owned(),
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: b, namespace: shop}\nroleRef: {kind: Role, name: empty}\nsubjects: [{kind: ServiceAccount, name: promised}]\n---\n".to_owned(),
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: empty, namespace: shop}\nrules: []\n".to_owned(),
    ]
    .concat();
    let output = program(
        &["scan", "--preview-cure", "--fail-on", "never", "-"],
        &input,
    );
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        lines(&said, "Their next pods would have no token: 1"),
        ["shop/default: Pod/plain, 1 pod"]
    );
    let kept = lines(&said, "Their next pods would have it: 3");
    for (name, because) in [
        ("asks", "the pods say automountServiceAccountToken: true"),
        ("ended", "an exemption is written down"),
        (
            "promised",
            "a binding names the account, and its role grants nothing yet; the verdict is Review",
        ),
    ] {
        let line = kept.iter().find(|line| line.contains(name));
        assert!(line.unwrap().ends_with(because), "{name}: {said}");
    }
}
