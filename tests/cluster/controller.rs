//! The controller on the real control plane, with the account and the permissions that `deploy/` ships.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use token_exposure::cluster::KINDS;

use crate::rig::{
    ControlPlane, await_that,
    feature::Feature,
    oracle::{is_observed, reports_equal_to_scans},
    pool, program, runtime, scan_files,
    shared::{apply_sample, bare, sample, watched},
    signal,
};

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one scenario; a control plane for each step takes 8 s"
)]
fn reports_follow_what_changes() {
    let plane = pool::installed();
    let controller = plane.controller(&[]);
    plane.namespace("shop");
    plane.namespace("other");
    let unneeded = Some(("Unneeded", "NoPermissions"));

    // A new pod carries a token that nothing needs.
    plane.kubectl(&["-n", "shop", "run", "web", "--image=nginx"]);
    plane.await_report("shop", "default", unneeded);
    let report = plane.get(&["-n", "shop", "ter", "default"]);
    let owner = &report["metadata"]["ownerReferences"][0];
    let account = plane.get(&["-n", "shop", "serviceaccount", "default"]);
    assert_eq!(
        (&owner["kind"], &owner["uid"]),
        (&json!("ServiceAccount"), &account["metadata"]["uid"])
    );

    // A binding without its role; then the role is created and deleted, then the subject is removed.
    plane.kubectl(&[
        "-n",
        "shop",
        "create",
        "rolebinding",
        "read",
        "--role=reader",
        "--serviceaccount=shop:default",
    ]);
    plane.await_report("shop", "default", Some(("Review", "LatentBinding")));
    plane.kubectl(&[
        "-n",
        "shop",
        "create",
        "role",
        "reader",
        "--verb=get",
        "--resource=configmaps",
    ]);
    plane.await_report("shop", "default", None);
    plane.kubectl(&["-n", "shop", "delete", "role", "reader"]);
    plane.await_report("shop", "default", Some(("Review", "LatentBinding")));
    let other = r#"{"subjects":[{"kind":"ServiceAccount","name":"default","namespace":"other"}]}"#;
    plane.kubectl(&[
        "-n",
        "shop",
        "patch",
        "rolebinding",
        "read",
        "--type=merge",
        "-p",
        other,
    ]);
    plane.await_report("shop", "default", unneeded);

    // A grant to the group of the namespace is inherited; one to all users becomes a default permission.
    let group = [
        "create",
        "clusterrolebinding",
        "all-of-shop",
        "--clusterrole=view",
        "--group=system:serviceaccounts:shop",
    ];
    plane.kubectl(&group);
    plane.await_report("shop", "default", Some(("Review", "InheritedOnly")));
    plane.kubectl(&[
        "create",
        "clusterrolebinding",
        "everybody",
        "--clusterrole=view",
        "--group=system:authenticated",
    ]);
    plane.await_report("shop", "default", unneeded);
    plane.kubectl(&["delete", "clusterrolebinding", "everybody", "all-of-shop"]);

    // A user edits and deletes the report.
    plane.kubectl(&[
        "-n",
        "shop",
        "patch",
        "ter",
        "default",
        "--type=merge",
        "-p",
        r#"{"status":{"verdict":"Needed"}}"#,
    ]);
    plane.await_report("shop", "default", unneeded);
    let uid = plane.get(&["-n", "shop", "ter", "default"])["metadata"]["uid"].clone();
    plane.kubectl(&["-n", "shop", "delete", "ter", "default"]);
    await_that("the report is recreated", || {
        plane.report("shop", "default").is_some()
            && plane.get(&["-n", "shop", "ter", "default"])["metadata"]["uid"] != uid
    });

    // Automount is disabled: the report shows the drift until the pod is recreated.
    plane.kubectl(&[
        "-n",
        "shop",
        "patch",
        "serviceaccount",
        "default",
        "-p",
        r#"{"automountServiceAccountToken":false}"#,
    ]);
    await_that("the report shows the drift, and what is left to do", || {
        let status = &plane.get(&["-n", "shop", "ter", "default"])["status"];
        let message = status["message"].as_str();
        status["workloads"][0]["carriers"][0]["drift"] == "RemovedOnRecreate"
            && message.is_some_and(|message| message.ends_with("recreate the pods"))
    });
    plane.kubectl(&["-n", "shop", "delete", "pod", "web", "--now"]);
    plane.await_report("shop", "default", None);
    plane.kubectl(&["-n", "shop", "run", "web", "--image=nginx"]);
    controller.settle();
    assert_eq!(plane.report("shop", "default"), None);

    // The account is deleted, and its report with it.
    plane.kubectl(&["-n", "other", "create", "serviceaccount", "cart"]);
    plane.kubectl(&[
        "-n",
        "other",
        "run",
        "cart",
        "--image=cart",
        r#"--overrides={"spec":{"serviceAccountName":"cart"}}"#,
    ]);
    plane.await_report("other", "cart", unneeded);
    plane.kubectl(&["-n", "other", "delete", "serviceaccount", "cart"]);
    plane.await_report("other", "cart", None);
    plane.kubectl(&["delete", "namespace", "other"]);

    let (status, took, log) = controller.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

/// The live reports equal a scan of the cluster and a scan of its dump.
#[test]
fn reports_equal_scans_of_the_cluster_and_of_its_dump() {
    let plane = pool::installed();
    apply_sample(&plane);
    for scope in ["findings", "all"] {
        let controller = plane.controller(&["--report-scope", scope]);
        controller.settle();
        reports_equal_to_scans(&plane, scope);
    }
}

/// The carriers predicted for the sample's manifests are those of the live pods, workload by workload.
#[test]
fn predictions_for_manifests_match_admission() {
    let plane = sample();
    let scan = plane.scan(&["-A", "-o", "json", "--report-scope", "all"]);
    let live: Value = serde_json::from_slice(&scan.stdout).unwrap();
    let (predicted, ..) = scan_files(
        &["tests/demo/sample.yaml".as_ref()],
        &["--api-audience", "https://kubernetes.default.svc"],
    );
    let carriers = |reports: &[Value]| -> Vec<Value> {
        let named = |report: &Value| {
            ["shop", "analytics"].contains(&report["metadata"]["namespace"].as_str().unwrap())
        };
        let workloads = reports
            .iter()
            .filter(|report| named(report))
            .flat_map(|report| {
                let workloads = report["status"]["workloads"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                workloads.into_iter().map(|mut workload| {
                    workload.as_object_mut().unwrap().retain(|field, _| {
                        ["kind", "name", "carriers", "containers"].contains(&&**field)
                    });
                    json!([
                        report["metadata"]["namespace"],
                        report["metadata"]["name"],
                        workload
                    ])
                })
            });
        // A role that is missing in the cluster is outside the input of a scan of files: the verdicts differ.
        let mut workloads: Vec<_> = workloads
            .filter(|workload| workload[2]["name"] != "backup")
            .collect();
        workloads.sort_by_key(ToString::to_string);
        workloads
    };
    assert_eq!(
        carriers(live["items"].as_array().unwrap()),
        carriers(&predicted)
    );
}

/// A change of a pod's status changes no facts: nothing is written, nothing is reconciled.
#[test]
fn status_noise_writes_nothing() {
    let plane = pool::installed();
    plane.namespace("noise");
    for pod in 0..5 {
        plane.kubectl(&["-n", "noise", "run", &format!("web-{pod}"), "--image=nginx"]);
    }
    let controller = plane.controller(&[]);
    plane.await_report("noise", "default", Some(("Unneeded", "NoPermissions")));
    controller.settle();
    let before = (
        controller.writes(),
        controller.metric("token_exposure_reconcile_duration_seconds_count"),
    );
    let event = r#"token_exposure_last_event_timestamp_seconds{kind="Pod"}"#;
    let received = controller.metric(event);
    runtime().block_on(async {
        let pods: Api<Pod> = Api::namespaced(plane.client().await, "noise");
        for round in 0..20 {
            for pod in 0..5 {
                let status = json!({ "status": { "message": format!("round {round}") } });
                let (name, patch) = (format!("web-{pod}"), Patch::Merge(&status));
                pods.patch_status(&name, &PatchParams::default(), &patch)
                    .await
                    .unwrap();
            }
        }
    });
    await_that("the changes are received", || {
        controller.metric(event) > received
    });
    controller.settle();
    let after = (
        controller.writes(),
        controller.metric("token_exposure_reconcile_duration_seconds_count"),
    );
    assert_eq!(before, after);
}

/// The ClusterRole that `deploy/` ships, to restore it later.
fn shipped_role(plane: &ControlPlane) -> Value {
    let mut role = plane.get(&["clusterrole", "token-exposure"]);
    role["metadata"] = json!({ "name": "token-exposure" });
    role
}

/// The role without some entries of one list in its rules, and without the rules that are then empty.
fn without(role: &Value, list: &str, words: &[&str]) -> Value {
    let mut role = role.clone();
    let rules = role["rules"].as_array_mut().unwrap();
    for rule in rules.iter_mut() {
        let kept = rule[list].as_array_mut().unwrap();
        kept.retain(|word| !words.contains(&word.as_str().unwrap()));
    }
    rules.retain(|rule| rule[list] != json!([]));
    role
}

fn replace_role(plane: &ControlPlane, role: &Value) {
    let replaced = plane.try_kubectl(&["replace", "-f", "-"], &role.to_string());
    let error = String::from_utf8_lossy(&replaced.stderr);
    assert!(replaced.status.success(), "{error}");
}

/// A kind that cannot be listed makes verdicts `Unknown`, never `Unneeded`, until permission is granted.
#[test]
fn a_kind_that_cannot_be_listed_makes_verdicts_unknown() {
    let plane = pool::installed();
    plane.namespace("shop");
    plane.kubectl(&["-n", "shop", "run", "web", "--image=nginx"]);
    let shipped = shipped_role(&plane);
    for resource in ["rolebindings", "pods", "serviceaccounts"] {
        replace_role(&plane, &without(&shipped, "resources", &[resource]));
        let controller = plane.controller(&["--forbidden-after=2s"]);
        plane.await_report("shop", "default", Some(("Unknown", "Forbidden")));
        let message = plane.get(&["-n", "shop", "ter", "default"])["status"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(message.contains(resource), "{message}");
        let condition = plane.kubectl(&[
            "-n",
            "shop",
            "wait",
            "--for=condition=Evaluated=false",
            "ter/default",
            "--timeout=5s",
        ]);
        assert!(condition.contains("condition met"), "{condition}");

        // A scan with the same permissions has the same verdict, names the missing rule, and fails.
        let kubeconfig = plane.own_kubeconfig();
        let args = [
            "scan",
            "-A",
            "-o",
            "json",
            "--kubeconfig",
            kubeconfig.to_str().unwrap(),
        ];
        let scan = program(&args, "");
        let error = String::from_utf8(scan.stderr).unwrap();
        assert_eq!(scan.status.code(), Some(2), "{error}");
        assert!(
            error.starts_with(&format!("error: cannot list {resource}: ")),
            "{error}"
        );
        let list: Value = serde_json::from_slice(&scan.stdout).unwrap();
        let found = list["items"].as_array().unwrap().iter();
        let found = found.filter(|report| report["metadata"]["namespace"] == "shop");
        let verdicts: Vec<_> = found.map(|report| &report["status"]["verdict"]).collect();
        assert_eq!(verdicts, ["Unknown"]);

        let log = controller.log();
        let lines: Vec<_> = log
            .lines()
            .filter(|line| line.contains("watch denied"))
            .collect();
        assert_eq!(lines.len(), 2, "{log}");
        assert!(lines[0].contains("if that lasts"), "{log}");
        assert!(lines[1].contains("are Unknown"), "{log}");
        let fix = format!("grant `list` and `watch` on `{resource}`");
        assert!(lines[1].contains(&fix), "{log}");

        // It retries every 10 s, and logs the error no more.
        let refused = "token_exposure_watch_errors_total";
        let kind = KINDS
            .into_iter()
            .find(|kind| kind.plural() == resource)
            .unwrap()
            .name();
        await_that("the controller retries", || {
            controller.metric(&format!("{refused}{{kind=\"{kind}\"}}")) >= 2.0
        });
        assert_eq!(controller.log().matches("watch denied").count(), 2);
        assert_eq!(controller.log().matches("again").count(), 0);

        // The permissions are restored: the verdict follows with the next retry.
        replace_role(&plane, &shipped);
        plane.await_report("shop", "default", Some(("Unneeded", "NoPermissions")));
    }
}

/// A deletion during an outage of the API server is seen afterwards; a restarted controller needs no
/// stored state, and does not write reports that are up to date.
#[test]
fn changes_during_an_outage_or_a_restart_are_not_missed() {
    let plane = pool::installed();
    plane.namespace("shop");
    plane.kubectl(&["-n", "shop", "run", "web", "--image=nginx"]);
    plane.kubectl(&[
        "create",
        "clusterrolebinding",
        "view",
        "--clusterrole=view",
        "--serviceaccount=shop:default",
    ]);
    let controller = plane.controller(&[]);
    controller.settle();
    assert_eq!(plane.report("shop", "default"), None);

    // The controller receives nothing while it is stopped; the connection of its watch survives.
    signal("STOP", controller.pid());
    plane.kubectl(&["delete", "clusterrolebinding", "view"]);
    signal("CONT", controller.pid());
    plane.await_report("shop", "default", Some(("Unneeded", "NoPermissions")));
    drop(controller);

    plane.kubectl(&[
        "create",
        "clusterrolebinding",
        "view",
        "--clusterrole=view",
        "--serviceaccount=shop:default",
    ]);
    let controller = plane.controller(&[]);
    plane.await_report("shop", "default", None);
    plane.kubectl(&["delete", "clusterrolebinding", "view"]);
    plane.await_report("shop", "default", Some(("Unneeded", "NoPermissions")));
    drop(controller);

    let controller = plane.controller(&[]);
    controller.settle();
    assert_eq!(
        controller.writes().to_bits(),
        0.0_f64.to_bits(),
        "a restart writes no report"
    );

    // The API server hangs: the controller stays alive, and exits on SIGTERM.
    signal("STOP", plane.pid("kube-apiserver"));
    assert_eq!(controller.get("/healthz").unwrap().0, 200);
    let (status, took, _) = controller.terminate();
    signal("CONT", plane.pid("kube-apiserver"));
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// A denied write is logged once, with the missing rule, and retried until it is permitted; reading and
/// metrics continue meanwhile.
#[test]
fn a_denied_write_is_logged_with_the_missing_rule_and_retried() {
    let plane = pool::installed();
    plane.namespace("shop");
    plane.kubectl(&["-n", "shop", "run", "web", "--image=nginx"]);
    let shipped = shipped_role(&plane);
    replace_role(&plane, &without(&shipped, "verbs", &["patch", "delete"]));

    let controller = plane.controller(&[]);
    let errors = r#"token_exposure_report_errors_total{cause="forbidden"}"#;
    // A report and two summaries: each is tried at least twice, and the log is written by a thread of its own.
    await_that("the writes are retried", || {
        controller.metric(errors) >= 8.0
    });
    let log = controller.log();
    // That of a report or of a summary, whichever is the first.
    assert_eq!(log.matches(" not written").count(), 1, "{log}");
    assert!(
        log.contains("grant `create`, `patch` and `delete` on `tokenexposurereports`"),
        "{log}"
    );
    let pods = r#"token_exposure_pods{namespace="shop",verdict="Unneeded"}"#;
    assert!(controller.metric(pods) >= 1.0);

    replace_role(&plane, &shipped);
    plane.await_report("shop", "default", Some(("Unneeded", "NoPermissions")));
}

/// A finalizer of others would keep a report that is no longer true, with whatever they write into it.
#[test]
fn a_finalizer_that_others_add_does_not_keep_a_report() {
    let plane = watched();
    plane.namespace("kept");
    plane.kubectl(&["-n", "kept", "run", "web", "--image=nginx"]);
    plane.await_report("kept", "default", Some(("Unneeded", "NoPermissions")));
    let finalizer = r#"{"metadata":{"finalizers":["example.com/kept"]}}"#;
    plane.kubectl(&[
        "-n",
        "kept",
        "patch",
        "ter",
        "default",
        "--type=merge",
        "-p",
        finalizer,
    ]);
    plane.kubectl(&[
        "-n",
        "kept",
        "create",
        "rolebinding",
        "view",
        "--clusterrole=view",
        "--serviceaccount=kept:default",
    ]);
    plane.await_report("kept", "default", None);
    let log = std::fs::read_to_string(plane.file("controller.log")).unwrap();
    assert!(log.contains("example.com/kept"), "{log}");
}

/// Fields that others add to a report are removed, and the log names the field manager. If admission
/// adds them every time, the controller stops trying.
#[test]
fn fields_that_others_add_to_a_report_are_removed() {
    let plane = pool::installed();
    plane.namespace("shop");
    plane.kubectl(&["-n", "shop", "run", "web", "--image=nginx"]);
    let controller = plane.controller(&[]);
    plane.await_report("shop", "default", Some(("Unneeded", "NoPermissions")));
    controller.settle();
    let status = || {
        let mut status = plane.get(&["-n", "shop", "ter", "default"])["status"].clone();
        status["conditions"][0]["lastTransitionTime"] = Value::Null;
        // Each change is another generation.
        status["conditions"][0]["observedGeneration"] = Value::Null;
        status["observedGeneration"] = Value::Null;
        status
    };
    let ours = status();
    let try_forge = |status: &str| {
        let patch = "patch ter default -n shop --field-manager=mallory --type=merge -p";
        let words: Vec<_> = patch.split(' ').chain([status]).collect();
        plane.try_kubectl(&words, "").status.success()
    };
    let forge = |status: &str| assert!(try_forge(status), "{status}");
    for (replaced, forged) in [
        r#"{"status":{"exemption":{"state":"Active","reason":"none","by":"nobody"}}}"#,
        r#"{"status":{"conditions":[{"type":"Fine","status":"True","reason":"None","message":""}]}}"#,
    ]
    .into_iter()
    .enumerate()
    {
        forge(forged);
        let series = "token_exposure_report_writes_total{operation=\"replace_status\"}";
        await_that("the added field is removed, and this is counted", || {
            is_observed(&plane.get(&["-n", "shop", "ter", "default"])) && status() == ours && controller.metric(series).to_string() == (replaced + 1).to_string()
        });
        // One line in a minute: who may write reports cannot fill the log.
        assert_eq!(controller.log().matches("mallory").count(), 1);
    }

    let test = "the end of fields_that_others_add_to_a_report_are_removed";
    if plane.lacks(Feature::MutatingAdmissionPolicy, test) {
        return;
    }
    plane.apply(STUBBORN);
    await_that("the policy is in force", || {
        // Until the API server has resolved the type that the policy changes, it answers 503.
        try_forge(r#"{"status":{"message":"forged"}}"#) && status()["truncated"] == 7
    });
    await_that("the field of the controller is restored", || {
        status()["message"] == ours["message"]
    });
    controller.settle();
    assert_eq!(status()["truncated"], 7);
    let told = "the API server does not keep reports as they are written";
    assert_eq!(controller.log().matches(told).count(), 1);
}

/// A policy that adds a field to every change of a report.
const STUBBORN: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: stubborn}
spec:
  matchConstraints:
    resourceRules:
      - apiGroups: [tokenexposure.io]
        apiVersions: ["*"]
        operations: [UPDATE]
        resources: [tokenexposurereports]
  failurePolicy: Fail
  reinvocationPolicy: Never
  mutations:
    - patchType: JSONPatch
      jsonPatch: {expression: '[JSONPatch{op: "add", path: "/status/truncated", value: 7}]'}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: stubborn}
spec: {policyName: stubborn}
"#;

/// A failing API server affects all accounts, but is one problem: at most one line a minute for each
/// cause, however many reports wait, and one when all are written.
#[test]
fn a_failing_api_server_does_not_fill_the_log() {
    const ACCOUNTS: u32 = 300;
    let plane = pool::installed();
    plane.namespace("shop");
    let manifests = (0..ACCOUNTS).map(|number| {
        format!(
            "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: a{number}, namespace: shop}}}}\n---\n\
             {{apiVersion: v1, kind: Pod, metadata: {{name: p{number}, namespace: shop}}, \
             spec: {{serviceAccountName: a{number}, containers: [{{name: c, image: i}}]}}}}\n---\n"
        )
    });
    plane.apply(&format!("---\n{}", manifests.collect::<String>()));
    let shipped = shipped_role(&plane);
    replace_role(&plane, &without(&shipped, "verbs", &["patch"]));
    let controller = plane.controller(&[]);
    let errors = r#"token_exposure_report_errors_total{cause="forbidden"}"#;
    await_that("each write was retried", || {
        controller.metric(errors) >= f64::from(2 * ACCOUNTS)
    });
    // Writes are denied, then the API server does not answer at all.
    signal("STOP", plane.pid("kube-apiserver"));
    std::thread::sleep(Duration::from_secs(20));
    signal("CONT", plane.pid("kube-apiserver"));
    await_that("the API server answers again", || {
        plane
            .try_kubectl(&["get", "namespaces"], "")
            .status
            .success()
    });
    replace_role(&plane, &shipped);
    await_that("all reports are written", || {
        let reports = plane.get(&["-n", "shop", "ter"]);
        reports["items"].as_array().unwrap().len() == ACCOUNTS as usize
    });
    await_that("the recovery is logged", || {
        controller.log().contains("all reports are written again")
    });
    let log = controller.log();
    assert_eq!(log.matches(" not written").count(), 2, "{log}");
    assert!(log.lines().count() < 10, "{log}");
}

/// A deletion while no API server is reachable is seen when one is.
#[test]
fn deletions_while_the_watch_was_down_are_seen() {
    let plane = pool::installed();
    plane.namespace("shop");
    plane.kubectl(&["-n", "shop", "run", "web", "--image=nginx"]);
    plane.kubectl(&["-n", "shop", "run", "gone", "--image=nginx"]);
    let controller = plane.controller(&[]);
    plane.await_report("shop", "default", Some(("Unneeded", "NoPermissions")));
    controller.settle();

    // The controller is stopped while the API server is restarted, a pod is deleted, and the watch
    // cache is lost: the watches cannot be resumed, and everything is listed again.
    signal("STOP", controller.pid());
    plane.restart_api_server();
    plane.kubectl(&["-n", "shop", "delete", "pod", "gone", "--now"]);
    plane.restart_api_server();
    signal("CONT", controller.pid());
    await_that("the pod is no longer counted", || {
        let report = plane.get(&["-n", "shop", "ter", "default"]);
        report["status"]["pods"] == 1
    });
    assert!(!controller.log().contains("ERROR"), "{}", controller.log());
}

/// If the server cannot stream the initial list, the objects are listed in pages.
#[test]
fn without_streamed_lists_objects_are_listed_in_pages() {
    let plane = ControlPlane::audited(&["--feature-gates=WatchList=false"]);
    plane.namespace("shop");
    for pod in 0..3 {
        plane.kubectl(&["-n", "shop", "run", &format!("web-{pod}"), "--image=nginx"]);
    }
    let controller = plane.controller(&[]);
    plane.await_report("shop", "default", Some(("Unneeded", "NoPermissions")));
    assert!(!controller.log().contains("WARN"), "{}", controller.log());
    let requests = plane.own_requests();
    let uri = |event: &Value| event["requestURI"].as_str().unwrap().to_owned();
    let lists = requests
        .iter()
        .filter(|event| event["verb"] == "list")
        .map(uri);
    let pods: Vec<_> = lists
        .filter(|uri| uri.starts_with("/api/v1/pods?"))
        .collect();
    assert!(
        !pods.is_empty() && pods.iter().all(|uri| uri.contains("limit=500")),
        "{pods:?}"
    );
}

#[test]
fn without_the_crd_the_controller_exits_and_says_how_to_install_it() {
    let plane = bare();
    let kubeconfig = plane.kubeconfig();
    let output = program(
        &[
            "controller",
            "--bind-address",
            "127.0.0.1:0",
            "--kubeconfig",
            kubeconfig.to_str().unwrap(),
        ],
        "",
    );
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("token-exposure crd | kubectl apply --server-side -f -"),
        "{error}"
    );
}

/// If the API server does not enforce RBAC, RBAC objects prove nothing.
#[test]
fn without_rbac_verdicts_are_unknown() {
    let plane = ControlPlane::bare(&["--authorization-mode=AlwaysAllow"]);
    plane.namespace("shop");
    plane.kubectl(&["-n", "shop", "run", "web", "--image=nginx"]);
    let scan = plane.scan(&["-n", "shop", "-o", "json"]);
    let list: Value = serde_json::from_slice(&scan.stdout).unwrap();
    let status = &list["items"][0]["status"];
    assert_eq!(
        (status["verdict"].as_str(), status["reason"].as_str()),
        (Some("Unknown"), Some("RBACNotEnforced"))
    );
}
