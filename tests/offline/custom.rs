//! Objects of custom kinds that stand for pods: which account each runs as, and how its token is switched off.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use crate::rig::{scan_files, scan_in};

const SPEC: &str = "{serviceAccountName: app, containers: [{name: c, image: i}]}";

/// An object of a custom kind.
fn object(api_version: &str, kind: &str, spec: &str) -> String {
    let spec = spec.replace("SPEC", SPEC);
    format!(
        "apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: x, namespace: ct}}\nspec: {spec}\n---\n"
    )
}

/// The reports about an input, by account.
fn reports(input: &str) -> BTreeMap<String, Value> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in.yaml"), input).unwrap();
    let (reports, _, error) = scan_files(&[dir.path()], &[]);
    assert!(!error.contains("error"), "{error}");
    let name = |report: &Value| report["metadata"]["name"].as_str().unwrap().to_owned();
    reports
        .into_iter()
        .map(|report| (name(&report), report["status"].clone()))
        .collect()
}

/// The patches of a report: type, and the patch.
fn patches(status: &Value) -> Vec<(String, Value)> {
    let patches = status["remediation"]["patches"]
        .as_array()
        .into_iter()
        .flatten();
    let patch = |patch: &Value| {
        let content = patch["patch"].as_str().unwrap();
        (
            patch["type"].as_str().unwrap().to_owned(),
            serde_json::from_str(content).unwrap(),
        )
    };
    patches.map(patch).collect()
}

/// A JSON patch that disables automount at these places.
fn disables(places: &[&str]) -> (String, Value) {
    let operations = places.iter().map(|place| {
        json!({ "op": "add", "path": format!("{place}/automountServiceAccountToken"), "value": false })
    });
    ("json".to_owned(), operations.collect())
}

/// A merge patch that does so for one place.
fn merges(place: &str) -> (String, Value) {
    let off = json!({ "automountServiceAccountToken": false });
    let patch = place
        .split('/')
        .skip(1)
        .collect::<Vec<_>>()
        .into_iter()
        .rev();
    (
        "merge".to_owned(),
        patch.fold(off, |inner, field| json!({ field: inner })),
    )
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn a_pod_template_is_found_anywhere_in_any_kind() {
    let two = "{headGroupSpec: {template: {spec: SPEC}}, workerGroupSpecs: [{groupName: w, template: {spec: SPEC}}]}";
    for (api_version, kind, spec, named, patch) in [
        (
            "argoproj.io/v1alpha1",
            "Rollout",
            "{template: {spec: SPEC}}",
            "Rollout/x",
            merges("/spec/template/spec"),
        ),
        (
            "apps.openshift.io/v1",
            "DeploymentConfig",
            "{template: {spec: SPEC}}",
            "DeploymentConfig/x",
            merges("/spec/template/spec"),
        ),
        (
            "serving.knative.dev/v1",
            "Service",
            "{template: {spec: {containerConcurrency: 1, serviceAccountName: app, containers: [{image: i}]}}}",
            "Service.serving.knative.dev/x",
            merges("/spec/template/spec"),
        ),
        (
            "keda.sh/v1alpha1",
            "ScaledJob",
            "{jobTargetRef: {template: {spec: SPEC}}}",
            "ScaledJob/x",
            merges("/spec/jobTargetRef/template/spec"),
        ),
        (
            "ray.io/v1",
            "RayCluster",
            two,
            "RayCluster/x",
            disables(&[
                "/spec/headGroupSpec/template/spec",
                "/spec/workerGroupSpecs/0/template/spec",
            ]),
        ),
        (
            "batch.volcano.sh/v1alpha1",
            "Job",
            "{tasks: [{name: t, template: {spec: SPEC}}]}",
            "Job.batch.volcano.sh/x",
            disables(&["/spec/tasks/0/template/spec"]),
        ),
        (
            "kubeflow.org/v1",
            "PyTorchJob",
            "{pytorchReplicaSpecs: {Master: {template: {spec: SPEC}}}}",
            "PyTorchJob/x",
            merges("/spec/pytorchReplicaSpecs/Master/template/spec"),
        ),
        (
            "actions.summerwind.dev/v1alpha1",
            "RunnerDeployment",
            "{template: {spec: {serviceAccountName: app, repository: o/r}}}",
            "RunnerDeployment/x",
            merges("/spec/template/spec"),
        ),
        (
            "argoproj.io/v1alpha1",
            "Workflow",
            "{serviceAccountName: app, executor: {serviceAccountName: e}, templates: [{name: m, container: {image: i}}]}",
            "Workflow/x",
            merges("/spec"),
        ),
        (
            "argoproj.io/v1alpha1",
            "CronWorkflow",
            "{workflowSpec: {serviceAccountName: app, executor: {serviceAccountName: e}, templates: [{name: m, script: {image: i}}]}}",
            "CronWorkflow/x",
            merges("/spec/workflowSpec"),
        ),
        (
            "tekton.dev/v1",
            "TaskRun",
            "{serviceAccountName: app, taskSpec: {steps: [{name: s, image: i}]}}",
            "TaskRun/x",
            merges("/spec/podTemplate"),
        ),
        (
            "tekton.dev/v1",
            "PipelineRun",
            "{taskRunTemplate: {serviceAccountName: app}, pipelineRef: {name: p}}",
            "PipelineRun/x",
            merges("/spec/taskRunTemplate/podTemplate"),
        ),
        (
            "kibana.k8s.elastic.co/v1",
            "Kibana",
            "{podTemplate: {spec: {serviceAccountName: app, automountServiceAccountToken: true}}}",
            "Kibana/x",
            merges("/spec/podTemplate/spec"),
        ),
        (
            "flink.apache.org/v1beta1",
            "FlinkDeployment",
            "{mode: standalone, serviceAccount: app, podTemplate: {spec: {containers: []}}}",
            "FlinkDeployment/x",
            merges("/spec/podTemplate/spec"),
        ),
        (
            "own.example/v1",
            "Machinery",
            "{parts: [{pods: {deep: SPEC}}]}",
            "Machinery/x",
            disables(&["/spec/parts/0/pods/deep"]),
        ),
    ] {
        let found = reports(&object(api_version, kind, spec));
        let status = &found["app"];
        assert_eq!(status["reason"], "NoPermissions", "{kind}: {status}");
        assert_eq!(status["workloadNames"], named, "{kind}");
        assert_eq!(patches(status), [patch], "{kind}");
        let notes = status["workloads"][0]["notes"].to_string();
        assert_eq!(
            notes.contains("by its shape"),
            kind == "Machinery",
            "{kind}: {notes}"
        );
    }
}

/// No other patch adds to a list of a custom kind: a merge patch, and kustomize without its schema, replace the list.
#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn files_beside_the_token_are_kept_by_a_json_patch() {
    const READER: &str = "image: i, args: [/var/run/secrets/kubernetes.io/serviceaccount/ca.crt]";
    let mount = json!({ "name": "service-account-files", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true });
    let cases = [
        (
            object(
                "argoproj.io/v1alpha1",
                "Rollout",
                &format!(
                    "{{template: {{spec: {{serviceAccountName: app, volumes: [{{name: v, emptyDir: {{}}}}], \
                containers: [{{name: a, {READER}, volumeMounts: [{{name: v, mountPath: /v}}]}}, {{name: b, image: i}}]}}}}}}"
                ),
            ),
            vec![
                ("/spec/template/spec/volumes/-", json!(null)),
                (
                    "/spec/template/spec/containers/0/volumeMounts/-",
                    mount.clone(),
                ),
                (
                    "/spec/template/spec/containers/1/volumeMounts",
                    json!([mount]),
                ),
            ],
        ),
        (
            object(
                "serving.knative.dev/v1",
                "Service",
                &format!(
                    "{{template: {{spec: {{serviceAccountName: app, containers: [{{{READER}}}]}}}}}}"
                ),
            ),
            vec![
                ("/spec/template/spec/volumes", json!(null)),
                (
                    "/spec/template/spec/containers/0/volumeMounts",
                    json!([mount]),
                ),
            ],
        ),
        (
            object(
                "batch.volcano.sh/v1alpha1",
                "Job",
                &format!(
                    "{{tasks: [{{template: {{spec: {{serviceAccountName: app, containers: [{{name: a, {READER}}}]}}}}}}]}}"
                ),
            ),
            vec![
                ("/spec/tasks/0/template/spec/volumes", json!(null)),
                (
                    "/spec/tasks/0/template/spec/containers/0/volumeMounts",
                    json!([mount]),
                ),
            ],
        ),
    ];
    for (object, expected) in cases {
        let status = &reports(&object)["app"];
        let [(type_, patch)] = &patches(status)[..] else {
            panic!("{status}");
        };
        assert_eq!(type_, "json");
        let operations = patch.as_array().unwrap();
        assert!(
            operations[0]["path"]
                .as_str()
                .unwrap()
                .ends_with("/spec/automountServiceAccountToken")
        );
        assert_eq!(operations.len(), expected.len() + 1, "{patch}");
        for (operation, (path, value)) in operations[1..].iter().zip(&expected) {
            assert_eq!(
                (&operation["op"], &operation["path"]),
                (&json!("add"), &json!(path))
            );
            if value.is_null() {
                let volume = if path.ends_with('-') {
                    &operation["value"]
                } else {
                    &operation["value"][0]
                };
                assert_eq!(
                    volume["projected"]["sources"].as_array().unwrap().len(),
                    2,
                    "{volume}"
                );
            } else {
                assert_eq!(&operation["value"], value);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("in.yaml"), &object).unwrap();
        let (code, out, error) = scan_in(dir.path(), &["in.yaml", "-o", "patch", "--write"]);
        assert_eq!(code, 0, "{out}{error}");
        let written = fs::read_to_string(dir.path().join("in.yaml")).unwrap();
        assert_eq!(
            written.matches("service-account-files").count(),
            expected.len(),
            "{written}"
        );
    }
}

#[test]
fn an_operator_decides_where_the_kind_has_no_field_for_it() {
    let spark = object(
        "sparkoperator.k8s.io/v1beta2",
        "SparkApplication",
        "{driver: {serviceAccount: app}, executor: {serviceAccount: worker}}",
    );
    let found = reports(&spark);
    for account in ["app", "worker"] {
        let remediation = &found[account]["remediation"];
        assert_eq!(remediation["patches"], Value::Null);
        let summary = remediation["summary"].as_str().unwrap();
        assert!(
            summary.ends_with("; what the pods of SparkApplication/x mount, its operator decides"),
            "{summary}"
        );
    }
    // Elastic's operator disables automount where nothing is said.
    let kibana = object(
        "kibana.k8s.elastic.co/v1",
        "Kibana",
        "{podTemplate: {spec: {serviceAccountName: app}}}",
    );
    assert_eq!(reports(&kibana)["app"]["reason"], "AutomountDisabled");
}

#[test]
fn templates_of_one_object_may_run_as_different_accounts() {
    let other = SPEC.replace("app", "other");
    let spec = format!(
        "{{replicatedJobs: [{{template: {{spec: {{template: {{spec: SPEC}}}}}}}}, {{template: {{spec: {{template: {{spec: {other}}}}}}}}}]}}"
    );
    let found = reports(&object("jobset.x-k8s.io/v1alpha2", "JobSet", &spec));
    let path = |index: usize| format!("/spec/replicatedJobs/{index}/template/spec/template/spec");
    for (index, account) in ["app", "other"].into_iter().enumerate() {
        assert_eq!(patches(&found[account]), [disables(&[&path(index)])]);
    }
}

#[test]
fn what_only_looks_like_a_pod_template_is_none() {
    let account =
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default, namespace: ct}\n---\n";
    for (api_version, kind, spec) in [
        (
            "kyverno.io/v1",
            "Policy",
            "{rules: [{validate: {pattern: {spec: {containers: [{image: x}]}}}}]}",
        ),
        (
            "own.example/v1",
            "Pattern",
            "{match: {containers: [{image: '*:*'}]}}",
        ),
        (
            "own.example/v1",
            "Images",
            "{list: {names: [a], containers: [{image: a}]}}",
        ),
        (
            "own.example/v1",
            "Image",
            "{containers: {image: a}, serviceAccountName: ''}",
        ),
        (
            "kubevirt.io/v1",
            "VirtualMachine",
            "{template: {spec: {domain: {}, volumes: []}}}",
        ),
        (
            "cluster.x-k8s.io/v1beta1",
            "MachineDeployment",
            "{template: {spec: {clusterName: c, bootstrap: {}}}}",
        ),
    ] {
        let found = reports(&(account.to_owned() + &object(api_version, kind, spec)));
        let answers: Vec<_> = found
            .values()
            .map(|status| status["message"].as_str().unwrap())
            .collect();
        assert_eq!(answers, ["no pod runs as this account"], "{kind}");
    }
}

#[test]
fn an_account_that_an_object_names_is_not_said_to_run_no_pod() {
    let account =
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: app, namespace: ct}\n---\n";
    for (kind, spec) in [
        ("Prometheus", "{serviceAccountName: app, replicas: 2}"),
        (
            "Store",
            "{provider: {vault: {auth: {serviceAccountRef: {name: app}}}}}",
        ),
        ("Collector", "{serviceAccount: app, mode: daemonset}"),
        (
            "Half",
            "{pods: {serviceAccountName: other, containers: [{name: c, image: i}]}, rest: {serviceAccountName: app}}",
        ),
    ] {
        let found = reports(&(account.to_owned() + &object("own.example/v1", kind, spec)));
        let status = &found["app"];
        assert_eq!(
            (&status["verdict"], &status["reason"]),
            (&json!("NoToken"), &json!("NoPods"))
        );
        let named = format!("named by {kind}/x: which pods the operator creates is not known");
        assert_eq!(
            status["message"],
            format!("no pod that was read runs as this account; {named}")
        );
        assert_eq!(
            status["notes"],
            json!([{ "type": "NamedBy", "message": named }])
        );
    }
}

#[test]
fn a_patch_is_written_to_its_place_and_findings_point_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.yaml");
    let text = "apiVersion: batch.volcano.sh/v1alpha1\n\
                kind: Job\n\
                metadata: {name: x}\n\
                spec:\n\
                \x20 tasks:\n\
                \x20 - name: t\n\
                \x20   template:\n\
                \x20     spec:\n\
                \x20       serviceAccountName: app # mine\n\
                \x20       containers: [{name: c, image: i}]\n";
    fs::write(&path, text).unwrap();
    let (_, sarif, _) = scan_in(dir.path(), &["in.yaml", "-o", "sarif"]);
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["region"]["startLine"], 8);
    let (code, said, error) = scan_in(dir.path(), &["in.yaml", "-o", "patch", "--write"]);
    assert!(!error.contains("error"), "{code} {said} {error}");
    let changed = text.replace(
        "app # mine\n",
        "app # mine\n        automountServiceAccountToken: false\n",
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), changed);
    let (code, ..) = scan_in(dir.path(), &["in.yaml"]);
    assert_eq!(code, 0);
}

#[test]
fn what_an_operator_created_is_one_workload_with_its_pods() {
    let labels = json!({ "elasticsearch.k8s.elastic.co/cluster-name": "logs" });
    let spec =
        json!({ "serviceAccountName": "app", "containers": [{ "name": "c", "image": "i" }] });
    let owner = json!([{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "logs-es-a", "controller": true, "uid": "1" }]);
    let objects = json!([
        { "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "logs-es-a", "namespace": "ct", "uid": "1" },
          "spec": { "template": { "metadata": { "labels": labels }, "spec": spec } } },
        { "apiVersion": "v1", "kind": "Pod", "spec": spec,
          "metadata": { "name": "logs-es-a-0", "namespace": "ct", "uid": "2", "labels": labels, "ownerReferences": owner } },
    ]);
    for (count, objects) in [(2, objects.clone()), (1, json!([objects[0]]))] {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        let found = reports(&list.to_string());
        assert_eq!(
            found["app"]["workloadNames"], "Elasticsearch/logs",
            "{count}"
        );
        assert_eq!(found["app"]["pods"], 1, "{count}");
    }
}

/// Verdict and reason of each account, as `namespace/name`, of those that have a pod.
fn verdicts(input: &str) -> BTreeMap<String, String> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in.yaml"), input).unwrap();
    let (reports, _, error) = scan_files(&[dir.path()], &[]);
    assert!(!error.contains("error"), "{error}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |report: &Value| {
        let (metadata, status) = (&report["metadata"], &report["status"]);
        let account = format!(
            "{}/{}",
            text(&metadata["namespace"]),
            text(&metadata["name"])
        );
        (
            account,
            format!("{}/{}", text(&status["verdict"]), text(&status["reason"])),
        )
    };
    let reports = reports.iter().map(of);
    reports
        .filter(|(_, verdict)| verdict != "NoToken/NoPods")
        .collect()
}

const DEPLOYMENT: &str = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: prod}, spec: {template: {spec: {serviceAccountName: app, containers: [{name: c, image: i}]}}}}";
const ROLE: &str = "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: r, namespace: prod}, rules: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]}";
const BINDING: &str = "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: b, namespace: prod}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}, subjects: [{kind: ServiceAccount, name: app}]}";

/// Operators create them: they are in their own namespace, and what they grant counts.
#[test]
fn whole_objects_in_other_objects_are_read_as_what_they_are() {
    let all = format!("[{DEPLOYMENT}, {ROLE}, {BINDING}]");
    for (api_version, kind, fields, expected) in [
        (
            "template.openshift.io/v1",
            "Template",
            format!("objects: {all}"),
            "Needed/DirectGrant",
        ),
        (
            "work.open-cluster-management.io/v1",
            "ManifestWork",
            format!("spec: {{workload: {{manifests: {all}}}}}"),
            "Needed/DirectGrant",
        ),
        (
            "kubernetes.crossplane.io/v1alpha2",
            "Object",
            format!("spec: {{forProvider: {{manifest: {DEPLOYMENT}}}}}"),
            "Unneeded/NoPermissions",
        ),
        (
            "own.example/v1",
            "Bundle",
            format!("spec: {{parts: [{{raw: {{apiVersion: v1, kind: List, items: {all}}}}}]}}"),
            "Needed/DirectGrant",
        ),
    ] {
        let input = format!(
            "apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: x, namespace: ct}}\n{fields}\n"
        );
        let expected: BTreeMap<_, _> = [("prod/app".to_owned(), expected.to_owned())].into();
        assert_eq!(verdicts(&input), expected, "{kind}");
    }
    let policy = format!(
        "apiVersion: policy.open-cluster-management.io/v1\nkind: ConfigurationPolicy\nmetadata: {{name: x, namespace: ct}}\nspec: {{object-templates: [{{complianceType: mustNotHave, objectDefinition: {DEPLOYMENT}}}]}}\n"
    );
    assert_eq!(verdicts(&policy), BTreeMap::new());
}

#[test]
fn what_an_operator_of_the_lifecycle_manager_is_permitted_counts() {
    let csv = "apiVersion: operators.coreos.com/v1alpha1\nkind: ClusterServiceVersion\nmetadata: {name: x.v1, namespace: ct}\nspec:\n  install:\n    spec:\n      \
               FIELD:\n      - serviceAccountName: app\n        rules: [{apiGroups: [\"\"], resources: [pods], verbs: [list]}]\n      deployments:\n      \
               - {name: d, spec: {template: {spec: {serviceAccountName: app, containers: [{name: c, image: i}]}}}}\n";
    for (field, expected) in [
        ("permissions", "Needed/DirectGrant"),
        ("clusterPermissions", "Needed/DirectGrant"),
        ("others", "Unneeded/NoPermissions"),
    ] {
        let found = verdicts(&csv.replace("FIELD", field));
        assert_eq!(
            found,
            [("ct/app".to_owned(), expected.to_owned())].into(),
            "{field}"
        );
    }
}

/// Bundles name no namespace, or `placeholder`: where the operator is installed, its permissions are granted.
#[test]
fn the_lifecycle_manager_grants_where_it_installs() {
    let csv = |metadata: &str, more: &str| {
        format!(
            "apiVersion: operators.coreos.com/v1alpha1\nkind: ClusterServiceVersion\nmetadata: {{name: x.v1{metadata}}}\nspec:\n  install:\n    spec:\n{more}      \
             deployments:\n      - name: d\n        spec:\n          template:\n            spec:\n              serviceAccountName: app\n              containers: [{{name: c, image: i}}]\n"
        )
    };
    let grants = "      clusterPermissions:\n      - serviceAccountName: app\n        rules: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]\n";
    for metadata in ["", ", namespace: placeholder", ", namespace: ops"] {
        for args in [&[][..], &["-n", "ops"]] {
            if metadata.contains("ops") && !args.is_empty() {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("csv.yaml");
            fs::write(&file, csv(metadata, grants)).unwrap();
            let (found, _, error) = scan_files(&[&file], args);
            let status = &found[0]["status"];
            assert_eq!(status["verdict"], "Needed", "{metadata} {args:?}: {error}");
            assert_eq!(status["workloadNames"], "ClusterServiceVersion/x.v1");
            assert_eq!(status["pods"], 1, "{status}");
            assert!(!error.contains("reject"), "{error}");
        }
    }
    // What it grants nothing is changed in the object itself.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("csv.yaml");
    fs::write(&file, csv("", "")).unwrap();
    let (code, _, error) = scan_in(dir.path(), &["csv.yaml", "-o", "patch", "--write"]);
    assert_eq!(code, 0, "{error}");
    let written = fs::read_to_string(&file).unwrap();
    assert!(
        written.contains("\n              automountServiceAccountToken: false\n"),
        "{written}"
    );
}

/// What an operator runs as an account of its own is no pod of the account that is written there.
#[test]
fn pods_that_an_operator_gives_another_account_are_left_out() {
    let names = |api_version: &str, kind: &str, spec: &str| -> Vec<String> {
        verdicts(&object(api_version, kind, spec))
            .into_keys()
            .collect()
    };
    let head = "headGroupSpec: {template: {spec: {containers: [{name: h, image: i}]}}}, workerGroupSpecs: [{template: {spec: SPEC}}]";
    for (on, expected) in [
        ("true", &["ct/app"][..]),
        ("false", &["ct/app", "ct/default"]),
    ] {
        let cluster = format!("{{enableInTreeAutoscaling: {on}, {head}}}");
        for (kind, spec) in [
            ("RayCluster", cluster.clone()),
            ("RayJob", format!("{{rayClusterSpec: {cluster}}}")),
            ("RayService", format!("{{rayClusterConfig: {cluster}}}")),
        ] {
            assert_eq!(names("ray.io/v1", kind, &spec), expected, "{kind} {on}");
        }
    }
    // The operator lets the account of the head work with pods.
    let own = head.replacen("containers", "serviceAccountName: own, containers", 1);
    let found = verdicts(&object(
        "ray.io/v1",
        "RayCluster",
        &format!("{{enableInTreeAutoscaling: true, {own}}}"),
    ));
    assert_eq!(found["ct/own"], "Needed/DirectGrant");
    assert_eq!(found["ct/app"], "Unneeded/NoPermissions");
    for (spec, expected) in [
        (
            "{template: {spec: {containers: [{name: g, image: i}]}}}",
            &[][..],
        ),
        ("{template: {spec: SPEC}}", &["ct/app"]),
    ] {
        assert_eq!(
            names("agones.dev/v1", "GameServer", spec),
            expected,
            "{spec}"
        );
    }
    let replicas = "{mpiReplicaSpecs: {Launcher: {template: {spec: {containers: [{name: l, image: i}]}}}, Worker: {template: {spec: SPEC}}}}";
    for (version, expected) in [
        ("v1", &["ct/app"][..]),
        ("v2beta1", &["ct/app", "ct/default"]),
    ] {
        let found = names(&format!("kubeflow.org/{version}"), "MPIJob", replicas);
        assert_eq!(found, expected, "{version}");
    }
    let model = "{template: {containers: [{name: m, image: i}], serviceAccountName: app}, router: {scheduler: {template: {containers: [{name: s, image: i}], serviceAccountName: own}}}}";
    let found = names("serving.kserve.io/v1alpha1", "LLMInferenceService", model);
    assert_eq!(found, ["ct/app"]);
}

/// apache/spark: executors without an account run as that of the driver.
#[test]
fn executors_run_as_the_account_of_their_driver() {
    for (kind, spec) in [
        (
            "SparkApplication",
            "{driver: {serviceAccount: app}, executor: {}}",
        ),
        (
            "SparkApplication",
            "{driver: {template: {spec: {serviceAccountName: app}}}, executor: {cores: 1}}",
        ),
        (
            "ScheduledSparkApplication",
            "{template: {driver: {serviceAccount: app}, executor: {}}}",
        ),
    ] {
        let found = verdicts(&object("sparkoperator.k8s.io/v1beta2", kind, spec));
        let names: Vec<_> = found.keys().collect();
        assert_eq!(names, ["ct/app"], "{kind} {spec}");
    }
    let own = "{driver: {serviceAccount: app}, executor: {serviceAccount: own}}";
    let found = verdicts(&object(
        "sparkoperator.k8s.io/v1beta2",
        "SparkApplication",
        own,
    ));
    assert_eq!(found.into_keys().collect::<Vec<_>>(), ["ct/app", "ct/own"]);
}

/// The controller refuses a Workflow without automount whose executor has no account of its own.
#[test]
fn a_workflow_needs_an_account_for_its_executor_first() {
    for (kind, spec) in [
        (
            "Workflow",
            "{serviceAccountName: app, templates: [{name: m, container: {image: i}}]}",
        ),
        (
            "Workflow",
            "{templates: [{name: m, serviceAccountName: app, script: {image: i}}]}",
        ),
        (
            "CronWorkflow",
            "{workflowSpec: {serviceAccountName: app, templates: [{name: m, container: {image: i}}]}}",
        ),
    ] {
        let found = reports(&object("argoproj.io/v1alpha1", kind, spec));
        let status = &found["app"];
        assert_eq!(status["verdict"], "Unneeded", "{spec}");
        assert_eq!(patches(status), [], "{spec}");
        let summary = status["remediation"]["summary"].as_str().unwrap();
        assert!(
            summary
                .starts_with("name an account for the executor in `executor.serviceAccountName`"),
            "{summary}"
        );
        let containers = &status["workloads"][0]["containers"];
        assert_eq!(containers, &json!(["main"]), "{spec}");
    }
}

/// A JobManager creates the pods of its TaskManagers, unless they are created beside it.
#[test]
fn a_job_manager_may_need_its_token() {
    for (mode, is_patched) in [
        ("", false),
        (", mode: native", false),
        (", mode: standalone", true),
    ] {
        let spec = format!(
            "{{serviceAccount: app{mode}, podTemplate: {{spec: {{containers: [{{name: c, image: i}}]}}}}}}"
        );
        let found = reports(&object(
            "flink.apache.org/v1beta1",
            "FlinkDeployment",
            &spec,
        ));
        assert_eq!(!patches(&found["app"]).is_empty(), is_patched, "{mode}");
    }
}

/// A kind that is not known may make something else of the field: its file is not changed.
#[test]
fn a_guess_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let text = object(
        "own.example/v1",
        "Machinery",
        "{parts: [{pods: {deep: SPEC}}]}",
    );
    fs::write(dir.path().join("in.yaml"), &text).unwrap();
    let (_, out, _) = scan_in(dir.path(), &["in.yaml", "-o", "patch"]);
    assert!(
        out.contains("# check first: the kind is not known"),
        "{out}"
    );
    let (code, _, error) = scan_in(dir.path(), &["in.yaml", "-o", "patch", "--write"]);
    assert_eq!(code, 2, "{error}");
    assert!(
        error.contains("is of a kind that is not known, in in.yaml:1: "),
        "{error}"
    );
    let after = fs::read_to_string(dir.path().join("in.yaml")).unwrap();
    assert_eq!(after, text);
}

/// Where the kind is not known, each of several is still found.
#[test]
fn each_of_several_guesses_has_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let text = object("own.example/v1", "Machinery", "{template: {spec: SPEC}}");
    fs::write(dir.path().join("a.yaml"), &text).unwrap();
    let other = text.replace("app", "other");
    fs::write(dir.path().join("b.yaml"), other).unwrap();
    let (_, table, _) = scan_in(dir.path(), &["."]);
    for found in [["app", "a.yaml:4"], ["other", "b.yaml:4"]] {
        let is_row = |line: &str| found.iter().all(|part| line.contains(part));
        assert!(table.lines().any(is_row), "{found:?}\n{table}");
    }
    let (_, _, error) = scan_in(dir.path(), &[".", "-o", "patch", "--write"]);
    assert!(!error.contains("is not in the scanned files"), "{error}");
}

/// Templates from which others create pods may have another default than pods.
#[test]
fn the_default_of_a_kind_counts() {
    for (api_version, kind, spec, verdict) in [
        (
            "extensions.agents.x-k8s.io/v1beta1",
            "SandboxTemplate",
            "{podTemplate: {spec: SPEC}}",
            "NoToken",
        ),
        (
            "extensions.agents.x-k8s.io/v1beta1",
            "SandboxTemplate",
            "{podTemplate: {spec: {automountServiceAccountToken: true, serviceAccountName: app, containers: [{name: c}]}}}",
            "Unneeded",
        ),
        (
            "agents.x-k8s.io/v1beta1",
            "Sandbox",
            "{podTemplate: {spec: SPEC}}",
            "Unneeded",
        ),
        (
            "v1",
            "DeploymentConfig",
            "{template: {spec: SPEC}}",
            "Unneeded",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let text = object(api_version, kind, spec);
        fs::write(dir.path().join("in.yaml"), text).unwrap();
        let (reports, _, error) = scan_files(&[dir.path()], &[]);
        assert_eq!(reports[0]["status"]["verdict"], verdict, "{kind}");
        assert!(!error.contains("the kind is not known"), "{error}");
    }
}

/// A container without a name has the one that the operator gives it.
#[test]
fn a_container_with_an_empty_name_is_the_operators() {
    let text = object(
        "argoproj.io/v1alpha1",
        "Workflow",
        r#"{entrypoint: m, templates: [{name: m, container: {name: "", image: i}}]}"#,
    );
    let status = &reports(&text)["default"];
    let containers = &status["workloads"][0]["containers"];
    assert_eq!(*containers, json!(["main"]));
}

/// The part that has the field need not be there.
#[test]
fn parts_that_are_missing_are_written() {
    for (kind, spec, expected) in [
        (
            "TaskRun",
            "spec:\n  taskSpec:\n    steps: [{name: s, image: i}]\n",
            "spec:\n  podTemplate:\n    automountServiceAccountToken: false\n  taskSpec:",
        ),
        (
            "PipelineRun",
            "spec:\n  pipelineRef: {name: p}\n",
            "spec:\n  taskRunTemplate:\n    podTemplate:\n      automountServiceAccountToken: false\n  pipelineRef:",
        ),
        (
            "TaskRun",
            "spec: {taskSpec: {steps: [{name: s, image: i}]}}\n",
            "spec: {podTemplate: {\"automountServiceAccountToken\":false}, taskSpec:",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "apiVersion: tekton.dev/v1\nkind: {kind}\nmetadata: {{generateName: x-}}\n{spec}"
        );
        fs::write(dir.path().join("in.yaml"), &text).unwrap();
        let (code, _, error) = scan_in(
            dir.path(),
            &["in.yaml", "-n", "ct", "-o", "patch", "--write"],
        );
        assert_eq!(code, 0, "{error}");
        let after = fs::read_to_string(dir.path().join("in.yaml")).unwrap();
        assert!(after.contains(expected), "{after}");
    }
}

/// OpenShift stores them as those of Kubernetes.
#[test]
fn roles_and_bindings_of_openshift_grant() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: ct}, spec: {serviceAccountName: app, containers: [{name: c, image: i}]}}\n---\n";
    let role = "apiVersion: authorization.openshift.io/v1\nkind: Role\nmetadata: {name: r, namespace: ct}\nrules: [{apiGroups: null, resources: [pods], verbs: [get]}, {apiGroups: [\"\"], resources: [pods], verbs: [get]}]\n---\n";
    let needed = "Needed/DirectGrant";
    for (api_version, kind, fields, expected) in [
        (
            "authorization.openshift.io/v1",
            "RoleBinding",
            "roleRef: {name: r, namespace: ct}\nsubjects: [{kind: ServiceAccount, name: app}]",
            needed,
        ),
        (
            "v1",
            "RoleBinding",
            "roleRef: {name: view}\nsubjects: [{kind: ServiceAccount, name: app, namespace: ct}]",
            needed,
        ),
        (
            "authorization.openshift.io/v1",
            "ClusterRoleBinding",
            "roleRef: {name: cluster-admin}\nuserNames: ['system:serviceaccount:ct:app']",
            needed,
        ),
        (
            "v1",
            "ClusterRoleBinding",
            "roleRef: {name: view}\ngroupNames: ['system:serviceaccounts:ct']",
            "Review/InheritedOnly",
        ),
        (
            "authorization.openshift.io/v1",
            "ClusterRoleBinding",
            "roleRef: {name: view}\nsubjects: [{kind: SystemGroup, name: 'system:serviceaccounts:ct'}]",
            "Review/InheritedOnly",
        ),
        (
            "authorization.openshift.io/v1",
            "RoleBinding",
            "roleRef: {name: view}\nsubjects: [{kind: User, name: app}]",
            "Unneeded/NoPermissions",
        ),
        (
            "other.example/v1",
            "RoleBinding",
            "roleRef: {name: view}\nsubjects: [{kind: ServiceAccount, name: app}]",
            "Unneeded/NoPermissions",
        ),
    ] {
        let input = format!(
            "{pod}{role}apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: b, namespace: ct}}\n{fields}\n"
        );
        assert_eq!(verdicts(&input)["ct/app"], expected, "{kind}: {fields}");
    }
}

/// A dump of a project has no ClusterRoles; those of OpenShift are known.
#[test]
fn roles_that_every_openshift_has_are_known() {
    let binding = |role: &str, subject: &str| {
        format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: b, namespace: ct}}, roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: '{role}'}}, subjects: [{subject}]}}\n---\n"
        )
    };
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: ct}, spec: {serviceAccountName: app, containers: [{name: c, image: i}]}}\n---\n";
    let all =
        "{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:serviceaccounts:ct'}";
    let own = "{kind: ServiceAccount, name: app, namespace: ct}";
    let more = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: 'system:image-puller'}, rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]}\n---\n";
    for (input, expected) in [
        (
            binding("system:image-puller", all),
            "Unneeded/NoPermissions",
        ),
        (binding("system:image-puller", own), "Needed/DirectGrant"),
        (
            binding("system:openshift:scc:anyuid", own),
            "Unneeded/AdmissionOnly",
        ),
        (
            binding("system:image-puller", all) + more,
            "Review/InheritedOnly",
        ),
        (binding("system:other", own), "Unknown/UnresolvedRole"),
    ] {
        assert_eq!(
            verdicts(&format!("{pod}{input}"))["ct/app"],
            expected,
            "{input}"
        );
    }
}

/// What changes pods that an operator makes, or only shows other pods, is none of `default`.
#[test]
fn a_part_of_a_pod_that_names_no_account_is_no_pod_of_the_default_account() {
    for (api_version, kind, spec) in [
        (
            "gateway.envoyproxy.io/v1alpha1",
            "EnvoyProxy",
            "{provider: {envoyDeployment: {patch: {template: {spec: {containers: [{name: envoy, args: [-l]}]}}}}}}",
        ),
        (
            "pkg.crossplane.io/v1beta1",
            "DeploymentRuntimeConfig",
            "{deploymentTemplate: {spec: {template: {spec: {containers: [{name: package-runtime}]}}}}}",
        ),
        (
            "rabbitmq.com/v1beta1",
            "RabbitmqCluster",
            "{override: {statefulSet: {spec: {template: {spec: {containers: [{name: rabbitmq, env: []}]}}}}}}",
        ),
        (
            "apps.kruise.io/v1alpha1",
            "SidecarSet",
            "{containers: [{name: s, image: i}], volumes: []}",
        ),
        (
            "kueue.x-k8s.io/v1beta1",
            "Workload",
            "{podSets: [{template: {spec: {containers: [{name: c, image: i}]}}}]}",
        ),
        (
            "apps/v1",
            "ControllerRevision",
            "{template: {spec: {containers: [{name: c, image: i}]}}}",
        ),
        (
            "argoproj.io/v1alpha1",
            "ClusterWorkflowTemplate",
            "{templates: [{name: t, container: {image: i}}]}",
        ),
        (
            "helm.toolkit.fluxcd.io/v2",
            "HelmRelease",
            "{values: {template: {spec: {containers: [{name: c, image: i}]}}}}",
        ),
        (
            "argoproj.io/v1alpha1",
            "Application",
            "{source: {helm: {valuesObject: {podTemplate: {spec: {containers: [{name: c, image: i}]}}}}}}",
        ),
        (
            "trainer.kubeflow.org/v1alpha1",
            "ClusterTrainingRuntime",
            "{template: {spec: {replicatedJobs: [{template: {spec: {template: {spec: {containers: [{name: c, image: i}]}}}}}]}}}",
        ),
    ] {
        assert_eq!(
            verdicts(&object(api_version, kind, spec)),
            BTreeMap::new(),
            "{kind}"
        );
    }
    // A whole pod spec is a pod, also where nobody knows the kind.
    let whole = "{podTemplate: {spec: {containers: [{name: c, image: i}]}}}";
    let found = verdicts(&object("own.example/v1", "Machinery", whole));
    assert_eq!(found["ct/default"], "Unneeded/NoPermissions");
}

#[test]
fn operators_that_spell_no_pod_spec_run_pods() {
    for (api_version, kind, spec) in [
        (
            "opentelemetry.io/v1beta1",
            "OpenTelemetryCollector",
            "{serviceAccount: app}",
        ),
        (
            "serving.kserve.io/v1beta1",
            "InferenceService",
            "{predictor: {serviceAccountName: app, model: {modelFormat: {name: onnx}}}}",
        ),
    ] {
        let found = verdicts(&object(api_version, kind, spec));
        assert_eq!(
            found,
            [("ct/app".to_owned(), "Unneeded/NoPermissions".to_owned())].into(),
            "{kind}"
        );
    }
    let own = object(
        "opentelemetry.io/v1beta1",
        "OpenTelemetryCollector",
        "{mode: sidecar}",
    );
    assert_eq!(verdicts(&own), BTreeMap::new());
}

#[test]
fn each_part_of_a_workflow_runs_as_its_own_account() {
    let names = |kind: &str, api_version: &str, spec: &str| {
        let found = verdicts(&object(api_version, kind, spec));
        found.into_keys().collect::<Vec<_>>().join(" ")
    };
    for (kind, spec, expected) in [
        (
            "Workflow",
            "{serviceAccountName: app, workflowTemplateRef: {name: t}}",
            "ct/app",
        ),
        (
            "CronWorkflow",
            "{workflowSpec: {serviceAccountName: app, workflowTemplateRef: {name: t}}}",
            "ct/app",
        ),
        (
            "Workflow",
            "{serviceAccountName: app, templates: [{name: t, resource: {action: create}}]}",
            "ct/app",
        ),
        (
            "Workflow",
            "{serviceAccountName: app, templates: [{name: t, serviceAccountName: own, container: {image: i}}]}",
            "ct/app ct/own",
        ),
        (
            "Workflow",
            "{serviceAccountName: app, executor: {serviceAccountName: executor}, templates: [{name: t, container: {image: i}}]}",
            "ct/app ct/executor",
        ),
    ] {
        assert_eq!(
            names(kind, "argoproj.io/v1alpha1", spec),
            expected,
            "{spec}"
        );
    }
    let run = "{taskRunTemplate: {serviceAccountName: app}, taskRunSpecs: [{pipelineTaskName: a, serviceAccountName: own}, {pipelineTaskName: b}]}";
    assert_eq!(names("PipelineRun", "tekton.dev/v1", run), "ct/app ct/own");
}

/// A script and the settings of a container that the operator adds say who uses the token.
#[test]
fn scripts_and_settings_of_custom_kinds_are_read() {
    let login = "vault login -method=kubernetes role=x";
    let vault = "env: [{name: VAULT_ADDR, value: 'https://vault:8200'}, {name: VAULT_K8S_LOGIN_PATH, value: kubernetes}]";
    for (api_version, kind, spec) in [
        (
            "argoproj.io/v1alpha1",
            "Workflow",
            format!(
                "{{serviceAccountName: app, templates: [{{name: t, script: {{image: i, source: '{login}'}}}}]}}"
            ),
        ),
        (
            "tekton.dev/v1",
            "TaskRun",
            format!(
                "{{serviceAccountName: app, taskSpec: {{steps: [{{name: s, image: i, script: '{login}'}}]}}}}"
            ),
        ),
        (
            "sparkoperator.k8s.io/v1beta2",
            "SparkApplication",
            format!(
                "{{driver: {{serviceAccount: app, {vault}}}, executor: {{serviceAccount: app}}}}"
            ),
        ),
        (
            "flink.apache.org/v1beta1",
            "FlinkDeployment",
            format!(
                "{{serviceAccount: app, jobManager: {{podTemplate: {{spec: {{containers: [{{name: flink-main-container, {vault}}}]}}}}}}}}"
            ),
        ),
    ] {
        let found = verdicts(&object(api_version, kind, &spec));
        assert_eq!(found["ct/app"], "Review/KnownConsumer", "{kind}");
    }
}

/// A report of this program that was written into the scanned folder.
#[test]
fn reports_and_baselines_name_no_account() {
    let account =
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: app, namespace: ct}}\n---\n";
    for (kind, rest) in [
        (
            "TokenExposureReport",
            "metadata: {name: app, namespace: ct}, serviceAccount: app, spec: {serviceAccountName: app}",
        ),
        (
            "Baseline",
            "schemaVersion: 1, findings: [{namespace: ct, serviceAccount: app, kind: Deployment, name: x}]",
        ),
    ] {
        let input =
            format!("{account}{{apiVersion: tokenexposure.io/v1alpha1, kind: {kind}, {rest}}}\n");
        let status = &reports(&input)["app"];
        assert_eq!(status["notes"], json!(null), "{kind}: {status}");
    }
}

#[test]
fn accounts_that_charts_and_operators_are_told_of_are_named() {
    let account =
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: app, namespace: prod}}\n---\n";
    for (api_version, kind, spec) in [
        (
            "helm.toolkit.fluxcd.io/v2",
            "HelmRelease",
            "{targetNamespace: prod, values: {serviceAccount: {create: false, name: app}}}",
        ),
        (
            "argoproj.io/v1alpha1",
            "Application",
            "{destination: {namespace: prod}, source: {helm: {valuesObject: {serviceAccount: {name: app}}}}}",
        ),
        (
            "olm.operatorframework.io/v1",
            "ClusterExtension",
            "{namespace: prod, serviceAccount: {name: app}}",
        ),
        (
            "external-secrets.io/v1",
            "ClusterSecretStore",
            "{provider: {vault: {auth: {kubernetes: {serviceAccountRef: {name: app, namespace: prod}}}}}}",
        ),
    ] {
        let input = format!("{account}{}", object(api_version, kind, spec));
        let status = &reports(&input)["app"];
        let message = status["message"].as_str().unwrap();
        assert!(message.contains(kind), "{status}");
    }
}
