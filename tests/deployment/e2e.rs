//! End to end on a real control plane with a real Prometheus: from the install of the chart to its
//! uninstall, with the commands that a user types. `make e2e` prints it.
//!
//! There is no kubelet: the test starts the controllers as the pods of the Deployment would, with its
//! arguments and its ServiceAccount, and sets pods to ready.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; this one prints its steps"
)]

use std::{collections::BTreeSet, fmt::Write};

use serde_json::{Value, json};

use crate::rig::{
    ControlPlane, Controller, await_that,
    helm::{RELEASE, controller_args, tools},
    prometheus::Prometheus,
};

const CRDS: &str = "tokenexposurereports.tokenexposure.io tokenexposuresummaries.tokenexposure.io";
const ALERT: &str = "TokenExposureUnneededToken";
/// The accounts of the samples with unneeded tokens.
const UNNEEDED: [&str; 3] = ["backup", "default", "mail"];
/// The accounts of the samples with other findings.
const OTHERS: [&str; 4] = ["dashboard", "etl", "search", "vault-client"];

/// A control plane, and the commands run on it.
struct Story {
    plane: ControlPlane,
}

fn chapter(title: &str) {
    println!("\n▸ {title}");
}

/// A command line, quoted for a shell.
fn line(program: &str, args: &[&str]) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_=./,:@".contains(letter);
    let word = |arg: &&str| {
        if arg.chars().all(plain) {
            (*arg).to_owned()
        } else {
            format!("'{arg}'")
        }
    };
    let words: Vec<_> = args.iter().map(word).collect();
    format!("{program} {}", words.join(" "))
}

impl Story {
    /// Runs a command with this standard input; returns its output. It must succeed.
    fn kubectl_with(&self, args: &[&str], stdin: &str) -> String {
        let from = if stdin.is_empty() { "" } else { " < pod.yaml" };
        println!("\n$ {}{from}", line("kubectl", args));
        let output = self.plane.try_kubectl(args, stdin);
        let said = [output.stderr, output.stdout].map(|text| String::from_utf8(text).unwrap());
        let said = said.concat();
        print!("{said}");
        assert!(output.status.success(), "{}: {said}", line("kubectl", args));
        said
    }

    fn kubectl(&self, command: &str) -> String {
        let args: Vec<_> = command.split(' ').collect();
        self.kubectl_with(&args, "")
    }

    fn apply(&self, manifest: &str) -> String {
        println!("\n$ cat pod.yaml\n{}", manifest.trim());
        self.kubectl_with(&["apply", "-f", "-"], manifest)
    }

    fn helm(&self, args: &[&str]) {
        println!("\n$ {} -n {RELEASE}", line("helm", args));
        print!("{}", self.plane.helm(args));
    }

    /// Sets all pods of a namespace to ready, in place of a kubelet.
    fn run_pods(&self, namespace: &str) {
        let pods = self.plane.get(&["-n", namespace, "pods"]);
        let ready = json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } });
        for pod in pods["items"].as_array().unwrap() {
            let name = pod["metadata"]["name"].as_str().unwrap();
            // A rollout may delete a pod meanwhile: that is not a failure.
            let status = format!("/api/v1/namespaces/{namespace}/pods/{name}/status");
            self.plane.merge(&status, &ready);
        }
    }

    /// Waits for this number of pods; returns their names.
    fn await_pods(&self, namespace: &str, count: usize) -> Vec<String> {
        let mut names = Vec::new();
        await_that("the pods are created", || {
            let pods = self
                .plane
                .kubectl(&["-n", namespace, "get", "pods", "-o", "name"]);
            let name = |line: &str| line.trim_start_matches("pod/").to_owned();
            names = pods.lines().map(name).collect();
            names.len() == count
        });
        names
    }

    /// The names of all reports, and whether they are `Unneeded`.
    fn reports(&self) -> BTreeSet<(bool, String)> {
        let reports = self.plane.get(&["ter", "-A"]);
        let items = reports["items"].as_array().unwrap().iter();
        let one = |report: &Value| {
            let name = report["metadata"]["name"].as_str().unwrap();
            (report["status"]["verdict"] == "Unneeded", name.to_owned())
        };
        items.map(one).collect()
    }

    /// Every object of any kind with the name or label of the chart.
    fn ours(&self) -> BTreeSet<String> {
        let kinds = self
            .plane
            .kubectl(&["api-resources", "--verbs=list", "-o", "name"]);
        let kinds: Vec<_> = kinds.lines().collect();
        let objects = self
            .plane
            .get(&[&kinds.join(","), "-A", "--ignore-not-found"]);
        let mut ours = BTreeSet::new();
        for object in objects["items"].as_array().unwrap() {
            let metadata = &object["metadata"];
            let name = metadata["name"].as_str().unwrap();
            let named = ["token-exposure", "tokenexposure"]
                .iter()
                .any(|part| name.contains(part));
            let labels = metadata["labels"].to_string();
            if named || labels.contains("token-exposure") {
                ours.insert(format!("{} {name}", object["kind"].as_str().unwrap()));
            }
        }
        ours
    }
}

#[test]
fn findings_are_reported_alerted_prevented_and_fixed_from_install_to_uninstall() {
    chapter("Start etcd, kube-apiserver and kube-controller-manager on free loopback ports");
    let story = Story {
        plane: ControlPlane::bare(&[]),
    };
    assert_eq!(story.ours(), BTreeSet::new());
    install(&story);
    let replicas = start(&story);
    findings_appear(&story, &replicas);
    let prometheus = the_alert_fires(&story, &replicas);
    a_new_pod_gets_a_warning(&story);
    the_fix_is_applied(&story);
    chapter("The alert resolves");
    await_that("the alert resolves", || prometheus.firing(ALERT).is_empty());
    println!("{ALERT}: resolved");
    uninstall(&story, replicas);
}

/// Only the definitions of the Prometheus operator: it does not run here.
fn install(story: &Story) {
    chapter("Install the chart: two replicas, the policy, a PodMonitor and alerts");
    let monitoring = tools().join("monitoring-crds");
    story
        .plane
        .kubectl(&["apply", "--server-side", "-f", monitoring.to_str().unwrap()]);
    story
        .plane
        .kubectl(&["wait", "--for=condition=Established", "crd", "--all"]);
    story.kubectl("apply -f deploy/namespace.yaml");
    let values = "replicaCount=2,policy.enabled=true,metrics.podMonitor.enabled=true,metrics.prometheusRule.enabled=true";
    story.helm(&["install", RELEASE, "deploy/chart", "--set", values]);
    let installed = story.ours();
    for object in [
        "ClusterRole token-exposure",
        "Role token-exposure-leader-election",
        "Deployment token-exposure",
        "ValidatingAdmissionPolicy token-exposure",
        "PodMonitor token-exposure",
        "PrometheusRule token-exposure",
    ] {
        assert!(installed.contains(object), "{object}: {installed:?}");
    }
}

/// Starts a controller for each pod of the Deployment.
fn start(story: &Story) -> Vec<Controller> {
    chapter(
        "Run both replicas with the Deployment's arguments, as its ServiceAccount and never as admin",
    );
    let plane = &story.plane;
    let args = controller_args(&[plane.get(&["-n", RELEASE, "deployment", RELEASE])]);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let kubeconfig = plane.own_kubeconfig();
    let own = ["--kubeconfig", kubeconfig.to_str().unwrap()];
    let mut replicas = Vec::new();
    for pod in story.await_pods(RELEASE, 2) {
        println!("{pod}: {}", line("token-exposure controller", &args));
        // In a pod, this is the name of the pod.
        let host = [("HOSTNAME", pod.as_str())];
        replicas.push(Controller::start_with(&[&own, &args[..]].concat(), &host));
    }
    let ready = |replica: &Controller| {
        let answer = replica.get("/readyz");
        answer.is_some_and(|(code, _)| code == 200)
    };
    await_that("both are ready", || replicas.iter().all(ready));
    story.run_pods(RELEASE);
    story.kubectl("-n token-exposure rollout status deployment/token-exposure");
    let leads = |replica: &&Controller| replica.metric("token_exposure_leader") > 0.5;
    await_that("one of them leads", || {
        replicas.iter().filter(leads).count() == 1
    });
    story.kubectl("-n token-exposure get lease");
    replicas
}

fn findings_appear(story: &Story, replicas: &[Controller]) {
    chapter("Create the sample workloads, and a Job of the CronJob");
    story.kubectl("apply -f tests/demo/sample.yaml");
    story.kubectl("-n shop create job backup-29412345 --from=cronjob/backup");
    for (namespace, count) in [("shop", 12), ("analytics", 2)] {
        story.await_pods(namespace, count);
        story.run_pods(namespace);
    }

    chapter("Findings appear: in the cluster, and in the metrics of both replicas");
    let expected: BTreeSet<_> = UNNEEDED
        .map(|name| (true, name.to_owned()))
        .into_iter()
        .chain(OTHERS.map(|name| (false, name.to_owned())))
        .collect();
    await_that("the reports are written", || story.reports() == expected);
    story.kubectl("get ter -A");
    story.kubectl("get tes -A");
    for replica in replicas {
        println!(
            "\n$ curl http://{}/metrics | grep Unneeded",
            replica.address()
        );
        let wanted = UNNEEDED.map(|name| {
            let pods = if name == "default" { 3 } else { 1 };
            format!(r#"token_exposure_finding_pods{{namespace="shop",serviceaccount="{name}",verdict="Unneeded",reason="NoPermissions"}} {pods}"#)
        });
        let mut found = Vec::new();
        await_that("the metrics contain the findings", || {
            let (_, text) = replica.get("/metrics").unwrap();
            let lines = text.lines().filter(|line| line.contains("Unneeded"));
            found = lines.map(ToOwned::to_owned).collect();
            wanted.iter().all(|line| found.contains(line))
        });
        println!("{}", found.join("\n"));
    }
}

/// For the rule, which looks back a day: the controller was running then, and had no finding.
fn yesterday() -> String {
    let day_ago = jiff::Timestamp::now().as_second() - 86_400;
    let mut text = "# TYPE token_exposure_build_info gauge\n".to_owned();
    for minute in -10..20 {
        let at = day_ago + minute * 60;
        writeln!(
            text,
            "token_exposure_build_info{{version=\"0.0.9\"}} 1 {at}"
        )
        .unwrap();
    }
    text + "# EOF\n"
}

fn the_alert_fires(story: &Story, replicas: &[Controller]) -> Prometheus {
    chapter(
        "Prometheus scrapes both, and evaluates the rules of the chart. Its history has the controller\n  running a day ago; in its copy of the rules, TokenExposureUnneededToken waits for 3 seconds instead of 30 minutes",
    );
    let mut rules = story.plane.get(&["-n", RELEASE, "prometheusrule", RELEASE])["spec"].take();
    let groups = rules["groups"].as_array_mut().unwrap().iter_mut();
    let mut shortened = 0;
    for rule in groups.flat_map(|group| group["rules"].as_array_mut().unwrap()) {
        if rule["alert"] == ALERT {
            println!("{}", rule["expr"].as_str().unwrap());
            rule["for"] = "3s".into();
            shortened += 1;
        }
    }
    assert_eq!(shortened, 1);
    let addresses: Vec<_> = replicas.iter().map(Controller::address).collect();
    let prometheus = Prometheus::start(&addresses, &rules.to_string(), &yesterday());
    let query =
        r#"sum(max by (namespace, verdict) (token_exposure_serviceaccounts{verdict="Unneeded"}))"#;
    await_that("Prometheus counts each finding once", || {
        prometheus.samples(query) == [3.0]
    });
    println!("\n{query}: 3");

    let accounts = |alerts: &[Value]| -> Vec<String> {
        let names = alerts
            .iter()
            .map(|alert| alert["labels"]["serviceaccount"].as_str().unwrap());
        let mut names: Vec<_> = names.map(ToOwned::to_owned).collect();
        names.sort();
        names
    };
    await_that("the alert fires, once for each account", || {
        accounts(&prometheus.firing(ALERT)) == UNNEEDED
    });
    for alert in prometheus.firing(ALERT) {
        let said = |part: &str| alert["annotations"][part].as_str().unwrap().to_owned();
        println!(
            "\n{ALERT} fires: {}\n  {}\n  {}",
            said("summary"),
            said("description"),
            said("runbook")
        );
    }
    prometheus
}

fn a_new_pod_gets_a_warning(story: &Story) {
    chapter("A user who creates another such pod gets a warning from the API server");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: newsletter, namespace: shop}\nspec:\n  serviceAccountName: mail\n  automountServiceAccountToken: true\n  containers: [{name: newsletter, image: newsletter}]\n";
    // The API server takes a moment to enforce a new policy.
    await_that("the policy is in force", || {
        let asked = story
            .plane
            .try_kubectl(&["create", "--dry-run=server", "-f", "-"], pod);
        !asked.stderr.is_empty()
    });
    let warning = "ServiceAccount mail has no permission that needs this token: set automountServiceAccountToken: false";
    let said = story.apply(pod);
    assert!(
        said.starts_with("Warning: ") && said.contains(warning),
        "{said}"
    );
    assert!(said.ends_with("pod/newsletter created\n"), "{said}");
    await_that("the report counts it", || {
        story.plane.get(&["-n", "shop", "ter", "mail"])["status"]["pods"] == 2
    });
    story.kubectl("-n shop get ter mail");

    chapter("Without the token, there is no warning");
    story.kubectl("-n shop delete pod newsletter");
    let said = story.apply(&pod.replace("Token: true", "Token: false"));
    assert_eq!(said, "pod/newsletter created\n");
}

fn the_fix_is_applied(story: &Story) {
    chapter("Apply the patches of the reports, and recreate the pods");
    for account in UNNEEDED {
        let report = story.plane.get(&["-n", "shop", "ter", account]);
        let patches = report["status"]["remediation"]["patches"]
            .as_array()
            .unwrap();
        assert!(!patches.is_empty(), "{report}");
        for patch in patches {
            let word = |field: &str| patch[field].as_str().unwrap().to_owned();
            let [kind, name, how, patch] = ["kind", "name", "type", "patch"].map(word);
            let (kind, how) = (kind.to_lowercase(), format!("--type={how}"));
            let of_object = ["-n", "shop", "patch", &kind, &name, &how, "--patch", &patch];
            story.kubectl_with(&of_object, "");
        }
        let workloads = report["status"]["workloads"].as_array().unwrap().iter();
        for workload in workloads.filter(|workload| workload["verdict"] == "Unneeded") {
            recreate(story, workload["name"].as_str().unwrap());
        }
    }

    chapter("Their reports are gone; the other findings need a decision");
    for account in UNNEEDED {
        story.kubectl(&format!(
            "-n shop wait --for=delete ter/{account} --timeout=30s"
        ));
    }
    assert_eq!(
        story.reports(),
        OTHERS.map(|name| (false, name.to_owned())).into()
    );
    story.kubectl("get ter -A");
}

/// Replaces the pods of a workload.
fn recreate(story: &Story, workload: &str) {
    match workload {
        "backup" => {
            story.kubectl("-n shop delete job backup-29412345");
            story.kubectl("-n shop create job backup-29412346 --from=cronjob/backup");
            return;
        }
        // Here the ServiceAccount was patched.
        "frontend" => {
            let said = story.kubectl("-n shop rollout restart deployment/frontend");
            assert!(!said.contains("Warning"), "{said}");
        }
        _ => {}
    }
    // New pods are set to ready until all old ones are replaced.
    let deployment = format!("deployment/{workload}");
    let status = [
        "-n",
        "shop",
        "rollout",
        "status",
        &deployment,
        "--watch=false",
    ];
    await_that("the rollout ends", || {
        story.run_pods("shop");
        let said = story.plane.kubectl(&status);
        said.contains("successfully rolled out")
    });
    story.kubectl(&format!("-n shop rollout status {deployment}"));
}

fn uninstall(story: &Story, replicas: Vec<Controller>) {
    chapter(
        "Uninstall: the release is deleted, the reports are kept for the teams that work on them",
    );
    story.helm(&["uninstall", RELEASE]);
    for replica in replicas {
        let (status, _, log) = replica.terminate();
        assert!(status.success(), "{log}");
    }
    assert_eq!(story.reports().len(), OTHERS.len());
    story.kubectl("get ter -A");

    chapter("Delete the CRDs too, and the namespace with the Lease");
    story.kubectl(&format!("delete crd {CRDS}"));
    let in_namespace = ["Event", "Lease", "Namespace"];
    await_that("only the namespace and its contents are left", || {
        let left = story.ours();
        left.iter()
            .all(|object| in_namespace.iter().any(|kind| object.starts_with(kind)))
    });
    story.kubectl("delete namespace token-exposure");
    await_that("no object of the chart is left", || story.ours().is_empty());
    println!("\nNo object of any kind has the name or label of the chart.");
}
