//! The permissions that `deploy/` ships are those that the program uses: compared with the list of kinds
//! that it reads, and with its requests to the real API server.

use std::{collections::BTreeSet, fs};

use serde_json::Value;
use token_exposure::cluster::KINDS;

use super::cure;
use crate::rig::{
    ControlPlane,
    audit::{Certificates, batch, discovery},
    await_that,
    feature::Feature,
    helm::{controller_args, objects, render, values_files},
    pool, scan_files,
};

/// A permission of our account, as RBAC grants it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Permission {
    verb: String,
    group: String,
    resource: String,
    /// Only the object of this name.
    name: Option<String>,
    /// Only in this namespace.
    namespace: Option<String>,
}

impl Permission {
    /// A permission for all objects in all namespaces.
    fn to(verb: &str, group: &str, resource: &str) -> Self {
        let [verb, group, resource] = [verb, group, resource].map(ToOwned::to_owned);
        let (name, namespace) = (None, None);
        Self {
            verb,
            group,
            resource,
            name,
            namespace,
        }
    }

    /// Whether a request in the audit log uses this permission.
    fn allows(&self, event: &Value) -> bool {
        let object = &event["objectRef"];
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let resource = match text("subresource") {
            "" => text("resource").to_owned(),
            sub => format!("{}/{sub}", text("resource")),
        };
        let only = |wanted: &Option<String>, field| {
            wanted.as_ref().is_none_or(|wanted| wanted == text(field))
        };
        event["verb"] == *self.verb
            && self.group == text("apiGroup")
            && self.resource == resource
            && only(&self.name, "name")
            && only(&self.namespace, "namespace")
    }
}

/// Every permission that manifests grant to our account.
fn granted(manifests: &str) -> BTreeSet<Permission> {
    let objects = objects(manifests);
    let of = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
    let strings = |value: &Value| -> Vec<String> {
        let items = value.as_array().unwrap().iter();
        items
            .map(|item| item.as_str().unwrap().to_owned())
            .collect()
    };
    let mut granted = BTreeSet::new();
    for binding in of("ClusterRoleBinding").chain(of("RoleBinding")) {
        let (reference, namespace) = (&binding["roleRef"], &binding["metadata"]["namespace"]);
        let role = objects.iter().find(|role| {
            role["kind"] == reference["kind"]
                && role["metadata"]["name"] == reference["name"]
                && role["metadata"]["namespace"] == *namespace
        });
        for rule in role.expect("the manifests have the role")["rules"]
            .as_array()
            .unwrap()
        {
            let names = match rule.get("resourceNames") {
                Some(names) => strings(names).into_iter().map(Some).collect(),
                None => vec![None],
            };
            for group in strings(&rule["apiGroups"]) {
                for resource in strings(&rule["resources"]) {
                    for verb in strings(&rule["verbs"]) {
                        for name in names.clone() {
                            let namespace = namespace.as_str().map(ToOwned::to_owned);
                            granted.insert(Permission {
                                name,
                                namespace,
                                ..Permission::to(&verb, &group, &resource)
                            });
                        }
                    }
                }
            }
        }
    }
    granted
}

const GROUP: &str = "tokenexposure.io";
/// Our own kinds.
const OURS: [&str; 2] = ["tokenexposurereports", "tokenexposuresummaries"];

/// The permissions to read the kinds that verdicts are computed from, and to write reports and summaries.
fn needed() -> BTreeSet<Permission> {
    let of_kinds = KINDS.iter().flat_map(|kind| {
        ["list", "watch"].map(|verb| Permission::to(verb, kind.group(), kind.plural()))
    });
    let of_ours = OURS.iter().flat_map(|kind| {
        let status = Permission::to("patch", GROUP, &format!("{kind}/status"));
        let verbs = ["list", "watch", "create", "patch", "delete"];
        let verbs = verbs.map(|verb| Permission::to(verb, GROUP, kind));
        verbs.into_iter().chain([status])
    });
    let review = Permission::to("create", "authorization.k8s.io", "subjectaccessreviews");
    of_kinds.chain(of_ours).chain([review]).collect()
}

/// Additional permissions to know which Secrets hold tokens.
fn needed_for_secrets() -> [Permission; 2] {
    ["list", "watch"].map(|verb| Permission::to(verb, "", "secrets"))
}

/// Additional permissions to read ConfigMaps.
fn needed_for_config_maps() -> [Permission; 2] {
    ["list", "watch"].map(|verb| Permission::to(verb, "", "configmaps"))
}

/// The additional permission to write each change of a verdict as an event.
fn needed_for_events() -> Permission {
    Permission::to("create", "events.k8s.io", "events")
}

/// Additional permissions for the switch of the policy that withholds tokens: in its own namespace and, as far as RBAC
/// allows, on its own RoleBinding and for its own Role.
fn needed_for_cure() -> [Permission; 3] {
    let name = "token-exposure";
    let of = |verb: &str, resource: &str, named: bool| Permission {
        name: named.then(|| format!("{name}-cure-active")),
        namespace: Some(name.to_owned()),
        ..Permission::to(verb, "rbac.authorization.k8s.io", resource)
    };
    [
        of("create", "rolebindings", false),
        of("delete", "rolebindings", true),
        of("bind", "roles", true),
    ]
}

/// Additional permissions for leader election: in its own namespace and, as far as RBAC allows, on its
/// own Lease.
fn needed_for_leases() -> [Permission; 3] {
    let name = "token-exposure";
    ["get", "update", "create"].map(|verb| Permission {
        name: (verb != "create").then(|| name.to_owned()),
        namespace: Some(name.to_owned()),
        ..Permission::to(verb, "coordination.k8s.io", "leases")
    })
}

/// Additional permissions to keep what was learnt from audit events.
fn needed_for_events_of_api_servers() -> [Permission; 2] {
    ["get", "update"].map(|verb| Permission {
        name: Some("token-exposure-use".to_owned()),
        namespace: Some("token-exposure".to_owned()),
        ..Permission::to(verb, "", "configmaps")
    })
}

#[test]
fn the_shipped_permissions_are_exactly_those_needed() {
    let shipped = fs::read_to_string("deploy/install.yaml").unwrap();
    assert_eq!(granted(&shipped), needed());
    for file in values_files() {
        let values: Value = serde_yaml::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let mut expected = needed();
        if values["legacyTokens"]["readSecrets"] == true {
            expected.extend(needed_for_secrets());
        }
        if values["configMaps"]["read"] == true {
            expected.extend(needed_for_config_maps());
        }
        if values["events"]["create"] == true {
            expected.insert(needed_for_events());
        }
        if values["audit"]["enabled"] == true {
            expected.extend(needed_for_events_of_api_servers());
        }
        if values["replicaCount"].as_u64() > Some(1) {
            expected.extend(needed_for_leases());
        }
        if !values["cure"].is_null() {
            expected.extend(needed_for_cure());
        }
        if values["rbac"]["create"] == false {
            expected.clear();
        }
        let rendered = render(&["-f", file.to_str().unwrap()]).unwrap();
        assert_eq!(granted(&rendered), expected, "{}", file.display());
    }
}

/// No user-facing role can read reports, unless the chart's values say so.
#[test]
fn view_edit_and_admin_cannot_read_reports_by_default() {
    let plane = pool::installed();
    plane.namespace("shop");
    let may = |role: &str| {
        let binding = format!("--clusterrole={role}");
        let user = format!("--as={role}-user");
        let subject = format!("--user={role}-user");
        plane.kubectl(&[
            "-n",
            "shop",
            "create",
            "rolebinding",
            role,
            &binding,
            &subject,
        ]);
        let asked = [
            "-n",
            "shop",
            "auth",
            "can-i",
            "list",
            "tokenexposurereports",
            &user,
        ];
        let output = plane.try_kubectl(&asked, "");
        String::from_utf8(output.stdout).unwrap().trim() == "yes"
    };
    let roles = ["view", "edit", "admin", "token-exposure-report-reader"];
    assert_eq!(roles.map(may), [false, false, false, true]);

    let aggregated = render(&["--set", "reportReader.aggregateTo={view}"]).unwrap();
    plane.kubectl(&["-n", "shop", "delete", "rolebinding", "--all"]);
    let applied = plane.try_kubectl(&["apply", "--server-side", "-f", "-"], &aggregated);
    assert!(applied.status.success());
    let view = || plane.kubectl(&["get", "clusterrole", "view", "-o", "yaml"]);
    await_that("`view` includes reports", || {
        view().contains("tokenexposurereports")
    });
    // `edit` and `admin` include `view`.
    assert_eq!(roles.map(may), [true, true, true, true]);
}

#[test]
fn our_pod_has_no_finding() {
    let (reports, code, _) = scan_files(&["deploy/install.yaml".as_ref()], &[]);
    assert_eq!(code, 0);
    let verdicts: Vec<_> = reports
        .iter()
        .map(|report| (&report["metadata"]["name"], &report["status"]["verdict"]))
        .collect();
    assert_eq!(
        verdicts,
        [(&Value::from("token-exposure"), &Value::from("Needed"))]
    );
    let carriers = &reports[0]["status"]["workloads"][0]["carriers"];
    assert_eq!(
        (
            carriers[0]["source"].as_str(),
            carriers[0]["expirationSeconds"].as_i64()
        ),
        (Some("Explicit"), Some(3600))
    );
}

/// Runs the controllers of the chart with these values, as many as there are replicas, through a finding
/// and its end; returns the requests of our account in the audit log.
fn run_the_chart(plane: &ControlPlane, values: &str) -> Vec<Value> {
    plane.release(values);
    let rendered = objects(&render(&["--set", values]).unwrap());
    let deployment = rendered
        .iter()
        .find(|object| object["kind"] == "Deployment")
        .unwrap();
    let began = jiff::Timestamp::now();
    let mut args = controller_args(&rendered);
    let certificates = Certificates::new();
    certificates.in_place(&mut args);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let count = deployment["spec"]["replicas"].as_u64().unwrap();
    let replica = |_| {
        if values.contains("cure.mode") {
            cure::controller(plane)
        } else {
            plane.controller(&args)
        }
    };
    let replicas: Vec<_> = (0..count).map(replica).collect();
    if values.contains("cure.mode") {
        cure::await_switch(plane, true);
    }
    if values.contains("audit.enabled") {
        let address = replicas[0].audit_address();
        let events = batch(&[discovery("shop", "default", "1")]);
        let sent = certificates.post(&address, Some("client"), None, events);
        assert_eq!(sent, Some(200));
    }
    plane.kubectl(&["-n", "shop", "run", "web", "--image=nginx"]);
    plane.await_report("shop", "default", Some(("Unneeded", "NoPermissions")));
    let summary =
        "/apis/tokenexposure.io/v1alpha1/namespaces/shop/tokenexposuresummaries/token-exposure";
    let has_summary = || plane.ask(summary).ok().map(|found| found.is_some());
    await_that("the summary is written", || has_summary() == Some(true));
    plane.kubectl(&["-n", "shop", "delete", "pod", "web", "--now"]);
    plane.await_report("shop", "default", None);
    await_that("the summary is gone", || has_summary() == Some(false));
    for replica in replicas {
        assert!(replica.terminate().0.success());
    }
    let mut requests = plane.own_requests();
    // The audit log may contain late watches of an earlier run.
    requests.retain(|event| {
        let received = event["requestReceivedTimestamp"].as_str().unwrap();
        received.parse::<jiff::Timestamp>().unwrap() >= began
    });
    requests
}

/// The API server's audit log has each request of our account: with every opt-in, none may be denied or
/// use a permission that is not shipped, every shipped permission must be used, and every list must be
/// paged.
#[test]
fn the_requests_use_exactly_the_shipped_permissions_with_every_opt_in() {
    // If the server streams the initial list, only the check for the CRD lists.
    for streamed in [true, false] {
        let gate = format!("--feature-gates=WatchList={streamed}");
        let plane = ControlPlane::audited(&[&gate]);
        let test = "half of the_requests_use_exactly_the_shipped_permissions_with_every_opt_in";
        if streamed && plane.lacks(Feature::StreamedLists, test) {
            continue;
        }
        plane.namespace("shop");
        let opt_ins = [
            ("replicaCount=1", vec![]),
            ("legacyTokens.readSecrets=true", needed_for_secrets().into()),
            ("configMaps.read=true", needed_for_config_maps().into()),
            ("events.create=true", vec![needed_for_events()]),
            (
                "audit.enabled=true,audit.secretName=unused",
                needed_for_events_of_api_servers().into(),
            ),
            ("replicaCount=2", needed_for_leases().to_vec()),
            ("cure.mode=Neuter", needed_for_cure().to_vec()),
        ];
        for (values, more) in opt_ins {
            let cures = values.contains("cure.mode");
            if cures && plane.lacks(Feature::MutatingAdmissionPolicy, test) {
                continue;
            }
            let shipped: BTreeSet<_> = needed().into_iter().chain(more).collect();
            let mut used = BTreeSet::new();
            for event in run_the_chart(&plane, values) {
                let uri = event["requestURI"].as_str().unwrap();
                assert_ne!(event["responseStatus"]["code"], 403, "denied: {uri}");
                let paged = event["verb"] != "list" || uri.contains("limit=");
                assert!(paged, "listed without pages: {uri}");
                let before = used.len();
                used.extend(
                    shipped
                        .iter()
                        .filter(|permission| permission.allows(&event))
                        .cloned(),
                );
                let known =
                    used.len() > before || used.iter().any(|permission| permission.allows(&event));
                assert!(known, "{values}: no shipped permission allows {event}");
            }
            let mut expected = shipped;
            // Server-side apply creates: the request is a patch, and is authorized as a create too.
            for kind in OURS {
                expected.remove(&Permission::to("create", GROUP, kind));
            }
            // With the definition of an earlier version alone: tests/cluster/definitions.rs.
            expected.remove(&Permission::to(
                "patch",
                GROUP,
                "tokenexposurereports/status",
            ));
            let listed = |permission: &Permission| {
                permission.verb == "list" && !OURS.contains(&&*permission.resource)
            };
            expected.retain(|permission| !(streamed && listed(permission)));
            // Checked when the binding is created: it is no request.
            expected.retain(|permission| permission.verb != "bind");
            assert_eq!(used, expected, "{values}, streamed: {streamed}");
        }
    }
}

/// The one permission that the audit log cannot show.
#[test]
fn without_permission_to_create_reports_none_can_be_applied() {
    let plane = pool::installed();
    plane.namespace("shop");
    let shipped = fs::read_to_string("deploy/install.yaml").unwrap();
    let less = shipped.replace("watch, create, patch, delete]", "watch, patch, delete]");
    assert_ne!(less, shipped);
    let applied = plane.try_kubectl(&["apply", "--server-side", "-f", "-"], &less);
    assert!(applied.status.success());
    let controller = plane.controller(&[]);
    plane.kubectl(&["-n", "shop", "run", "web", "--image=nginx"]);
    await_that("the log names the missing permission", || {
        let log = controller.log();
        log.contains("is forbidden: ") && log.contains("grant `create`")
    });
}

#[test]
fn the_deployment_meets_the_restricted_pod_security_standard() {
    let plane = pool::installed();
    let pods = || {
        plane.get(&["-n", "token-exposure", "pods"])["items"]
            .as_array()
            .unwrap()
            .len()
    };
    // The namespace enforces it: a pod that violates it is not created.
    await_that("the pod is admitted", || pods() == 1);
    let _controller = plane.controller(&["--report-scope", "all"]);
    plane.await_report(
        "token-exposure",
        "token-exposure",
        Some(("Needed", "DirectGrant")),
    );
}
