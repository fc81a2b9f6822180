//! `scan -o patch --write` on manifests: only the lines that disable tokens change, and the next scan
//! has no findings.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::rig::scan_in as scan;

/// The text of a manifest after `--write`; a scan of it has no findings.
fn written(name: &str, text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(name);
    fs::write(&file, text).unwrap();
    let (code, out, error) = scan(dir.path(), &[name, "-o", "patch", "--write"]);
    assert_eq!(code, 0, "{out}{error}\n{text}");
    let (code, out, error) = scan(dir.path(), &[name]);
    assert_eq!(code, 0, "{out}{error}\n{text}");
    fs::read_to_string(&file).unwrap()
}

#[test]
fn only_the_necessary_lines_change_in_every_style() {
    for (text, expected) in [
        // After the key, before the comment that belongs to the next line.
        (
            "kind: Pod\nmetadata: {name: p}\nspec: # the pod\n  # one of them\n  containers:\n  - name: c\n",
            "kind: Pod\nmetadata: {name: p}\nspec: # the pod\n  automountServiceAccountToken: false\n  # one of them\n  containers:\n  - name: c\n",
        ),
        // After the name of the account.
        (
            "kind: Pod\nmetadata: {name: p}\nspec:\n    containers:\n    - name: c\n    serviceAccountName: x # who\n    restartPolicy: Never\n",
            "kind: Pod\nmetadata: {name: p}\nspec:\n    containers:\n    - name: c\n    serviceAccountName: x # who\n    automountServiceAccountToken: false\n    restartPolicy: Never\n",
        ),
        // An existing field is changed.
        (
            "kind: Pod\nmetadata: {name: p}\nspec:\n  automountServiceAccountToken: yes # why?\n  containers: [{name: c}]\n",
            "kind: Pod\nmetadata: {name: p}\nspec:\n  automountServiceAccountToken: false # why?\n  containers: [{name: c}]\n",
        ),
        (
            "kind: Pod\nmetadata: {name: p}\nspec:\n  automountServiceAccountToken:\n  containers: [{name: c}]\n",
            "kind: Pod\nmetadata: {name: p}\nspec:\n  automountServiceAccountToken: false\n  containers: [{name: c}]\n",
        ),
        // In flow style, and as JSON.
        (
            "{kind: Pod, metadata: {name: p}, spec: {containers: [{name: c}]}}",
            "{kind: Pod, metadata: {name: p}, spec: {automountServiceAccountToken: false, containers: [{name: c}]}}",
        ),
        (
            "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\"}]}}\n",
            "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"},\"spec\":{\"automountServiceAccountToken\": false, \"containers\":[{\"name\":\"c\"}]}}\n",
        ),
        (
            "{\n\t\"kind\": \"Pod\",\n\t\"metadata\": {\"name\": \"p\"},\n\t\"spec\": {\n    \"containers\": [{\"name\": \"c\"}]\n  }\n}\n",
            "{\n\t\"kind\": \"Pod\",\n\t\"metadata\": {\"name\": \"p\"},\n\t\"spec\": {\n    \"automountServiceAccountToken\": false,\n    \"containers\": [{\"name\": \"c\"}]\n  }\n}\n",
        ),
        // Other documents, CRLF line ends, a byte-order mark, and no newline at the end.
        (
            "\u{feff}kind: Pod\r\nmetadata: {name: p}\r\nspec:\r\n  containers:\r\n  - name: c\r\n---\r\nkind: ConfigMap\r\ndata: {a: \"x\"}",
            "\u{feff}kind: Pod\r\nmetadata: {name: p}\r\nspec:\r\n  automountServiceAccountToken: false\r\n  containers:\r\n  - name: c\r\n---\r\nkind: ConfigMap\r\ndata: {a: \"x\"}",
        ),
        // An account in the input is patched in place of its pods.
        (
            "kind: ServiceAccount\nmetadata:\n  name: x\n# the end",
            "kind: ServiceAccount\nmetadata:\n  name: x\n# the end",
        ),
        (
            "kind: ServiceAccount\nmetadata:\n  name: x\n---\nkind: Pod\nmetadata: {name: p}\nspec: {serviceAccountName: x, containers: [{name: c}]}\n",
            "kind: ServiceAccount\nmetadata:\n  name: x\nautomountServiceAccountToken: false\n---\nkind: Pod\nmetadata: {name: p}\nspec: {serviceAccountName: x, containers: [{name: c}]}\n",
        ),
        // Items of a list, also of a nested list.
        (
            "kind: List\nitems:\n- kind: Pod\n  metadata: {name: p}\n  spec:\n    containers:\n    - name: c\n- kind: List\n  items:\n  - kind: Pod\n    metadata: {name: q}\n    spec:\n      containers:\n      - name: c\n",
            "kind: List\nitems:\n- kind: Pod\n  metadata: {name: p}\n  spec:\n    automountServiceAccountToken: false\n    containers:\n    - name: c\n- kind: List\n  items:\n  - kind: Pod\n    metadata: {name: q}\n    spec:\n      automountServiceAccountToken: false\n      containers:\n      - name: c\n",
        ),
        // Merged keys are overridden by what stands after them, the anchor is kept.
        (
            "kind: Pod\nmetadata: {name: p}\ncommon: &common {automountServiceAccountToken: true}\nspec:\n  <<: *common\n  containers:\n  - name: c\n",
            "kind: Pod\nmetadata: {name: p}\ncommon: &common {automountServiceAccountToken: true}\nspec:\n  <<: *common\n  automountServiceAccountToken: false\n  containers:\n  - name: c\n",
        ),
        (
            "kind: Pod\nmetadata: {name: p}\nspec:\n  serviceAccountName: x\n  <<: {automountServiceAccountToken: true}\n  containers:\n  - name: c\n",
            "kind: Pod\nmetadata: {name: p}\nspec:\n  serviceAccountName: x\n  <<: {automountServiceAccountToken: true}\n  automountServiceAccountToken: false\n  containers:\n  - name: c\n",
        ),
        (
            "kind: Pod\nmetadata: {name: p}\nspec: {<<: {automountServiceAccountToken: true}, containers: [{name: c}]}\n",
            "kind: Pod\nmetadata: {name: p}\nspec: {<<: {automountServiceAccountToken: true}, automountServiceAccountToken: false, containers: [{name: c}]}\n",
        ),
    ] {
        assert_eq!(written("m.yaml", text), expected);
    }
}

/// A container that reads `ca.crt` beside the token can still read it.
#[test]
fn files_beside_the_token_are_kept_by_an_added_volume() {
    let flag = "--ca=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
    let block = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d}}\nspec:\n  template:\n    spec:\n      containers:\n      - name: first # one\n        args: [{flag}]\n        volumeMounts:\n        - name: tmp\n          mountPath: /tmp\n      - name: second\n        image: >-\n          two\n\n      # volumes\n      volumes:\n      - name: tmp\n        emptyDir: {{}}\n\n# end\n"
    );
    insta::assert_snapshot!(written("block.yaml", &block));
    let flow = format!(
        "{{\"kind\": \"Job\", \"metadata\": {{\"name\": \"j\"}}, \"spec\": {{\"template\": {{\"spec\": {{\n  \"volumes\": [],\n  \"containers\": [\n    {{\"name\": \"c\", \"args\": [\"{flag}\"]}}\n  ]}}}}}}}}"
    );
    insta::assert_snapshot!(written("flow.json", &flow));
}

#[test]
fn objects_that_cannot_be_patched_are_skipped_and_reported() {
    let shared = "kind: List\nitems:\n- kind: Pod\n  metadata: {name: p}\n  spec: &spec\n    containers:\n    - name: c\n- kind: Pod\n  metadata: {name: q}\n  spec: *spec\n";
    let live = "kind: Pod\nmetadata: {name: live, uid: u}\nspec:\n  serviceAccountName: live\n  nodeName: n\n  containers: [{name: c, volumeMounts: [{name: kube-api-access-abcde, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}]}]\n  volumes: [{name: kube-api-access-abcde, projected: {defaultMode: 420, sources: [{serviceAccountToken: {path: token, expirationSeconds: 3607}}, {configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}}, {downwardAPI: {items: [{path: namespace, fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}]}}]}}]\nstatus: {phase: Running}\n";
    let cases = [
        (
            "shared.yaml",
            shared,
            2,
            "Pod/q in namespace default: shared.yaml: the field is an alias of another part of the file",
        ),
        (
            "live.yaml",
            live,
            1,
            "note: default/live: set automountServiceAccountToken: false",
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (name, text, expected, reason) in cases {
        fs::write(dir.path().join(name), text).unwrap();
        let (code, out, error) = scan(dir.path(), &[name, "-o", "patch", "--write"]);
        assert_eq!(code, expected, "{name}: {out}{error}");
        assert!(error.contains(reason), "{name}: {error}");
        assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), text);
    }
    // Other objects of the file are still changed, even if another document cannot be parsed.
    let pod = "---\nkind: Pod\nmetadata: {name: r, namespace: other}\nspec: {containers: [{name: c}]}\n---\na: [\n";
    fs::write(dir.path().join("both.yaml"), shared.to_owned() + pod).unwrap();
    let (code, out, _) = scan(dir.path(), &["both.yaml", "-o", "patch", "--write"]);
    assert_eq!(code, 2);
    assert!(
        out.starts_with("both.yaml: Pod/r in namespace other: token disabled\n"),
        "{out}"
    );
    let (_, out, _) = scan(dir.path(), &["both.yaml"]);
    assert!(
        out.ends_with("2 ServiceAccounts: 1 Unneeded, 1 NoToken\n"),
        "{out}"
    );
}

#[test]
fn changed_files_are_listed_and_keep_their_mode_and_links() {
    let dir = tempfile::tempdir().unwrap();
    let pod = "kind: Pod\nmetadata: {name: p}\nspec:\n  containers: [{name: c}]\n";
    let review = "kind: Pod\nmetadata: {name: r}\nspec:\n  containers: [{name: c, env: [{name: VAULT_ADDR}]}]\n";
    let real = dir.path().join("real.yaml");
    fs::write(&real, pod).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("real.yaml", dir.path().join("link.yaml")).unwrap();
    fs::write(dir.path().join("review.yaml"), review).unwrap();
    let (code, out, _) = scan(
        dir.path(),
        &[
            "link.yaml",
            "review.yaml",
            "-o",
            "patch",
            "-o",
            "json=r.json",
            "--write",
        ],
    );
    assert_eq!(
        (code, out.as_str()),
        (
            0,
            "link.yaml: Pod/p in namespace default: token disabled\n1 ServiceAccount: 1 Review\n"
        )
    );
    assert!(dir.path().join("link.yaml").is_symlink());
    assert_eq!(real.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert!(fs::read_to_string(&real).unwrap().contains("Token: false"));
    assert_eq!(
        fs::read_to_string(dir.path().join("review.yaml")).unwrap(),
        review
    );
    // The outputs show the findings as they were before the change.
    let found = fs::read_to_string(dir.path().join("r.json")).unwrap();
    assert!(found.contains("\"Unneeded\""), "{found}");
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["link.yaml", "r.json", "real.yaml", "review.yaml"]);
}

/// Whoever writes the scanned files does not choose which others are overwritten.
#[test]
fn nothing_that_lies_beside_a_manifest_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("app")).unwrap();
    fs::write(at("secret"), "mine").unwrap();
    fs::write(at("app/a.yaml.token-exposure"), "theirs").unwrap();
    for name in ["a.yaml", "b.yaml"] {
        let pod = "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c}]}\n";
        fs::write(
            at("app").join(name),
            pod.replace("p}", &format!("{name}}}")),
        )
        .unwrap();
    }
    std::os::unix::fs::symlink("../secret", at("app/b.yaml.token-exposure")).unwrap();
    let (code, out, error) = scan(dir.path(), &["app", "-o", "patch", "--write"]);
    assert_eq!(code, 0, "{out}{error}");
    assert_eq!(fs::read_to_string(at("secret")).unwrap(), "mine");
    assert_eq!(
        fs::read_to_string(at("app/a.yaml.token-exposure")).unwrap(),
        "theirs"
    );
    assert!(at("app/b.yaml.token-exposure").is_symlink());
    for name in ["a.yaml", "b.yaml"] {
        let file = at("app").join(name);
        assert!(!file.is_symlink());
        assert!(fs::read_to_string(file).unwrap().contains("Token: false"));
    }
}

/// A volume has one source.
#[test]
fn a_volume_that_has_the_name_of_the_added_one_is_an_error() {
    let text = "kind: Pod\nmetadata: {name: p}\nspec:\n  volumes: [{name: service-account-files, emptyDir: {}}]\n  containers:\n  - name: c\n    command: [cat, /var/run/secrets/kubernetes.io/serviceaccount/ca.crt]\n";
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), text).unwrap();
    let (code, out, error) = scan(dir.path(), &["a.yaml", "-o", "patch", "--write"]);
    assert_eq!(code, 2, "{out}{error}");
    let why = "has another volume \"service-account-files\": rename that";
    assert!(error.contains(why), "{error}");
    assert_eq!(fs::read_to_string(dir.path().join("a.yaml")).unwrap(), text);
}

/// A requested change that fails is an error, whatever `--fail-on` says.
#[test]
fn a_read_only_file_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.yaml");
    let pod = "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c}]}\n";
    fs::write(&file, pod).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
    let (code, _, error) = scan(
        dir.path(),
        &["a.yaml", "-o", "patch", "--write", "--fail-on", "never"],
    );
    assert_eq!(code, 2);
    assert!(
        error.contains("a.yaml: cannot be changed: it is read-only"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), pod);
}

#[test]
fn write_needs_the_patch_output_and_files() {
    let dir = tempfile::tempdir().unwrap();
    for (args, says) in [
        (&["--write", "x.yaml"][..], "-o patch"),
        (&["--write", "-o", "patch"], "PATH"),
    ] {
        let (code, _, error) = scan(dir.path(), args);
        assert_eq!(code, 2);
        assert!(error.contains(says), "{error}");
    }
    let (code, _, error) = scan(dir.path(), &["-", "--write", "-o", "patch"]);
    assert_eq!(code, 2);
    assert!(
        error.contains("standard input cannot be changed"),
        "{error}"
    );
}

/// What is only a copy, or a part, is not changed, and it says why.
#[test]
fn why_an_object_is_not_changed_is_said() {
    let pod = "spec: {selector: {}, template: {spec: {serviceAccountName: a, containers: [{name: c, image: i}]}}}";
    let deployment = |metadata: &str| {
        format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d{metadata}}}\n{pod}\n")
    };
    let template = format!(
        "apiVersion: template.openshift.io/v1\nkind: Template\nmetadata: {{name: t}}\nobjects:\n- {{apiVersion: apps/v1, kind: Deployment, metadata: {{name: d}}, {pod}}}\n"
    );
    for (text, expected) in [
        (
            deployment(", uid: 5a1c0a3e-0000-4000-8000-000000000000"),
            "Deployment/d in namespace ct: is in in.yaml:1 as a copy from a cluster, by its `uid` or `ownerReferences`: patch it in the cluster",
        ),
        (
            template,
            "Deployment/d in namespace ct: is a part of another object in in.yaml:1: change it there",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("in.yaml"), &text).unwrap();
        let (code, _, error) = scan(
            dir.path(),
            &["in.yaml", "-n", "ct", "-o", "patch", "--write"],
        );
        assert_eq!(code, 2, "{error}");
        assert!(error.contains(expected), "{error}");
        let after = fs::read_to_string(dir.path().join("in.yaml")).unwrap();
        assert_eq!(after, text);
    }
}

/// Who is not read may need the token: pods that `--selector` leaves out, and bindings with an error.
#[test]
fn what_was_not_read_keeps_its_token() {
    let deployment = |name: &str, more: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\nspec:\n  template:\n    metadata:\n      labels: {{app: {name}}}\n{more}    spec:\n      serviceAccountName: web\n      containers:\n      - name: c\n---\n"
        )
    };
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: web\n---\n";
    let vault = "      annotations: {vault.hashicorp.com/agent-inject: 'true'}\n";
    let text = deployment("small", "") + &deployment("big", vault) + account;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.yaml");
    fs::write(&file, &text).unwrap();
    let selected = ["a.yaml", "-l", "app=small", "-o", "patch", "--write"];
    let (code, out, error) = scan(dir.path(), &selected);
    assert_eq!(code, 0, "{out}{error}");
    let written = fs::read_to_string(&file).unwrap();
    let expected = text.replacen(
        "serviceAccountName: web",
        "serviceAccountName: web\n      automountServiceAccountToken: false",
        1,
    );
    assert_eq!(written, expected);

    let binding = "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: b}\nroleRef: {kind: ClusterRole, name: view}\n";
    for broken in [
        format!("{binding}subjects: {{kind: ServiceAccount, name: web}}\n"),
        format!("{binding}subjects: [null, {{kind: ServiceAccount, name: web}}]\n"),
        format!("{binding}subjects: [\n"),
        binding.replace("name: b", "name: b, namespace: '{{ .Release.Namespace }}'"),
        binding.replace("name: b", "name: {{ env }}-b"),
    ] {
        let text = deployment("small", "") + account;
        fs::write(&file, &text).unwrap();
        fs::write(dir.path().join("b.yaml"), &broken).unwrap();
        let (code, out, error) = scan(dir.path(), &[".", "-o", "patch", "--write"]);
        assert_eq!(code, 2, "{out}{error}");
        let said = "error: no file was changed: a role or binding in what could not be read may need a token";
        assert!(error.contains(said), "{broken}\n{out}{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    // A folder that was not rendered may have it, too.
    fs::remove_file(dir.path().join("b.yaml")).unwrap();
    fs::create_dir(dir.path().join("more")).unwrap();
    let kustomization = dir.path().join("more/kustomization.yaml");
    fs::write(kustomization, "resources: [b.yaml]\n").unwrap();
    fs::write(dir.path().join("more/b.yaml"), binding).unwrap();
    let (code, out, error) = scan(dir.path(), &[".", "-o", "patch", "--write"]);
    assert_eq!(code, 2, "{out}{error}");
    assert!(!out.contains("token disabled"), "{out}");
}
