//! Entries of Cloud Logging: an audit event of GKE with other names, and without groups or the uid of a pod.

use serde_json::{Map, Value, json};

/// What the audit log says in an entry of Cloud Logging, also as a table of `BigQuery` has it.
pub(super) fn payload(entry: &Map<String, Value>) -> Option<&Value> {
    let payload = entry.get("protoPayload");
    payload.or_else(|| entry.get("protopayload_auditlog"))
}

/// Whether that is of the API server of a cluster.
pub(super) fn is_of_cluster(payload: &Value) -> bool {
    payload["serviceName"] == "k8s.io"
}

/// An entry as an event; `None` if it is of another service, or not whole.
pub(super) fn event(entry: &Value, payload: &Value) -> Option<Value> {
    let method = payload["methodName"].as_str()?;
    // Such as `io.k8s.core.v1.pods.list` or `io.k8s.authorization.rbac.v1.roles.get`; those of other groups begin with the
    // words of the group from its end, as `com.coreos.monitoring.v1.prometheuses.list`.
    let of_kubernetes = method
        .strip_prefix("io.k8s.")
        .or_else(|| method.strip_prefix("io."));
    let method = of_kubernetes.or_else(|| is_of_cluster(payload).then_some(method))?;
    // That of a URL is the verb alone.
    let (rest, verb) = method.rsplit_once('.').unwrap_or(("", method));
    let resource_name = payload["resourceName"].as_str().unwrap_or_default();
    let object = object(rest, resource_name);
    let is_begin = entry["operation"]["first"] == true && entry["operation"]["last"] != true;
    let labels = &entry["labels"];
    let label = |name: &str| {
        let spelled = labels.get(format!("authorization.k8s.io/{name}"));
        spelled.or_else(|| labels.get(format!("authorization_k8s_io_{name}")))
    };
    let time = time(&entry["timestamp"]);
    let denied = label("decision").is_some_and(|decision| decision == "forbid")
        || payload["status"]["code"] == 7;
    let id = [&entry["operation"]["id"], &entry["insertId"]];
    let id = id.into_iter().find_map(Value::as_str)?;
    Some(json!({
        "auditID": id,
        "stage": if is_begin { "ResponseStarted" } else { "ResponseComplete" },
        "verb": verb,
        "requestURI": if object.is_null() { format!("/{resource_name}") } else { String::new() },
        "user": { "username": payload["authenticationInfo"]["principalEmail"] },
        "objectRef": object,
        "responseStatus": { "code": if denied { 403 } else { 200 } },
        "annotations": {
            "authorization.k8s.io/decision": if denied { "forbid" } else { "allow" },
            "authorization.k8s.io/reason": label("reason"),
        },
        "requestReceivedTimestamp": time,
        "stageTimestamp": time,
        "isAccountOnly": true,
    }))
}

/// A time, also as `BigQuery` writes it: `2026-11-26 08:50:00 UTC`.
fn time(time: &Value) -> Value {
    let spelled = time.as_str().and_then(|text| text.strip_suffix(" UTC"));
    match spelled {
        Some(text) => format!("{}Z", text.replacen(' ', "T", 1)).into(),
        None => time.clone(),
    }
}

/// The object: from `core/v1/namespaces/x/pods/y/status`, whose group is that of the path.
fn object(method: &str, resource_name: &str) -> Value {
    let words: Vec<&str> = resource_name.split('/').collect();
    let (group, rest) = match words[..] {
        [group, version, ref rest @ ..] if version.starts_with('v') && !rest.is_empty() => {
            (group, rest)
        }
        _ => return Value::Null,
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let name = rest.get(1).copied().unwrap_or_default();
    let subresource = rest.get(2).copied().unwrap_or_default();
    // The last word of the method before its verb is the resource; some methods end with the subresource.
    let resource = rest.first().copied().or_else(|| method.rsplit('.').next());
    json!({
        "apiGroup": if group == "core" { "" } else { group },
        "resource": resource,
        "namespace": if namespace.is_empty() && resource == Some("namespaces") { name } else { namespace },
        "name": name,
        "subresource": subresource,
    })
}
