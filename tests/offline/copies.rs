//! Objects that the input has several times under one name, and differently: none hides what another grants or mounts.

use std::fs;

use crate::rig::{scan_files, scan_in};

const RBAC: &str = "apiVersion: rbac.authorization.k8s.io/v1\n";

fn deployment(account: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: app, namespace: shop}}\nspec:\n  selector: {{}}\n  template:\n    spec:\n      \
         serviceAccountName: {account}\n      containers: [{{name: c, image: i}}]\n---\n"
    )
}

fn role(verbs: &str) -> String {
    format!(
        "{RBAC}kind: Role\nmetadata: {{name: r, namespace: shop}}\nrules: [{{apiGroups: [\"\"], resources: [pods], verbs: [{verbs}]}}]\n---\n"
    )
}

fn binding(role: &str, account: &str) -> String {
    format!(
        "{RBAC}kind: RoleBinding\nmetadata: {{name: b, namespace: shop}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {role}}}\n\
         subjects: [{{kind: ServiceAccount, name: {account}}}]\n---\n"
    )
}

fn account(name: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: shop}}\n{more}---\n"
    )
}

/// Account and verdict of each report on files of these contents, and what the scan said.
fn verdicts(contents: &[&str]) -> (Vec<String>, String) {
    let dir = tempfile::tempdir().unwrap();
    for (number, content) in contents.iter().enumerate() {
        fs::write(dir.path().join(format!("{number}.yaml")), content).unwrap();
    }
    let (reports, _, error) = scan_files(&[dir.path()], &[]);
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let verdict = |report: &serde_json::Value| {
        let (metadata, status) = (&report["metadata"], &report["status"]);
        [&metadata["name"], &status["verdict"], &status["reason"]]
            .map(word)
            .join(" ")
    };
    (reports.iter().map(verdict).collect(), error)
}

/// In both orders, and in one file, the verdicts are the same.
fn in_any_order(one: &str, other: &str, rest: &str, expected: &[&str]) -> String {
    let (found, said) = verdicts(&[one, other, rest]);
    assert_eq!(found, expected, "{said}");
    for contents in [
        &[other, one, rest][..],
        &[&format!("{one}{other}{rest}")],
        &[&format!("{other}{one}"), rest],
    ] {
        let (found, said) = verdicts(contents);
        assert_eq!(found, expected, "{contents:?}\n{said}");
    }
    said
}

#[test]
fn each_copy_of_a_workload_is_judged() {
    let grants = role("get") + &binding("Role, name: r", "reader");
    let (reader, default) = (deployment("reader"), deployment("default"));
    let said = in_any_order(
        &reader,
        &default,
        &grants,
        &[
            "default Unneeded NoPermissions",
            "reader Needed DirectGrant",
        ],
    );
    assert!(!said.contains("otherwise"), "{said}");
}

#[test]
fn objects_with_generated_names_are_different_objects() {
    let job = |account: &str| {
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{generateName: j-, namespace: shop}}\nspec: {{template: {{spec: {{serviceAccountName: {account}, containers: [{{name: c, image: i}}]}}}}}}\n---\n"
        )
    };
    let pod = |account: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{generateName: p-, namespace: shop}}\nspec: {{serviceAccountName: {account}, containers: [{{name: c, image: i}}]}}\n---\n"
        )
    };
    for object in [&job, &pod] as [&dyn Fn(&str) -> String; 2] {
        in_any_order(
            &object("a"),
            &object("b"),
            "",
            &["a Unneeded NoPermissions", "b Unneeded NoPermissions"],
        );
    }
}

#[test]
fn what_any_copy_of_a_role_or_binding_grants_counts() {
    let workload = deployment("app");
    let said = in_any_order(
        &role("get"),
        &role(""),
        &(binding("Role, name: r", "app") + &workload),
        &["app Needed DirectGrant"],
    );
    let warning = "1.yaml: has Role shop/r otherwise than `";
    assert!(said.contains(warning), "{said}");
    // The subjects of one role are joined, and bindings to several roles stand beside each other.
    for (one, other) in [
        ("Role, name: r", "Role, name: r"),
        ("Role, name: r", "ClusterRole, name: view"),
        ("ClusterRole, name: view", "Role, name: r"),
    ] {
        in_any_order(
            &binding(one, "app"),
            &binding(other, "someone"),
            &(role("get") + &workload),
            &["app Needed DirectGrant"],
        );
    }
    let cluster = |role: &str| {
        role.replace("kind: Role\n", "kind: ClusterRole\n")
            .replace(", namespace: shop", "")
    };
    in_any_order(
        &cluster(&role("get")),
        &cluster(&role("")),
        &(binding("ClusterRole, name: r", "app") + &workload),
        &["app Needed DirectGrant"],
    );
}

#[test]
fn an_account_that_one_copy_lets_mount_its_token_is_found() {
    let off = account("app", "automountServiceAccountToken: false\n");
    let expected = ["app Unneeded NoPermissions"];
    let said = in_any_order(&account("app", ""), &off, &deployment("app"), &expected);
    assert!(
        said.contains("has ServiceAccount shop/app otherwise than `"),
        "{said}"
    );
    let (found, said) = verdicts(&[&off, &off, &deployment("app")]);
    assert_eq!(found, ["app NoToken AutomountDisabled"], "{said}");
    assert!(!said.contains("otherwise"), "{said}");
}

#[test]
fn one_warning_names_two_files_that_differ() {
    let accounts = |more: &str| -> String {
        let names = ["a", "b", "c"].into_iter();
        names.map(|name| account(name, more)).collect()
    };
    let off = accounts("automountServiceAccountToken: false\n");
    let (_, said) = verdicts(&[&accounts(""), &off]);
    assert_eq!(said.matches("otherwise than").count(), 1, "{said}");
    assert!(
        said.contains("ServiceAccount shop/a and 2 more objects otherwise than"),
        "{said}"
    );
    let (_, said) = verdicts(&[&(accounts("") + &off)]);
    assert!(said.contains("several times, and differently"), "{said}");
}

/// A patch for one copy may be wrong for another.
#[test]
fn a_workload_that_the_input_has_differently_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| fs::write(dir.path().join(name), content).unwrap();
    let scan = |files: &[&str]| {
        let args: Vec<&str> = files
            .iter()
            .copied()
            .chain(["-o", "patch", "--write"])
            .collect();
        scan_in(dir.path(), &args)
    };
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let (needed, other) = (
        deployment("reader") + &role("get") + &binding("Role, name: r", "reader"),
        deployment("default"),
    );
    write("a.yaml", &needed);
    write("b.yaml", &other);
    let (code, _, error) = scan(&["a.yaml", "b.yaml"]);
    assert_eq!(code, 2, "{error}");
    assert!(
        error.contains(
            "is there several times, and differently (a.yaml:1, b.yaml:1): scan them one by one"
        ),
        "{error}"
    );
    assert_eq!((read("a.yaml"), read("b.yaml")), (needed, other));
    let (code, _, error) = scan(&["b.yaml"]);
    assert_eq!(code, 0, "{error}");
    assert!(read("b.yaml").contains("automountServiceAccountToken: false"));
    // Where all copies are the same, all are changed.
    write("c.yaml", &deployment("own"));
    write("d.yaml", &deployment("own"));
    let (code, _, error) = scan(&["c.yaml", "d.yaml"]);
    assert_eq!(code, 0, "{error}");
    for name in ["c.yaml", "d.yaml"] {
        assert!(read(name).contains("automountServiceAccountToken: false"));
    }
}
