//! Kustomizations and charts: named where they are not rendered, judged as they are applied where they are.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::rig::{self, helm, program_path, run, scan_in};

const BASE: &str = "\
# An account, and a workload that uses it.
apiVersion: v1
kind: ServiceAccount
metadata: {name: web}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers: [{name: c, image: i}]
";
const DISABLED: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {spec: {automountServiceAccountToken: false}}}
";
const POD: &str =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: alone}\nspec: {containers: [{name: c}]}\n";
const TEMPLATE: &str = "\
{{- if .Values.enabled }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}-api
spec:
  template:
    spec:
      serviceAccountName: {{ .Values.account | quote }}
      containers: [{name: c, image: i}]
{{- end }}
";

/// A repository with a base, two overlays, a component, a chart, and a pod of its own.
fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("base/kustomization.yaml", "resources: [web.yaml]\n"),
        ("base/web.yaml", BASE),
        (
            "overlays/dev/kustomization.yml",
            "resources: [../../base]\nnamespace: dev\nnamePrefix: dev-\n",
        ),
        (
            "overlays/prod/Kustomization",
            "resources: [../../base]\nnamespace: prod\npatches: [{path: off.yaml}]\n",
        ),
        ("overlays/prod/off.yaml", DISABLED),
        (
            "component/kustomization.yaml",
            "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches: [{path: off.yaml}]\n",
        ),
        ("component/off.yaml", DISABLED),
        (
            "charts/shop/Chart.yaml",
            "apiVersion: v2\nname: shop\nversion: 1.0.0\n",
        ),
        ("charts/shop/values.yaml", "enabled: true\naccount: cart\n"),
        ("charts/shop/templates/api.yaml", TEMPLATE),
        ("pod.yaml", POD),
    ] {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

/// Scans with these programs alone: the exit code, the list of reports, and standard error.
fn scan(dir: &Path, args: &[&str], programs: &[&Path]) -> (i32, Value, String) {
    let mut scan = Command::new(program_path());
    scan.args(["scan", "-o", "json", "--report-scope", "all"])
        .args(args);
    scan.current_dir(dir)
        .env("PATH", std::env::join_paths(programs).unwrap());
    let output = run(&mut scan, "");
    let error = String::from_utf8(output.stderr).unwrap();
    let list =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {error}"));
    (output.status.code().unwrap(), list, error)
}

/// Account, verdict and workloads of each report.
fn verdicts(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap().iter();
    let items = items.map(|item| {
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let (metadata, status) = (&item["metadata"], &item["status"]);
        [
            &metadata["namespace"],
            &metadata["name"],
            &status["verdict"],
            &status["workloadNames"],
        ]
        .map(word)
        .join(" ")
    });
    items.collect()
}

#[test]
fn folders_that_must_be_rendered_are_named_and_their_parts_are_not_judged() {
    let dir = repository();
    let (code, list, error) = scan(dir.path(), &["."], &[]);
    assert_eq!(
        (code, verdicts(&list)),
        (1, vec!["default default Unneeded Pod/alone".to_owned()]),
        "{error}"
    );
    let named = "warning: not scanned, because kustomize or helm must render them first: ./charts/shop, ./overlays/dev, ./overlays/prod: \
                 run this again with `--render`, or `helm template shop ./charts/shop | token-exposure scan -`\n";
    assert!(error.contains(named), "{error}");
    assert!(
        error.contains(
            "warning: ./component: is a Component that no kustomization of the input uses"
        ),
        "{error}"
    );
    let told = list["messages"].to_string();
    assert!(
        told.contains("not scanned, because kustomize or helm"),
        "{told}"
    );
    // What the user names is read as it is; so is what a pattern matches, but for parts.
    let (_, list, _) = scan(dir.path(), &["base/web.yaml"], &[]);
    assert_eq!(verdicts(&list), ["default web Unneeded Deployment/web"]);
    let (_, list, error) = scan(dir.path(), &["*/*.yaml"], &[]);
    assert_eq!(verdicts(&list), [""; 0], "{error}");
    assert!(error.contains("must render them first: base: "), "{error}");
}

/// A scan that judges nothing is no success, and what was not rendered is not fixed.
#[test]
fn folders_that_are_not_rendered_are_neither_well_nor_fixed() {
    let dir = repository();
    for paths in [
        "overlays",
        "overlays/dev/kustomization.yml",
        "charts/shop/Chart.yaml",
    ] {
        let (code, list, error) = scan(dir.path(), &[paths], &[]);
        assert_eq!((code, verdicts(&list)), (2, Vec::new()), "{paths}: {error}");
        assert!(
            error.contains("error: not scanned, because kustomize or helm"),
            "{error}"
        );
    }
    let base = "{\"kind\": \"Baseline\", \"schemaVersion\": 1, \"findings\": [{\"namespace\": \"dev\", \"serviceAccount\": \"web\", \"kind\": \"Deployment\", \"name\": \"web\", \"verdict\": \"Unneeded\", \"reason\": \"NoPermissions\"}]}";
    fs::write(dir.path().join("base.json"), base).unwrap();
    let (_, table, error) = scan_in(dir.path(), &[".", "--baseline", "base.json"]);
    assert!(
        !table.contains("fixed since the baseline: Deployment"),
        "{table}"
    );
    assert!(
        error.contains("what is fixed since the baseline is not known"),
        "{error}"
    );
}

#[test]
fn kustomizations_and_charts_are_judged_as_they_are_applied() {
    let dir = repository();
    let (kubectl, tools) = (rig::kubectl(), helm::tools());
    let programs = [kubectl.parent().unwrap(), tools.as_path()];
    let (code, list, error) = scan(dir.path(), &[".", "--render"], &programs);
    assert_eq!(code, 1, "{error}");
    assert_eq!(
        verdicts(&list),
        [
            "default cart Unneeded Deployment/shop-api",
            "default default Unneeded Pod/alone",
            "dev dev-web Unneeded Deployment/dev-web",
            "prod web NoToken Deployment/web",
        ],
        "{error}"
    );
    // The file of a kustomization or a chart stands for its folder.
    for (file, folder) in [
        ("overlays/dev/kustomization.yml", "overlays/dev"),
        ("charts/shop/Chart.yaml", "charts/shop"),
    ] {
        let [of_file, of_folder] =
            [file, folder].map(|path| scan(dir.path(), &[path, "--render"], &programs).1);
        assert_eq!(verdicts(&of_file), verdicts(&of_folder), "{file}");
        assert_eq!(verdicts(&of_file).len(), 1, "{file}");
    }
    // Values and the namespace reach helm.
    let args = ["charts", "--render", "--set", "account=till", "-n", "pay"];
    let (_, list, error) = scan(dir.path(), &args, &programs);
    assert_eq!(
        verdicts(&list),
        ["pay till Unneeded Deployment/shop-api"],
        "{error}"
    );
    fs::write(dir.path().join("off.yaml"), "enabled: false\n").unwrap();
    let args = ["charts/shop", "--render", "--values", "off.yaml"];
    let (code, list, error) = scan(dir.path(), &args, &programs);
    assert_eq!((code, verdicts(&list)), (0, Vec::new()), "{error}");

    // Results point to the file that a person would edit.
    let mut table = Command::new(program_path());
    table
        .args(["scan", ".", "--render"])
        .current_dir(dir.path());
    let table = run(
        table.env("PATH", std::env::join_paths(programs).unwrap()),
        "",
    );
    let table = String::from_utf8(table.stdout).unwrap();
    for place in [
        "base/web.yaml:13 ",
        "./charts/shop/templates/api.yaml:3 ",
        "./pod.yaml:4 ",
    ] {
        assert!(table.contains(place), "{place}: {table}");
    }
    let before = fs::read_to_string(dir.path().join("base/web.yaml")).unwrap();
    let mut write = Command::new(program_path());
    write
        .args(["scan", "overlays/dev", "--render", "-o", "patch", "--write"])
        .current_dir(dir.path());
    let written = run(
        write.env("PATH", std::env::join_paths(programs).unwrap()),
        "",
    );
    let error = String::from_utf8(written.stderr).unwrap();
    assert_eq!(written.status.code(), Some(2));
    assert!(
        error.contains("is rendered from base/web.yaml: change that file"),
        "{error}"
    );
    assert_eq!(
        fs::read_to_string(dir.path().join("base/web.yaml")).unwrap(),
        before
    );
}

/// A patch that a scaffold leaves beside a kustomization, commented out there, is no workload.
#[test]
fn what_a_kustomization_does_not_name_is_judged_only_beside_what_it_renders() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| fs::write(dir.path().join(name), content).unwrap();
    write("kustomization.yaml", "resources: [web.yaml]\n");
    write("web.yaml", BASE);
    let patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: manager, namespace: ops}\nspec:\n  template:\n    spec:\n      containers: [{name: m, ports: [{containerPort: 9443}]}]\n";
    write("manager_webhook_patch.yaml", patch);
    write("pod.yaml", &POD.replace("name: c", "name: c, image: i"));
    let (code, list, error) = scan(dir.path(), &["."], &[]);
    assert_eq!((code, verdicts(&list)), (2, Vec::new()), "{error}");
    let kubectl = rig::kubectl();
    let programs = [kubectl.parent().unwrap()];
    let (_, list, error) = scan(dir.path(), &[".", "--render"], &programs);
    assert_eq!(
        verdicts(&list),
        [
            "default default Unneeded Pod/alone",
            "default web Unneeded Deployment/web"
        ],
        "{error}"
    );
    let skipped = "manager_webhook_patch.yaml:1: Deployment manager is a patch, without a `selector` or an image, and the kustomization beside it does not use it: it is skipped";
    assert!(error.contains(skipped), "{error}");
    // Who names it, wants it judged.
    let (code, list, error) = scan(dir.path(), &["manager_webhook_patch.yaml"], &[]);
    assert_eq!((code, verdicts(&list).len()), (1, 1), "{error}");
}

/// Two overlays for the same namespace of two clusters: the one that mounts the token counts.
#[test]
fn what_two_folders_render_differently_counts_for_both() {
    let dir = repository();
    fs::write(
        dir.path().join("overlays/dev/kustomization.yml"),
        "resources: [../../base]\nnamespace: prod\n",
    )
    .unwrap();
    let kubectl = rig::kubectl();
    let (code, list, error) = scan(
        dir.path(),
        &["overlays", "--render"],
        &[kubectl.parent().unwrap()],
    );
    assert_eq!(
        (code, verdicts(&list)),
        (1, vec!["prod web Unneeded Deployment/web".to_owned()]),
        "{error}"
    );
}

#[test]
fn what_kustomize_and_helm_say_is_shown_as_it_is() {
    let dir = repository();
    fs::write(
        dir.path().join("overlays/dev/kustomization.yml"),
        "resources: [../gone]\n",
    )
    .unwrap();
    fs::write(
        dir.path().join("charts/shop/templates/api.yaml"),
        "{{ required \"set an account\" .Values.none }}\n",
    )
    .unwrap();
    let (kubectl, tools) = (rig::kubectl(), helm::tools());
    let programs = [kubectl.parent().unwrap(), tools.as_path()];
    let (code, list, error) = scan(dir.path(), &[".", "--render"], &programs);
    assert_eq!(code, 2);
    assert_eq!(
        verdicts(&list),
        [
            "default default Unneeded Pod/alone",
            "prod web NoToken Deployment/web"
        ]
    );
    assert!(
        error.contains("error: kubectl kustomize ./overlays/dev: ")
            && error.contains("accumulating resources"),
        "{error}"
    );
    assert!(
        error.contains("error: helm template shop ./charts/shop: ")
            && error.contains("set an account"),
        "{error}"
    );
    // Without the programs.
    let (code, _, error) = scan(dir.path(), &[".", "--render"], &[]);
    assert_eq!(code, 2);
    assert!(
        error.contains("`helm` is not installed") && error.contains("`kubectl` is not installed"),
        "{error}"
    );
}

/// The author of a chart does not choose what helm does: neither by flags, nor what people paste into a shell.
#[test]
fn the_name_of_a_chart_is_no_flag_of_helm() {
    for name in [
        "--output-dir=planted",
        "--kube-version=1.2.3",
        "--help",
        "a; date",
        "My_Chart",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let chart = dir.path().join("-a chart");
        fs::create_dir_all(chart.join("templates")).unwrap();
        let metadata = format!("apiVersion: v2\nname: \"{name}\"\nversion: 1.0.0\n");
        fs::write(chart.join("Chart.yaml"), metadata).unwrap();
        fs::write(chart.join("templates/pod.yaml"), POD).unwrap();
        let (_, list, error) = scan(dir.path(), &[".", "--render"], &[&helm::tools()]);
        assert!(!dir.path().join("planted").exists(), "{name}");
        let expected = ["default default Unneeded Pod/alone"];
        assert_eq!(verdicts(&list), expected, "{name}: {error}");
        let (_, _, error) = scan_in(dir.path(), &["."]);
        assert!(
            error.contains("helm template release './-a chart'"),
            "{error}"
        );
    }
}

/// Which of several folders stand for the others.
#[test]
fn a_folder_that_others_are_made_of_is_not_rendered_alone() {
    let chart = "apiVersion: v2\nname: c\nversion: 1.0.0\n";
    let library = format!("{chart}type: library\n");
    let depends = format!(
        "{chart}dependencies: [{{name: c, version: 1.0.0, repository: 'file://../part'}}]\n"
    );
    let cases: [(&[(&str, &str)], &str); 7] = [
        (
            &[
                ("a/kustomization.yaml", "resources: [../b]\n"),
                ("b/kustomization.yaml", "resources: [../c]\n"),
                ("c/kustomization.yaml", ""),
            ],
            "./a",
        ),
        // As they were written earlier, and as patches in line.
        (
            &[
                (
                    "a/kustomization.yaml",
                    "bases: [../b]\npatchesStrategicMerge:\n- |-\n  kind: Pod\n",
                ),
                ("b/kustomization.yaml", ""),
            ],
            "./a",
        ),
        // Each is made of the other, which kustomize rejects.
        (
            &[
                ("a/kustomization.yaml", "resources: [../b]\n"),
                ("b/kustomization.yaml", "resources: [../a]\n"),
            ],
            "./a",
        ),
        (
            &[("a/Chart.yaml", chart), ("a/charts/sub/Chart.yaml", chart)],
            "./a",
        ),
        (
            &[
                ("a/Chart.yaml", &depends),
                ("part/Chart.yaml", chart),
                ("lib/Chart.yaml", &library),
            ],
            "./a",
        ),
        (
            &[
                ("a/kustomization.yaml", "helmCharts: [{name: c}]\n"),
                ("a/charts/c/Chart.yaml", chart),
            ],
            "./a",
        ),
        (
            &[("a/Chart.yaml", chart), ("a/ci/kustomization.yaml", "")],
            "./a",
        ),
    ];
    for (files, named) in cases {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let (code, _, error) = scan(dir.path(), &["."], &[]);
        let line = format!("must render them first: {named}: run this again");
        assert!(code == 2 && error.contains(&line), "{files:?}: {error}");
    }
}

/// Flux calls one of its kinds Kustomization, too, and people its file `kustomization.yaml`.
#[test]
fn an_object_of_flux_is_no_kustomization() {
    let dir = tempfile::tempdir().unwrap();
    let flux = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: x, namespace: flux-system}\nspec: {path: ./app}\n";
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: shop}\nspec: {containers: [{name: c, image: i}]}\n";
    std::fs::write(dir.path().join("kustomization.yaml"), flux).unwrap();
    std::fs::write(dir.path().join("pod.yaml"), pod).unwrap();
    for args in [&["."][..], &[".", "--render"]] {
        let (code, out, error) = scan_in(dir.path(), args);
        assert_eq!(code, 1, "{error}");
        assert!(
            out.contains("Pod/p") && !error.contains("render"),
            "{out}{error}"
        );
    }
}
