//! Takes events out of the envelopes of clouds and log shippers, and writes them with the names of the API server.

use serde_json::{Map, Value, json};

use super::{gke, time};
use crate::usage::{Delivery, Lease, Record, is_lease_of_server};

/// How deep an event may lie.
const MAX_DEPTH: usize = 8;
/// The fields in which log shippers and clouds put a whole event: fluent-bit, Loki, Elasticsearch, CloudWatch, Azure.
const FIELDS: [&str; 16] = [
    "log",
    "message",
    "line",
    "_source",
    "properties",
    "log_s",
    "@message",
    "_raw",
    "event",
    "Message",
    "LogEntry",
    "body",
    "fields",
    "jsonPayload",
    "textPayload",
    "record",
];

/// The name of the user, where names were flattened.
const FLAT_USER: &str = "user_username";

/// Whether the names of an event were flattened.
pub(super) fn is_flat(text: &[u8]) -> bool {
    memchr::memmem::find(text, FLAT_USER.as_bytes()).is_some()
}

/// Finds the events in a value; `None` where one was meant to be and cannot be read.
pub(super) fn open(value: &Value, found: &mut dyn FnMut(Option<&Value>, Delivery)) {
    walk(value, MAX_DEPTH, "a log shipper", found);
}

fn walk(
    value: &Value,
    depth: usize,
    how: &'static str,
    found: &mut dyn FnMut(Option<&Value>, Delivery),
) {
    if depth == 0 {
        return;
    }
    match value {
        Value::Array(list) => list
            .iter()
            .for_each(|item| walk(item, depth - 1, how, found)),
        Value::String(text) if looks_like_event(text) => match serde_json::from_str(text.trim()) {
            Ok(inner) => walk(&inner, depth - 1, how, found),
            Err(_) => found(None, Delivery::Lossy(how)),
        },
        Value::Object(object) => {
            if object.contains_key(FLAT_USER) {
                return found(Some(&of_flat_names(object)), Delivery::Lossy(how));
            }
            if object.contains_key("auditID") {
                return found(Some(value), Delivery::Lossy(how));
            }
            if object.contains_key("protoPayload") {
                return gke::event(value)
                    .iter()
                    .for_each(|event| found(Some(event), Delivery::Lossy("Cloud Logging")));
            }
            if object.contains_key("AuditId") {
                let event = of_columns(object);
                return found(event.as_ref(), Delivery::Lossy("Azure Monitor"));
            }
            let how = shipper(object).unwrap_or(how);
            let inner = FIELDS.iter().filter_map(|field| object.get(*field));
            inner.for_each(|inner| walk(inner, depth - 1, how, found));
        }
        _ => {}
    }
}

/// Who ships events, as far as the fields beside them say.
fn shipper(object: &Map<String, Value>) -> Option<&'static str> {
    let has = |field: &str| object.contains_key(field);
    if has("ingestionTime") || has("eventId") || has("@message") || has("logStreamName") {
        return Some("CloudWatch");
    }
    (has("log_s") || has("properties")).then_some("Azure Monitor")
}

/// Whether a text is an event, or the envelope of one.
fn looks_like_event(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with('{')
        && (text.contains("auditID") || text.contains("protoPayload") || text.contains("log"))
}

/// The columns of the table AKSAudit, which have objects as they are or as text.
fn of_columns(columns: &Map<String, Value>) -> Option<Value> {
    const NAMES: [(&str, &str); 12] = [
        ("AuditId", "auditID"),
        ("Stage", "stage"),
        ("Verb", "verb"),
        ("RequestUri", "requestURI"),
        ("User", "user"),
        ("ImpersonatedUser", "impersonatedUser"),
        ("ObjectRef", "objectRef"),
        ("ResponseStatus", "responseStatus"),
        ("Annotations", "annotations"),
        ("RequestReceivedTime", "requestReceivedTimestamp"),
        ("StageReceivedTime", "stageTimestamp"),
        ("TimeGenerated", "timestamp"),
    ];
    let mut event = Map::new();
    for (column, name) in NAMES {
        let value = match columns.get(column) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) if text.is_empty() => continue,
            Some(Value::String(text)) if text.starts_with('{') => {
                serde_json::from_str(text).ok()?
            }
            Some(value) => value.clone(),
        };
        event.insert(name.to_owned(), value);
    }
    Some(Value::Object(event))
}

/// Names that were flattened with `_`, as in `user_username` and `annotations_authorization_k8s_io_reason`.
fn of_flat_names(flat: &Map<String, Value>) -> Value {
    let get = |name: &str| flat.get(name).cloned().unwrap_or_default();
    let extra = |name: &str| get(&format!("user_extra_authentication_kubernetes_io_{name}"));
    let any = |names: &[&str]| {
        names
            .iter()
            .map(|name| get(name))
            .find(|value| !value.is_null())
    };
    let impersonated = flat.keys().any(|name| name.starts_with("impersonatedUser"));
    json!({
        "auditID": any(&["auditID", "auditid", "audit_id"]),
        "stage": get("stage"),
        "verb": get("verb"),
        "requestURI": any(&["requestURI", "requesturi", "request_uri"]),
        "user": {
            "username": get("user_username"),
            "groups": match get("user_groups") {
                Value::String(text) => serde_json::from_str(&text).unwrap_or_else(|_| json!([text])),
                groups => groups,
            },
            "extra": {
                "authentication.kubernetes.io/pod-name": extra("pod_name"),
                "authentication.kubernetes.io/pod-uid": extra("pod_uid"),
                "authentication.kubernetes.io/credential-id": extra("credential_id"),
            },
        },
        "impersonatedUser": impersonated.then_some(true),
        "objectRef": {
            "resource": get("objectRef_resource"),
            "subresource": get("objectRef_subresource"),
            "namespace": get("objectRef_namespace"),
            "name": get("objectRef_name"),
            "apiGroup": get("objectRef_apiGroup"),
        },
        "responseStatus": { "code": get("responseStatus_code").as_u64() },
        "annotations": {
            "authorization.k8s.io/decision": get("annotations_authorization_k8s_io_decision"),
            "authorization.k8s.io/reason": get("annotations_authorization_k8s_io_reason"),
        },
        "requestReceivedTimestamp": get("requestReceivedTimestamp"),
        "stageTimestamp": get("stageTimestamp"),
    })
}

/// Adds the Leases of API servers, as `kubectl get leases` prints them; whether the value is one or more Leases.
pub(super) fn leases(value: &Value, record: &mut Record) -> bool {
    let mut is_any = false;
    let items = value["items"].as_array().into_iter().flatten();
    for lease in items.chain([value]) {
        let name = lease["metadata"]["name"].as_str().unwrap_or_default();
        let namespace = lease["metadata"]["namespace"].as_str().unwrap_or_default();
        let is_lease =
            lease["kind"] == "Lease" || (value["kind"] == "LeaseList" && lease["spec"].is_object());
        is_any |= is_lease;
        if is_lease && is_lease_of_server(namespace, name) {
            let renewed = lease["spec"]["renewTime"].as_str();
            record.lease(Lease {
                name: name.into(),
                renewed: renewed.and_then(time::micros),
            });
        }
    }
    is_any
}
