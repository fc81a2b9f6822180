//! The answers of the real API server in the types of the program: what a pod carries after admission,
//! and the level of an account's permissions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use futures::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};
use token_exposure::{
    facts::{Kind, Pods, pod::template, wire},
    index::Index,
    model::{
        ApiAudiences, Carrier, Config, Level, PodFacts, Rule, ServiceAccountRef, TokenSource,
        Workload,
    },
    rbac::cover::{Atom, breakdown},
    token::{Bearer, carriers, legacy::Holding},
};

use super::{ControlPlane, load, path_of, program, program_path};

/// A Secret that holds a token of the account.
pub const TOKEN_SECRET: &str = "legacy";

/// What the program finds that a pod carries for its own account; a prediction if it has no uid yet.
pub fn carried(pod: &Value, account: &str, automount: Option<bool>) -> Vec<Carrier> {
    let pod: wire::Pod = serde_json::from_value(pod.clone()).unwrap();
    carried_by(&Pods::facts(&pod, &Config::default()), account, automount)
}

/// What the program predicts for the pods of a Deployment with this pod spec.
pub fn carried_by_template(pod: &Value, account: &str, automount: Option<bool>) -> Vec<Carrier> {
    let deployment = json!({ "spec": { "template": pod } });
    let deployment: wire::Templated = serde_json::from_value(deployment).unwrap();
    let (metadata, spec) = deployment.template("Deployment").unwrap();
    let workload = Workload::new("Deployment", "w");
    let facts = template(metadata, spec, workload, &Config::default());
    carried_by(&facts, account, automount)
}

/// Custom kinds with pod templates: the kind, and the path to a pod spec in it; a number is an index of a list.
pub const CUSTOM: [(&str, &str, &str); 9] = [
    ("argoproj.io/v1alpha1", "Rollout", "spec/template/spec"),
    (
        "apps.openshift.io/v1",
        "DeploymentConfig",
        "spec/template/spec",
    ),
    ("serving.knative.dev/v1", "Service", "spec/template/spec"),
    (
        "keda.sh/v1alpha1",
        "ScaledJob",
        "spec/jobTargetRef/template/spec",
    ),
    (
        "jobset.x-k8s.io/v1alpha2",
        "JobSet",
        "spec/replicatedJobs/0/template/spec/template/spec",
    ),
    (
        "batch.volcano.sh/v1alpha1",
        "Job",
        "spec/tasks/0/template/spec",
    ),
    (
        "ray.io/v1",
        "RayCluster",
        "spec/headGroupSpec/template/spec",
    ),
    (
        "kubeflow.org/v1",
        "PyTorchJob",
        "spec/pytorchReplicaSpecs/Master/template/spec",
    ),
    ("own.example/v1", "Machinery", "spec/parts/0/deep/1/pods"),
];

/// What the program predicts for the pods of an object of a custom kind with this pod spec.
pub fn carried_by_custom(
    kind: (&str, &str, &str),
    pod: &Value,
    account: &str,
    automount: Option<bool>,
) -> Vec<Carrier> {
    let object = custom_object(kind, "n", "w", pod);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("custom.json");
    fs::write(&file, object.to_string()).unwrap();
    let mut index = Index::new(&[]);
    assert_eq!(load(&file, &mut index).problems, []);
    let account_in = ServiceAccountRef::new("n", account);
    let evidence = index.evidence(&account_in);
    let [(facts, 1)] = evidence.pods[..] else {
        panic!("{object}: {:?}", evidence.pods);
    };
    carried_by(facts, account, automount)
}

/// An object of a custom kind with the spec of a pod.
pub fn custom_object(
    (api_version, kind, path): (&str, &str, &str),
    namespace: &str,
    name: &str,
    pod: &Value,
) -> Value {
    let wrapped = path.rsplit('/').fold(pod["spec"].clone(), |inner, step| {
        match step.parse::<usize>() {
            Ok(index) => [vec![Value::Null; index], vec![inner]].concat().into(),
            Err(_) => json!({ step: inner }),
        }
    });
    let metadata = json!({ "name": name, "namespace": namespace });
    json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": wrapped["spec"] })
}

fn carried_by(pod: &PodFacts, account: &str, automount: Option<bool>) -> Vec<Carrier> {
    let token = Holding::Token { invalidated: false };
    let bearer = Bearer {
        name: account,
        is_known: true,
        automount,
        secrets: &[(TOKEN_SECRET, token)].into(),
        drivers: &BTreeMap::new(),
        audiences: &ApiAudiences::default(),
    };
    carriers(pod, &bearer)
}

/// What must be equal. In a live pod, a volume with the shape of an auto-mounted token does not show
/// whether the account disabled automount before or after it was added.
pub fn comparable(carriers: Vec<Carrier>, told_apart: bool) -> BTreeSet<Carrier> {
    // One for each container: those of two sources are not merged.
    let single = carriers.into_iter().flat_map(|carrier| {
        let containers = carrier.containers.clone().into_iter();
        containers.map(move |container| Carrier {
            containers: vec![container],
            ..carrier.clone()
        })
    });
    let blurred = |carrier: Carrier| Carrier {
        source: TokenSource::Explicit,
        drift: None,
        ..carrier
    };
    single
        .map(|carrier| {
            if told_apart {
                carrier
            } else {
                blurred(carrier)
            }
        })
        .collect()
}

/// The groups of every ServiceAccount in a namespace.
pub fn groups(namespace: &str) -> Vec<String> {
    vec![
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ]
}

/// Whether RBAC allows one atom to a user, according to the API server.
pub async fn allowed(
    client: &Client,
    user: &str,
    groups: &[String],
    atom: &Atom<'_>,
    namespace: &str,
) -> bool {
    let mut spec = SubjectAccessReviewSpec {
        user: Some(user.to_owned()),
        groups: Some(groups.to_vec()),
        ..Default::default()
    };
    match *atom {
        Atom::Resource {
            verb,
            group,
            resource,
            name,
        } => {
            let (resource, subresource) = resource
                .split_once('/')
                .map_or((resource, None), |(resource, sub)| (resource, Some(sub)));
            spec.resource_attributes = Some(ResourceAttributes {
                verb: Some(verb.to_owned()),
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource: subresource.map(str::to_owned),
                // A name that no rule has stands for any name.
                name: Some(name.unwrap_or("any-other-name").to_owned()),
                namespace: Some(namespace.to_owned()),
                ..Default::default()
            });
        }
        Atom::Url { verb, url } => {
            spec.non_resource_attributes = Some(NonResourceAttributes {
                verb: Some(verb.to_owned()),
                path: Some(url.to_owned()),
            });
        }
    }
    let review = SubjectAccessReview {
        spec,
        ..Default::default()
    };
    let review = Api::all(client.clone())
        .create(&PostParams::default(), &review)
        .await
        .unwrap();
    review.status.unwrap().allowed
}

/// The level of an account according to the API server: the highest at which it allows something of
/// these rules, in any namespace, that it does not allow to every user.
pub async fn level(
    client: &Client,
    account: &ServiceAccountRef,
    rules: &[Rule],
    namespaces: &[&str],
) -> Level {
    let group = |name: &str| vec![name.to_owned()];
    let of_namespace = group(&format!("system:serviceaccounts:{}", account.namespace));
    let identities = [
        ("nobody", group("system:authenticated")),
        ("nobody", group("system:serviceaccounts")),
        ("nobody", of_namespace),
        (&*account.username(), Vec::new()),
    ];
    let atoms = rules.iter().flat_map(breakdown);
    let places = atoms.flat_map(|atom| match atom {
        Atom::Url { .. } => vec![(atom, "")],
        Atom::Resource { .. } => {
            let everywhere = namespaces.iter().chain([&""]);
            everywhere.map(|namespace| (atom, *namespace)).collect()
        }
    });
    let identities = &identities;
    let levels = stream::iter(places).map(|(atom, namespace)| async move {
        // From wide to narrow: an atom counts at the widest level that has it.
        for ((user, groups), level) in identities.iter().zip([
            Level::None,
            Level::Inherited,
            Level::Inherited,
            Level::Direct,
        ]) {
            if allowed(client, user, groups, &atom, namespace).await {
                return level;
            }
        }
        Level::None
    });
    levels
        .buffer_unordered(8)
        .fold(
            Level::None,
            |highest, level| async move { highest.max(level) },
        )
        .await
}

/// The report without what the API server adds, and without the time and the generation of its content.
fn without_server_fields(report: &Value) -> Value {
    let mut report = report.clone();
    let (name, namespace) = (
        report["metadata"]["name"].clone(),
        report["metadata"]["namespace"].clone(),
    );
    report["metadata"] = json!({ "name": name, "namespace": namespace });
    let status = report["status"].as_object_mut().unwrap();
    status.remove("observedGeneration").expect("it is given");
    for condition in status["conditions"].as_array_mut().unwrap() {
        let condition = condition.as_object_mut().unwrap();
        condition.remove("lastTransitionTime");
        condition.remove("observedGeneration").expect("it is given");
    }
    report
}

/// Whether a report says which generation it is of.
pub fn is_observed(report: &Value) -> bool {
    report["metadata"]["generation"] == report["status"]["observedGeneration"]
}

/// The reports of a list.
fn reports(list: &Value) -> Vec<Value> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(without_server_fields)
        .collect()
}

/// All objects that answers depend on, in a list as kubectl prints it. kubectl takes a hundred times longer; its own dumps
/// are scanned by `scan::dumps_of_kubectl_give_the_reports_of_the_cluster`.
fn objects(plane: &ControlPlane) -> Value {
    const RBAC: &str = "rbac.authorization.k8s.io/v1";
    let kinds = [
        ("v1", "Pod"),
        ("v1", "ServiceAccount"),
        ("v1", "Namespace"),
        (RBAC, "Role"),
        (RBAC, "ClusterRole"),
        (RBAC, "RoleBinding"),
        (RBAC, "ClusterRoleBinding"),
    ];
    let mut items = Vec::new();
    for (api_version, kind) in kinds {
        let path = path_of(&json!({ "apiVersion": api_version, "kind": kind }));
        let mut list = plane.ask(path.trim_end_matches('/')).unwrap().unwrap();
        for mut item in list["items"].as_array_mut().unwrap().drain(..) {
            item["apiVersion"] = api_version.into();
            item["kind"] = kind.into();
            items.push(item);
        }
    }
    json!({ "apiVersion": "v1", "items": items, "kind": "List", "metadata": { "resourceVersion": "" } })
}

/// The live reports of an idle controller, which equal a scan of the cluster and scans of its dumps.
/// The controller must have settled.
pub fn reports_equal_to_scans(plane: &ControlPlane, scope: &str) -> Vec<Value> {
    reports_equal_to_scans_with(plane, scope, &[])
}

/// The reports of a cluster, which are those of a live scan.
pub fn reports_equal_to_live_scan(plane: &ControlPlane, program: &Path, scope: &str) -> Vec<Value> {
    let path = "/apis/tokenexposure.io/v1alpha1/tokenexposurereports";
    let live = reports(&plane.ask(path).unwrap().unwrap());
    let args = ["-A", "-o", "json", "--report-scope", scope];
    let scan = plane.scan_with(program, &args);
    let said = String::from_utf8_lossy(&scan.stderr);
    assert!(matches!(scan.status.code(), Some(0 | 1)), "{said}");
    let scanned: Value = serde_json::from_slice(&scan.stdout).unwrap();
    let scanned = reports(&scanned);
    assert_eq!(live.len(), scanned.len(), "the cluster, {scope}");
    for (live, scanned) in live.iter().zip(&scanned) {
        assert_eq!(live, scanned, "the cluster, {scope}");
    }
    live
}

/// The same, where dumps also have objects of kinds that the API server of a test has not.
pub fn reports_equal_to_scans_with(
    plane: &ControlPlane,
    scope: &str,
    custom: &[Value],
) -> Vec<Value> {
    let beside = plane.file("custom.json");
    fs::write(
        &beside,
        json!({ "apiVersion": "v1", "kind": "List", "items": custom }).to_string(),
    )
    .unwrap();
    let live = reports_equal_to_live_scan(plane, &program_path(), scope);
    let args = ["-o", "json", "--report-scope", scope];
    let objects = objects(plane);
    for (format, text) in [
        ("json", serde_json::to_string_pretty(&objects).unwrap()),
        ("yaml", serde_saphyr::to_string(&objects).unwrap()),
    ] {
        let dump = plane.file(&format!("dump.{format}"));
        fs::write(&dump, text).unwrap();
        let audience = ["--api-audience", "https://kubernetes.default.svc"];
        let paths = [dump.to_str().unwrap(), beside.to_str().unwrap()];
        let scan = program(&[&["scan"], &args[..], &audience, &paths].concat(), "");
        let said = String::from_utf8_lossy(&scan.stderr);
        let is_expected = |line: &str| {
            ["note: ", "warning: EVERYTHING IS GRANTED TO EVERYBODY"]
                .iter()
                .any(|begin| line.starts_with(begin))
        };
        assert!(said.lines().all(is_expected), "{said}");
        let scanned: Value = serde_json::from_slice(&scan.stdout).unwrap();
        assert_eq!(live, reports(&scanned), "the dump, {scope}");
    }
    live
}
