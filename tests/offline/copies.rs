//! Objects that the input has several times under one name, and differently: none hides what another grants or mounts.

use std::fs;

use crate::rig::{scan_files, scan_in};

const OFF: &str = "automountServiceAccountToken: false";
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
    let warning = "1.yaml: defines Deployment/app in namespace shop differently than `";
    assert!(said.contains(warning), "{said}");
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
    let warning = "1.yaml: defines Role shop/r differently than `";
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
        said.contains("defines ServiceAccount shop/app differently than `"),
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
    assert_eq!(said.matches("differently than").count(), 1, "{said}");
    assert!(
        said.contains("ServiceAccount shop/a and 2 more objects differently than"),
        "{said}"
    );
    let (_, said) = verdicts(&[&(accounts("") + &off)]);
    assert!(said.contains("several times, differently"), "{said}");
    // Of many files, the first are named.
    let many: Vec<_> = (0..14).map(|number| role(&format!("v{number}"))).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let (_, said) = verdicts(&many);
    assert_eq!(said.matches("differently than").count(), 10, "{said}");
    assert!(
        said.contains(
            "warning: 3 more pairs of files: have objects of the same name, and differently"
        ),
        "{said}"
    );
}

/// What copies of a ClusterRole select, and by what they are selected, counts together; other labels and the order say
/// nothing.
#[test]
fn copies_of_a_cluster_role_are_aggregated_together() {
    let role = |more: &str, rules: &str| {
        format!("{RBAC}kind: ClusterRole\nmetadata: {{name: r{more}}}\nrules: {rules}\n---\n")
    };
    let gets = "[{apiGroups: [\"\"], resources: [pods], verbs: [get]}]";
    let part = format!(
        "{RBAC}kind: ClusterRole\nmetadata: {{name: part, labels: {{to: r}}}}\nrules: {gets}\n---\n"
    );
    let rest = part + &binding("ClusterRole, name: r", "app") + &deployment("app");
    let selects = role(
        "",
        "[]\naggregationRule: {clusterRoleSelectors: [{matchLabels: {to: r}}]}",
    );
    let none = "[{apiGroups: [authorization.k8s.io], resources: [selfsubjectaccessreviews], verbs: [create]}]";
    in_any_order(
        &selects,
        &role("", none),
        &rest,
        &["app Needed DirectGrant"],
    );
    let said = in_any_order(
        &role(
            ", labels: {chart: c-1}",
            "[{apiGroups: [\"\"], resources: [pods, services], verbs: [get, list]}]",
        ),
        &role(
            ", labels: {chart: c-2}",
            "[{apiGroups: [\"\"], resources: [services, pods], verbs: [list, get]}]",
        ),
        &rest,
        &["app Needed DirectGrant"],
    );
    assert!(!said.contains("otherwise"), "{said}");
    // The rules of a plain copy stay, also in a dump, and each copy is selected by its own labels.
    let bound = binding("ClusterRole, name: r", "app") + &deployment("app");
    let dump = format!(
        "{RBAC}kind: ClusterRole\nmetadata: {{name: cluster-admin}}\nrules: []\n---\n{RBAC}kind: ClusterRoleBinding\nmetadata: {{name: cluster-admin}}\nroleRef: {{kind: ClusterRole, name: cluster-admin}}\n---\n"
    );
    for (one, other, rest) in [
        (role("", gets), selects.clone(), dump + &bound),
        (role("", gets), selects, bound),
        (
            role(", labels: {to: one}", gets),
            role(", labels: {to: two}", gets),
            format!(
                "{RBAC}kind: ClusterRole\nmetadata: {{name: all}}\naggregationRule: {{clusterRoleSelectors: [{{matchLabels: {{to: one}}}}]}}\n---\n"
            ) + &binding("ClusterRole, name: all", "app")
                + &deployment("app"),
        ),
    ] {
        in_any_order(&one, &other, &rest, &["app Needed DirectGrant"]);
    }
}

/// A partial copy, such as a patch, hides neither the Secrets of an account nor whose token a Secret holds.
#[test]
fn each_copy_may_name_a_legacy_token() {
    let secret = |more: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: robot, namespace: shop{more}\n---\n"
        )
    };
    let token = secret(
        ", annotations: {kubernetes.io/service-account.name: app}}\ntype: kubernetes.io/service-account-token",
    );
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: shop}}\nspec: {{serviceAccountName: app, {OFF}, containers: [{{name: c, image: i, envFrom: [{{secretRef: {{name: robot}}}}]}}]}}\n---\n"
    );
    in_any_order(
        &token,
        &secret(", labels: {team: a}}"),
        &pod,
        &["app Review LegacyToken"],
    );
    in_any_order(
        &(account("app", "").replace("---\n", "secrets: [{name: robot}]\n---\n")),
        &account("app", ""),
        &pod,
        &["app Unknown SuspectedLegacyToken"],
    );
}

#[test]
fn an_exemption_counts_where_all_copies_have_it() {
    let exempt = |name: &str| {
        format!(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: {name}\n  namespace: shop\n  annotations: {{tokenexposure.io/exempt: a reason}}\n---\n"
        )
    };
    let workload = deployment("app");
    let plain = account("app", "");
    in_any_order(
        &exempt("app"),
        &plain,
        &workload,
        &["app Unneeded NoPermissions"],
    );
    let (found, said) = verdicts(&[&exempt("app"), &exempt("app"), &workload]);
    assert_eq!(found, ["app Exempted Exemption"], "{said}");
}

/// A patch for one copy may be wrong for another.
#[test]
fn only_the_copy_that_a_patch_is_for_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| fs::write(dir.path().join(name), content).unwrap();
    let scan = |args: &[&str]| scan_in(dir.path(), args);
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let needed = deployment("reader") + &role("get") + &binding("Role, name: r", "reader");
    write("a.yaml", &needed);
    write("b.yaml", &deployment("default"));
    for files in [["a.yaml", "b.yaml"], ["b.yaml", "a.yaml"]] {
        let (_, table, error) = scan(&files);
        assert!(table.contains("b.yaml:7"), "{table}{error}");
        assert!(!table.contains("a.yaml:7"), "{table}{error}");
        let (_, patch, _) = scan(&[&files[..], &["-o", "patch"]].concat());
        let check = format!(
            "# check first: Deployment/app is defined several times, differently ({}:1, {}:1); the patch is for that of shop/default\n",
            files[0], files[1]
        );
        assert!(patch.contains(&check), "{patch}");
        assert!(
            patch
                .lines()
                .all(|line| line.is_empty() || line.starts_with('#')),
            "{patch}"
        );
    }
    let (code, _, error) = scan(&["a.yaml", "b.yaml", "-o", "patch", "--write"]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(read("a.yaml"), needed);
    assert!(read("b.yaml").contains(OFF));
    // One account, and different pods: which of them the patch fits is not known.
    let privileged = deployment("own").replace(
        "image: i",
        "image: i, args: [/var/run/secrets/kubernetes.io/serviceaccount/ca.crt]",
    );
    write("c.yaml", &(deployment("own") + &privileged));
    let (code, _, error) = scan(&["c.yaml", "-o", "patch", "--write"]);
    assert_eq!(code, 2, "{error}");
    let refused = "Deployment/app in namespace shop: is defined several times, differently (c.yaml:1, c.yaml:11): scan these files separately";
    assert!(error.contains(refused), "{error}");
    assert!(!read("c.yaml").contains(OFF));
    // Where all copies are the same, all are changed.
    write("d.yaml", &deployment("own"));
    write("e.yaml", &deployment("own"));
    let (code, _, error) = scan(&["d.yaml", "e.yaml", "-o", "patch", "--write"]);
    assert_eq!(code, 0, "{error}");
    assert!(read("d.yaml").contains(OFF) && read("e.yaml").contains(OFF));
    // Objects with generated names are changed where they are.
    let job = |account: &str| {
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{generateName: j-}}\nspec:\n  template:\n    spec:\n      serviceAccountName: {account}\n      containers: [{{name: c, image: i}}]\n"
        )
    };
    write("f.yaml", &format!("{}---\n{}", job("one"), job("two")));
    let (_, table, _) = scan(&["f.yaml", "-n", "shop"]);
    assert!(
        table.contains("f.yaml:6 ") && table.contains("f.yaml:15 "),
        "{table}"
    );
    let (code, _, error) = scan(&["f.yaml", "-n", "shop", "-o", "patch", "--write"]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(read("f.yaml").matches(OFF).count(), 2);
}

/// What several ReplicaSets of one Deployment mount counts, and a label of an operator makes no workload of a person its.
#[test]
fn templates_of_one_owner_all_count() {
    let set = |name: &str, automount: &str| {
        format!(
            "apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {{name: {name}, namespace: shop, ownerReferences: [{{apiVersion: apps/v1, kind: Deployment, name: web, controller: true}}]}}\n\
             spec: {{template: {{spec: {{{automount} containers: [{{name: c, image: i}}]}}}}}}\n---\n"
        )
    };
    in_any_order(
        &set("web-1", ""),
        &set("web-2", &format!("{OFF},")),
        "",
        &["default Unneeded NoPermissions"],
    );
    let labelled = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec:\n  selector: {}\n  template:\n    metadata: {labels: {serving.knative.dev/service: hello}}\n    \
                    spec: {serviceAccountName: web, containers: [{name: c, image: i}]}\n---\n";
    let service = format!(
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {{name: hello, namespace: shop}}\nspec: {{template: {{spec: {{{OFF}, containers: [{{image: i}}]}}}}}}\n---\n"
    );
    let (found, said) = verdicts(&[labelled, &service]);
    assert!(
        found.contains(&"web Unneeded NoPermissions".to_owned()),
        "{found:?}\n{said}"
    );
}

/// Dumps of two clusters may have pods of the same name.
#[test]
fn live_pods_of_the_same_name_all_count() {
    let pod = |uid: &str, automount: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: web-0, namespace: shop, uid: {uid}}}\nspec:\n  {automount}\n  containers:\n  - name: c\n    volumeMounts: [{{name: kube-api-access-abcde, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}}]\n  \
             volumes: [{{name: kube-api-access-abcde, projected: {{sources: [{{serviceAccountToken: {{path: token, expirationSeconds: 3607}}}}]}}}}]\n---\n"
        )
    };
    let without = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web-0, namespace: shop, uid: two}}\nspec:\n  {OFF}\n  containers: [{{name: c}}]\n---\n"
    );
    let said = in_any_order(
        &pod("one", ""),
        &without,
        "",
        &["default Unneeded NoPermissions"],
    );
    assert!(
        said.contains("defines Pod/web-0 in namespace shop"),
        "{said}"
    );
}
