//! The rules, case by case: manifests, the expected answer for an account, and the answer of the real API
//! server. The ids are those of the catalogue of rules; `cargo test --test vectors A01` runs one. A case
//! is read as a file, or as a live object where it has a uid.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{collections::BTreeMap, fs, process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Failed, Trial};
use serde::Deserialize;
use serde_json::{Value, json};
use token_exposure::{
    index::Index,
    model::{ApiAudiences, Carrier, Exposure, Grant, ServiceAccountRef, rbac::Effect},
};

#[path = "../rig/mod.rs"]
mod rig;
mod server;
mod tokens;

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    /// Objects that every case has in addition to its own.
    #[serde(default)]
    common: Vec<Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    says: String,
    #[serde(default)]
    server: Asked,
    #[serde(default)]
    objects: Vec<Value>,
    /// The rules of a ClusterRole `r` that a binding `b` grants to vb/s.
    #[serde(default)]
    rules: Vec<Value>,
    /// The kind of that binding.
    #[serde(default)]
    binding: BindingKind,
    /// The input is the dump of a cluster: an object that is not in it does not exist.
    #[serde(default)]
    dump: bool,
    #[serde(default = "yes")]
    rbac_enforced: bool,
    /// The audiences that the API server accepts.
    #[serde(default)]
    api_audiences: Vec<String>,
    /// How the messages about objects that the API server would reject begin.
    #[serde(default)]
    refused: Vec<String>,
    /// Single requests of vb/s.
    #[serde(default)]
    asks: Vec<Ask>,
    /// By `namespace/name`.
    expect: BTreeMap<String, Expected>,
}

const fn yes() -> bool {
    true
}

/// What the real API server is asked about.
#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Asked {
    /// What the pods carry, and what the accounts are allowed.
    #[default]
    All,
    /// Only what the pods carry: the case is of another cluster or an older version.
    Pods,
    /// It must reject an object of the case.
    Refuses,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
enum BindingKind {
    #[default]
    ClusterRoleBinding,
    RoleBinding,
}

/// A request for a resource of any name in the namespace vb.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    get: String,
    #[serde(default)]
    group: String,
    allowed: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// `Verdict/Reason`.
    verdict: String,
    level: Option<String>,
    /// `Source from audience seconds path containers…`, one line for each token.
    carriers: Option<Vec<String>>,
    /// `Effect caveat Kind name Subject`, one line for each binding, without the default permissions.
    grants: Option<Vec<String>>,
    /// The same for those that widen the default permissions.
    widened: Option<Vec<String>>,
    /// `Kind/name` of each object that the remediation patches.
    patches: Option<Vec<String>>,
    consumers: Option<Vec<String>>,
    notes: Option<Vec<String>>,
}

impl Case {
    /// All objects of the case, as files have them.
    fn objects(&self, common: &[Value]) -> Vec<Value> {
        const GROUP: &str = "rbac.authorization.k8s.io";
        let rbac = |kind: &str, name: &str, namespace: Value| json!({ "apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": { "name": name, "namespace": namespace } });
        let bound = |mut binding: Value, role: &str, subject: Value| {
            binding["roleRef"] = json!({ "apiGroup": GROUP, "kind": "ClusterRole", "name": role });
            binding["subjects"] = json!([subject]);
            binding
        };
        let mut objects = [common, &self.objects].concat();
        if !self.rules.is_empty() {
            let mut role = rbac("ClusterRole", "r", Value::Null);
            role["rules"] = json!(self.rules);
            let subject = json!({ "kind": "ServiceAccount", "name": "s", "namespace": "vb" });
            let namespace = match self.binding {
                BindingKind::ClusterRoleBinding => Value::Null,
                BindingKind::RoleBinding => json!("vb"),
            };
            let binding = rbac(&format!("{:?}", self.binding), "b", namespace);
            objects.extend([role, bound(binding, "r", subject)]);
        }
        if self.dump {
            let role = rbac("ClusterRole", "cluster-admin", Value::Null);
            let binding = rbac("ClusterRoleBinding", "cluster-admin", Value::Null);
            let subject = json!({ "kind": "Group", "name": "system:masters" });
            let own = rbac("RoleBinding", "cluster-admin", json!("kube-system"));
            let own = bound(own, "cluster-admin", subject.clone());
            objects.extend([role, bound(binding, "cluster-admin", subject), own]);
        }
        objects
    }

    /// The case as the program reads it, and its messages about objects that the API server would reject.
    fn read(&self, common: &[Value]) -> (Index, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("case.json");
        let list = json!({ "kind": "List", "items": self.objects(common) });
        fs::write(&file, list.to_string()).unwrap();
        let mut index = Index::new(&[]);
        index.set_rbac_enforced(self.rbac_enforced);
        index.set_audiences(ApiAudiences {
            names: self.api_audiences.iter().cloned().collect(),
            complete: !self.api_audiences.is_empty(),
        });
        let outcome = rig::load(&file, &mut index);
        assert_eq!(outcome.problems, []);
        let warnings = outcome.warnings.into_iter();
        (index, warnings.map(|warning| warning.message).collect())
    }

    /// The exposure of each account that the case is about.
    fn assess(&self, index: &Index) -> BTreeMap<String, Exposure> {
        let account = |name: &String| (name.clone(), index.assess(&account(name)));
        self.expect.keys().map(account).collect()
    }

    /// The answers are the expected ones.
    fn check(&self, common: &[Value]) -> Result<(), Failed> {
        let (index, warnings) = self.read(common);
        let exposures = self.assess(&index);
        let as_expected = warnings.len() == self.refused.len()
            && warnings
                .iter()
                .zip(&self.refused)
                .all(|(warning, refused)| {
                    warning.starts_with(&format!("the API server would reject {refused}"))
                });
        equal(&as_expected, &true, "refused", &format!("{warnings:?}"))?;
        for (name, expected) in &self.expect {
            let found = &exposures[name];
            let place = format!("{name}, {}: {}", self.says, found.message);
            let verdict = format!("{}/{}", found.verdict, found.reason);
            equal(&verdict, &expected.verdict, "verdict", &place)?;
            if let Some(level) = &expected.level {
                let found = format!("{:?}", found.permissions.level);
                equal(&found, level, "level", &place)?;
            }
            let lists = [
                ("carriers", carriers(found), &expected.carriers),
                ("grants", grants(found), &expected.grants),
                (
                    "widened",
                    found
                        .permissions
                        .widened_defaults
                        .iter()
                        .map(grant)
                        .collect(),
                    &expected.widened,
                ),
                ("patches", patches(found), &expected.patches),
                (
                    "consumers",
                    found.consumers.iter().map(ToString::to_string).collect(),
                    &expected.consumers,
                ),
                ("notes", notes(found), &expected.notes),
            ];
            for (what, found, expected) in lists {
                if let Some(expected) = expected {
                    equal(&found, expected, what, &place)?;
                }
            }
        }
        Ok(())
    }
}

/// The account of a `namespace/name`.
fn account(name: &str) -> ServiceAccountRef {
    let (namespace, name) = name.split_once('/').unwrap();
    ServiceAccountRef::new(namespace, name)
}

fn equal<T: PartialEq + std::fmt::Debug>(
    found: &T,
    expected: &T,
    what: &str,
    place: &str,
) -> Result<(), Failed> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what} of {place}\n   found: {found:?}\nexpected: {expected:?}").into())
}

fn carriers(exposure: &Exposure) -> Vec<String> {
    let line = |carrier: &Carrier| {
        let provider = match &*carrier.provider {
            "" => String::new(),
            provider => format!(" {provider}"),
        };
        let audience = match &*carrier.audience {
            "" => "-",
            audience => audience,
        };
        let seconds = carrier.expiration_seconds;
        let seconds = seconds.map_or_else(|| "-".to_owned(), |seconds| seconds.to_string());
        let home = "/var/run/secrets/kubernetes.io/serviceaccount";
        let path = carrier.mount_path.replace(home, "P");
        let containers = carrier.containers.join(" ");
        let drift = carrier.drift.map(|drift| format!(" {drift:?}"));
        let drift = drift.unwrap_or_default();
        let source = carrier.source;
        format!("{source:?}{provider} {audience} {seconds} {path} {containers}{drift}")
    };
    let workloads = exposure.workloads.iter();
    workloads
        .flat_map(|workload| &workload.carriers)
        .map(line)
        .collect()
}

fn grant(grant: &Grant) -> String {
    let caveat = grant.caveat.map(|caveat| format!(" {caveat:?}"));
    format!(
        "{:?}{} {} {} {}",
        grant.effect,
        caveat.unwrap_or_default(),
        grant.binding_kind(),
        grant.binding,
        grant.via
    )
}

fn grants(exposure: &Exposure) -> Vec<String> {
    let grants = exposure.permissions.grants.iter();
    grants
        .filter(|grant| !(grant.via.is_group() && grant.effect == Effect::Covered))
        .map(grant)
        .collect()
}

fn patches(exposure: &Exposure) -> Vec<String> {
    let remediation = exposure.remediation.iter();
    remediation
        .flat_map(|remediation| &remediation.patches)
        .map(|patch| patch.target.to_string())
        .collect()
}

fn notes(exposure: &Exposure) -> Vec<String> {
    let workloads = exposure.workloads.iter();
    workloads
        .flat_map(|workload| &workload.notes)
        .map(ToString::to_string)
        .collect()
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One thread reads files while the others wait for an API server.
    arguments.test_threads.get_or_insert(server::SERVERS + 1);
    let server = Arc::new(server::Servers::new());
    let mut trials = vec![
        server::reinvocation(&server),
        server::cluster_scoped(&server),
        server::bootstrap(&server),
    ];
    trials.extend(tokens::trials(&server));
    let mut files: Vec<_> = fs::read_dir("tests/vectors")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    for file in files {
        let cases: Cases = serde_yaml::from_str(&fs::read_to_string(&file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let common = Arc::new(cases.common);
        for case in cases.cases {
            let case = Arc::new(case);
            let trial = {
                let (case, common) = (case.clone(), common.clone());
                Trial::test(case.id.clone(), move || case.check(&common))
            };
            trials.push(trial);
            trials.extend(server::trial(&server, &case, &common));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    server.end();
    conclusion.exit_code()
}
