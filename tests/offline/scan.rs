//! `scan` on files: exit codes, outputs, input formats, selectors.

use std::{
    fmt::Write,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::rig::{program, program_path, run, scan_files, scan_in};

const POD: &str =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web}]}\n";
const CLEAN: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n\
                     spec: {automountServiceAccountToken: false, containers: [{name: web}]}\n";

/// A directory with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

#[test]
fn exit_codes_distinguish_findings_from_errors() {
    let dir = folder(&[
        ("bad.yaml", POD),
        ("good.yaml", CLEAN),
        ("broken.yaml", "kind: Pod\n  oops: {"),
        ("empty.yaml", ""),
    ]);
    let cases: [(&[&str], i32); 16] = [
        (&["good.yaml"], 0),
        (&["bad.yaml"], 1),
        (&["bad.yaml", "--fail-on", "never"], 0),
        (&["bad.yaml", "--fail-on", "review"], 1),
        (&["empty.yaml"], 0),
        (&["broken.yaml"], 2),
        (&["good.yaml", "broken.yaml"], 2),
        (&["bad.yaml", "broken.yaml"], 2),
        (&["missing.yaml"], 2),
        (&["--no-such-flag"], 2),
        (&["good.yaml", "-o", "nonsense"], 2),
        (&["-n", "a", "-A"], 2),
        (&["--kubeconfig", "missing"], 2),
        (&["--kubeconfig", "broken.yaml"], 2),
        (&["--kubeconfig", "good.yaml", "--context", "nowhere"], 2),
        (&["--help"], 0),
    ];
    for (args, expected) in cases {
        let (code, _, error) = scan_in(dir.path(), args);
        assert_eq!(code, expected, "{args:?}: {error}");
        assert_eq!(
            code == 2,
            !error.is_empty() && !error.starts_with("note"),
            "{args:?}: {error}"
        );
    }
}

#[test]
fn verdicts_at_or_above_the_threshold_fail() {
    let explicit = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  automountServiceAccountToken: false\n  \
                    containers: [{name: c, volumeMounts: [{name: v, mountPath: /t}]}]\n  \
                    volumes: [{name: v, projected: {sources: [{serviceAccountToken: {audience: AUDIENCE, path: token}}]}}]\n";
    let annotated = "metadata: {name: web, annotations: {tokenexposure.io/exempt: why}}";
    let exempted = POD.replace("metadata: {name: web}", annotated);
    let dir = folder(&[
        ("unneeded.yaml", POD),
        ("review.yaml", &explicit.replace("AUDIENCE", "''")),
        ("unknown.yaml", &explicit.replace("AUDIENCE", "mine")),
        ("exempted.yaml", &exempted),
        ("no-token.yaml", CLEAN),
    ]);
    for (file, codes) in [
        ("unneeded.yaml", [1, 1, 1, 0]),
        ("review.yaml", [0, 1, 1, 0]),
        ("unknown.yaml", [0, 0, 1, 0]),
        ("exempted.yaml", [0, 0, 0, 0]),
        ("no-token.yaml", [0, 0, 0, 0]),
    ] {
        let found = ["unneeded", "review", "unknown", "never"]
            .map(|fail_on| scan_in(dir.path(), &[file, "--fail-on", fail_on]).0);
        assert_eq!(found, codes, "{file}");
    }
}

#[test]
fn the_table_reads_well() {
    let (code, table, error) = scan_in(Path::new("."), &["tests/demo/sample.yaml"]);
    assert_eq!((code, &*error), (1, ""));
    insta::assert_snapshot!(table);
}

#[test]
fn patches_read_well() {
    let (_, patches, _) = scan_in(Path::new("."), &["tests/demo/sample.yaml", "-o", "patch"]);
    insta::assert_snapshot!(patches);
}

#[test]
fn a_pull_request_reads_well_and_names_are_escaped() {
    let (_, table, _) = scan_in(
        Path::new("."),
        &["tests/demo/sample.yaml", "-o", "markdown"],
    );
    insta::assert_snapshot!(table);
    let pod = r#"{"kind":"Pod","metadata":{"name":"x","namespace":"a|<b>`c`"},"spec":{"containers":[{"name":"c"}]}}"#;
    let output = program(&["scan", "-o", "markdown", "-"], pod);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains(r"| a\|\<b\>\`c\`/default |"), "{table}");
    let link = r"https\\://e.example/\\~\\$x\\& www\\.e.example".replace("\\\\", "\\");
    let pod = pod.replace("a|<b>`c`", "https://e.example/~$x& www.e.example");
    let output = program(&["scan", "-o", "markdown", "-"], &pod);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains(&format!("| {link}/default |")), "{table}");
}

/// What others wrote stays in comments of the patches.
#[test]
fn no_name_becomes_a_patch() {
    let collector = r#"{"apiVersion":"opentelemetry.io/v1beta1","kind":"OpenTelemetryCollector","metadata":{"name":"x\n---\nkind: ServiceAccount\n","namespace":"shop"},"spec":{"serviceAccount":"s","mode":"deployment"}}"#;
    let output = program(&["scan", "-o", "patch", "-"], collector);
    let patches = String::from_utf8(output.stdout).unwrap();
    assert!(patches.contains("shop/s, Unneeded"), "{patches}");
    let is_comment = |line: &str| line.is_empty() || line.starts_with("# ");
    assert!(patches.lines().all(is_comment), "{patches}");
}

/// A name that looks like a flag is none of kubectl, and nothing else that people paste runs.
#[test]
fn names_are_no_flags_of_commands() {
    let pod = r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"--kubeconfig=x","namespace":"shop"},"spec":{"template":{"spec":{"containers":[{"name":"c"}]}}}}"#;
    let output = program(&["scan", "-o", "patch", "-"], pod);
    let patches = String::from_utf8(output.stdout).unwrap();
    let command = "# kubectl -n shop patch --type=merge --patch '{\"spec\":{\"template\":{\"spec\":{\"automountServiceAccountToken\":false}}}}' -- deployment '--kubeconfig=x'\n";
    assert!(patches.contains(command), "{patches}");
    let account = r#"{"kind":"List","items":[{"kind":"ServiceAccount","metadata":{"name":"$(id)","namespace":"shop"},"automountServiceAccountToken":false},{"kind":"Pod","metadata":{"name":"p","namespace":"shop"},"spec":{"serviceAccountName":"$(id)","containers":[{"name":"c"}]}},{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"b"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"view"},"subjects":[{"kind":"ServiceAccount","name":"$(id)","namespace":"shop"}]}]}"#;
    let output = program(&["scan", "-"], account);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("explain 'shop/$(id)'"), "{said}");
}

/// The API server drops a template at a place where its kind has none.
#[test]
fn a_template_counts_where_its_kind_has_it() {
    let off = "{spec: {automountServiceAccountToken: false, serviceAccountName: other, containers: [{name: c}]}}";
    let on = "{spec: {containers: [{name: c}]}}";
    for object in [
        format!(
            "kind: Deployment\napiVersion: apps/v1\nmetadata: {{name: x}}\ntemplate: {off}\nspec: {{template: {on}}}\n"
        ),
        format!(
            "kind: CronJob\napiVersion: batch/v1\nmetadata: {{name: x}}\nspec: {{template: {off}, jobTemplate: {{spec: {{template: {on}}}}}}}\n"
        ),
        format!(
            "kind: PodTemplate\napiVersion: v1\nmetadata: {{name: x}}\ntemplate: {on}\nspec: {{template: {off}}}\n"
        ),
    ] {
        let dir = folder(&[("x.yaml", &object)]);
        let (reports, _, error) = scan_files(&[dir.path()], &[]);
        assert_eq!(reports.len(), 1, "{object}{error}");
        assert_eq!(reports[0]["metadata"]["name"], "default", "{object}");
        assert_eq!(reports[0]["status"]["verdict"], "Unneeded", "{object}");
    }
}

/// What cannot be read is an error, also in an object of a custom kind.
#[test]
fn a_custom_object_that_is_too_deep_is_an_error() {
    let deep = "[".repeat(150) + &"]".repeat(150);
    let rollout = format!(
        r#"{{"kind":"Rollout","apiVersion":"argoproj.io/v1alpha1","metadata":{{"name":"x"}},"spec":{{"x":{deep},"template":{{"spec":{{"containers":[{{"name":"c"}}]}}}}}}}}"#
    );
    let output = program(&["scan", "-"], &rollout);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("error: standard input:1: Rollout x: "),
        "{said}"
    );
}

/// A Secret may be mounted at several paths, of which a container sees one.
#[test]
fn a_token_of_a_secret_at_the_second_of_two_paths_is_seen() {
    let pod = |items: &str| {
        format!(
            "kind: Pod\nmetadata: {{name: x}}\nspec: {{automountServiceAccountToken: false, volumes: [{{name: v, secret: {{secretName: default-token-abcde, items: [{items}]}}}}], containers: [{{name: c, volumeMounts: [{{name: v, mountPath: /t, subPath: two}}]}}]}}\n"
        )
    };
    let (one, two) = ("{key: token, path: one}", "{key: token, path: two}");
    for (items, verdict) in [
        (two.to_owned(), "Unknown"),
        (format!("{one}, {two}"), "Unknown"),
        (one.to_owned(), "NoToken"),
    ] {
        let dir = folder(&[("x.yaml", &pod(&items))]);
        let (reports, _, _) = scan_files(&[dir.path()], &[]);
        assert_eq!(reports[0]["status"]["verdict"], verdict, "{items}");
    }
}

/// A reader that stops early stops neither the other outputs nor the exit code.
#[test]
fn a_closed_standard_output_changes_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let pod = "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c}]}\n";
    fs::write(dir.path().join("p.yaml"), pod).unwrap();
    let scan = |args: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut scan = Command::new(program_path());
        let scan = scan.arg("scan").args(args).current_dir(dir.path());
        let output = scan.stdout(writer).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, error) = scan(&["p.yaml", "-o", "wide", "-o", "json=r.json"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(!error.contains("error"), "{error}");
    let written = fs::read_to_string(dir.path().join("r.json")).unwrap();
    assert!(written.contains("\"Unneeded\""), "{written}");
    let (code, error) = scan(&["p.yaml", "-o", "table", "-o", "patch", "--write"]);
    assert_eq!(code, Some(0), "{error}");
    let changed = fs::read_to_string(dir.path().join("p.yaml")).unwrap();
    assert!(changed.contains("Token: false"), "{changed}");
}

#[test]
fn the_wide_table_of_all_reads_well() {
    let (_, table, _) = scan_in(
        Path::new("."),
        &[
            "tests/demo/sample.yaml",
            "-o",
            "wide",
            "--report-scope",
            "all",
        ],
    );
    insta::assert_snapshot!(table);
}

#[test]
fn yaml_reads_well_and_equals_json() {
    let (_, yaml, _) = scan_in(
        Path::new("."),
        &[
            "tests/demo/sample.yaml",
            "-o",
            "yaml",
            "--report-scope",
            "all",
        ],
    );
    let (_, json, _) = scan_in(
        Path::new("."),
        &[
            "tests/demo/sample.yaml",
            "-o",
            "json",
            "--report-scope",
            "all",
        ],
    );
    let from_yaml: Value = serde_yaml::from_str(&yaml).unwrap();
    assert_eq!(from_yaml, serde_json::from_str::<Value>(&json).unwrap());
    insta::assert_snapshot!(yaml);
}

/// The items in the output of `kubectl get --raw` have neither kind nor apiVersion.
#[test]
fn items_of_a_typed_list_need_no_kind() {
    let list = r#"
        {"kind": "PodList", "apiVersion": "v1", "items": [
          {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}}]}
        {"kind": "RoleBindingList", "apiVersion": "rbac.authorization.k8s.io/v1", "items": [
          {"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "view"},
           "subjects": [{"kind": "ServiceAccount", "name": "default"}]}]}"#;
    let scan = program(&["scan", "-o", "json", "--report-scope", "all", "-"], list);
    let list: Value = serde_json::from_slice(&scan.stdout).unwrap();
    assert_eq!(list["items"][0]["status"]["reason"], "DirectGrant");
}

/// Namespaces may have such names, and kubectl would read an unquoted one as a boolean or a number.
#[test]
fn names_that_look_like_another_type_are_quoted() {
    for name in ["on", "no", "y", "1e3", "0x1f", "2026-11-24", "null", "~"] {
        let pod = format!(
            "kind: Pod\nmetadata: {{name: p, namespace: \"{name}\"}}\nspec: {{containers: [{{name: c}}]}}\n"
        );
        let yaml = String::from_utf8(program(&["scan", "-o", "yaml", "-"], &pod).stdout).unwrap();
        let quoted = [
            format!("namespace: \"{name}\""),
            format!("namespace: '{name}'"),
        ];
        assert!(
            quoted.iter().any(|quoted| yaml.contains(quoted)),
            "{name}: {yaml}"
        );
    }
}

/// `kubectl get` sorts by `namespace/name` as one string.
#[test]
fn reports_are_sorted_as_kubectl_get_sorts_them() {
    let pod = |namespace: &str| {
        format!(
            "---\nkind: Pod\nmetadata: {{name: p, namespace: {namespace}}}\nspec: {{containers: [{{name: c}}]}}\n"
        )
    };
    let pods = ["a", "a-b", "a0"].map(pod).concat();
    let scan = program(&["scan", "-o", "json", "-"], &pods);
    let list: Value = serde_json::from_slice(&scan.stdout).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    let namespaces: Vec<_> = items
        .map(|item| item["metadata"]["namespace"].as_str().unwrap())
        .collect();
    assert_eq!(namespaces, ["a-b", "a", "a0"]);
}

#[test]
fn errors_name_their_place_and_the_rest_is_assessed() {
    let dir = folder(&[
        ("a.yaml", POD),
        (
            "b/syntax.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n bad: indent\n",
        ),
        (
            "b/type.yaml",
            &format!(
                "{POD}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: z}}\nspec: {{containers: 7}}\n"
            ),
        ),
        ("c/cut.json", "{\"kind\": \"Pod\",\n \"spec\": {\n"),
        ("d/not-text.yaml", "x"),
        ("ignored.txt", "{{"),
        (".hidden/skipped.yaml", "{{"),
    ]);
    fs::write(dir.path().join("d/not-text.yaml"), [0xff, 0xfe, 0x00]).unwrap();
    fs::create_dir(dir.path().join("folder.yaml")).unwrap();
    let (code, table, error) = scan_in(dir.path(), &["."]);
    assert_eq!(code, 2);
    assert!(table.contains("Unneeded"), "{table}");
    insta::assert_snapshot!(error);
}

#[test]
fn an_invalid_kubeconfig_is_an_error_with_its_path() {
    let dir = folder(&[("broken", "clusters: {"), ("empty", "")]);
    let (_, _, missing) = scan_in(dir.path(), &["--kubeconfig", "missing"]);
    let (_, _, broken) = scan_in(dir.path(), &["--kubeconfig", "broken"]);
    let (_, _, empty) = scan_in(dir.path(), &["--kubeconfig", "empty"]);
    for (error, path) in [(missing, "missing"), (broken, "broken"), (empty, "empty")] {
        assert!(
            error.starts_with(&format!("error: kubeconfig {path} (of --kubeconfig): ")),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
        // The file and the cause are there once.
        assert!(
            !error.contains('"') && error.matches("No such file").count() < 2,
            "{error}"
        );
    }
    let none = |args: &[&str]| {
        let mut program = Command::new(program_path());
        program
            .args(args)
            .env("HOME", dir.path())
            .env_remove("KUBECONFIG");
        let output = run(program.current_dir(dir.path()), "");
        String::from_utf8(output.stderr).unwrap()
    };
    let claims = "eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6YTpiIn0";
    fs::write(dir.path().join("token"), format!("e30.{claims}.e30")).unwrap();
    for (args, advice) in [
        (
            &["scan"][..],
            "give --kubeconfig, or paths of files to scan: ",
        ),
        (&["controller"], "give --kubeconfig: "),
        (
            &["inspect", "--with-cluster", "token"],
            "give --kubeconfig, or remove `--with-cluster`: ",
        ),
    ] {
        let error = none(args);
        assert!(
            error.contains(&format!("kubeconfig ~/.kube/config: {advice}")),
            "{args:?}: {error}"
        );
    }
}

/// Input that kubectl accepts is accepted, with the same meaning.
#[test]
fn yaml_is_read_as_kubectl_reads_it() {
    let with_bom = format!("\u{feff}{POD}");
    let crlf = POD.replace('\n', "\r\n");
    for (name, content, verdict) in [
        ("no", POD.replace("spec: {", "spec: {automountServiceAccountToken: no, "), "NoToken"),
        ("off", POD.replace("spec: {", "spec: {automountServiceAccountToken: off, "), "NoToken"),
        ("yes", POD.replace("spec: {", "spec: {automountServiceAccountToken: yes, "), "Unneeded"),
        ("byte order mark", with_bom, "Unneeded"),
        ("carriage returns", crlf, "Unneeded"),
        ("merge key", "base: &base {automountServiceAccountToken: false}\nkind: Pod\nmetadata: {name: x}\nspec: {<<: *base, containers: [{name: c}]}\n".into(), "NoToken"),
        ("a merge key after a key", "kind: Pod\nmetadata: {name: x}\nspec: {automountServiceAccountToken: false, <<: {automountServiceAccountToken: true}, containers: [{name: c}]}\n".into(), "Unneeded"),
        ("a merge key before a key", "kind: Pod\nmetadata: {name: x}\nspec: {<<: {automountServiceAccountToken: true}, automountServiceAccountToken: false, containers: [{name: c}]}\n".into(), "NoToken"),
        ("two merge keys", "kind: Pod\nmetadata: {name: x}\nspec:\n  <<: {automountServiceAccountToken: false}\n  <<: {automountServiceAccountToken: true}\n  containers: [{name: c}]\n".into(), "Unneeded"),
        ("a merge key with a list", "kind: Pod\nmetadata: {name: x}\nspec: {<<: [{automountServiceAccountToken: false}, {automountServiceAccountToken: true}], containers: [{name: c}]}\n".into(), "NoToken"),
        ("the last of two keys", "kind: Pod\nmetadata: {name: x}\nspec: {automountServiceAccountToken: true, automountServiceAccountToken: false, containers: [{name: c}]}\n".into(), "NoToken"),
        ("empty documents", format!("---\n---\n# nothing\n---\n{POD}---\n"), "Unneeded"),
        ("a list", format!("kind: List\nitems:\n- {}", POD.replace('\n', "\n  ")), "Unneeded"),
        ("a list of a kind", "kind: PodList\nitems:\n- metadata: {name: x}\n  spec: {containers: [{name: c}]}\n".into(), "Unneeded"),
        ("a number that is out of range", format!("{POD}---\nkind: ConfigMap\ndata: {{x: 5245e67867}}\n"), "Unneeded"),
        ("YAML in braces", "{kind: Pod, metadata: {name: x}, spec: {containers: [{name: c}]}}\n---\n{kind: ConfigMap}\n".into(), "Unneeded"),
        ("JSON in lines", "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"x\"},\"spec\":{\"containers\":[{\"name\":\"c\"}]}}\n{\"kind\":\"ConfigMap\"}\n".into(), "Unneeded"),
    ] {
        let dir = folder(&[("x.yaml", &content)]);
        let (reports, _, error) = scan_files(&[&dir.path().join("x.yaml")], &[]);
        assert!(!error.contains("error"), "{name}: {error}");
        let verdicts: Vec<_> = reports.iter().map(|report| report["status"]["verdict"].as_str().unwrap()).collect();
        assert_eq!(verdicts, [verdict], "{name}");
    }
}

#[test]
fn standard_input_is_read_and_the_namespace_filled_in() {
    let output = program(&["scan", "-n", "shop", "-o", "json", "-"], POD);
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list["items"][0]["metadata"]["namespace"], "shop");
    assert_eq!(output.status.code(), Some(1));
    // It is no file.
    let table = String::from_utf8(program(&["scan", "-"], POD).stdout).unwrap();
    assert!(
        table.contains("Pod/web") && !table.contains("FILE"),
        "{table}"
    );
}

#[test]
fn a_template_whose_pods_are_in_the_dump_is_not_counted_twice() {
    let live = "apiVersion: v1\nkind: Pod\nmetadata: {name: web-7d4b9c-x, uid: u, labels: {pod-template-hash: 7d4b9c}, \
                ownerReferences: [{kind: ReplicaSet, name: web-7d4b9c, controller: true}]}\nspec: {containers: [{name: c}]}\n";
    let template = |kind: &str, name: &str, owner: &str| {
        format!(
            "---\napiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}{owner}}}\nspec: {{template: {{spec: {{containers: [{{name: c}}]}}}}}}\n"
        )
    };
    let owned = ", ownerReferences: [{kind: Deployment, name: web, controller: true}]";
    let dump = [
        live,
        &template("Deployment", "web", ""),
        &template("ReplicaSet", "web-7d4b9c", owned),
        &template("Deployment", "idle", ""),
    ]
    .concat();
    let dir = folder(&[("dump.yaml", &dump)]);
    let (reports, ..) = scan_files(&[&dir.path().join("dump.yaml")], &[]);
    assert_eq!(
        reports[0]["status"]["workloadNames"],
        "Deployment/idle, Deployment/web"
    );
    // The live pod counts, whatever its template would get.
    assert_eq!(reports[0]["status"]["pods"], 1);
}

#[test]
fn control_characters_are_escaped_in_tables_and_kept_in_json() {
    let pod = "kind: Pod\nmetadata: {name: p, namespace: \"a\\e[2Jb\"}\nspec: {containers: [{name: c}]}\n";
    let output = program(&["scan", "-"], pod);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(
        table.contains("a\\u{1b}[2Jb") && !table.contains('\u{1b}'),
        "{table}"
    );
    let list: Value =
        serde_json::from_slice(&program(&["scan", "-o", "json", "-"], pod).stdout).unwrap();
    assert_eq!(list["items"][0]["metadata"]["namespace"], "a\u{1b}[2Jb");
}

/// Aliases and nesting are limited: a small input cannot use much memory or time.
#[test]
fn deep_nesting_and_expanding_aliases_are_rejected() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(laughs, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    let deep = "[".repeat(100_000);
    let deep_json = format!("{{\"kind\":\"Pod\",\"spec\":{}", "[".repeat(100_000));
    for (name, content) in [
        ("laughs.yaml", laughs),
        ("deep.yaml", format!("x: {deep}")),
        ("deep.json", deep_json),
    ] {
        let dir = folder(&[(name, &content)]);
        let (code, _, error) = scan_in(dir.path(), &["."]);
        assert_eq!(code, 2, "{name}: {error}");
        assert!(error.starts_with(&format!("error: ./{name}")), "{error}");
    }
}

/// Two workloads with labels, each with its own account.
const LABELLED: &str = "\
{kind: Pod, apiVersion: v1, metadata: {name: web, labels: {app: web}}, spec: {serviceAccountName: web, containers: [{name: c}]}}
---
kind: Deployment
apiVersion: apps/v1
metadata: {name: db}
spec: {template: {metadata: {labels: {app: db, tier: back}}, spec: {serviceAccountName: db, containers: [{name: c}]}}}
---
{kind: ServiceAccount, apiVersion: v1, metadata: {name: idle}}
";

#[test]
fn labels_select_pods_and_templates() {
    for (selector, accounts) in [
        ("", vec!["db", "idle", "web"]),
        ("app=web", vec!["web"]),
        ("app in (web, db)", vec!["db", "web"]),
        ("!tier", vec!["web"]),
        ("app=none", vec![]),
    ] {
        let args = [
            "scan",
            "-o",
            "json",
            "--report-scope",
            "all",
            "-l",
            selector,
            "-",
        ];
        let output = program(&args, LABELLED);
        let list: Value = serde_json::from_slice(&output.stdout).unwrap();
        let items = list["items"].as_array().unwrap();
        let mut names: Vec<_> = items
            .iter()
            .map(|item| item["metadata"]["name"].as_str().unwrap())
            .collect();
        names.sort_unstable();
        assert_eq!(names, accounts, "{selector}");
    }
    let dir = folder(&[("a.yaml", LABELLED)]);
    let (code, _, error) = scan_in(dir.path(), &["a.yaml", "-l", "app web"]);
    assert_eq!(code, 2);
    assert!(
        error.contains("`app web` is not a valid selector: use `key=value`"),
        "{error}"
    );
}

/// Whoever writes the scanned files chooses neither other files nor what is read for ever.
#[test]
fn what_a_pattern_matches_is_held_to_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (repository, outside) = (dir.path().join("repository"), dir.path().join("outside"));
    fs::create_dir_all(&repository).unwrap();
    fs::create_dir_all(&outside).unwrap();
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: c}}]}}\n"
        )
    };
    fs::write(repository.join("own.yaml"), pod("own")).unwrap();
    fs::write(outside.join("foreign.yaml"), pod("foreign")).unwrap();
    std::os::unix::fs::symlink(outside.join("foreign.yaml"), repository.join("link.yaml")).unwrap();
    std::os::unix::fs::symlink(&outside, repository.join("folder")).unwrap();
    std::os::unix::fs::symlink("own.yaml", repository.join("inside.yml")).unwrap();
    let fifo = std::process::Command::new("mkfifo")
        .arg(repository.join("pipe.yaml"))
        .status();
    assert!(fifo.unwrap().success());
    for pattern in [
        "repository/*.yaml",
        "repository/**/*.yaml",
        "repository/[!x]*",
    ] {
        let (code, json, error) =
            scan_in(dir.path(), &[pattern, "-o", "json", "--report-scope=all"]);
        assert_eq!(code, 1, "{error}");
        assert!(
            json.contains("own") && !json.contains("foreign"),
            "{pattern}: {json}"
        );
    }
    let before = fs::read_to_string(outside.join("foreign.yaml")).unwrap();
    let (_, _, error) = scan_in(dir.path(), &["repository/*", "-o", "patch", "--write"]);
    assert_eq!(
        fs::read_to_string(outside.join("foreign.yaml")).unwrap(),
        before,
        "{error}"
    );
    let (code, _, error) = scan_in(dir.path(), &["repository/link*"]);
    assert_eq!(code, 2);
    assert!(
        error.contains("repository/link*: matches no file in")
            && error.contains("unless you name them"),
        "{error}"
    );
    // What the user names is the user's word.
    let (_, json, _) = scan_in(dir.path(), &["repository/link.yaml", "-o", "json"]);
    assert!(json.contains("foreign"), "{json}");
}

#[test]
fn patterns_that_the_shell_does_not_expand_select_files() {
    let dir = folder(&[
        ("a/one.yaml", POD),
        ("a/b/two.yaml", &POD.replace("name: web}", "name: two}")),
        ("a/b/readme.txt", "not YAML: ["),
        ("c/[x].yaml", CLEAN),
    ]);
    for (pattern, code, pods) in [
        ("a/*.yaml", 1, 1),
        ("a/**/*.yaml", 1, 2),
        ("a/?", 1, 1),
        // A file with exactly this name is not a pattern.
        ("c/[x].yaml", 0, 0),
        ("nowhere/*.yaml", 2, 0),
        ("a/[.yaml", 2, 0),
    ] {
        let (found, json, error) = scan_in(dir.path(), &[pattern, "-o", "json"]);
        let list: Value = serde_json::from_str(&json).unwrap();
        let judged = list["items"][0]["status"]["pods"]
            .as_u64()
            .unwrap_or_default();
        assert_eq!((found, judged), (code, pods), "{pattern}: {error}");
    }
}

#[test]
fn one_scan_can_have_several_outputs() {
    let dir = folder(&[("a.yaml", POD)]);
    let args = [
        "a.yaml",
        "-o",
        "markdown",
        "-o",
        "json=out.json",
        "-o",
        "yaml=out.yaml",
    ];
    let (code, markdown, _) = scan_in(dir.path(), &args);
    assert_eq!(code, 1);
    assert!(markdown.starts_with("###"), "{markdown}");
    let json: Value =
        serde_json::from_slice(&fs::read(dir.path().join("out.json")).unwrap()).unwrap();
    let yaml: Value =
        serde_yaml::from_slice(&fs::read(dir.path().join("out.yaml")).unwrap()).unwrap();
    assert_eq!(json["items"][0]["status"]["verdict"], "Unneeded");
    assert_eq!(json, yaml);
    let (code, nothing, _) = scan_in(
        dir.path(),
        &["a.yaml", "-o", "json", "--output-file", "two.json"],
    );
    assert_eq!((code, nothing.as_str()), (1, ""));
    assert_eq!(
        fs::read(dir.path().join("two.json")).unwrap(),
        fs::read(dir.path().join("out.json")).unwrap()
    );
    for args in [["-o", "json=-"], ["-ojson", "--output-file=-"]] {
        let (_, json, _) = scan_in(dir.path(), &[&["a.yaml"][..], &args].concat());
        assert!(json.starts_with('{') && !dir.path().join("-").exists());
    }
    for (args, complaint) in [
        (
            &["-o", "json", "-o", "yaml"][..],
            "two outputs go to standard output",
        ),
        (
            &["-o", "json=x", "-o", "yaml=x"],
            "two outputs have the same file x",
        ),
        (
            &["-o", "json=x", "-o", "yaml=./x"],
            "two outputs have the same file ./x",
        ),
        (
            &["-o", "json=x", "--write-baseline", "x"],
            "two outputs have the same file x",
        ),
        (
            &["-o", "table", "-o", "json=-"],
            "two outputs go to standard output",
        ),
        (
            &["--write-baseline", "-"],
            "`--write-baseline` needs a file",
        ),
        (
            &["-o", "nonsense"],
            "`nonsense` is not a format: use one of table, wide, json",
        ),
        (&["-o", "json="], "`json=` has no file name after `=`"),
        (
            &["-o", "json=no/such/folder"],
            "no/such/folder cannot be written",
        ),
    ] {
        let (code, _, error) = scan_in(dir.path(), &[&["a.yaml"], args].concat());
        assert!(
            code == 2 && error.contains(complaint),
            "{args:?}: {code} {error}"
        );
    }
}

/// The output to a terminal with so many columns.
fn on_a_terminal(columns: usize, environment: &str) -> String {
    let program = program_path();
    let command = format!(
        "stty cols {columns}; {environment} {} scan tests/demo/sample.yaml",
        program.display()
    );
    let output = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .expect("`script` of the package bsdutils starts");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_terminal_gets_colours_unless_they_are_disabled() {
    let shown = on_a_terminal(100, "TERM=xterm");
    assert!(shown.contains("\u{1b}[38;5;9mUnneeded"), "{shown}");
    for environment in ["NO_COLOR=1 TERM=xterm", "TERM=dumb"] {
        let shown = on_a_terminal(100, environment);
        assert!(
            shown.contains("Unneeded") && !shown.contains('\u{1b}'),
            "{shown}"
        );
        assert!(
            shown
                .lines()
                .all(|line| line.trim_end().chars().count() <= 100),
            "{shown}"
        );
    }
    let (_, piped, _) = scan_in(Path::new("."), &["tests/demo/sample.yaml"]);
    assert!(!piped.contains('\u{1b}'));
}

#[test]
fn no_name_is_broken_on_a_narrow_terminal() {
    for (columns, has_permissions, has_reason) in [
        (160, true, true),
        (110, false, true),
        (95, false, false),
        // Nothing is gained where the rest does not fit either.
        (20, true, true),
    ] {
        let shown = on_a_terminal(columns, "TERM=dumb");
        let has = |word: &str| shown.split_whitespace().any(|shown| shown == word);
        assert_eq!(has("PERMISSIONS"), has_permissions, "{columns}: {shown}");
        assert_eq!(has("REASON"), has_reason, "{columns}: {shown}");
        for word in [
            "NAMESPACE",
            "VERDICT",
            "WORKLOADS",
            "FILE",
            "Deployment/dashboard",
            "tests/demo/sample.yaml:186",
        ] {
            assert!(has(word), "{columns}: {word}: {shown}");
        }
    }
}

/// What selects of a cluster has no effect on files, and that is said.
#[test]
fn what_has_no_effect_on_files_is_a_warning() {
    let config = "namespaces: [other]\nexcludeNamespaces: [shop]\nnamespaceSelector: team=a\n";
    let dir = folder(&[("a.yaml", POD), ("config.yaml", config)]);
    for (args, says) in [
        (&["--context", "x"][..], &["--context"][..]),
        (
            &["--kubeconfig", "x", "--as", "me"],
            &["--kubeconfig", "--as"],
        ),
        (
            &["--legacy-tokens", "--config-maps"],
            &["--legacy-tokens", "--config-maps"],
        ),
        (&["--config", "config.yaml"], &[]),
        (&[], &[]),
    ] {
        let (code, _, error) = scan_in(dir.path(), &[&["a.yaml"], args].concat());
        assert_eq!(code, 1, "{error}");
        let warnings: Vec<_> = error
            .lines()
            .filter(|line| line.starts_with("warning: "))
            .collect();
        assert_eq!(warnings.len(), says.len(), "{error}");
        let note = "note: what the configuration says of namespaces (`namespaces`, `excludeNamespaces`, `namespaceSelector`) is for clusters";
        assert_eq!(error.contains(note), args.contains(&"--config"), "{error}");
        for (warning, says) in warnings.iter().zip(says) {
            assert!(
                warning.starts_with(&format!("warning: {says} ")),
                "{warning}"
            );
        }
    }
}

/// Input, whether its pod is found, the exit code, and a part of standard error.
fn malformed_input() -> Vec<(String, bool, i32, &'static str)> {
    const POD: &str = "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c}]}\n";
    let json = r#"{"kind":"Pod","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c"}]}}"#;
    let list = format!("[{}]", json.replacen("\"kind\":\"Pod\",", "", 1));
    vec![
        // The documents after one that cannot be parsed, as kubectl and as people write them.
        (format!("a: [\n---\n{POD}"), true, 2, "standard input:1:4: "),
        (
            format!("%YAML 1.2\n---\n{POD}...\n%YAML 1.2\n---\na: 1\n"),
            true,
            1,
            "",
        ),
        (format!("{POD}---\n\u{feff}kind: ConfigMap\n"), true, 1, ""),
        (
            format!("{{\"kind\": \"ConfigMap\"}}\n---\n{POD}"),
            true,
            1,
            "",
        ),
        // The last of several fields with the same name counts, and a list may be an array.
        (json.to_owned(), true, 1, ""),
        (
            json.replace("\"spec\"", "\"spec\":{},\"spec\""),
            true,
            1,
            "",
        ),
        (list, true, 1, ""),
        // Input that is not an object.
        ("hello\n".to_owned(), false, 2, "is not a Kubernetes object"),
        (
            POD.replace("kind: Pod", "apiVersion: v1"),
            false,
            2,
            "has no `kind`",
        ),
        (
            "apiVersion: v1\nkind: Status\nstatus: Failure\n".to_owned(),
            false,
            2,
            "is an error response of the API server",
        ),
        (
            "apiVersion: meta.k8s.io/v1\nkind: Table\n".to_owned(),
            false,
            2,
            "get the objects with -o json",
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {tempalte: {}}\n"
                .to_owned(),
            false,
            0,
            "d has no pod template",
        ),
        // Chart templates, also those that are valid YAML.
        (
            "kind: Pod\nmetadata:\n  name: {{ .Values.name }}\n".to_owned(),
            false,
            2,
            "`helm template`",
        ),
        (
            "{{- if .Values.x }}\nkind: Pod\n{{- end }}\n".to_owned(),
            false,
            2,
            "`helm template`",
        ),
        (
            POD.replace("name: p", "name: \"{{ .Release.Name }}\""),
            true,
            2,
            "`helm template`",
        ),
        // Neither a boolean nor a number.
        (
            POD.replace("spec: {", "spec: {automountServiceAccountToken: .inf, "),
            false,
            2,
            "invalid type",
        ),
    ]
}

/// Each input alone: its error is reported, and everything else is assessed.
#[test]
fn malformed_input_is_reported_and_the_rest_is_assessed() {
    for (input, found, code, says) in malformed_input() {
        let output = program(&["scan", "-"], &input);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, error) = (text(output.stdout), text(output.stderr));
        assert_eq!(output.status.code(), Some(code), "{input}: {out}{error}");
        assert_eq!(out.contains("1 Unneeded"), found, "{input}: {out}{error}");
        assert!(error.contains(says), "{input}: {error}");
    }
}

/// A reader of the output alone must see that it is incomplete.
#[test]
fn outputs_say_that_input_could_not_be_read() {
    let dir = folder(&[("bad.yaml", "a: ["), ("good.yaml", POD)]);
    for (format, says) in [
        ("sarif", "\"executionSuccessful\": false"),
        (
            "junit",
            "<testsuite name=\"input\" tests=\"2\" failures=\"0\" errors=\"1\" skipped=\"0\">",
        ),
        (
            "markdown",
            "**Some input could not be read:**\n\n* ./bad.yaml:1:4: ",
        ),
        ("html", "Some input could not be read: 1 error"),
    ] {
        let (code, out, _) = scan_in(dir.path(), &[".", "-o", format]);
        assert_eq!(code, 2);
        assert!(out.contains(says), "{format}: {out}");
    }
}

/// The reports equal those of a list that is read as a whole.
#[test]
fn a_large_list_is_read_item_by_item() {
    let item = |number: usize, extra: &str| {
        format!(
            "- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: p{number}\n    namespace: n{}\n    annotations:\n      text: |-\n        - one\n\n        items:\n        {}\n  spec:\n    containers:\n    - name: c{extra}\n",
            number % 7,
            "x".repeat(400)
        )
    };
    let list = |broken: &str| {
        let items: String = (0..3_000)
            .map(|number| item(number, if number == 1_234 { broken } else { "" }))
            .collect();
        format!("apiVersion: v1\nitems:\n{items}kind: List\nmetadata:\n  resourceVersion: \"\"\n")
    };
    let dir = folder(&[
        ("large.yaml", &list("")),
        ("broken.yaml", &list("\n  - : ]")),
    ]);
    let (items, code, error) = scan_files(&[&dir.path().join("large.yaml")], &[]);
    assert_eq!((items.len(), code), (7, 1), "{error}");
    let pods: u64 = items
        .iter()
        .filter_map(|item| item["status"]["pods"].as_u64())
        .sum();
    assert_eq!(pods, 3_000);
    // An item that cannot be parsed is reported with its line; the others are assessed.
    let (items, code, error) = scan_files(&[&dir.path().join("broken.yaml")], &[]);
    let pods: u64 = items
        .iter()
        .filter_map(|item| item["status"]["pods"].as_u64())
        .sum();
    assert_eq!((pods, code), (2_999, 2), "{error}");
    let line = 2 + 1_234 * 14 + 15;
    assert!(error.contains(&format!("broken.yaml:{line}:")), "{error}");
}

/// Pods of seven namespaces, each with so much text that no answer depends on.
fn padded_pods(padding: usize) -> Vec<Value> {
    let padding = "x".repeat(padding);
    let pod = |number: usize| {
        serde_json::json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"annotations": {"text": padding}, "name": format!("p{number}"), "namespace": format!("n{}", number % 7)},
            "spec": {"containers": [{"name": "c"}], "serviceAccountName": format!("a{}", number % 3)}})
    };
    (0..300).map(pod).collect()
}

/// What does not fit into memory is read piece by piece: the answers are those for the same objects in a small file.
#[test]
fn a_dump_of_any_size_is_read() {
    let list =
        |items: &[Value]| serde_json::json!({"apiVersion": "v1", "items": items, "kind": "List"});
    let typed = |items: &[Value]| {
        let items = items.iter().cloned().map(|mut item| {
            item.as_object_mut()
                .unwrap()
                .retain(|key, _| key != "kind" && key != "apiVersion");
            item.to_string()
        });
        format!(
            r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{}},"items":[{}]}}"#,
            items.collect::<Vec<_>>().join(",")
        )
    };
    let yaml = |value: &Value| serde_yaml::to_string(value).unwrap();
    let (small, large) = (padded_pods(1), padded_pods(60_000));
    let lines = |text: fn(&Value) -> String, between: &str| {
        large.iter().map(text).collect::<Vec<_>>().join(between)
    };
    let (expected, ..) = scan_files(
        &[&folder(&[("a.json", &list(&small).to_string())])
            .path()
            .join("a.json")],
        &[],
    );
    assert_eq!(expected.len(), 21);
    for (name, text) in [
        (
            "pretty.json",
            serde_json::to_string_pretty(&list(&large)).unwrap(),
        ),
        ("typed.json", typed(&large)),
        ("lines.json", lines(Value::to_string, "\n")),
        ("documents.json", lines(Value::to_string, "\n---\n")),
        ("list.yaml", yaml(&list(&large))),
        (
            "documents.yaml",
            lines(|value| serde_yaml::to_string(value).unwrap(), "---\n"),
        ),
    ] {
        assert!(text.len() > 16 << 20, "{name}: {}", text.len());
        let dir = folder(&[(name, &text)]);
        let (items, code, error) = scan_files(&[&dir.path().join(name)], &[]);
        assert_eq!((items == expected, code), (true, 1), "{name}: {error}");
    }
}

/// Positions in a large file are those of its objects, what is wrong with it is said, and it is not changed.
#[test]
fn a_large_file_has_positions_and_errors_and_is_not_changed() {
    let pods: Vec<_> = padded_pods(60_000).iter().map(Value::to_string).collect();
    let dir = folder(&[
        (
            "a.json",
            &format!("{{\"items\": [\n{},\n{{\"kind\": }}, ", pods.join(",\n")),
        ),
        (
            "b.json",
            &format!(
                "{{\"items\": [{{\"metadata\": {{\"name\": \"{}\"}}}}], \"kind\": \"PodList\"}}",
                "x".repeat(17 << 20)
            ),
        ),
        (
            "c.yaml",
            &(format!("# {}\n---\n", "x".repeat(17 << 20)) + POD),
        ),
    ]);
    let (code, out, error) = scan_in(dir.path(), &["."]);
    assert_eq!(code, 2, "{error}");
    assert!(out.contains("a.json:2, "), "{out}");
    for said in [
        "a.json:302:10: expected value",
        "a.json:302: the text ends within an object; the rest of the file is not read",
        "b.json: items without a `kind` were not read",
    ] {
        assert!(error.contains(said), "{said}: {error}");
    }
    let (.., error) = scan_in(dir.path(), &["c.yaml", "-o", "patch", "--write"]);
    assert!(
        error.contains("c.yaml: is too large to be changed: split it"),
        "{error}"
    );
}
fn installed(name: &str, of: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}{of}}}\n---\n\
         apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}{of}}}\n\
         spec: {{template: {{spec: {{serviceAccountName: {name}, containers: [{{name: c, image: i}}]}}}}}}\n---\n"
    )
}

/// A binding of a role with rules to this subject.
fn bound_to(kind: &str, subject: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{name: b}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}}\nsubjects: [{subject}]\n---\n"
    )
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn a_namespace_that_no_object_names_is_not_guessed_where_a_binding_names_another() {
    let account = "{kind: ServiceAccount, name: app, namespace: NS}";
    let of_shop = account.replace("NS", "shop");
    let of_shop = || bound_to("ClusterRoleBinding", &of_shop);
    let user =
        "{kind: User, apiGroup: rbac.authorization.k8s.io, name: 'system:serviceaccount:shop:app'}";
    let here = installed("app", "");
    let there = installed("app", ", namespace: shop");
    let unbound = here.clone()
        + &bound_to(
            "ClusterRoleBinding",
            "{kind: Group, apiGroup: rbac.authorization.k8s.io, name: x}",
        );
    let (unknown, unneeded) = ("Unknown/NamespaceUnknown", "Unneeded/NoPermissions");
    let needed = "Needed/DirectGrant";
    for (says, objects, args, expected) in [
        (
            "the binding means it",
            here.clone() + &of_shop(),
            vec![],
            vec![("default/app", unknown)],
        ),
        (
            "so does a RoleBinding",
            here.clone() + &bound_to("RoleBinding", &account.replace("NS", "shop")),
            vec![],
            vec![("default/app", unknown)],
        ),
        (
            "so does a username",
            here.clone() + &bound_to("ClusterRoleBinding", user),
            vec![],
            vec![("default/app", unknown)],
        ),
        (
            "a workload alone names none",
            installed("app", "")
                .split_once("---\n")
                .unwrap()
                .1
                .to_owned()
                + &of_shop(),
            vec![],
            vec![("default/app", unknown)],
        ),
        (
            "what is granted names none, and the pods do",
            here.split_once("---\n").unwrap().0.to_owned()
                + "---\n"
                + &bound_to("RoleBinding", &account.replace(", namespace: NS", ""))
                + there.split_once("---\n").unwrap().1,
            vec![],
            vec![("shop/app", unknown)],
        ),
        (
            "only the RoleBinding names none",
            there.clone() + &bound_to("RoleBinding", &account.replace(", namespace: NS", "")),
            vec![],
            vec![("shop/app", unknown)],
        ),
        (
            "the RoleBinding names none, and its subject another",
            there.clone() + &bound_to("RoleBinding", &account.replace("NS", "elsewhere")),
            vec![],
            vec![("shop/app", unneeded)],
        ),
        (
            "the RoleBinding is beside the account that it means",
            here.clone()
                + &there
                + &bound_to("RoleBinding", &account.replace(", namespace: NS", "")),
            vec![],
            vec![("default/app", needed), ("shop/app", unneeded)],
        ),
        (
            "the user names the namespace",
            here.clone() + &of_shop(),
            vec!["-n", "shop"],
            vec![("shop/app", needed)],
        ),
        (
            "the user names another",
            here.clone() + &of_shop(),
            vec!["-n", "default"],
            vec![("default/app", unneeded)],
        ),
        (
            "the objects name it",
            installed("app", ", namespace: default") + &of_shop(),
            vec![],
            vec![("default/app", unneeded)],
        ),
        (
            "the input has both",
            here.clone() + &there + &of_shop(),
            vec![],
            vec![("default/app", unneeded), ("shop/app", needed)],
        ),
        (
            "a binding grants here, too",
            here.clone() + &of_shop() + &bound_to("RoleBinding", &account.replace("NS", "default")),
            vec![],
            vec![("default/app", needed)],
        ),
        (
            "no binding names it",
            unbound,
            vec![],
            vec![("default/app", unneeded)],
        ),
    ] {
        let dir = folder(&[("all.yaml", &objects)]);
        let (reports, _, error) = scan_files(&[dir.path()], &args);
        let found: Vec<_> = reports
            .iter()
            .filter(|report| report["status"]["reason"] != "NoPods")
            .map(|report| {
                let word = |part: &str, field: &str| report[part][field].as_str().unwrap();
                let account = format!(
                    "{}/{}",
                    word("metadata", "namespace"),
                    word("metadata", "name")
                );
                (
                    account,
                    format!("{}/{}", word("status", "verdict"), word("status", "reason")),
                )
            })
            .collect();
        let found: Vec<_> = found
            .iter()
            .map(|(account, answer)| (&**account, &**answer))
            .collect();
        assert_eq!(found, expected, "{says}: {error}");
        let unknown = reports
            .iter()
            .find(|report| report["status"]["verdict"] == "Unknown");
        if let Some(report) = unknown {
            let message = report["status"]["message"].as_str().unwrap();
            assert!(
                message.ends_with("scan again with `-n shop`"),
                "{says}: {message}"
            );
            assert_eq!(report["status"]["remediation"], Value::Null, "{says}");
            // It reads objects without a namespace as those of the account's.
            let word = match expected[0].0 {
                "shop/app" => "Needed",
                _ => "NamespaceUnknown",
            };
            let (_, explained, _) = scan_explain(dir.path(), expected[0].0);
            assert!(explained.contains(word), "{says}: {explained}");
        }
    }
}

/// `explain` of an account in the files of a directory.
/// A group of a namespace may be what grants, too.
#[test]
fn a_group_of_a_namespace_that_the_input_has_not_makes_guessed_ones_unknown() {
    let group = |namespace: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: b}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}}\nsubjects: [{{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:serviceaccounts:{namespace}'}}]\n"
        )
    };
    let named = POD.replace("name: web}\nspec", "name: web, namespace: shop}\nspec");
    for (pod, namespace, args, expected) in [
        (POD, "prod", &[][..], "Unknown"),
        (POD, "default", &[], "Review"),
        (POD, "prod", &["-n", "shop"], "Unneeded"),
        (&named, "prod", &[], "Unneeded"),
    ] {
        let dir = folder(&[("pod.yaml", pod), ("group.yaml", &group(namespace))]);
        let (items, ..) = scan_files(&[dir.path()], args);
        assert_eq!(
            items[0]["status"]["verdict"], expected,
            "{namespace} {args:?}"
        );
    }
}

fn scan_explain(dir: &Path, account: &str) -> (Option<i32>, String, String) {
    let output = program(&["explain", account, dir.to_str().unwrap()], "");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// The most valuable findings come first; all are grouped by cause and file.
#[test]
fn many_findings_are_grouped_by_cause_and_file() {
    let deployment = |number: usize| {
        format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: w{number:03}}}\n\
             spec: {{template: {{spec: {{serviceAccountName: a{}, containers: [{{name: c}}]}}}}}}\n",
            number / 2 * 2
        )
    };
    let all = |numbers: std::ops::Range<usize>| numbers.map(deployment).collect::<String>();
    let review = "---\nkind: Pod\nmetadata: {name: r}\nspec: {serviceAccountName: r, containers: [{name: c, env: [{name: VAULT_ADDR}]}]}\n";
    let dir = folder(&[
        ("a.yaml", &all(0..101)),
        ("b/c.yaml", &(all(101..200) + review)),
    ]);
    let (_, table, _) = scan_in(dir.path(), &["."]);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(
        lines[0],
        "The 10 of 101 fixes that matter most (pods that a fix frees × how sure it is: Unneeded 4, Review 2, Unknown 1):"
    );
    let rows = &lines[2..12];
    assert!(
        rows.iter()
            .all(|row| row.contains("Unneeded") && row.contains("  2     None")),
        "{table}"
    );
    assert!(
        rows[0].contains("Deployment/w000, Deployment/w001  ./a.yaml:5, ./a.yaml:10"),
        "{table}"
    );
    for line in [
        "  ./a.yaml: Deployment/w000, Deployment/w001, Deployment/w010, Deployment/w011, Deployment/w100 and 96 more",
        "  ./b/c.yaml: Pod/r",
        "`-o wide` has a row for each ServiceAccount",
    ] {
        assert!(lines.contains(&line), "{line}: {table}");
    }
    let causes: Vec<_> = lines
        .iter()
        .filter(|line| line.contains(" ServiceAccounts, ") || line.contains(" ServiceAccount, "))
        .collect();
    assert!(
        causes[0]
            .starts_with("Unneeded NoPermissions, 100 ServiceAccounts, 200 pods: Set `automount"),
        "{causes:?}"
    );
    assert!(
        causes[1].starts_with("Review KnownConsumer, 1 ServiceAccount, 1 pod: "),
        "{causes:?}"
    );
    assert!(lines.len() < 40, "{table}");
    let (_, wide, _) = scan_in(dir.path(), &[".", "-o", "wide"]);
    assert!(
        wide.lines()
            .filter(|line| line.contains("Unneeded  NoPermissions"))
            .count()
            == 100,
        "{wide}"
    );
    let (_, markdown, _) = scan_in(dir.path(), &[".", "-o", "markdown"]);
    assert!(
        markdown
            .contains("<details><summary>Unneeded NoPermissions, 100 ServiceAccounts, 200 pods: "),
        "{markdown}"
    );
}
