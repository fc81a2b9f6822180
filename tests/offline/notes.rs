//! Notes beside the verdict: what people look for, and what must stay silent. No note changes a verdict or an exit code.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::rig::{program, scan_in};

/// An account with its Deployment; more of the pod spec follows the name of the account.
fn workload(namespace: &str, account: &str, name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {account}, namespace: {namespace}}}}}\n---\n\
         {{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}, namespace: {namespace}}}, \
         spec: {{template: {{spec: {{serviceAccountName: {account}, {spec}containers: [{{name: c}}]}}}}}}}}\n---\n"
    )
}

/// A binding of the ClusterRole `view`; one without a namespace is a ClusterRoleBinding.
fn binding(namespace: &str, name: &str, subject: &str) -> String {
    let (kind, place) = match namespace {
        "" => ("ClusterRoleBinding", String::new()),
        namespace => ("RoleBinding", format!(", namespace: {namespace}")),
    };
    format!(
        "{{apiVersion: rbac.authorization.k8s.io/v1, kind: {kind}, metadata: {{name: {name}{place}}}, \
         roleRef: {{kind: ClusterRole, name: view}}, subjects: [{subject}]}}\n---\n"
    )
}

fn account_subject(namespace: &str, name: &str) -> String {
    format!("{{kind: ServiceAccount, name: {name}, namespace: {namespace}}}")
}

/// The status of each account, by name.
fn statuses(manifests: &str) -> Value {
    let output = program(
        &["scan", "-o", "json", "--report-scope=all", "-"],
        manifests,
    );
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut statuses = json!({});
    for item in list["items"].as_array().unwrap() {
        let metadata = &item["metadata"];
        let name = format!(
            "{}/{}",
            metadata["namespace"].as_str().unwrap(),
            metadata["name"].as_str().unwrap()
        );
        statuses[name] = item["status"].clone();
    }
    statuses
}

/// The messages of the notes of one type on an account.
fn notes(manifests: &str, account: &str, type_: &str) -> Vec<String> {
    let statuses = statuses(manifests);
    assert!(statuses[account].is_object(), "{account}: {statuses}");
    let notes = statuses[account]["notes"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let wanted = notes.iter().filter(|note| note["type"] == type_);
    wanted
        .map(|note| note["message"].as_str().unwrap().to_owned())
        .collect()
}

const WITHOUT: &str = "automountServiceAccountToken: false, ";

#[test]
fn permissions_that_no_pod_has_a_token_for_are_noted() {
    let found =
        |manifests: &str, account: &str| notes(manifests, account, "PermissionsWithoutToken");
    let granted = binding("shop", "app", &account_subject("shop", "app"));
    let off = workload("shop", "app", "app", WITHOUT) + &granted;
    assert_eq!(
        found(&off, "shop/app"),
        [
            "permissions are granted by RoleBinding shop/app (ClusterRole view), but none of its pods has a token for the API server: set automountServiceAccountToken: true in the pods that use them, or delete what nobody uses"
        ]
    );
    // The account disables it; only a token for another system is left.
    let by_account = off.replace(
        "name: app, namespace: shop}}\n",
        "name: app, namespace: shop}, automountServiceAccountToken: false}\n",
    );
    let external = by_account.replace(WITHOUT, "volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t, audience: vault}}]}}], ");
    let external = external.replace(
        "[{name: c}]",
        "[{name: c, volumeMounts: [{name: v, mountPath: /t}]}]",
    );
    let output = program(
        &[
            "scan",
            "-o",
            "json",
            "--report-scope=all",
            "--api-audience=https://k8s",
            "-",
        ],
        &external,
    );
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let status = &list["items"][0]["status"];
    assert_eq!(status["reason"], "ExternalAudienceOnly");
    assert_eq!(status["notes"][0]["type"], "PermissionsWithoutToken");
    // A pod that still has its token, which it loses.
    let live = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: app, namespace: shop}, automountServiceAccountToken: false}\n---\n\
        {apiVersion: v1, kind: Pod, metadata: {name: app, namespace: shop, uid: 5ee2ba35-6ba8-4a4c-9cbd-d4bc2d5e29c8}, spec: {serviceAccountName: app, \
        volumes: [{name: kube-api-access-abcde, projected: {sources: [{serviceAccountToken: {path: token, expirationSeconds: 3607}}]}}], \
        containers: [{name: c, volumeMounts: [{name: kube-api-access-abcde, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}]}]}, status: {phase: Running}}\n---\n";
    let live = live.to_owned() + &granted;
    assert_eq!(statuses(&live)["shop/app"]["verdict"], "Needed");
    assert!(
        found(&live, "shop/app")[0].contains("its pods lose their token when they are recreated")
    );
    // Three that must be silent: one pod has it, no pod runs as it, and nothing that is granted can be used.
    let another = workload("shop", "app", "other", "");
    assert_eq!(
        found(&(off.clone() + &another), "shop/app"),
        Vec::<String>::new()
    );
    let no_pods =
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: app, namespace: shop}}\n---\n";
    assert_eq!(
        found(&(no_pods.to_owned() + &granted), "shop/app"),
        Vec::<String>::new()
    );
    let useless = off.replace("name: view", "name: system:discovery");
    assert_eq!(found(&useless, "shop/app"), Vec::<String>::new());
    // Bounded.
    let many: String = (0..60)
        .map(|place| {
            binding(
                "shop",
                &format!("b{place:02}"),
                &account_subject("shop", "app"),
            )
        })
        .collect();
    let many = workload("shop", "app", "app", WITHOUT) + &many;
    assert!(found(&many, "shop/app")[0].contains("b02 (ClusterRole view) and 57 more, but"));
}

#[test]
fn bindings_that_nearly_name_an_account_are_noted() {
    let pods = workload("shop", "reporter", "web", "");
    let found = |binding: &str| notes(&(pods.clone() + binding), "shop/reporter", "NearlyNamedBy");
    let here = |subject: &str| found(&binding("shop", "x", subject));
    let everywhere = |subject: &str| found(&binding("", "x", subject));
    for name in ["reporters", "repoter", "reportre", "Reporter"] {
        assert_eq!(
            here(&account_subject("shop", name)),
            [format!(
                "RoleBinding shop/x names {name}: did you mean reporter?"
            )]
        );
    }
    assert_eq!(
        here("{kind: ServiceAccount, name: reporters}"),
        ["RoleBinding shop/x names reporters: did you mean reporter?"]
    );
    let meant = "did you mean ServiceAccount shop/reporter?";
    for (subject, named) in [
        (&*account_subject("store", "reporter"), "store/reporter"),
        (
            "{kind: User, name: 'system:serviceaccount:store:reporter'}",
            "User system:serviceaccount:store:reporter",
        ),
        (
            "{kind: User, name: 'system:serviceaccounts:shop:reporter'}",
            "User system:serviceaccounts:shop:reporter",
        ),
        ("{kind: User, name: 'shop:reporter'}", "User shop:reporter"),
        ("{kind: User, name: shop/reporter}", "User shop/reporter"),
        ("{kind: User, name: reporter}", "User reporter"),
        (
            "{kind: Group, name: 'system:serviceaccount:shop:reporter'}",
            "Group system:serviceaccount:shop:reporter",
        ),
    ] {
        assert_eq!(
            here(subject),
            [format!("RoleBinding shop/x names {named}: {meant}")]
        );
        assert_eq!(
            everywhere(subject),
            [format!("ClusterRoleBinding x names {named}: {meant}")]
        );
    }
    assert_eq!(
        everywhere("{kind: ServiceAccount, name: reporter}"),
        [format!(
            "ClusterRoleBinding x names ServiceAccount reporter: {meant}"
        )]
    );
    // Groups have names of their own.
    for name in ["reporter", "shop:reporter"] {
        assert_eq!(here(&format!("{{kind: Group, name: '{name}'}}")), [""; 0]);
    }
    // A verdict does not change.
    let near = pods.clone() + &binding("shop", "x", &account_subject("shop", "reporters"));
    let status = &statuses(&near)["shop/reporter"];
    assert_eq!(
        (&status["verdict"], &status["reason"]),
        (&json!("Unneeded"), &json!("NoPermissions"))
    );
}

#[test]
fn a_binding_that_means_what_it_says_is_not_noted() {
    let pods = workload("shop", "reporter", "web", "");
    let silent = |more: &str| {
        let manifests = pods.clone() + more;
        let found = notes(&manifests, "shop/reporter", "NearlyNamedBy");
        assert_eq!(found, Vec::<String>::new(), "{more}");
    };
    let near = binding("shop", "x", &account_subject("shop", "reporters"));
    // The account that it names exists, as an object or because a pod runs as it.
    silent(
        &("{apiVersion: v1, kind: ServiceAccount, metadata: {name: reporters, namespace: shop}}\n---\n"
            .to_owned()
            + &near),
    );
    silent(&(workload("shop", "reporters", "r", "") + &near));
    // The account has what it needs.
    silent(&(near.clone() + &binding("shop", "own", &account_subject("shop", "reporter"))));
    // Another namespace's business, other names, people, and Kubernetes' own users.
    silent(&binding(
        "store",
        "x",
        &account_subject("store", "reporters"),
    ));
    silent(&binding("shop", "x", &account_subject("shop", "importer")));
    silent(&binding(
        "shop",
        "x",
        "{kind: User, name: reporter@example.com}",
    ));
    silent(&binding(
        "shop",
        "x",
        "{kind: User, name: 'system:reporter'}",
    ));
    silent(&binding("shop", "x", "{kind: User, name: store/reporter}"));
    // Two accounts have the name: which is meant by a binding of the cluster is not known.
    silent(
        &(workload("store", "reporter", "web", "")
            + &binding("", "x", "{kind: User, name: reporter}")),
    );
    silent(
        &(workload("store", "reporter", "web", "")
            + &binding("", "x", &account_subject("gone", "reporter"))),
    );
    // Numbers count.
    let counted = workload("shop", "worker-1", "web", "")
        + &binding("shop", "x", &account_subject("shop", "worker-2"));
    assert_eq!(
        notes(&counted, "shop/worker-1", "NearlyNamedBy"),
        Vec::<String>::new()
    );
    // No pod runs as the account: nothing misses the permission.
    let idle = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: reporter, namespace: shop}}\n---\n";
    assert_eq!(
        notes(&(idle.to_owned() + &near), "shop/reporter", "NearlyNamedBy"),
        Vec::<String>::new()
    );
    // Bounded.
    let many: String = (0..100)
        .map(|place| {
            let subject = account_subject("shop", "reporters");
            binding("shop", &format!("b{place:02}"), &subject)
        })
        .collect();
    let found = notes(&(pods + &many), "shop/reporter", "NearlyNamedBy");
    assert_eq!(
        found,
        [
            "RoleBinding shop/b00 names reporters, RoleBinding shop/b01 names reporters, RoleBinding shop/b02 names reporters and 17 more: did you mean reporter?"
        ]
    );
}

#[test]
fn workloads_that_share_permissions_are_noted() {
    let found = |manifests: &str| notes(manifests, "shop/spark", "SharedPermissions");
    let granted = binding("shop", "spark", &account_subject("shop", "spark"));
    let two = workload("shop", "spark", "driver", "") + &workload("shop", "spark", "executor", "");
    let base = "2 workloads share this ServiceAccount, and its permissions reach all of them: Deployment/driver, Deployment/executor";
    assert_eq!(found(&(two.clone() + &granted)), [base]);
    // The binding has the name of one of them, and the account has another.
    let named = two.clone() + &granted.replace("metadata: {name: spark", "metadata: {name: driver");
    assert_eq!(
        found(&named),
        [format!(
            "{base}; RoleBinding shop/driver (ClusterRole view) has the name of Deployment/driver: a ServiceAccount of their own would keep them from Deployment/executor"
        )]
    );
    let (_, said, _) = explain("shop/spark", &named);
    let own = said.split_once("OWN SERVICEACCOUNTS\n").unwrap().1;
    let own = own.split("\n\n").next().unwrap();
    let expected = "  Deployment/executor as a ServiceAccount of its own, without a token; add the imagePullSecrets of shop/spark, if it has any:\n    \
        {\"apiVersion\":\"v1\",\"automountServiceAccountToken\":false,\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":\"executor\",\"namespace\":\"shop\"}}\n    \
        kubectl -n shop patch deployment executor --type=merge --patch '{\"spec\":{\"template\":{\"spec\":{\"serviceAccountName\":\"executor\"}}}}'\n";
    assert_eq!(own, expected);
    // No manifest for an account that exists already, or for what may log in elsewhere with the token.
    let taken = named.clone()
        + "{apiVersion: v1, kind: ServiceAccount, metadata: {name: executor, namespace: shop}}\n---\n";
    let client = named.replace("name: executor, namespace: shop}, spec: {template: {spec: {", "name: executor, namespace: shop}, spec: {template: {metadata: {annotations: {vault.hashicorp.com/agent-inject: 'true'}}, spec: {");
    for manifests in [taken, client] {
        let (_, said, _) = explain("shop/spark", &manifests);
        assert!(
            said.contains("workloads share") && !said.contains("OWN SERVICEACCOUNTS"),
            "{said}"
        );
    }
    // Silent: one workload, one with a token, and nothing to share.
    let one = workload("shop", "spark", "driver", "") + &granted;
    assert_eq!(found(&one), Vec::<String>::new());
    let without = workload("shop", "spark", "executor", WITHOUT);
    assert_eq!(found(&(one + &without)), Vec::<String>::new());
    assert_eq!(found(&two), Vec::<String>::new());
    // Bounded.
    let many: String = (0..40)
        .map(|place| workload("shop", "spark", &format!("w{place:02}"), ""))
        .collect();
    let many = found(&(many + &granted));
    assert!(
        many[0].starts_with("40 workloads share")
            && many[0].ends_with("Deployment/w02 and 37 more"),
        "{many:?}"
    );
}

fn explain(account: &str, manifests: &str) -> (Option<i32>, String, String) {
    let output = program(&["explain", account, "-"], manifests);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn default_account(namespace: &str, more: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: default, namespace: {namespace}}}{more}}}\n---\n"
    )
}

#[test]
fn unused_default_accounts_are_counted_and_hardened_by_one_patch() {
    let dir = tempfile::tempdir().unwrap();
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: used}, spec: {containers: [{name: c}]}}\n---\n";
    let quiet = [
        default_account("quiet", ", automountServiceAccountToken: false"),
        default_account("used", ""),
        default_account("bound", ""),
        binding("bound", "x", &account_subject("bound", "default")),
        default_account("named", ""),
        "{apiVersion: own.example/v1, kind: Store, metadata: {name: x, namespace: named}, spec: {serviceAccountName: default}}\n---\n".to_owned(),
    ]
    .concat();
    let all = default_account("shop", "") + &default_account("team-a", "") + pod + &quiet;
    fs::write(dir.path().join("in.yaml"), &all).unwrap();
    let scan = |args: &[&str]| scan_in(dir.path(), &[&["in.yaml"], args].concat());
    let title = "2 default ServiceAccounts mount a token and no pod uses them (CIS Kubernetes Benchmark 5.1.5)";
    let (code, said, error) = scan(&[]);
    assert_eq!(code, 1, "the pod of used/default");
    let line = format!("note: {title}: `--harden-defaults` adds one patch for all\n");
    assert!(error.contains(&line), "{error}");
    let command = "for namespace in shop team-a; do kubectl -n \"$namespace\" patch serviceaccount default --type=merge --patch '{\"automountServiceAccountToken\":false}'; done\n";
    assert!(!said.contains(command), "{said}");
    let (hardened_code, said, error) = scan(&["--harden-defaults"]);
    assert_eq!(hardened_code, code);
    assert!(
        said.contains(title) && said.contains(command) && !error.contains(title),
        "{said}{error}"
    );
    for format in ["wide", "markdown", "sarif"] {
        let (_, said, _) = scan(&["--harden-defaults", "-o", format]);
        assert!(
            said.contains("for namespace in shop team"),
            "{format}: {said}"
        );
    }
    // Each namespace has its patch, beside those of findings; JSON has the reports.
    let (_, patches, _) = scan(&["--harden-defaults", "-o", "patch"]);
    let documents = documents(&patches);
    for namespace in ["shop", "team-a"] {
        let is_there = documents.iter().any(|document| {
            document["metadata"]["namespace"] == namespace
                && document["kind"] == "ServiceAccount"
                && document["automountServiceAccountToken"] == false
        });
        assert!(is_there, "{namespace}: {patches}");
    }
    let (_, list, _) = scan(&["--harden-defaults", "-o", "json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let hardened = list["items"].as_array().unwrap().iter();
    let hardened = hardened.filter(|item| item["status"]["notes"][0]["type"] == "UnusedDefault");
    let hardened: Vec<_> = hardened
        .map(|item| {
            (
                item["metadata"]["namespace"].clone(),
                item["status"]["verdict"].clone(),
                item["status"]["remediation"]["patches"][0]["patch"].clone(),
            )
        })
        .collect();
    let patch = json!("{\"automountServiceAccountToken\":false}");
    assert_eq!(
        hardened,
        ["shop", "team-a"].map(|name| (json!(name), json!("NoToken"), patch.clone()))
    );
    // Written into the files, they are gone.
    let (_, _, error) = scan(&["--harden-defaults", "-o", "patch", "--write"]);
    assert!(!error.contains("error"), "{error}");
    let (code, _, error) = scan(&[]);
    assert!(
        code == 0 && !error.contains("default ServiceAccount"),
        "{error}"
    );
    let (code, _, error) = scan(&["--harden-defaults", "-l", "app=web"]);
    assert_eq!(code, 2, "{error}");
}

/// The YAML documents of a text with comments.
fn documents(text: &str) -> Vec<Value> {
    let documents = text.split("---\n").skip(1);
    let own = documents.map(|document| {
        let lines = document.lines().take_while(|line| !line.is_empty());
        serde_yaml::from_str(&lines.collect::<Vec<_>>().join("\n")).unwrap()
    });
    own.collect()
}

/// An account with a note that is not shown is counted, with the commands that show it.
#[test]
fn notes_on_accounts_that_are_not_shown_are_counted() {
    let manifests = workload("shop", "app", "app", WITHOUT)
        + &binding("shop", "app", &account_subject("shop", "app"))
        + &workload("shop", "spark", "driver", "")
        + &workload("shop", "spark", "executor", "")
        + &binding("shop", "spark", &account_subject("shop", "spark"));
    let output = program(&["scan", "-"], &manifests);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        error,
        "note: 2 ServiceAccounts that are not shown have notes (1 PermissionsWithoutToken, 1 SharedPermissions): `--report-scope all` shows them, `token-exposure explain shop/app PATH` the first\n"
    );
    let output = program(&["scan", "--report-scope=all", "-"], &manifests);
    let (said, error) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(error.is_empty(), "{error}");
    assert!(
        said.contains("note on shop/app: permissions are granted by"),
        "{said}"
    );
    assert!(
        said.contains("note on shop/spark: 2 workloads share"),
        "{said}"
    );
}

/// What every account, user or stranger may do is said once, whatever the format; verdicts are those of RBAC.
#[test]
fn everything_for_everybody_is_said_once_and_loudly() {
    let pods: String = (0..3)
        .map(|place| workload("shop", &format!("app{place}"), &format!("web{place}"), ""))
        .collect();
    let warning = |role: &str, group: &str| {
        let bound = binding(
            "",
            "docker-for-desktop-binding",
            &format!("{{kind: Group, name: '{group}'}}"),
        );
        let manifests = pods.clone() + &bound.replace("name: view", &format!("name: {role}"));
        let output = program(&["scan", "--fail-on=never", "-"], &manifests);
        let error = String::from_utf8(output.stderr).unwrap();
        let mut lines = error.lines().filter(|line| line.starts_with("warning: "));
        let first = lines.next().map(str::to_owned);
        assert_eq!(lines.next(), None);
        (first, error.contains("granted more than the default"))
    };
    let told = |by: &str, who: &str| {
        Some(format!(
            "warning: EVERYTHING IS GRANTED TO EVERYBODY by ClusterRoleBinding docker-for-desktop-binding (ClusterRole cluster-admin) to Group {by}: {who} has full control of the cluster, whatever else is said here; delete this first"
        ))
    };
    let admin = |group: &str| warning("cluster-admin", group);
    assert_eq!(
        admin("system:serviceaccounts"),
        (
            told("system:serviceaccounts", "every pod with a token"),
            false
        )
    );
    assert_eq!(
        admin("system:authenticated"),
        (
            told(
                "system:authenticated",
                "every user and every pod with a token"
            ),
            false
        )
    );
    assert_eq!(
        admin("system:unauthenticated"),
        (
            told(
                "system:unauthenticated",
                "everybody who reaches the API server, without credentials,"
            ),
            false
        )
    );
    // One namespace, other people, or less.
    assert_eq!(admin("system:serviceaccounts:shop").0, None);
    assert_eq!(admin("system:masters").0, None);
    assert_eq!(warning("view", "system:authenticated"), (None, true));
    // A role of another name that grants the same.
    let own = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: god}, rules: [{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]}\n---\n";
    let bound = binding("", "x", "{kind: Group, name: 'system:serviceaccounts'}")
        .replace("name: view", "name: god");
    let manifests = pods.clone() + own + &bound;
    for format in [
        "table", "wide", "json", "yaml", "sarif", "html", "junit", "patch", "markdown",
    ] {
        let output = program(&["scan", "--fail-on=never", "-o", format, "-"], &manifests);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            said.matches("EVERYTHING IS GRANTED TO EVERYBODY").count(),
            1,
            "{format}"
        );
    }
    let narrow = manifests.replace("resources: ['*']", "resources: [pods]");
    let output = program(&["scan", "--fail-on=never", "-"], &narrow);
    assert!(
        !String::from_utf8(output.stderr)
            .unwrap()
            .contains("EVERYTHING")
    );
}

/// The formats as a person or a program reads them.
#[test]
fn every_format_has_the_notes_on_accounts() {
    let dir = tempfile::tempdir().unwrap();
    let manifests = workload("shop", "reporter", "web", "")
        + &binding("shop", "x", &account_subject("shop", "reporters"))
        + &workload("shop", "app", "app", WITHOUT)
        + &binding("shop", "app", &account_subject("shop", "app"))
        + &workload("shop", "spark", "driver", "")
        + &workload("shop", "spark", "executor", "")
        + &binding("shop", "driver", &account_subject("shop", "spark"))
        + &default_account("shop", "");
    fs::write(dir.path().join("in.yaml"), manifests).unwrap();
    let printed = |format: &str, scope: &str| printed(dir.path(), format, scope);
    for format in ["table", "wide", "markdown", "patch", "junit", "yaml"] {
        insta::assert_snapshot!(format!("notes_in_{format}"), printed(format, "all"));
    }
    let log: Value = serde_json::from_str(&printed("sarif", "findings")).unwrap();
    let result = &log["runs"][0]["results"][0];
    let near = "RoleBinding shop/x names reporters: did you mean reporter?";
    let text = result["message"]["text"].as_str().unwrap();
    assert!(text.ends_with(&format!("; note: {near}")), "{text}");
    assert_eq!(
        result["properties"]["notes"],
        json!([{ "type": "NearlyNamedBy", "message": near }])
    );
    let page = printed("html", "all");
    for text in [
        near,
        "2 workloads share this ServiceAccount",
        "OWN SERVICEACCOUNTS",
        "none of its pods has a token",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

fn printed(dir: &Path, format: &str, scope: &str) -> String {
    let args = [
        "in.yaml",
        "--fail-on=never",
        "--report-scope",
        scope,
        "-o",
        format,
    ];
    scan_in(dir, &args).1
}

/// Where only some pods are read, nobody can say what no pod does.
#[test]
fn with_selected_pods_nothing_is_said_about_all_pods() {
    let manifests = workload("shop", "default", "web", "")
        + "---\n{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: shop}}\n"
        + "---\n{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: team}}\n";
    let notes = |labels: &[&str]| {
        let all = [
            "scan",
            "-o",
            "json",
            "--report-scope=all",
            "--fail-on=never",
            "-",
        ];
        let output = program(&[&all[..], labels].concat(), &manifests);
        let list: Value = serde_json::from_slice(&output.stdout).unwrap();
        let items = list["items"].as_array().unwrap().iter();
        let noted = items.filter(|item| item["status"]["notes"].is_array());
        noted.count()
    };
    assert_eq!((notes(&[]), notes(&["-l", "app=other"])), (1, 0));
}

/// Files that have the RBAC objects of some accounts may lack those of others.
#[test]
fn accounts_that_are_not_in_the_input_are_named() {
    let bound = binding("", "other", "{kind: Group, name: x}");
    let named = |manifests: &str| {
        let output = program(&["scan", "--fail-on=never", "-"], manifests);
        let error = String::from_utf8(output.stderr).unwrap();
        let line = error
            .lines()
            .find(|line| line.contains("not in the input, and judged"));
        line.map(str::to_owned)
    };
    let with_account =
        workload("shop", "absent", "web", "") + &workload("shop", "default", "other", "");
    let (_, pods) = with_account.split_once("---\n").unwrap();
    let pods = pods.to_owned();
    assert_eq!(
        named(&(pods.clone() + &bound)).as_deref(),
        Some(
            "note: not in the input, and judged by its RBAC objects all the same: ServiceAccount shop/absent; if their permissions are elsewhere, add those files or use `--with-cluster`"
        )
    );
    let account =
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: absent, namespace: shop}\n---\n";
    assert_eq!(named(&(pods.clone() + account + &bound)), None);
    // Without any RBAC object, that is said of all.
    assert_eq!(named(&pods), None);
}

#[test]
fn workloads_that_were_recognised_by_their_shape_are_named() {
    let manifest = "apiVersion: own.example/v1\nkind: Machinery\nmetadata: {name: x, namespace: ct}\nspec: {pods: {deep: {serviceAccountName: app, containers: [{name: c, image: i}]}}}\n";
    let output = program(&["scan", "--fail-on=never", "-"], manifest);
    let error = String::from_utf8(output.stderr).unwrap();
    let note = "note: the kind is not known, and the pods are recognised by their shape: Machinery/x; what its operator makes of it may differ\n";
    assert!(error.contains(note), "{error}");
}

/// Every cluster has RoleBindings.
#[test]
fn a_dump_without_role_bindings_is_not_whole() {
    let of_cluster = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: cluster-admin}\nrules: []\n---\n\
        apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: cluster-admin}\nroleRef: {kind: ClusterRole, name: cluster-admin}\nsubjects: []\n---\n";
    let pod = workload("shop", "web", "web", "");
    let said = "there are no RoleBindings: what they grant is missing";
    let dir = tempfile::tempdir().unwrap();
    for (more, is_said) in [
        (String::new(), true),
        (
            binding("shop", "b", &account_subject("shop", "other")),
            false,
        ),
    ] {
        let text = format!("{of_cluster}{pod}---\n{more}");
        std::fs::write(dir.path().join("dump.yaml"), &text).unwrap();
        let (_, _, error) = scan_in(dir.path(), &["dump.yaml"]);
        assert_eq!(error.contains(said), is_said, "{error}\n{text}");
        let write = ["dump.yaml", "-o", "patch", "--write"];
        let (_, out, error) = scan_in(dir.path(), &write);
        assert_eq!(out.contains("token disabled"), !is_said, "{out}{error}");
    }
}
