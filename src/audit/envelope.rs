//! Takes events out of the envelopes of clouds and log shippers, and writes them with the names of the API server.

use serde_json::{Map, Value, json};

use super::{elements::LISTS, gke, may_have_event, time, whole};
use crate::usage::{Delivery, Lease, Record, is_lease_of_server};

/// How deep an event may lie: one of OpenTelemetry lies eight deep.
const MAX_DEPTH: usize = 16;
/// The fields in which log shippers and clouds put a whole event: fluent-bit, Loki, Elasticsearch, CloudWatch, Azure,
/// Splunk, journald, Graylog, OpenTelemetry.
const FIELDS: [&str; 25] = [
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
    "MESSAGE",
    "short_message",
    "full_message",
    "stringValue",
    "original",
    "kubernetes",
    "audit",
    "data",
    "messages",
];

/// The name of the user, where names were flattened.
const FLAT_USER: &str = "user_username";

/// Whether the names of an event were flattened.
pub(super) fn is_flat(text: &[u8]) -> bool {
    memchr::memmem::find(text, FLAT_USER.as_bytes()).is_some()
}

/// Finds the events in a value; `None` where one was meant to be and cannot be read.
pub(super) fn open(value: &Value, found: &mut Found<'_>) {
    walk(value, MAX_DEPTH, "a log shipper", found);
}

/// Takes an event, and how it was delivered.
type Found<'a> = dyn FnMut(Option<&Value>, Delivery) + 'a;

fn walk(value: &Value, depth: usize, how: &'static str, found: &mut Found<'_>) {
    match value {
        Value::Array(_) | Value::Object(_) if depth == 0 => found(None, Delivery::Lossy(how)),
        Value::Array(list) => list
            .iter()
            .for_each(|item| walk(item, depth - 1, how, found)),
        Value::String(text) if is_of_interest(text) => walk_text(text, depth, how, found),
        Value::Object(object) => {
            if object.contains_key(FLAT_USER) {
                return found(Some(&of_flat_names(object)), Delivery::Lossy(how));
            }
            if object.contains_key("auditID") {
                return found(Some(value), Delivery::Lossy(how));
            }
            if let Some(payload) = gke::payload(object) {
                let event = gke::event(value, payload);
                if event.is_some() || gke::is_of_cluster(payload) {
                    found(event.as_ref(), Delivery::Lossy("Cloud Logging"));
                }
                return;
            }
            if object.contains_key("AuditId") {
                let event = of_columns(object);
                return found(event.as_ref(), Delivery::Lossy("Azure Monitor"));
            }
            let how = shipper(object).unwrap_or(how);
            inner(object).for_each(|inner| walk(inner, depth - 1, how, found));
        }
        _ => {}
    }
}

/// The fields of an envelope that may have events; of a cell of CloudWatch Logs Insights its value.
fn inner(object: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let is_message = object.get("field").is_some_and(|field| field == "@message");
    let names = FIELDS.iter().chain(&LISTS).copied();
    let names = names.chain(is_message.then_some("value"));
    names.filter_map(|name| object.get(name))
}

/// The events in a text, one behind the other, also behind other text.
fn walk_text(text: &str, depth: usize, how: &'static str, found: &mut Found<'_>) {
    let trimmed = text.trim_start();
    let is_json = trimmed.starts_with(['{', '[']) && !whole::is_bracketed_text(trimmed.as_bytes());
    let begin = whole::begin(text.as_bytes()).filter(|_| !is_json);
    let (before, rest) = text.split_at(begin.unwrap_or_default());
    let is_lost = |text: &str| may_have_event(text.as_bytes());
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    let mut end = 0;
    while let Some(Ok(value)) = values.next() {
        end = values.byte_offset();
        match depth.checked_sub(1) {
            Some(depth) => walk(&value, depth, how, found),
            None => found(None, Delivery::Lossy(how)),
        }
    }
    if end == 0 || is_lost(before) || is_lost(rest.get(end..).unwrap_or_default()) {
        found(None, Delivery::Lossy(how));
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

/// Whether a text may be an event, or the envelope of one.
fn is_of_interest(text: &str) -> bool {
    may_have_event(text.as_bytes()) || text.contains(FLAT_USER)
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
            "groups": flat_groups(flat),
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

/// The groups, in one field or in one each: `user_groups_0` and so on.
fn flat_groups(flat: &Map<String, Value>) -> Value {
    let is_one = |name: &str| {
        name.strip_prefix("user_groups_")
            .is_some_and(|number| number.parse::<usize>().is_ok())
    };
    let ones: Vec<_> = flat.iter().filter(|(name, _)| is_one(name)).collect();
    match flat.get("user_groups") {
        None if !ones.is_empty() => ones.into_iter().map(|(_, group)| group.clone()).collect(),
        groups => groups.cloned().unwrap_or_default(),
    }
}

/// Adds the Leases of API servers, as `kubectl get leases` prints them; whether the value is one or more Leases.
pub(super) fn leases(value: &Value, record: &mut Record) -> bool {
    let mut is_any = false;
    let items = value["items"].as_array().into_iter().flatten();
    for lease in items.chain([value]) {
        let name = lease["metadata"]["name"].as_str().unwrap_or_default();
        let namespace = lease["metadata"]["namespace"].as_str().unwrap_or_default();
        let is_of_server = is_lease_of_server(namespace, name);
        // The elements of a list that the API server gives have no kind.
        let has_kind = !lease["kind"].is_null();
        let looks_like_one = lease["spec"]["renewTime"].is_string() && is_of_server;
        let is_lease = lease["kind"] == "Lease" || (!has_kind && looks_like_one);
        is_any |= is_lease;
        if is_lease && is_of_server {
            let renewed = lease["spec"]["renewTime"].as_str();
            record.lease(Lease {
                name: name.into(),
                renewed: renewed.and_then(time::micros),
            });
        }
    }
    is_any
}
