//! Input that nobody should write, and somebody will: objects that validation would reject today, files that are no
//! manifests, names that are no names. Beside each stands a good manifest, whose answer must not change.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::rig::{program_path, run, scan_in};

/// The good manifest: one account whose token is unneeded.
const GOOD: &str = "{apiVersion: v1, kind: Pod, metadata: {name: good, namespace: good}, spec: {containers: [{name: c, image: i}]}}";

/// Exit code, table and standard error of a scan of a folder that has the good manifest too.
fn scan(dir: &Path) -> (Option<i32>, String, String) {
    fs::write(dir.join("good.yaml"), GOOD).unwrap();
    let mut scan = Command::new(program_path());
    scan.args(["scan", ".", "--report-scope", "all"])
        .current_dir(dir);
    let output = run(&mut scan, "");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A pod in namespace `odd` with a change.
fn pod(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "odd", "namespace": "odd"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    change(&mut pod);
    pod.to_string().into_bytes()
}

/// What is odd, the verdict on the account in namespace `odd`, what standard error says, the name of the file, and its
/// content.
type Case = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Vec<u8>,
);

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    let times = |n: i32| [0, -1, i64::MAX][usize::try_from(n % 3).unwrap()];
    let odd = |n: i32| if n % 2 == 0 { String::new() } else { "x".repeat(10_000) };
    let long = "x".repeat(1_500_000);
    let yaml = |text: &str| text.as_bytes().to_vec();
    let objects = |objects: &[Value]| objects.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n").into_bytes();
    let role = |rules: Value| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "odd"}, "rules": rules});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "odd"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "odd"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "odd"}]});
    let with = |change: Value| { let mut b = binding.clone(); for (k, v) in change.as_object().unwrap() { b[k] = v.clone(); } b };
    let plain: Value = serde_json::from_slice(&pod(|_| {})).unwrap();
    vec![
        ("1 no spec", "", "Pod odd has no containers: it is skipped", "a.json", pod(|p| { p.as_object_mut().unwrap().remove("spec"); })),
        ("1 no metadata", "", "", "a.json", pod(|p| { p.as_object_mut().unwrap().remove("metadata"); })),
        ("1 empty account", "Unneeded", "", "a.json", pod(|p| p["spec"]["serviceAccountName"] = json!(""))),
        ("3 missing role", "Unknown", "", "a.yaml", objects(&[plain.clone(), binding.clone()])),
        ("4 roleRef kind", "Unneeded", "has a `roleRef.kind` that is neither", "a.yaml", objects(&[plain.clone(), role(json!([])), with(json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Rolle", "name": "odd"}}))])),
        ("4 roleRef group", "Unneeded", "has a `roleRef.apiGroup` other than", "a.yaml", objects(&[plain.clone(), role(json!([])), with(json!({"roleRef": {"apiGroup": "x", "kind": "ClusterRole", "name": "odd"}}))])),
        ("5 subject kind", "Unneeded", "has a `kind` other than", "a.yaml", objects(&[plain.clone(), role(json!([])), with(json!({"subjects": [{"kind": "serviceaccount", "name": "default", "namespace": "odd"}]}))])),
        ("5 subject empty name", "Unneeded", "has no `name`", "a.yaml", objects(&[plain.clone(), role(json!([])), with(json!({"subjects": [{"kind": "ServiceAccount", "name": "", "namespace": "odd"}]}))])),
        ("5 subject group", "Unneeded", "has an `apiGroup`", "a.yaml", objects(&[plain.clone(), role(json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}])), with(json!({"subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "ServiceAccount", "name": "default", "namespace": "odd"}]}))])),
        ("6 self-aggregating", "Review", "", "a.yaml", objects(&[plain.clone(), binding.clone(), json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "odd", "labels": {"a": "b"}}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}})])),
        ("7 10k rules", "Needed", "", "a.yaml", objects(&[plain.clone(), binding.clone(), role(Value::Array((0..10_000).map(|n| json!({"apiGroups": [""], "resources": [format!("r{n}")], "verbs": ["get"]})).collect()))])),
        ("8 10k names", "Needed", "", "a.yaml", objects(&[plain.clone(), binding.clone(), role(json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": (0..10_000).map(|n| format!("n{n}")).collect::<Vec<_>>()}]))])),
        ("9 wildcards", "Needed", "", "a.yaml", objects(&[plain.clone(), binding.clone(), role(json!([{"apiGroups": ["*"], "resources": ["*/*", "pods/*"], "verbs": ["*"]}]))])),
        ("10 urls", "Needed", "", "a.yaml", objects(&[plain.clone(), binding.clone(), role(json!([{"nonResourceURLs": ["/x/*y", "*", "x"], "verbs": ["get"]}]))])),
        ("11 mounts", "Unneeded", "", "a.json", pod(|p| { p["spec"]["volumes"] = json!([{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}, {"name": "t", "emptyDir": {}}]);
            p["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "t", "mountPath": "/"}, {"name": "t", "mountPath": "/var/run/../run/secrets/kubernetes.io/serviceaccount/"}, {"name": "none", "mountPath": "/x", "subPath": "../.."}]); })),
        ("12 100 sources", "Unknown", "", "a.json", pod(|p| { p["spec"]["volumes"] = json!([{"name": "t", "projected": {"sources": (0..100).map(|n| json!({"serviceAccountToken": {"path": format!("t{n}"), "audience": odd(n), "expirationSeconds": times(n)}})).collect::<Vec<_>>()}}]);
            p["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "t", "mountPath": "/t"}]); })),
        ("14 future", "Unneeded", "", "a.json", pod(|p| { p["spec"]["futureField"] = json!({"a": [1]}); p["spec"]["restartPolicy"] = json!("Sometimes"); p["spec"]["volumes"] = json!([{"name": "v", "quantum": {}}]); })),
        ("15 nulls", "Unneeded", "", "a.json", pod(|p| { p["spec"]["volumes"] = Value::Null; p["spec"]["initContainers"] = Value::Null; p["metadata"]["labels"] = Value::Null; p["spec"]["automountServiceAccountToken"] = Value::Null; })),
        ("15 bool as string", "", "error: ./a.json:1: Pod odd: `spec.automountServiceAccountToken`", "a.json", pod(|p| p["spec"]["automountServiceAccountToken"] = json!("false"))),
        ("15 number as string", "", "error: ./a.json:1: Pod odd: `spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds`", "a.json", pod(|p| p["spec"]["volumes"] = json!([{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": "3600"}}]}}]))),
        ("16 float", "", "", "a.json", yaml("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"odd\",\"generation\":1e400},\"spec\":{\"containers\":[{\"name\":\"c\"}]}}")),
        ("16 overflow", "", "error: ./a.json:1: Pod odd: `spec.volumes[0]", "a.json", yaml("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"odd\"},\"spec\":{\"containers\":[{\"name\":\"c\"}],\"volumes\":[{\"name\":\"t\",\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"path\":\"t\",\"expirationSeconds\":99999999999999999999999}}]}}]}}")),
        ("17 escapes", "", "", "a.json", pod(|p| { p["metadata"]["name"] = json!("\u{1b}[2J\u{1b}]8;;http://x\u{7}\r\u{202e}"); p["metadata"]["namespace"] = json!("n\u{0}\n::error::x"); })),
        ("17 invalid UTF-8", "", "error: ./a.json: cannot be read: it is not UTF-8", "a.json", [b"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"o".as_slice(), &[0xff, 0xfe], b"\"},\"spec\":{\"containers\":[{\"name\":\"c\"}]}}"].concat()),
        ("18 annotation", "Exempted", "", "a.json", pod(|p| p["metadata"]["annotations"] = json!({"tokenexposure.io/exempt": long}))),
        ("19 env", "Unneeded", "", "a.json", pod(|p| p["spec"]["containers"][0]["env"] = Value::Array((0..20_000).map(|n| json!({"name": format!("E{n}"), "value": "x"})).collect()))),
        ("20 duplicate keys", "", "", "a.json", yaml("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"odd\"},\"spec\":{\"automountServiceAccountToken\":true,\"automountServiceAccountToken\":false,\"containers\":[{\"name\":\"c\"}]}}")),
        ("21 deep JSON", "", "error: ./a.json:1:", "a.json", ["{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"x\":".as_bytes(), "[".repeat(1_000_000).as_bytes()].concat()),
        ("22 RV", "Unneeded", "", "a.json", pod(|p| p["metadata"]["resourceVersion"] = json!("99999999999999999999999x"))),
        ("23 deleting", "Unneeded", "", "a.json", pod(|p| p["metadata"]["deletionTimestamp"] = json!("yesterday"))),
        ("27 wide aliases", "", "error: ./a.yaml:2:401: the aliases expand", "a.yaml", yaml(&format!("a: &a {}\nb: [{}]\n", "x".repeat(5_000), vec!["*a"; 30_000].join(", ")))),
        ("28 self anchor", "", "error: ./a.yaml:1:8: an anchor contains an alias of itself", "a.yaml", yaml("a: &a [*a]\n")),
        ("29 merge keys", "NoToken", "", "a.yaml", yaml("x: &x {automountServiceAccountToken: false}\ny: &y {<<: *x}\n---\nbase: &b {automountServiceAccountToken: false}\napiVersion: v1\nkind: Pod\nmetadata: {name: odd, namespace: odd}\nspec:\n  <<: *b\n  containers: [{name: c}]\n")),
        ("30 long line", "", "", "a.yaml", yaml(&format!("a: {}\n", "x".repeat(2_000_000)))),
        ("32 empty documents", "", "", "a.yaml", yaml(&"---\n".repeat(100_000))),
        ("33 tabs", "", "error: ./a.yaml:1:7: ", "a.yaml", yaml("kind: Pod\n\tapiVersion: v1\n")),
        ("33 BOM", "Unneeded", "", "a.yaml", [b"\xef\xbb\xbf".as_slice(), &pod(|_| {})].concat()),
        ("33 UTF-16", "Unneeded", "", "a.yaml", std::iter::once(0xfeff_u16).chain(String::from_utf8(pod(|_| {})).unwrap().encode_utf16()).flat_map(u16::to_le_bytes).collect()),
        ("33 latin-1", "", "error: ./a.yaml: cannot be read: it is not UTF-8", "a.yaml", b"kind: Pod\napiVersion: v1\nmetadata: {name: caf\xe9}\n".to_vec()),
        ("33 CRLF", "", "", "a.yaml", yaml("kind: Pod\r\napiVersion: v1\r\nmetadata:\r\n  name: odd\r\nspec:\r\n  containers:\r\n  - name: c\r\n---\r\n{}\r\n")),
        ("34 tags", "", "", "a.yaml", yaml("kind: Pod\napiVersion: v1\nmetadata: {name: !!python/object:os.system odd}\nspec: {containers: [{name: c, image: !include x}]}\n")),
        ("35 duplicate keys", "", "", "a.yaml", yaml("kind: Pod\napiVersion: v1\nmetadata: {name: odd}\nspec:\n  automountServiceAccountToken: true\n  automountServiceAccountToken: false\n  containers: [{name: c}]\n")),
        ("35 empty key", "", "error: ./a.yaml:3:32: a key is empty (null)", "a.yaml", yaml("kind: Pod\napiVersion: v1\nmetadata: {name: odd, labels: {~: x}}\nspec: {containers: [{name: c}]}\n")),
        ("35 merged text", "", "error: ./a.yaml:4:7: a merge key (<<) needs a mapping, or a list of mappings", "a.yaml", yaml("kind: Pod\napiVersion: v1\nmetadata: {name: odd}\nspec: {<<: text, containers: [{name: c}]}\n")),
        ("35 binary", "Unneeded", "", "a.yaml", yaml("kind: Pod\napiVersion: v1\nmetadata: {name: odd, namespace: odd, annotations: {a: !!binary /wD/}}\nspec: {containers: [{name: c}]}\n")),
        ("36 norway", "", "error: ./a.yaml:1: Pod: `metadata.name`: invalid type: boolean", "a.yaml", yaml("kind: Pod\napiVersion: v1\nmetadata: {name: no, namespace: 010}\nspec: {automountServiceAccountToken: no, containers: [{name: c}]}\n")),
        ("36 sexagesimal", "", "", "a.yaml", yaml("kind: Pod\napiVersion: v1\nmetadata: {name: 12:30:45}\nspec: {automountServiceAccountToken: off, containers: [{name: c}]}\n")),
        ("37 version", "", "", "a.yaml", yaml("kind: Pod\napiVersion: 1.0\nmetadata: {name: odd}\nspec: {containers: [{name: c}]}\n")),
        ("38 helm", "", "error: ./a.yaml:4:10: looks like a template", "a.yaml", yaml("kind: Pod\napiVersion: v1\nmetadata:\n  name: {{ .Release.Name }}\nspec: {containers: [{name: c}]}\n")),
        ("38 helm if", "", "error: ./a.yaml:1:2: looks like a template", "a.yaml", yaml("{{- if .Values.x }}\nkind: Pod\napiVersion: v1\n{{- end }}\n")),
        ("39 values", "", "", "values.yaml", yaml("image:\n  repository: x\n")),
        ("39 Table", "", "error: ./a.json:1: Table: is a printed table", "a.json", yaml("{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"rows\":[{\"object\":{\"kind\":\"PartialObjectMetadata\"}}]}")),
        ("39 nested list", "Unneeded", "", "a.json", json!({"kind": "List", "apiVersion": "v1", "items": [{"kind": "List", "apiVersion": "v1", "items": [plain]}]}).to_string().into_bytes()),
        ("39 deep list", "", "error: ./a.json:1: is an item of more than 8 lists", "a.json", [r#"{"kind":"List","apiVersion":"v1","items":["#.repeat(2_000), plain.to_string(), "]}".repeat(2_000)].concat().into_bytes()),
        ("40 comments", "", "", "a.json", yaml("// a pod\n{\"kind\":\"Pod\",}\n")),
        ("40 trailing comma", "", "", "a.json", yaml("{\"kind\":\"Pod\",\"apiVersion\":\"v1\",}\n")),
        ("40 NDJSON", "Unneeded", "", "a.json", [pod(|_| {}), b"\n".to_vec(), pod(|p| p["metadata"]["name"] = json!("b"))].concat()),
        ("42 gzip", "", "error: ./a.yaml: cannot be read: it is not UTF-8", "a.yaml", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3]),
        ("42 zip", "", "error: ./a.yaml:1:1: ", "a.yaml", b"PK\x03\x04\x14\x00\x00\x00".to_vec()),
        ("43 empty", "", "", "a.yaml", vec![]),
        ("43 comments", "", "", "a.yaml", yaml("# nothing\n   \n")),
        ("46 name", "", "error: ./a\\u{a}::error::x%0A.yaml:1:4: ", "a\n::error::x%0A.yaml", yaml("a: [")),
        ("50 generateName", "", "", "a.json", pod(|p| { p["metadata"] = json!({"generateName": "odd-"}); })),
        ("52 v1beta1", "Needed", "", "a.yaml", objects(&[plain.clone(), json!({"apiVersion": "rbac.authorization.k8s.io/v1beta1", "kind": "ClusterRoleBinding", "metadata": {"name": "odd"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "odd"}, "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "odd"}]}), role(json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]))])),
    ]
}

/// What is wrong with many objects is said of the first ones.
#[test]
fn equal_warnings_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let stub = |number| {
        format!("kind: Deployment\napiVersion: apps/v1\nmetadata: {{name: d{number}}}\n---\n")
    };
    let text: String = (0..25).map(stub).collect();
    fs::write(dir.path().join("a.yaml"), text).unwrap();
    let (_, _, error) = scan(dir.path());
    assert_eq!(error.matches("warning: ").count(), 11, "{error}");
    let rest = "warning: 15 more objects: have no pod template with containers: they are skipped\n";
    assert!(error.contains(rest), "{error}");
}

/// A file of data has many items in one line.
#[test]
fn what_is_wrong_with_one_line_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.json"), "[1, 2, 3]\n").unwrap();
    let (_, _, error) = scan_in(dir.path(), &["a.json"]);
    assert_eq!(
        error.matches("is not a Kubernetes object").count(),
        1,
        "{error}"
    );
}

#[test]
fn odd_objects_and_files_get_an_answer_or_an_error_and_change_no_other_answer() {
    for (what, verdict, says, name, content) in cases() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), content).unwrap();
        let (code, table, error) = scan(dir.path());
        let all = format!("{what}: {code:?}\n{table}{error}");
        let is_error = says.starts_with("error: ");
        assert_eq!(code, Some(if is_error { 2 } else { 1 }), "{all}");
        assert!(error.contains(says), "{all}");
        assert!(is_error || !error.contains("error: "), "{all}");
        let of = |namespace: &str| table.lines().find(|line| line.starts_with(namespace));
        assert!(
            of("good ").is_some_and(|line| line.contains("Unneeded")),
            "{all}"
        );
        if !verdict.is_empty() {
            assert!(
                of("odd ").is_some_and(|line| line.contains(verdict)),
                "{all}"
            );
        }
        let printable = |text: &str| !text.chars().any(|c| c.is_control() && c != '\n');
        assert!(printable(&table) && printable(&error), "{all}");
    }
}

/// What a folder may contain beside files.
#[test]
fn links_pipes_and_deep_folders_are_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::os::unix::fs::symlink(".", path("loop")).unwrap();
    std::os::unix::fs::symlink("b.yaml", path("a.yaml")).unwrap();
    std::os::unix::fs::symlink("a.yaml", path("b.yaml")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", path("zero.yaml")).unwrap();
    fs::create_dir(path("folder.yaml")).unwrap();
    let made = Command::new("mkfifo")
        .arg(path("pipe.yaml"))
        .status()
        .unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(path("socket.yaml")).unwrap();
    let deep: std::path::PathBuf = std::iter::repeat_n("d", 1_000).collect();
    fs::create_dir_all(path("deep").join(&deep)).unwrap();
    fs::write(path("deep").join(&deep).join("pod.json"), pod(|_| {})).unwrap();
    let (_, table, error) = scan(dir.path());
    for namespace in ["good ", "odd "] {
        let found = table.lines().filter(|line| line.starts_with(namespace));
        assert_eq!(found.count(), 1, "{table}{error}");
    }
}
