//! The ValidatingAdmissionPolicy of the chart on the real API server: its warnings in `kubectl`, and that
//! it blocks nothing when the controller, the summaries or the CRD are missing.

use std::fs;

use futures::{StreamExt, stream};
use http::header::{CONTENT_TYPE, HeaderValue, WARNING};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use token_exposure::{
    api::{
        TokenExposureReport, TokenExposureReportSpec, TokenExposureSummary,
        TokenExposureSummarySpec, TokenExposureSummaryStatus,
    },
    model::summary::NAME,
};

use crate::rig::{ControlPlane, await_that, fresh, pool, random::cases, runtime, scan_files};

const PLACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Pods, and the kinds with a pod template.
const KINDS: [&str; 9] = [
    "Pod",
    "PodTemplate",
    "ReplicationController",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "Job",
    "CronJob",
];

/// The text of the warning about an account.
fn advice(account: &str) -> String {
    format!(
        "ServiceAccount {account} has no permission that needs this token: set automountServiceAccountToken: false"
    )
}

/// A pod or a workload with this metadata and spec of its pods.
fn workload(kind: &str, name: &str, pod: &Value) -> Value {
    let labels = json!({ "app": name });
    let mut template = pod.clone();
    let restart = if kind.ends_with("Job") {
        "Never"
    } else {
        "Always"
    };
    template["spec"]["restartPolicy"] = restart.into();
    let mut metadata = template["metadata"].take();
    metadata["labels"] = labels.clone();
    template["metadata"] = metadata.clone();
    let version = match kind {
        "Pod" | "PodTemplate" | "ReplicationController" => "v1",
        "Job" | "CronJob" => "batch/v1",
        _ => "apps/v1",
    };
    let selector = json!({ "matchLabels": labels });
    let content = match kind {
        "Pod" => json!({ "metadata": metadata, "spec": template["spec"] }),
        "PodTemplate" => json!({ "template": template }),
        "ReplicationController" => json!({ "spec": { "selector": labels, "template": template } }),
        "Job" => json!({ "spec": { "template": template } }),
        "CronJob" => {
            json!({ "spec": { "schedule": "0 4 * * *", "jobTemplate": { "spec": { "template": template } } } })
        }
        _ => json!({ "spec": { "selector": selector, "template": template } }),
    };
    let mut object = json!({ "apiVersion": version, "kind": kind });
    object
        .as_object_mut()
        .unwrap()
        .extend(content.as_object().unwrap().clone());
    object["metadata"]["name"] = name.into();
    object
}

/// A pod that does not set automount, changed by a merge.
fn pod(change: &Value) -> Value {
    let mut pod =
        json!({ "metadata": {}, "spec": { "containers": [{ "name": "c", "image": "nginx" }] } });
    merge(&mut pod, change);
    pod
}

fn merge(into: &mut Value, change: &Value) {
    match change.as_object() {
        Some(fields) if into.is_object() => {
            for (key, value) in fields {
                merge(&mut into[key], value);
            }
        }
        _ => *into = change.clone(),
    }
}

/// Whether kubectl succeeds, and its standard error.
fn ask(plane: &ControlPlane, args: &[&str], object: &Value) -> (bool, String) {
    let output = plane.try_kubectl(
        &[args, &["-n", "shop", "-f", "-"]].concat(),
        &object.to_string(),
    );
    (
        output.status.success(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Whether creating the object warns, with exactly this text.
fn warned(plane: &ControlPlane, object: &Value, account: &str) -> bool {
    let (admitted, said) = ask(plane, &["create", "--dry-run=server"], object);
    assert!(admitted, "{said}\n{object}");
    let warning = format!(
        "Warning: Validation failed for ValidatingAdmissionPolicy 'token-exposure' with binding 'token-exposure-create': {}\n",
        advice(account)
    );
    assert!(said.is_empty() || said == warning, "{said}");
    !said.is_empty()
}

/// Installs or upgrades the chart with the policy and these values.
fn install(plane: &ControlPlane, values: &str) {
    plane.release(&format!("policy.enabled=true{values}"));
}

/// Creates a namespace `shop` with accounts, a pod of each, their reports and its summary; the controller has stopped.
fn shop(plane: &ControlPlane) {
    plane.namespace("shop");
    let accounts = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "cart" } },
        { "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "login" } },
        { "apiVersion": "v1", "kind": "ServiceAccount", "metadata":
            { "name": "kept", "annotations": { "tokenexposure.io/exempt": "the vendor wants it" } } },
    ] });
    assert!(ask(plane, &["apply"], &accounts).0);
    plane.kubectl(&[
        "-n",
        "shop",
        "create",
        "rolebinding",
        "cart",
        "--clusterrole=view",
        "--serviceaccount=shop:cart",
    ]);
    for account in ["default", "cart", "kept"] {
        let pod = pod(&json!({ "spec": { "serviceAccountName": account } }));
        assert!(
            ask(
                plane,
                &["apply"],
                &workload("Pod", &format!("first-{account}"), &pod)
            )
            .0
        );
    }
    let login = json!({ "spec": { "serviceAccountName": "login", "containers":
        [{ "name": "c", "image": "vault", "env": [{ "name": "VAULT_ADDR", "value": "https://vault" }] }] } });
    assert!(
        ask(
            plane,
            &["apply"],
            &workload("Pod", "first-login", &pod(&login))
        )
        .0
    );
    let controller = plane.controller(&[]);
    plane.await_report("shop", "default", Some(("Unneeded", "NoPermissions")));
    plane.await_report("shop", "login", Some(("Review", "KnownConsumer")));
    plane.await_report("shop", "kept", Some(("Exempted", "Exemption")));
    plane.await_report("shop", "cart", None);
    controller.settle();
    drop(controller);
}

/// Waits until the API server enforces the policy as it was last installed or deleted.
fn await_policy(plane: &ControlPlane, what: &str, holds: impl Fn(bool, &str) -> bool) {
    let probe = workload("Pod", "probe", &pod(&json!({})));
    await_that(what, || {
        let (admitted, said) = ask(plane, &["create", "--dry-run=server"], &probe);
        holds(admitted, &said)
    });
}

fn await_warnings(plane: &ControlPlane) {
    await_policy(plane, "the policy warns", |_, said| {
        said.contains("token-exposure-create")
    });
}

#[test]
fn creating_a_pod_or_workload_with_an_unneeded_token_warns() {
    let plane = ControlPlane::audited(&[]);
    shop(&plane);
    install(&plane, "");
    await_warnings(&plane);
    let mut status = Value::Null;
    await_that("a controller has checked the expressions", || {
        status = plane.get(&["validatingadmissionpolicy", "token-exposure"])["status"].take();
        !status["typeChecking"].is_null()
    });
    assert_eq!(
        status["typeChecking"],
        json!({}),
        "the server finds no type errors in the expressions"
    );
    let elsewhere = json!({ "spec": { "volumes": [{ "name": "v", "emptyDir": {} }], "containers":
        [{ "name": "c", "image": "nginx", "volumeMounts": [{ "name": "v", "mountPath": PLACE }] }] } });
    let exempt = |reason: &str| json!({ "metadata": { "annotations": { "tokenexposure.io/exempt": reason } } });
    let of = |account: &str| json!({ "spec": { "serviceAccountName": account } });
    let cases = [
        ("does not set automount", json!({}), true),
        (
            "enables automount",
            json!({ "spec": { "automountServiceAccountToken": true } }),
            true,
        ),
        ("names the account", of("default"), true),
        (
            "disables automount",
            json!({ "spec": { "automountServiceAccountToken": false } }),
            false,
        ),
        ("mounts something else there", elsewhere, false),
        ("is exempted", exempt("the vendor wants it"), false),
        ("has an exemption without a reason", exempt(" "), true),
        ("runs as an account that needs the token", of("cart"), false),
        ("runs as an exempted account", of("kept"), false),
        ("runs as an account of a known consumer", of("login"), false),
    ];
    for kind in KINDS {
        for (what, change, expected) in &cases {
            let object = workload(kind, "web", &pod(change));
            assert_eq!(
                warned(&plane, &object, "default"),
                *expected,
                "a {kind} that {what}"
            );
        }
    }
    // Users cannot change the cluster's add-ons.
    let system = plane.try_kubectl(
        &["-n", "kube-system", "create", "--dry-run=server", "-f", "-"],
        &workload("Deployment", "dns", &pod(&json!({}))).to_string(),
    );
    assert_eq!((system.status.success(), system.stderr), (true, Vec::new()));

    // The audit log has the warning too.
    assert!(
        ask(
            &plane,
            &["create"],
            &workload("Deployment", "told", &pod(&json!({})))
        )
        .0
    );
    let failed = "validation.policy.admission.k8s.io/validation_failure";
    await_that("the audit log has the warning", || {
        plane.requests().iter().any(|event| {
            event["objectRef"]["name"] == "told"
                && event["annotations"][failed]
                    .as_str()
                    .is_some_and(|said| said.contains(&advice("default")))
        })
    });
}

/// An update that does not change the template does not warn, and requests of controllers do not either.
#[test]
fn an_update_warns_only_if_a_user_changes_the_template() {
    let plane = ControlPlane::audited(&[]);
    shop(&plane);
    install(&plane, "");
    await_warnings(&plane);
    for kind in KINDS
        .into_iter()
        .filter(|kind| !["Pod", "Job"].contains(kind))
    {
        let mut web = workload(kind, "web", &pod(&json!({})));
        assert!(
            ask(&plane, &["apply", "--server-side"], &web)
                .1
                .contains("token-exposure-create"),
            "{kind}"
        );
        let said = |object: &Value| ask(&plane, &["apply", "--server-side"], object);
        web["metadata"]["labels"] = json!({ "team": "shop" });
        assert_eq!(said(&web), (true, String::new()), "a label of {kind}");
        if kind == "ReplicaSet" || kind == "Deployment" {
            web["spec"]["replicas"] = json!(2);
            assert_eq!(said(&web), (true, String::new()), "more of {kind}");
        }
        let template = match kind {
            "PodTemplate" => &mut web["template"],
            "CronJob" => &mut web["spec"]["jobTemplate"]["spec"]["template"],
            _ => &mut web["spec"]["template"],
        };
        template["spec"]["containers"][0]["image"] = "nginx:2".into();
        let warning = format!(
            "Warning: Validation failed for ValidatingAdmissionPolicy 'token-exposure' with binding 'token-exposure-update': {}\n",
            advice("default")
        );
        assert_eq!(said(&web), (true, warning), "another image of {kind}");
    }
    let exempt = json!({ "metadata": { "annotations": { "tokenexposure.io/exempt": "why" } } });
    let change = |pod: &Value| {
        let kept = workload("Deployment", "kept", pod);
        ask(&plane, &["apply", "--server-side"], &kept).1
    };
    assert_eq!(change(&pod(&exempt)), "");
    let said = change(&pod(&json!({})));
    assert!(
        said.contains("token-exposure-update"),
        "it was exempted: {said}"
    );
    let pods = || {
        plane.get(&["-n", "shop", "pods", "-l", "app=web"])["items"]
            .as_array()
            .unwrap()
            .len()
    };
    await_that("the controllers create pods", || pods() >= 5);
    // They got no warnings.
    for event in plane.requests() {
        let said = event["annotations"]["validation.policy.admission.k8s.io/validation_failure"]
            .is_string();
        assert!(!said || event["user"]["username"] == "admin", "{event}");
    }
}

#[test]
fn deny_rejects_with_the_same_message() {
    let plane = pool::installed();
    shop(&plane);
    install(&plane, ",policy.actions={Deny}");
    await_policy(&plane, "the policy denies", |admitted, _| !admitted);
    let switched_off = json!({ "spec": { "automountServiceAccountToken": false } });
    let exempt = json!({ "metadata": { "annotations": { "tokenexposure.io/exempt": "later" } } });
    for kind in KINDS {
        let create = |name: &str, change: &Value| {
            ask(&plane, &["create"], &workload(kind, name, &pod(change)))
        };
        let (admitted, said) = create("web", &json!({}));
        let refusal = format!(
            "with binding 'token-exposure-create' denied request: {}",
            advice("default")
        );
        assert!(!admitted && said.contains(&refusal), "{said}");
        let nothing_said = (true, String::new());
        assert_eq!(create("web", &switched_off), nothing_said, "{kind}");
        assert_eq!(create("exempted", &exempt), nothing_said, "{kind}");
    }
}

/// Verdicts that a scan of the cluster finds, and the manifest alone does not show.
#[test]
fn the_policy_respects_summaries_and_known_consumers() {
    let plane = pool::installed();
    shop(&plane);
    let sesame = "config.knownConsumers[0]";
    install(
        &plane,
        &format!(
            ",{sesame}.name=Sesame,{sesame}.annotations={{sesame/inject}},{sesame}.variables={{SESAME}}"
        ),
    );
    await_warnings(&plane);
    let warned = |name: &str, change: &Value| {
        warned(
            &plane,
            &workload("Deployment", name, &pod(change)),
            "default",
        )
    };
    let annotated =
        |value: &str| json!({ "metadata": { "annotations": { "sesame/inject": value } } });
    let variable = json!({ "spec": { "containers":
        [{ "name": "c", "image": "x", "env": [{ "name": "SESAME", "value": "open" }] }] } });
    assert_eq!(
        [&annotated("yes"), &annotated("false"), &variable].map(|change| warned("web", change)),
        [false, true, false]
    );

    // The summary says more about each workload, and about accounts of similar names nothing.
    for (otherwise, expected) in [
        ("|", true),
        ("|default/Deployment/known|", false),
        ("|default/Deployment/know|default/Deployment/knownn|", true),
        ("|other/Deployment/known|default/Job/known|", true),
        ("|cart/Job/x|default/Deployment/known|other/Job/x|", false),
    ] {
        set_summary(&plane, &json!({ "judgedOtherwise": otherwise }));
        await_that(otherwise, || warned("known", &json!({})) == expected);
        assert!(warned("another", &json!({})));
    }
    for (unneeded, expected) in [
        ("|", false),
        ("|default|", true),
        ("|default2|my-default|defaul|default.x|", false),
        ("|a|default|z|", true),
    ] {
        set_summary(&plane, &json!({ "unneeded": unneeded }));
        await_that(unneeded, || warned("another", &json!({})) == expected);
    }
}

/// Changes the status of the summary of namespace `shop`.
fn set_summary(plane: &ControlPlane, status: &Value) {
    let patch = [
        "patch",
        "tes",
        NAME,
        "--subresource=status",
        "--type=merge",
        "-p",
    ];
    let status = json!({ "status": status }).to_string();
    plane.kubectl(&[&["-n", "shop"], &patch[..], &[&status]].concat());
}

/// An existing workload is scaled and its pods are recreated; a new image only warns.
#[test]
fn deny_does_not_affect_existing_workloads() {
    let plane = pool::installed();
    shop(&plane);
    let running = workload("Deployment", "running", &pod(&json!({})));
    assert!(ask(&plane, &["apply", "--server-side"], &running).0);
    install(&plane, ",policy.actions={Deny}");
    await_policy(&plane, "the policy denies", |admitted, _| !admitted);
    let kubectl = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let output = plane.try_kubectl(&[&["-n", "shop"], &words[..]].concat(), "");
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), said)
    };
    let images = || -> Vec<String> {
        let pods = plane.get(&["-n", "shop", "pods", "-l", "app=running"]);
        let pods = pods["items"].as_array().unwrap().iter();
        let live = pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        live.map(|pod| pod["spec"]["containers"][0]["image"].to_string())
            .collect()
    };
    let quietly = (true, String::new());
    let scaled = kubectl("scale deployment running --replicas=3");
    assert_eq!(scaled, quietly);
    await_that("three pods", || images().len() == 3);
    assert_eq!(kubectl("delete pod -l app=running --now"), quietly);
    await_that("three other pods", || images().len() == 3);
    // The report advises this after automount of the ServiceAccount is disabled.
    let restart = "rollout restart deployment/running";
    assert_eq!(kubectl(restart), quietly);
    let (admitted, said) = kubectl("set image deployment/running c=nginx:2");
    assert!(admitted && said.starts_with("Warning: "), "{said}");
    assert!(said.contains(&advice("default")), "{said}");
    await_that("pods of the new image", || {
        images().iter().any(|image| image.contains("nginx:2"))
    });

    // `updateActions` rejects updates too.
    install(&plane, ",policy.actions={Deny},policy.updateActions={Deny}");
    await_that("updates are refused", || {
        let (admitted, said) = kubectl("set image deployment/running c=nginx:3 --dry-run=server");
        !admitted && said.contains("token-exposure-update")
    });
    assert_eq!(kubectl("scale deployment running --replicas=1"), quietly);
    assert_eq!(kubectl(restart), quietly);
}

/// The API server evaluates the policy, with the summary that exists.
#[test]
fn without_a_summary_or_the_crd_everything_is_admitted() {
    let plane = pool::installed();
    // `shop` stops its controller: the summary still counts.
    shop(&plane);
    install(&plane, ",policy.actions={Deny}");
    await_policy(&plane, "the policy denies", |admitted, _| !admitted);
    let web = |name: &str| workload("Deployment", name, &pod(&json!({})));
    assert!(!ask(&plane, &["create"], &web("refused")).0);

    plane.kubectl(&["-n", "shop", "delete", "tokenexposuresummaries", "--all"]);
    await_policy(&plane, "nothing is said", |admitted, said| {
        admitted && said.is_empty()
    });
    assert_eq!(
        ask(&plane, &["create"], &web("without-a-summary")),
        (true, String::new())
    );

    let controller = plane.controller(&[]);
    await_policy(&plane, "the policy denies again", |admitted, _| !admitted);
    drop(controller);
    plane.kubectl(&["delete", "crd", "tokenexposuresummaries.tokenexposure.io"]);
    await_policy(&plane, "everything is admitted", |admitted, said| {
        admitted && said.is_empty()
    });
    assert_eq!(
        ask(&plane, &["create"], &web("without-definition")),
        (true, String::new())
    );
    // The CRD is installed again, and everything works again.
    install(&plane, ",policy.actions={Deny}");
    plane.kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd/tokenexposuresummaries.tokenexposure.io",
    ]);
    let _controller = plane.controller(&[]);
    await_policy(&plane, "the policy denies once more", |admitted, _| {
        !admitted
    });
}

/// The policy finds one of many accounts by its name, and that costs the API server nearly nothing. `CASES=3000` measures
/// what a created pod costs it.
#[test]
#[expect(clippy::print_stdout, reason = "the figure is of interest")]
fn one_of_many_accounts_is_found_and_that_costs_little() {
    let accounts = cases(300);
    let plane = pool::installed();
    plane.namespace("shop");
    let runtime = runtime();
    let client = runtime.block_on(plane.client());
    runtime.block_on(summarized(&client, accounts));
    let (account, last) = (
        &*format!("account-{}", accounts / 2),
        &*format!("account-{}", accounts - 1),
    );
    plane.kubectl(&["-n", "shop", "create", "serviceaccount", account]);
    let of = |name: &str| pod(&json!({ "spec": { "serviceAccountName": name } }));
    let own = workload("Pod", "web", &of(account));
    let mut made = own.clone();
    made["metadata"]["labels"]["pod-template-hash"] = "1".into();
    made["metadata"]["ownerReferences"] = json!([
        { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": true }
    ]);
    // The CPU time of the API server for each created pod, in milliseconds: the least of some rounds, since it has other
    // work too.
    let cost = |object: &Value, told: bool| {
        let mut costs = [0.0; 8];
        for cost in &mut costs {
            let before = cpu_seconds(plane.pid("kube-apiserver"));
            runtime.block_on(async {
                let ask = |_| warns(&client, object, account);
                let mut asked = stream::iter(0..100).map(ask).buffer_unordered(8);
                while let Some(warned) = asked.next().await {
                    assert_eq!(warned, Some(told), "{object}");
                }
            });
            *cost = (cpu_seconds(plane.pid("kube-apiserver")) - before) * 1_000.0 / 100.0;
        }
        costs.into_iter().fold(f64::INFINITY, f64::min)
    };
    cost(&own, false);
    let without = cost(&own, false);
    install(&plane, "");
    await_that("the last account is known", || {
        warned(&plane, &workload("Deployment", "web", &of(last)), last)
    });
    let longer = last.replace("account-", "account-1");
    assert!(!warned(
        &plane,
        &workload("Deployment", "web", &of(&longer)),
        &longer
    ));
    let (own, made) = (cost(&own, true), cost(&made, false));
    println!(
        "{accounts} accounts: {without:.1} ms without the policy, {own:.1} ms with it, {made:.1} ms for a ReplicaSet"
    );
    assert!(own - without < 20.0, "{own} and {without} ms");
}

/// Writes a report for each of many accounts, and the summary that names them.
async fn summarized(client: &Client, accounts: usize) {
    let reports = Api::<TokenExposureReport>::namespaced(client.clone(), "shop");
    let status = json!({ "status": { "verdict": "Unneeded", "reason": "NoPermissions", "message": "x".repeat(1000) } });
    let (params, merge) = (PatchParams::default(), Patch::Merge(&status));
    let make = |number: usize| {
        let (reports, params, merge) = (&reports, &params, &merge);
        async move {
            let name = format!("account-{number}");
            let spec = TokenExposureReportSpec {
                service_account_name: name.clone(),
            };
            let report = TokenExposureReport::new(&name, spec);
            let new = PostParams::default();
            reports.create(&new, &report).await.unwrap();
            reports.patch(&name, params, merge).await.unwrap();
        }
    };
    let written = stream::iter(0..accounts).map(make).buffer_unordered(16);
    written.collect::<Vec<()>>().await;
    let summaries = Api::<TokenExposureSummary>::namespaced(client.clone(), "shop");
    let mut summary = TokenExposureSummary::new(NAME, TokenExposureSummarySpec {});
    let new = PostParams::default();
    summaries.create(&new, &summary).await.unwrap();
    let names = (0..accounts).map(|number| format!("account-{number}|"));
    summary.status = Some(TokenExposureSummaryStatus {
        unneeded: format!("|{}", names.collect::<String>()),
        ..TokenExposureSummaryStatus::default()
    });
    let params = PatchParams::apply("test").force();
    let status = Patch::Apply(&summary);
    summaries
        .patch_status(NAME, &params, &status)
        .await
        .unwrap();
}

/// The CPU time that a process has used.
#[expect(clippy::cast_precision_loss, reason = "clock ticks")]
fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<_> = after_name.split(' ').collect();
    // `utime` and `stime`, in ticks of which Linux has 100 a second.
    let ticks = |place: usize| fields[place].parse::<u64>().unwrap() as f64;
    (ticks(11) + ticks(12)) / 100.0
}

const TABLE: &str = "src/model/consumers.yaml";
const CONSUMERS: &str = "deploy/chart/files/consumers.yaml";

/// The built-in systems whose clients use the auto-mounted token.
fn rules() -> Vec<Value> {
    let table = fs::read_to_string(TABLE).unwrap();
    let mut rules: Vec<Value> = serde_yaml::from_str(&table).unwrap();
    rules.retain(|rule| rule["token"] != "own");
    rules
}

/// The entries of a field of all rules.
fn entries(field: &str) -> Vec<String> {
    let rules = rules();
    let entries = rules
        .iter()
        .filter_map(|rule| rule[field].as_array())
        .flatten();
    entries
        .map(|entry| entry.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_consumers_of_the_policy_are_written_from_those_of_the_scan() {
    let table = fs::read_to_string(TABLE).unwrap();
    let head = format!("# Copied by `make generate` from {TABLE}.\n\n");
    fresh(CONSUMERS, &(head + &table));
}

/// Pods of the vectors that the API server accepts, and of each known consumer.
fn varied_pods() -> Vec<Value> {
    let mut pods = Vec::new();
    for file in ["injection", "carriers"] {
        let vectors = fs::read_to_string(format!("tests/vectors/{file}.yaml")).unwrap();
        let vectors: Value = serde_yaml::from_str(&vectors).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        for case in cases.iter().filter(|case| case["server"] != "refuses") {
            if let [object] = &case["objects"].as_array().unwrap()[..]
                && object["kind"] == "Pod"
            {
                pods.push(json!({ "metadata": { "annotations": object["metadata"]["annotations"] }, "spec": object["spec"] }));
            }
        }
    }
    for (field, part) in [("annotations", "annotations"), ("labels", "labels")] {
        for entry in entries(field) {
            let (key, _) = entry.split_once('=').unwrap_or((&entry, ""));
            for value in ["true", "Enabled", "false", "no"] {
                pods.push(pod(&json!({ "metadata": { part: { key: value } } })));
            }
        }
    }
    let container = |part: &str, value: Value| json!({ "spec": { "containers": [{ "name": "c", "image": "x", part: value }] } });
    for entry in entries("variables") {
        let (name, values) = entry.split_once('=').unwrap_or((&entry, "x"));
        let name = name.replace('*', "X");
        for value in [values.split('|').next().unwrap(), "other"] {
            pods.push(pod(&container(
                "env",
                json!([{ "name": name, "value": value }]),
            )));
        }
    }
    for word in entries("words") {
        let word = word.trim_start_matches('^').replace('*', "-x-");
        pods.push(pod(&container(
            "args",
            json!(["run", format!("--with={word}")]),
        )));
        pods.push(pod(&container(
            "env",
            json!([{ "name": "X", "value": word }]),
        )));
        let exec = json!({ "exec": { "command": ["sh", "-c", word] } });
        pods.push(pod(&container("livenessProbe", exec)));
    }
    for driver in entries("drivers") {
        pods.push(pod(
            &json!({ "spec": { "volumes": [{ "name": "v", "csi": { "driver": driver } }] } }),
        ));
    }
    for text in [
        "/var/run/secrets/kubernetes.io/serviceaccount",
        "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
        "/var/run/secrets/kubernetes.io",
        "vault write auth/approle/login",
    ] {
        pods.push(pod(&container("command", json!(["sh", "-c", text]))));
    }
    for script in [
        "kubectl get pods",
        "cd /x;/usr/bin/kubectl get",
        "$(kubectl)",
        "kubectlx get",
        "no-kubectl",
        "echo kubectl-x",
    ] {
        pods.push(pod(&container("command", json!(["sh", "-c", script]))));
    }
    pods
}

/// Adds what the API server requires and vectors leave out: images.
fn complete(pod: &mut Value) {
    let spec = &mut pod["spec"];
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            if container["image"].is_null() {
                container["image"] = "x".into();
            }
        }
    }
    for field in ["ephemeralContainers", "nodeName"] {
        spec.as_object_mut().unwrap().remove(field);
    }
}

/// Whether the API server warns about creating the object; `None` if it rejects it.
async fn warns(client: &Client, object: &Value, account: &str) -> Option<bool> {
    let path = match object["kind"].as_str().unwrap() {
        "Pod" => "/api/v1/namespaces/shop/pods?dryRun=All",
        _ => "/apis/apps/v1/namespaces/shop/deployments?dryRun=All",
    };
    let request = http::Request::post(path).header(CONTENT_TYPE, "application/json");
    let request = request
        .body(object.to_string().into_bytes().into())
        .unwrap();
    let response = client.send(request).await.unwrap();
    let warnings = response.headers().get_all(WARNING).iter();
    let told = |warning: &HeaderValue| warning.to_str().unwrap().contains(&advice(account));
    let warned = warnings.into_iter().any(told);
    response.status().is_success().then_some(warned)
}

/// The policy warns if, and only if, a scan of the manifest finds `Unneeded`.
#[test]
fn the_policy_warns_if_a_scan_finds_unneeded() {
    let plane = pool::installed();
    shop(&plane);
    install(&plane, "");
    await_warnings(&plane);
    let runtime = runtime();
    let client = runtime.block_on(plane.client());
    let dir = tempfile::tempdir().unwrap();
    let manifest = dir.path().join("manifest.yaml");
    let (mut agreed, mut differing, mut refused) = ([0, 0], Vec::new(), 0);
    for mut pod in varied_pods() {
        complete(&mut pod);
        pod["spec"]["serviceAccountName"] = "default".into();
        for kind in ["Pod", "Deployment"] {
            let object = workload(kind, "sample", &pod);
            let Some(warned) = runtime.block_on(warns(&client, &object, "default")) else {
                refused += 1;
                continue;
            };
            fs::write(&manifest, object.to_string()).unwrap();
            let audience = ["--api-audience", "https://kubernetes.default.svc"];
            let (reports, ..) = scan_files(&[&manifest], &audience);
            let verdict = &reports[0]["status"]["verdict"];
            if warned == (*verdict == "Unneeded") {
                agreed[usize::from(warned)] += 1;
            } else {
                differing.push(format!("{verdict}, and warned: {warned}: {object}"));
            }
        }
    }
    assert_eq!(differing, Vec::<String>::new());
    // Two of the pods have mounts that the API server rejects.
    assert!(
        agreed[0] >= 200 && agreed[1] >= 60 && refused <= 4,
        "{agreed:?}, {refused} refused"
    );
}
