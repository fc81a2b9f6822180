//! What the policy that withholds tokens costs the API server for each pod that is created, by the number of accounts, of
//! ClusterRoleBindings, and of the permissions that it asks RBAC for. Each row is printed as text and as a line of JSON.
//!
//! Nothing but the API server works: etcd is filled before, and the summary that lists the workload is written here.

use std::{cell::Cell, collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::{
    measure::cpu_seconds,
    rig::{
        ControlPlane, await_that,
        helm::{RELEASE, objects, render},
        world::World,
    },
};

/// How many permissions the policies ask for, beside the number of the chart. The chart's have two in each variable.
const CHECKS: [usize; 3] = [0, 8, 16];
/// How often each policy is measured: once in each place of the order.
const ROUNDS: usize = 4;
/// How many pods are created for a figure. The kernel counts CPU time in hundredths of a second.
const PODS: usize = 100;
/// How many are created before that, while the API server still works at what is new to it.
const WARM_UP: usize = 20;
const POLICY: &str = "mutatingadmissionpolicies.admissionregistration.k8s.io";
const BINDING: &str = "mutatingadmissionpolicybindings.admissionregistration.k8s.io";
const NAMESPACE: &str = "team-0";

/// The summary of the first namespace lists all its accounts. The pods run as one that RBAC grants nothing: every
/// permission is asked for.
const fn world(
    name: &'static str,
    accounts: usize,
    namespaces: usize,
    cluster_role_bindings: usize,
) -> World {
    World {
        name,
        namespaces,
        // The account of the pods, and one that bindings name.
        accounts: if accounts < 2 { 2 } else { accounts },
        pods: 0,
        roles: 10,
        cluster_roles: 50,
        role_bindings: 20,
        cluster_role_bindings,
        bound: 1,
    }
}

#[test]
#[ignore = "measures; run by `make bench`"]
fn cost_with_no_accounts() {
    cost(world("0 accounts, 100 ClusterRoleBindings", 0, 1, 100));
}

#[test]
#[ignore = "measures; run by `make bench`"]
fn cost_with_1_000_accounts() {
    let name = "1,000 accounts in one namespace, 100 ClusterRoleBindings";
    cost(world(name, 1_000, 1, 100));
}

#[test]
#[ignore = "measures; run by `make bench`"]
fn cost_with_10_000_accounts() {
    let name = "10,000 accounts in 100 namespaces, 100 ClusterRoleBindings";
    cost(world(name, 10_000, 100, 100));
}

#[test]
#[ignore = "measures; run by `make bench`"]
fn cost_with_10_000_accounts_in_one_namespace() {
    let name = "10,000 accounts in one namespace, 100 ClusterRoleBindings";
    cost(world(name, 10_000, 1, 100));
}

#[test]
#[ignore = "measures; run by `make bench`"]
fn cost_with_3_000_cluster_role_bindings() {
    let name = "1,000 accounts in one namespace, 3,000 ClusterRoleBindings";
    cost(world(name, 1_000, 1, 3_000));
}

/// The cost of each policy in a world.
fn cost(world: World) {
    let policies = policies();
    let bench = Bench {
        plane: world.start(),
        created: Cell::new(0),
    };
    bench.prepare(world);
    bench.measure(world, &policies);
}

/// The objects of the chart that a policy is made of, by their number of permissions. None at all are `None`.
fn policies() -> BTreeMap<Option<usize>, Vec<Value>> {
    let values = ["--set", "cure.mode=LeaveOut,cure.force=true"];
    let mut chart = objects(&render(&values).unwrap());
    chart.retain(|object| {
        let kind = object["kind"].as_str().unwrap_or_default();
        kind.starts_with("MutatingAdmissionPolicy")
    });
    let shipped = permissions(&chart).len();
    let numbers = CHECKS.into_iter().chain([shipped]);
    let mut policies: BTreeMap<_, _> = numbers
        .map(|number| (Some(number), with_permissions(&chart, number)))
        .collect();
    policies.insert(None, Vec::new());
    println!("the chart asks for {shipped} permissions");
    policies
}

/// The policy's variables, and whether each asks for permissions.
fn variables(chart: &[Value]) -> impl Iterator<Item = (&Value, bool)> {
    let policy = chart
        .iter()
        .find(|object| object["spec"]["variables"].is_array());
    let variables = policy.unwrap()["spec"]["variables"].as_array().unwrap();
    variables.iter().map(|variable| {
        let name = variable["name"].as_str().unwrap();
        let number = name.strip_prefix("may");
        (
            variable,
            number.is_some_and(|number| number.parse::<usize>().is_ok()),
        )
    })
}

/// The expressions that ask for one permission each.
fn permissions(chart: &[Value]) -> Vec<String> {
    let asking = variables(chart).filter(|(_, asks)| *asks);
    let expressions = asking.map(|(variable, _)| variable["expression"].as_str().unwrap());
    expressions
        .flat_map(|expression| expression.split("||"))
        .map(|permission| permission.trim().to_owned())
        .collect()
}

/// The chart's policy with the first of its permissions, or with more that nobody has.
fn with_permissions(chart: &[Value], number: usize) -> Vec<Value> {
    let mut asked = permissions(chart);
    let last = asked.last().unwrap().clone();
    let resource = last.split('"').nth(3).unwrap();
    let unknown = last.replace(resource, "nobodyhasthis");
    asked.resize(asked.len().max(number), unknown);
    asked.truncate(number);
    let mut kept: Vec<Value> = Vec::new();
    for (variable, asks) in variables(chart) {
        if asks {
            continue;
        }
        let mut variable = variable.clone();
        if variable["name"] == "isUnneeded" {
            let names = (0..asked.len().div_ceil(2)).map(|n| format!(" && !variables.may{n}"));
            let expression = variable["expression"].as_str().unwrap();
            let (others, _) = expression.split_once(" && !variables.may").unwrap();
            let expression = [others.to_owned()]
                .into_iter()
                .chain(names)
                .collect::<String>();
            variable["expression"] = expression.into();
            for (n, pair) in asked.chunks(2).enumerate() {
                kept.push(json!({ "name": format!("may{n}"), "expression": pair.join(" || ") }));
            }
        }
        kept.push(variable);
    }
    let mut chart = chart.to_vec();
    for object in &mut chart {
        if object["spec"]["variables"].is_array() {
            object["spec"]["variables"] = kept.clone().into();
        }
    }
    chart
}

struct Bench {
    plane: ControlPlane,
    created: Cell<usize>,
}

impl Bench {
    /// Switches the policy on, and lists the workloads.
    fn prepare(&self, world: World) {
        self.plane.kubectl(&[
            "label",
            "namespace",
            NAMESPACE,
            "tokenexposure.io/cure=leave-out",
        ]);
        let rules = json!([{ "apiGroups": ["tokenexposure.io"], "resources": ["cures"], "verbs": ["permit"] }]);
        let group = "rbac.authorization.k8s.io";
        let metadata = json!({ "name": "token-exposure-cure-active", "namespace": RELEASE });
        for object in [
            json!({ "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata, "rules": rules }),
            json!({ "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
                "roleRef": { "apiGroup": group, "kind": "Role", "name": "token-exposure-cure-active" },
                "subjects": [{ "kind": "ServiceAccount", "name": RELEASE, "namespace": RELEASE }] }),
        ] {
            self.plane.create(&object).unwrap();
        }
        let accounts = (0..world.accounts).rev();
        let names = accounts
            .filter(|n| world.namespace(*n) == NAMESPACE)
            .map(|n| world.account(n))
            .filter(|name| name != "default");
        let mut curable = String::new();
        for name in names {
            curable.extend(["|", &*name, "/Deployment/", &*name]);
        }
        // As long as a summary may be.
        let most = 262_144 - 64;
        if curable.len() > most {
            curable.truncate(curable[..most].rfind('|').unwrap());
        }
        curable.push_str("|default/StatefulSet/web|");
        println!(
            "{}: the summary has {} entries, {} KiB",
            world.name,
            curable.matches('|').count() - 1,
            curable.len() / 1024
        );
        let summary = json!({ "apiVersion": "tokenexposure.io/v1alpha1", "kind": "TokenExposureSummary",
            "metadata": { "name": "token-exposure", "namespace": NAMESPACE }, "spec": {} });
        self.plane.apply(&summary.to_string());
        let path = format!(
            "/apis/tokenexposure.io/v1alpha1/namespaces/{NAMESPACE}/tokenexposuresummaries/token-exposure/status"
        );
        self.plane
            .merge(&path, &json!({ "status": { "curable": curable } }));
    }

    /// Each policy in turn, in another order each time.
    fn measure(&self, world: World, policies: &BTreeMap<Option<usize>, Vec<Value>>) {
        let mut figures: BTreeMap<Option<usize>, Vec<f64>> = BTreeMap::new();
        let numbers: Vec<_> = policies.keys().copied().collect();
        for round in 0..ROUNDS {
            for n in 0..numbers.len() {
                let number = numbers[(n + round) % numbers.len()];
                self.replace_policy(&policies[&number]);
                figures.entry(number).or_default().push(self.cpu_of_a_pod());
                assert_eq!(self.acts(), number.is_some(), "{number:?} permissions");
            }
        }
        let without = least(&figures[&None]);
        println!("{}: {without:.1} ms without a policy", world.name);
        for (number, found) in &figures {
            if let Some(number) = number {
                let above = least(found) - without;
                println!(
                    "{}, {number} permissions: {above:.1} ms above none",
                    world.name
                );
            }
            let line = json!({ "world": world.name, "row": "cure cost", "permissions": number, "pods": PODS * ROUNDS,
                "api_server_cpu_ms": found, "least_above_none_ms": least(found) - without });
            println!("{line}");
        }
    }

    /// Waits until the API server acts by this policy alone.
    fn replace_policy(&self, policy: &[Value]) {
        for kind in [BINDING, POLICY] {
            self.plane.kubectl(&["delete", kind, "--all"]);
        }
        await_that("no policy acts", || !self.acts());
        if !policy.is_empty() {
            let objects: Vec<_> = policy.iter().map(ToString::to_string).collect();
            self.plane.apply(&objects.join("\n---\n"));
            await_that("the policy acts", || self.acts());
        }
    }

    /// The CPU time of the API server for each pod, in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn cpu_of_a_pod(&self) -> f64 {
        for _ in 0..WARM_UP {
            self.create();
        }
        std::thread::sleep(Duration::from_secs(1));
        let pid = self.plane.pid("kube-apiserver");
        let before = cpu_seconds(pid);
        for _ in 0..PODS {
            self.create();
        }
        (cpu_seconds(pid) - before) * 1000.0 / PODS as f64
    }

    /// Creates a pod, and returns its path.
    fn create(&self) -> String {
        let name = format!("web-{}", self.created.replace(self.created.get() + 1));
        // No owner of this name exists: no controller manager runs that would delete the pod.
        let owner = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "controller": true,
            "uid": "00000000-0000-4000-8000-000000000000" });
        let pod = json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": NAMESPACE, "ownerReferences": [owner], "labels": { "app": "web" } },
            "spec": { "containers": [{ "name": "web", "image": "web" }] } });
        self.plane.create(&pod).unwrap();
        format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}")
    }

    /// Whether the token of a new pod is left out.
    fn acts(&self) -> bool {
        let pod = self.plane.ask(&self.create()).unwrap().unwrap();
        !pod["metadata"]["annotations"]["tokenexposure.io/withheld"].is_null()
    }
}

/// What others do on the machine only adds to a figure: the least is the nearest.
fn least(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(f64::INFINITY, f64::min)
}
