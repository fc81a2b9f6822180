//! Which whole objects does an object of a custom kind have, that its operator creates? Templates of OpenShift,
//! ManifestWorks, Objects of Crossplane; and the permissions that the operator lifecycle manager makes of a
//! ClusterServiceVersion.

use serde_json::{Map, Value, json};

const RBAC: &str = "rbac.authorization.k8s.io";

/// The objects in an object of this namespace, as they are created.
pub(in crate::files) fn objects(
    (group, kind): (&str, &str),
    object: &Value,
    namespace: &str,
) -> Vec<Value> {
    if super::has_no_pods(group, kind) {
        return Vec::new();
    }
    if (group, kind) == super::OF_OPERATOR {
        return of_operator(object, namespace);
    }
    if group == "ray.io" {
        return of_ray(object, namespace);
    }
    let mut found = Vec::new();
    let fields = object.as_object().into_iter().flatten();
    for (_, value) in fields.filter(|(field, _)| !matches!(&***field, "metadata" | "status")) {
        collect(value, 1, &mut found);
    }
    // What is made of a template is created in its namespace.
    if group == "template.openshift.io" && object["metadata"]["namespace"].is_string() {
        for found in found
            .iter_mut()
            .filter(|found| found["metadata"]["namespace"].is_null())
        {
            found["metadata"]["namespace"] = object["metadata"]["namespace"].clone();
        }
    }
    found
}

fn collect(value: &Value, depth: usize, found: &mut Vec<Value>) {
    if depth > super::MAX_DEPTH {
        return;
    }
    match value {
        // A policy of Open Cluster Management forbids such an object.
        Value::Object(fields) if is_forbidden(fields) => {}
        Value::Object(fields) if is_object(fields) => found.push(value.clone()),
        Value::Object(fields) => {
            for value in fields.values() {
                collect(value, depth + 1, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect(item, depth + 1, found);
            }
        }
        _ => {}
    }
}

fn is_forbidden(fields: &Map<String, Value>) -> bool {
    let compliance = fields.get("complianceType").and_then(Value::as_str);
    compliance.is_some_and(|compliance| compliance.eq_ignore_ascii_case("mustnothave"))
}

/// Whether it is a whole object, not a reference to one.
pub(super) fn is_object(fields: &Map<String, Value>) -> bool {
    let text = |field: &str| {
        fields
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let metadata = fields.get("metadata").and_then(Value::as_object);
    !text("apiVersion").is_empty() && !text("kind").is_empty() && metadata.is_some()
}

/// The permissions that the operator of Ray gives the account of a head with an autoscaler, where it names one
/// (ray-project/kuberay: ray-operator/controllers/ray/common/rbac.go).
fn of_ray(object: &Value, namespace: &str) -> Vec<Value> {
    let spec = &object["spec"];
    let clusters = [spec, &spec["rayClusterSpec"], &spec["rayClusterConfig"]].into_iter();
    let mut scaled = clusters.filter(|cluster| cluster["enableInTreeAutoscaling"] == true);
    let Some(account) = scaled.next().and_then(super::accounts::head_account) else {
        return Vec::new();
    };
    let metadata =
        json!({ "name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"] });
    let rules = json!([
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "patch"] },
        { "apiGroups": ["ray.io"], "resources": ["rayclusters"], "verbs": ["get", "patch"] },
    ]);
    granted("", &metadata, &rules, account, namespace).into()
}

/// A role, and its binding to an account.
fn granted(
    prefix: &str,
    metadata: &Value,
    rules: &Value,
    account: &str,
    namespace: &str,
) -> [Value; 2] {
    let (role, binding) = (format!("{prefix}Role"), format!("{prefix}RoleBinding"));
    let api_version = format!("{RBAC}/v1");
    [
        json!({ "apiVersion": api_version, "kind": role, "metadata": metadata, "rules": rules }),
        json!({ "apiVersion": api_version, "kind": binding, "metadata": metadata,
            "roleRef": { "apiGroup": RBAC, "kind": role, "name": metadata["name"] },
            "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": namespace }] }),
    ]
}

/// What the operator lifecycle manager creates for each account, with its permissions, where it installs the operator
/// (operator-lifecycle-manager: pkg/controller/install). Its Deployments are the pod templates of the object itself.
fn of_operator(object: &Value, namespace: &str) -> Vec<Value> {
    let metadata = &object["metadata"];
    let own = metadata["name"].as_str();
    let spec = &object["spec"]["install"]["spec"];
    let list = |field: &str| spec[field].as_array().cloned().unwrap_or_default();
    let named = |name: &Value| json!({ "name": name, "namespace": metadata["namespace"] });
    let mut found = Vec::new();
    for (field, prefix) in [("permissions", ""), ("clusterPermissions", "Cluster")] {
        for (number, permission) in list(field).into_iter().enumerate() {
            let account = permission["serviceAccountName"].as_str();
            let account = account.filter(|name| !name.is_empty()).unwrap_or("default");
            let name = json!(format!("{}-{account}-{number}", own.unwrap_or_default()));
            let rules = &permission["rules"];
            found.extend(granted(prefix, &named(&name), rules, account, namespace));
            found.push(json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": named(&account.into()) }));
        }
    }
    found
}

/// A role or binding of OpenShift as one of Kubernetes, which it becomes there; `None` for any other object
/// (openshift/api: authorization/v1; openshift/openshift-apiserver: pkg/authorization/apiserver).
pub(in crate::files) fn as_rbac(group: &str, kind: &str, object: &Value) -> Option<Value> {
    if !matches!(group, "" | "authorization.openshift.io") {
        return None;
    }
    let mut rbac =
        json!({ "apiVersion": format!("{RBAC}/v1"), "kind": kind, "metadata": object["metadata"] });
    match kind {
        "Role" | "ClusterRole" => rbac["rules"] = object["rules"].clone(),
        "RoleBinding" | "ClusterRoleBinding" => {
            let role = &object["roleRef"];
            let is_local = role["namespace"]
                .as_str()
                .is_some_and(|namespace| !namespace.is_empty());
            let role_kind = if is_local { "Role" } else { "ClusterRole" };
            rbac["roleRef"] = json!({ "apiGroup": RBAC, "kind": role_kind, "name": role["name"] });
            rbac["subjects"] = subjects(object).into();
        }
        _ => return None,
    }
    Some(rbac)
}

/// The subjects; without them, the fields that came before them count.
fn subjects(object: &Value) -> Vec<Value> {
    let list = |field: &str| object[field].as_array().cloned().unwrap_or_default();
    let subject =
        |kind: &str, name: &Value| json!({ "apiGroup": RBAC, "kind": kind, "name": name });
    let subjects = list("subjects");
    if subjects.is_empty() {
        let users = list("userNames")
            .into_iter()
            .map(|name| subject("User", &name));
        let groups = list("groupNames")
            .into_iter()
            .map(|name| subject("Group", &name));
        return users.chain(groups).collect();
    }
    let known = |found: Value| match found["kind"].as_str() {
        Some("ServiceAccount") => {
            json!({ "kind": "ServiceAccount", "name": found["name"], "namespace": found["namespace"] })
        }
        Some("SystemUser") => subject("User", &found["name"]),
        Some("SystemGroup") => subject("Group", &found["name"]),
        kind => subject(kind.unwrap_or_default(), &found["name"]),
    };
    subjects.into_iter().map(known).collect()
}
