//! The outputs of a scan for other programs: SARIF for code scanning, JUnit for CI servers. They are valid,
//! complete, have the right lines, and are the same for the same input.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::rig::{program, program_path};

const SAMPLE: &str = "tests/demo/sample.yaml";

/// The output of a scan in a directory, whatever it finds.
fn printed(dir: &Path, args: &[&str]) -> String {
    let args = [&["scan", "--fail-on", "never"], args].concat();
    let output = Command::new(program_path())
        .args(args)
        .current_dir(dir)
        .output();
    let output = output.unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

/// A SARIF log that is valid according to the schema.
fn sarif(dir: &Path, args: &[&str]) -> Value {
    let schema = fs::read_to_string("tests/schemas/sarif-2.1.0.json").unwrap();
    let schema = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    let text = printed(dir, &[args, &["-o", "sarif"]].concat());
    let log = serde_json::from_str(&text).unwrap();
    let faults: Vec<_> = schema
        .iter_errors(&log)
        .map(|fault| fault.to_string())
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    log
}

/// File, line, rule and level of each result.
fn results(log: &Value) -> Vec<(String, u64, String, String)> {
    let results = log["runs"][0]["results"].as_array().unwrap();
    let told = |result: &Value| {
        let place = &result["locations"][0]["physicalLocation"];
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let line = place["region"]["startLine"].as_u64().unwrap_or_default();
        (
            word(&place["artifactLocation"]["uri"]),
            line,
            word(&result["ruleId"]),
            word(&result["level"]),
        )
    };
    results.iter().map(told).collect()
}

#[test]
fn sarif_reads_well_and_is_reproducible() {
    let root = Path::new(".");
    let log = sarif(root, &[SAMPLE]);
    assert_eq!(log, sarif(root, &[SAMPLE]));
    // The version changes with each release.
    let version = log["runs"][0]["tool"]["driver"]["semanticVersion"].as_str();
    let text = serde_json::to_string_pretty(&log).unwrap();
    insta::assert_snapshot!(text.replace(version.unwrap(), "VERSION"));
}

/// The line is that of the `spec` key of the pod, in every style and kind.
/// GitHub refuses a file with a result that has no file and line.
#[test]
fn a_pod_with_the_token_of_another_account_has_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let text = "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: other, namespace: shop}
---
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: shop, annotations: {kubernetes.io/service-account.name: other}}
type: kubernetes.io/service-account-token
---
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: shop}
spec:
  automountServiceAccountToken: false
  containers: [{name: c, image: i, env: [{name: T, valueFrom: {secretKeyRef: {name: s, key: token}}}]}]
";
    fs::write(dir.path().join("p.yaml"), text).unwrap();
    let sarif = printed(dir.path(), &["p.yaml", "-o", "sarif"]);
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "legacy-token", "{result}");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "p.yaml", "{result}");
    assert_eq!(place["region"]["startLine"], 13, "{result}");
    let said = result["message"]["text"].as_str().unwrap();
    assert!(
        said.starts_with("Pod/p uses ServiceAccount shop/other: "),
        "{said}"
    );
}

/// Code scanning looks for files from the root of the repository.
#[test]
fn files_are_named_from_the_root_of_the_repository_wherever_the_scan_runs() {
    let dir = tempfile::tempdir().unwrap();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c}]}\n";
    for folder in [".git", "svc/deploy", "cron"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    let files = ["svc/deploy/a.yaml", "cron/b.yaml"].map(|file| dir.path().join(file));
    for (place, file) in files.iter().enumerate() {
        fs::write(file, pod.replace("name: p}", &format!("name: p{place}}}"))).unwrap();
    }
    let whole = files[1].to_str().unwrap();
    for args in [["deploy", "../cron"], ["./deploy/a.yaml", whole]] {
        let log = sarif(&dir.path().join("svc"), &args);
        let uris: Vec<_> = results(&log).into_iter().map(|(uri, ..)| uri).collect();
        assert_eq!(uris, ["svc/deploy/a.yaml", "cron/b.yaml"], "{args:?}");
    }
}

#[test]
fn results_have_the_lines_of_pod_specs() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "pod.yaml",
        "\n# first\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers: [{name: c}]\n",
    );
    write(
        "sub/two words.yaml",
        "kind: ConfigMap\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b}\nspec:\n  template:\n    metadata: {}\n    spec: {containers: [{name: c}]}\n",
    );
    write(
        "list.json",
        "{\"kind\": \"ConfigMap\"}\n{\"kind\": \"List\", \"items\": [\n{\"kind\": \"Secret\"},\n{\"apiVersion\": \"batch/v1\", \"kind\": \"CronJob\", \"metadata\": {\"name\": \"d\"}, \"spec\": {\"jobTemplate\": {\"spec\": {\"template\": {\n\"spec\": {\"containers\": [{\"name\": \"c\"}]}}}}}}\n]}\n",
    );
    let log = sarif(dir.path(), &["."]);
    let mut found = results(&log);
    found.sort();
    let expected = [
        ("list.json", 5),
        ("pod.yaml", 5),
        ("sub/two%20words.yaml", 9),
    ]
    .map(|(file, line)| {
        (
            file.to_owned(),
            line,
            "no-permissions".to_owned(),
            "error".to_owned(),
        )
    });
    assert_eq!(found, expected);
}

#[test]
fn a_fingerprint_does_not_depend_on_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let pod = "kind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c}]}\n";
    let fingerprints = |text: &str| {
        fs::write(dir.path().join("a.yaml"), text).unwrap();
        let log = sarif(dir.path(), &["a.yaml"]);
        log["runs"][0]["results"][0]["partialFingerprints"].clone()
    };
    let first = fingerprints(pod);
    assert_eq!(fingerprints(&format!("# moved\n\n{pod}")), first);
    assert_ne!(fingerprints(&pod.replace("name: a", "name: b")), first);
}

#[test]
fn an_exempted_finding_is_suppressed_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let pod = "kind: Pod\nmetadata: {name: a, annotations: {tokenexposure.io/exempt: it logs in}}\nspec: {containers: [{name: c}]}\n";
    fs::write(dir.path().join("a.yaml"), pod).unwrap();
    let log = sarif(dir.path(), &["a.yaml"]);
    let result = &log["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "exemption");
    assert_eq!(
        result["suppressions"],
        json!([{ "kind": "external", "status": "accepted", "justification": "it logs in (annotation of the pods of Pod/a)" }])
    );
}

/// GitHub accepts 25,000 results in a run.
#[test]
fn results_beyond_the_limit_of_github_are_omitted_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let pod = |number: usize| {
        format!(
            "{{\"kind\":\"Pod\",\"metadata\":{{\"name\":\"p{number}\"}},\"spec\":{{\"containers\":[{{\"name\":\"c\"}}]}}}}\n"
        )
    };
    let pods: String = (0..25_003).map(pod).collect();
    fs::write(dir.path().join("pods.json"), pods).unwrap();
    let log = printed(dir.path(), &["pods.json", "-o", "sarif"]);
    let log: Value = serde_json::from_str(&log).unwrap();
    let run = &log["runs"][0];
    assert_eq!(run["results"].as_array().unwrap().len(), 25_000);
    let notice = &run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"];
    assert_eq!(
        notice,
        "3 results are omitted: code scanning accepts at most 25000 in a run"
    );
}

#[test]
fn special_characters_are_kept_in_sarif_and_made_visible_in_junit() {
    let name = "a\u{1b}[31m<b>&\"'\u{202e}\u{fffe}";
    let pod = json!({ "kind": "Pod", "metadata": { "name": "p", "namespace": name }, "spec": { "containers": [{ "name": "c" }] } });
    let output = program(&["scan", "-", "-o", "sarif"], &pod.to_string());
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    let result = &log["runs"][0]["results"][0];
    assert_eq!(
        result["properties"]["serviceAccount"],
        format!("{name}/default")
    );
    let output = program(&["scan", "-", "-o", "junit"], &pod.to_string());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(r#"<testsuite name="a\u{1b}[31m&lt;b&gt;&amp;&quot;&apos;\u{202e}\u{fffe}""#),
        "{text}"
    );
}

#[test]
fn junit_reads_well() {
    let all = printed(Path::new("."), &[SAMPLE, "-o", "junit"]);
    // `printed` sets `--fail-on never`: no test case fails.
    assert!(all.contains(" failures=\"0\" errors=\"0\""), "{all}");
    let output = program(&["scan", SAMPLE, "-o", "junit", "--fail-on", "unknown"], "");
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

/// Whoever reads one format alone must know what the others know.
#[test]
fn every_format_contains_the_notes_about_the_input() {
    let dir = tempfile::tempdir().unwrap();
    let pod = "kind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c}]}\n";
    let binding = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: b}\nroleRef: {kind: Role}\n";
    fs::write(dir.path().join("a.yaml"), pod).unwrap();
    fs::write(dir.path().join("b.yaml"), binding).unwrap();
    let note = "the input contains no RBAC objects";
    let warning = "the API server would reject RoleBinding b";
    let printed = |format: &str, file: &str| printed(dir.path(), &[file, "-o", format]);
    for (format, marks) in [
        ("table", ["note: ", "warning: "]),
        ("wide", ["note: ", "warning: "]),
        ("markdown", ["* note: ", "* warning: "]),
        ("patch", ["# note: ", "# warning: "]),
        ("junit", ["<system-out>note: ", "<system-out>warning: "]),
        ("html", ["\"text\":\"note: ", "\"text\":\"warning: "]),
    ] {
        let of_pod = printed(format, "a.yaml");
        assert!(
            of_pod.contains(&format!("{}{note}", marks[0])),
            "{format}: {of_pod}"
        );
        let all = printed(format, ".");
        assert!(
            all.contains(marks[1]) && all.contains(warning),
            "{format}: {all}"
        );
    }
    for format in ["json", "yaml"] {
        let list: Value = serde_yaml::from_str(&printed(format, "a.yaml")).unwrap();
        assert_eq!(list["messages"][0]["type"], "Note");
        assert!(
            list["messages"][0]["message"]
                .as_str()
                .unwrap()
                .starts_with(note)
        );
    }
    for (file, level, text) in [("a.yaml", "note", note), (".", "warning", warning)] {
        let log = sarif(dir.path(), &[file]);
        let notification = &log["runs"][0]["invocations"][0]["toolExecutionNotifications"][0];
        assert_eq!(notification["level"], level);
        assert!(
            notification["message"]["text"]
                .as_str()
                .unwrap()
                .contains(text),
            "{notification}"
        );
    }
}

/// Each finding names the controls of the usual catalogues that ask for it.
#[test]
fn findings_name_the_controls_of_catalogues() {
    let dir = tempfile::tempdir().unwrap();
    let spec = "containers: [{name: c, volumeMounts: [{name: v, mountPath: /t}]}], automountServiceAccountToken: false, serviceAccountName: own, \
                volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: token}}]}}]";
    let pods = format!(
        "kind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{{name: c}}]}}\n---\nkind: Pod\nmetadata: {{name: b}}\nspec: {{{spec}}}\n"
    );
    fs::write(dir.path().join("a.yaml"), pods).unwrap();
    let log = sarif(dir.path(), &["a.yaml"]);
    let results = log["runs"][0]["results"].as_array().unwrap();
    let controls = |place: usize| results[place]["properties"]["controls"].clone();
    let any = [
        "CIS Kubernetes Benchmark 5.1.6",
        "NSA/CISA Kubernetes Hardening Guide Protecting Pod service account tokens",
        "MITRE ATT&CK T1528",
        "kubescape C-0053",
    ];
    let automount = [
        "kubescape C-0034",
        "Trivy KSV-0036",
        "Checkov CKV_K8S_38",
        "SonarQube S6865",
    ];
    let default = ["CIS Kubernetes Benchmark 5.1.5", "Checkov CKV_K8S_41"];
    assert_eq!(
        controls(0),
        json!([&any[..], &automount, &default].concat())
    );
    assert_eq!(controls(1), json!(any));
    let html = printed(dir.path(), &["a.yaml", "-o", "html"]);
    for name in any.iter().chain(&automount).chain(&default) {
        assert!(html.contains(name), "{name}");
    }
}
