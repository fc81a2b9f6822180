//! Files of each format, made from the names that each provider publishes.

use std::{fmt::Write, fs, io::Write as _};

use serde_json::{Value, json};

use super::*;
use crate::{
    model::{
        ServiceAccountRef, Workload,
        usage::{Grade, Hole},
    },
    usage::{AccountUsage, LivePod, WEBHOOK},
};

const UID: &str = "9a1d6c0e-5b7e-4c7e-8f0a-2f0e9d3c1b11";

/// A request for ConfigMaps with the token of the pod `mail-0`.
fn event() -> Value {
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "1",
        "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces/shop/configmaps?limit=500", "verb": "list",
        "user": {
            "username": "system:serviceaccount:shop:mail", "uid": "u",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"],
            "extra": {
                "authentication.kubernetes.io/pod-name": ["mail-0"], "authentication.kubernetes.io/pod-uid": [UID],
                "authentication.kubernetes.io/credential-id": ["JTI=a"],
            },
        },
        "sourceIPs": ["10.0.0.1"], "userAgent": "x",
        "objectRef": { "resource": "configmaps", "namespace": "shop", "apiVersion": "v1" },
        "responseStatus": { "metadata": {}, "code": 200 },
        "requestReceivedTimestamp": "2026-11-26T22:01:49.793773Z", "stageTimestamp": "2026-11-26T22:01:49.796502Z",
        "annotations": {
            "authorization.k8s.io/decision": "allow",
            "authorization.k8s.io/reason": "RBAC: allowed by RoleBinding \"reader/shop\" of Role \"reader\" to ServiceAccount \"mail/shop\"",
        },
    })
}

fn line() -> String {
    own(&event())
}

/// An event as text, with the first fields in the order of the API server.
fn own(event: &Value) -> String {
    let event = event.to_string();
    let rest = event
        .replacen('{', "", 1)
        .replace("\"kind\":\"Event\",", "");
    let rest = rest.replace("\"apiVersion\":\"audit.k8s.io/v1\",", "");
    format!("{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",{rest}")
}

fn read_files(files: &[(&str, &[u8])]) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    read(&[dir.path().to_owned()], None, &|_, _| {})
}

fn read_text(text: &str) -> Outcome {
    read_files(&[("log", text.as_bytes())])
}

fn mail() -> Workload {
    Workload::new("StatefulSet", "mail")
}

fn usage(outcome: &Outcome) -> AccountUsage {
    let pod = LivePod {
        workload: mail(),
        name: "mail-0".into(),
        uid: crate::model::pod::uid(UID),
        created: None,
        started: None,
        is_running: false,
    };
    outcome.record.of(
        &"shop/mail"
            .split_once('/')
            .map(|(namespace, name)| crate::model::ServiceAccountRef::new(namespace, name))
            .unwrap(),
        &[pod],
        60,
    )
}

/// The actions of the only workload, how many requests, and the names of bindings that allowed them.
fn seen(outcome: &Outcome) -> (Vec<String>, u64, Vec<String>) {
    let usage = usage(outcome);
    let used = &usage.workloads[&mail()];
    let actions = used.actions.keys().map(ToString::to_string).collect();
    let bindings = usage.bindings.keys().map(ToString::to_string).collect();
    (actions, used.requests, bindings)
}

fn is_seen(name: &str, text: &str) {
    let outcome = read_text(text);
    assert_eq!(outcome.warnings, [], "{name}: {text}");
    let expected = (
        vec!["list configmaps in namespace shop".to_owned()],
        1,
        vec!["shop/reader".to_owned()],
    );
    assert_eq!(seen(&outcome), expected, "{name}: {text}");
}

/// The event in the columns of AKSAudit.
fn columns() -> Value {
    let event = event();
    json!({
        "TimeGenerated": "2026-11-26T22:01:50Z", "Level": "Metadata", "AuditId": "1", "Stage": "ResponseComplete", "RequestUri": "/x",
        "Verb": "list", "User": event["user"].to_string(), "ObjectRef": event["objectRef"], "ResponseStatus": event["responseStatus"].to_string(),
        "Annotations": event["annotations"], "SourceIps": "[]", "UserAgent": "x", "ImpersonatedUser": "",
        "RequestReceivedTime": "2026-11-26T22:01:49.793773Z", "StageReceivedTime": "2026-11-26T22:01:49.796502Z",
    })
}

/// The event with flattened names.
fn flat() -> Value {
    let event = event();
    json!({
        "auditID": "1", "stage": "ResponseComplete", "verb": "list", "user_username": event["user"]["username"],
        "user_groups": event["user"]["groups"], "user_extra_authentication_kubernetes_io_pod_name": ["mail-0"],
        "user_extra_authentication_kubernetes_io_pod_uid": [UID], "objectRef_resource": "configmaps", "objectRef_namespace": "shop",
        "annotations_authorization_k8s_io_decision": "allow",
        "annotations_authorization_k8s_io_reason": event["annotations"]["authorization.k8s.io/reason"],
        "requestReceivedTimestamp": "2026-11-26T22:01:49Z", "stageTimestamp": "2026-11-26T22:01:49Z",
    })
}

/// The same, with the groups in one field each, or in one text.
fn flat_groups(numbers: &[&str]) -> Value {
    let mut flat = flat();
    let groups = ["system:serviceaccounts", "system:authenticated"];
    flat["user_groups"] = groups.join(",").into();
    for (number, group) in numbers.iter().zip(groups) {
        flat.as_object_mut().unwrap().remove("user_groups");
        flat[format!("user_groups_{number}")] = group.into();
    }
    flat
}

/// The event with the response, whose lists have the names of envelopes, before what every event has.
fn with_lists() -> Value {
    let mut event = event();
    event["Response"] = json!({ "items": [{ "a": 1 }], "values": [[1]] });
    event["Response"]["spec"] =
        json!({ "sources": [{ "configMap": { "items": [{ "key": "ca.crt" }] } }] });
    event
}

#[test]
fn each_envelope_has_the_same_event() {
    let (event, line) = (event(), line());
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap();
    let mut beside = event.clone();
    beside["cluster"] = json!("one");
    for (name, value) in [
        (
            "EventList",
            json!({ "kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": [event] }),
        ),
        ("list", json!([event])),
        ("fields beside it", beside),
        (
            "CloudWatch get-log-events",
            json!({ "events": [{ "timestamp": 1, "message": line, "ingestionTime": 2 }], "nextForwardToken": "f" }),
        ),
        (
            "CloudWatch subscription",
            json!({ "messageType": "DATA_MESSAGE", "logEvents": [{ "id": "1", "timestamp": 1, "message": line }] }),
        ),
        (
            "Azure diagnostics",
            json!({ "records": [{ "category": "kube-audit", "properties": { "log": line, "stream": "stdout" } }] }),
        ),
        (
            "Azure table AzureDiagnostics",
            json!([{ "Category": "kube-audit", "log_s": line }]),
        ),
        ("Azure table AKSAudit", json!([columns()])),
        (
            "fluent-bit",
            json!({ "date": 1.5, "log": line, "kubernetes": {} }),
        ),
        ("fluent-bit, parsed", json!({ "date": 1.5, "log": event })),
        (
            "logstash",
            json!({ "@timestamp": "t", "message": line, "host": "h" }),
        ),
        (
            "Loki",
            json!({ "status": "success", "data": { "resultType": "streams", "result": [{ "stream": {}, "values": [["1", line]] }] } }),
        ),
        (
            "logcli",
            json!({ "labels": {}, "line": line, "timestamp": "t" }),
        ),
        (
            "Elasticsearch",
            json!({ "took": 1, "hits": { "total": {}, "hits": [{ "_index": "i", "_source": event }] } }),
        ),
        (
            "Elasticsearch, as text",
            json!({ "_index": "i", "_source": { "message": line } }),
        ),
        ("flattened names", flat()),
    ] {
        is_seen(name, &value.to_string());
        is_seen(name, &pretty(&value));
    }
    is_seen("own", &line);
    is_seen("pretty", &pretty(&event));
    is_seen(
        "container",
        &format!("2026-11-26T22:01:49.8Z stdout F {line}\n"),
    );
    is_seen("byte-order", &format!("{line}\r\n\r\n"));
}

#[test]
fn lists_of_texts_and_texts_in_lists_are_read() {
    let (event, line) = (event(), line());
    for (name, value) in [
        ("flattened groups", flat_groups(&["0", "1"])),
        ("flattened groups, as text", flat_groups(&[])),
        (
            "CloudWatch, messages alone",
            json!(["another message", line]),
        ),
        (
            "CloudWatch, messages of events",
            json!({ "events": [line] }),
        ),
        (
            "CloudWatch Logs Insights",
            json!({ "results": [[{ "field": "@timestamp", "value": "t" }, { "field": "@message", "value": line }]] }),
        ),
        (
            "Loki, with metadata",
            json!({ "data": { "result": [{ "stream": {}, "values": [["1", line, { "structuredMetadata": {} }]] }] } }),
        ),
        (
            "Loki, with the prefix of a container runtime",
            json!({ "stream": {}, "values": [["1", format!("2026-11-26T22:01:49.8Z stdout F {line}")]] }),
        ),
        (
            "Splunk",
            json!({ "preview": false, "result": { "_raw": line, "_time": "t" } }),
        ),
        (
            "OpenTelemetry",
            json!({ "resourceLogs": [{ "resource": {}, "scopeLogs": [{ "logRecords": [{
                "attributes": [{ "key": "tags", "value": { "arrayValue": { "values": [{ "stringValue": "a" }] } } }],
                "body": { "stringValue": line },
            }] }] }] }),
        ),
        (
            "journald",
            json!({ "MESSAGE": line, "_SYSTEMD_UNIT": "k3s" }),
        ),
        ("GELF", json!({ "version": "1.1", "short_message": line })),
        (
            "Elasticsearch, parsed",
            json!({ "_source": { "kubernetes": { "audit": event } } }),
        ),
        (
            "Elasticsearch, chosen fields",
            json!({ "hits": { "hits": [{ "fields": { "message": [line] } }] } }),
        ),
        (
            "an EventList as text",
            json!({ "log": json!({ "kind": "EventList", "items": [event] }).to_string() }),
        ),
        ("lists of its own", with_lists()),
        (
            "lists of its own, in an envelope",
            json!({ "log": with_lists() }),
        ),
    ] {
        is_seen(name, &value.to_string());
        is_seen(name, &serde_json::to_string_pretty(&value).unwrap());
    }
}

#[test]
fn an_event_is_found_behind_text_and_before_it() {
    let line = line();
    let of_other = |text: &str| {
        let text = text.replace("shop:mail", "shop:other");
        text.replace("auditID\":\"1", "auditID\":\"2")
            .replace("auditID\": \"1", "auditID\": \"2")
    };
    let other = of_other(&line);
    let wrapped = json!({ "log": line }).to_string();
    let spaced = serde_json::to_string_pretty(&event()).unwrap();
    let spaced = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
    let quiet = json!({ "messageType": "CONTROL_MESSAGE", "logEvents": [{ "message": "x" }] });
    for (name, text) in [
        (
            "container",
            format!("2026-11-26T22:01:49.8Z stdout F {wrapped}"),
        ),
        (
            "fluentd",
            format!("2026-11-26T22:01:49Z\tkube.audit\t{wrapped}"),
        ),
        ("other order", format!("kube.audit\t{}", event())),
        (
            "spaces",
            format!("<134>1 2026-11-26T22:01:49Z host audit - - - {spaced}"),
        ),
        (
            "time in brackets",
            format!("[2026-11-26T22:01:49Z] {wrapped}"),
        ),
        ("columns", format!("EVENTS\t3731\t{line}\t1669500109000")),
        ("column behind it", format!("{line}\t1669500109000")),
        ("two events", format!("{other}{line}")),
        ("two columns", format!("{other}\t{line}")),
        (
            "two batches",
            format!("{quiet}{}", json!({ "logEvents": [{ "message": line }] })),
        ),
        (
            "two messages",
            json!({ "message": format!("{other}\n{line}") }).to_string(),
        ),
        ("comma before it", format!("[{{\"a\":1}}\n,{}\n]", event())),
        ("comma behind it", format!("{line},\n{{\"a\":1}},\n")),
        ("pretty, behind each other", {
            let pretty = serde_json::to_string_pretty(&event()).unwrap();
            format!("{}{pretty}", of_other(&pretty))
        }),
    ] {
        is_seen(name, &text);
        // Whoever changed the file may have left something out.
        let holes = usage(&read_text(&text)).window.holes;
        assert!(
            holes.iter().any(|hole| matches!(hole, Hole::Lossy(_))),
            "{name}"
        );
    }
    for text in ["EVENTS\t1\t{\"auditID\":\"1\"}\t1669", "{\"a\":1}\t1669\n"] {
        assert_eq!(read_text(text).warnings, [], "{text}");
    }
}

#[test]
fn an_account_in_what_is_not_read_is_a_hole() {
    let line = line();
    let account = "system:serviceaccount:shop:mail";
    let without = |what: &str| {
        let mut event = event();
        event["user"].as_object_mut().unwrap().remove(what);
        event.to_string()
    };
    let mut flat = flat();
    flat.as_object_mut().unwrap().remove("user_groups");
    let mut no_id = self::flat();
    no_id.as_object_mut().unwrap().remove("auditID");
    let mut other_service = entry("google.iam.v1.Set", "x", "allow");
    other_service["protoPayload"]["serviceName"] = "iam.googleapis.com".into();
    let mut no_time = entry("io.k8s.core.v1.configmaps.list", "x", "allow");
    no_time.as_object_mut().unwrap().remove("timestamp");
    let review = line
        .replace(account, "jane")
        .replace("configmaps", "tokenreviews");
    let brackets = |count: usize| {
        let (open, close) = ("[".repeat(count), "]".repeat(count));
        format!("{open}\"{account}\"{close}")
    };
    for text in [
        json!({ "message": line, "events": [{ "a": 1 }] }).to_string(),
        json!({ "log": line, "other": line }).to_string(),
        json!({ "message": review, "events": [{ "a": 1 }] }).to_string(),
        json!({ "records": [{ "log": "x" }], "other": line }).to_string(),
        json!({ "log": format!("AUDIT: id=\"1\" user=\"{account}\"") }).to_string(),
        json!({ "log": [line, format!("user=\"{account}\"")] }).to_string(),
        format!("2026-11-26T22:01:49.8Z AUDIT: id=\"1\" user=\"{account}\" response=\"200\""),
        format!("principalEmail: {account}"),
        format!("{account} {}", json!({ "a": 1 })),
        format!("{} {account}", json!({ "a": 1 })),
        format!("[{{\"a\":1,\"b\":\"{account}\"}}"),
        without("groups"),
        flat.to_string(),
        no_id.to_string(),
        json!({ "log": without("groups") }).to_string(),
        other_service.to_string(),
        no_time.to_string(),
        json!({ "records": [{ "data": "H4sIAAAAAAAA" }] }).to_string(),
        brackets(100),
        brackets(1000),
        brackets(20_000),
    ] {
        let begin = &text[..text.len().min(200)];
        assert!(is_unreadable(&read_text(&text)), "{begin}");
    }
    assert!(!is_unreadable(&read_text(&format!("{line}\n"))));
    // Another user of an unknown kind is none of an account.
    let other = without("groups").replace(account, "jane");
    assert!(!is_unreadable(&read_text(&format!("{line}\n{other}\n"))));
}

/// A value in a field, a list and a text, each in the next one.
fn wrapped(value: &Value, names: &[&str], found: &mut dyn FnMut(Value)) {
    let Some((name, outer)) = names.split_first() else {
        return found(value.clone());
    };
    let text = match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    for inner in [
        value.clone(),
        json!([{ "a": 1 }, value]),
        text.clone().into(),
        json!(["a", text]),
        json!([[1, text]]),
    ] {
        let fields = [
            ("a", json!({ "items": [] })),
            (name, inner.clone()),
            ("z", json!([1])),
        ];
        wrapped(&fields.into_iter().collect(), outer, found);
    }
}

#[test]
fn a_use_is_read_or_a_hole_wherever_it_is() {
    let names = [
        "items",
        "values",
        "hits",
        "data",
        "log",
        "message",
        "body",
        "_source",
        "result",
        "attributes",
        "protoPayload",
        "payload",
        "field",
        "auditID",
    ];
    let mut other = event();
    other["auditID"] = "2".into();
    let pairs = names
        .iter()
        .flat_map(|one| ["events", "log", "data", "other"].map(|other| (*one, other)));
    let is_read = |text: &str, requests: u64| {
        let mut reader = Reader::default();
        reader.lines(text.as_bytes()).unwrap();
        let outcome = Outcome {
            record: reader.record,
            ..Outcome::default()
        };
        let seen = usage(&outcome).total.requests;
        assert!(seen == requests || is_unreadable(&outcome), "{text}");
    };
    for (inner, outer) in pairs {
        wrapped(&with_lists(), &[inner, outer], &mut |value| {
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            is_read(&value.to_string(), 1);
            is_read(&pretty, 1);
            is_read(&format!("2026 {value} 1"), 1);
            is_read(&format!("{value}{other}"), 2);
            let mut beside = value;
            beside["beside"] = json!([other.to_string()]);
            is_read(&beside.to_string(), 2);
            is_read(&serde_json::to_string_pretty(&beside).unwrap(), 2);
        });
    }
}

#[test]
fn only_files_of_the_api_server_can_be_complete() {
    let lossy = |text: &str| {
        let usage = usage(&read_text(text));
        usage
            .window
            .holes
            .iter()
            .any(|hole| matches!(hole, Hole::Lossy(_)))
    };
    assert!(!lossy(&line()));
    for text in [
        json!({ "items": [event()] }).to_string(),
        json!({ "log": line() }).to_string(),
        event().to_string(),
    ] {
        assert!(lossy(&text), "{text}");
    }
}

/// An entry of Cloud Logging.
fn entry(method: &str, name: &str, decision: &str) -> Value {
    json!({
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog", "serviceName": "k8s.io", "methodName": method,
            "resourceName": name, "status": {}, "authenticationInfo": { "principalEmail": "system:serviceaccount:shop:mail" },
            "requestMetadata": { "callerIp": "10.0.0.1", "callerSuppliedUserAgent": "x" },
        },
        "insertId": name, "timestamp": "2026-11-26T22:01:49.796502Z",
        "labels": {
            "authorization.k8s.io/decision": decision,
            "authorization.k8s.io/reason": "RBAC: allowed by RoleBinding \"reader/shop\" of Role \"reader\" to ServiceAccount \"mail/shop\"",
        },
    })
}

#[test]
fn cloud_logging_knows_the_account_alone() {
    let entries = json!([
        entry(
            "io.k8s.core.v1.configmaps.list",
            "core/v1/namespaces/shop/configmaps",
            "allow"
        ),
        entry(
            "io.k8s.core.v1.pods.status.patch",
            "core/v1/namespaces/shop/pods/y/status",
            "allow"
        ),
        entry(
            "io.k8s.apps.v1.deployments.get",
            "apps/v1/namespaces/shop/deployments/z",
            "forbid"
        ),
    ]);
    let outcome = read_text(&serde_json::to_string_pretty(&entries).unwrap());
    let (actions, requests, bindings) = seen(&outcome);
    assert_eq!(
        actions,
        [
            "get deployments.apps in namespace shop (denied)",
            "list configmaps in namespace shop",
            "patch pods/status in namespace shop"
        ]
    );
    assert_eq!((requests, bindings.len()), (3, 1));
    assert_eq!(usage(&outcome).window.grade, Grade::Unproven);
}

#[test]
fn cloud_logging_is_read_however_it_was_exported() {
    let list = "io.k8s.core.v1.configmaps.list";
    let name = "core/v1/namespaces/shop/configmaps";
    let plain = entry(list, name, "allow");
    let mut with_body = plain.clone();
    with_body["protoPayload"]["response"] = json!({
        "items": [{ "spec": { "volumes": [{ "projected": { "sources": [{ "configMap": { "items": [{ "key": "a" }] } }] } }] } }],
    });
    let mut table = plain.clone();
    let payload = table.as_object_mut().unwrap().remove("protoPayload");
    table["protopayload_auditlog"] = payload.unwrap();
    table["timestamp"] = "2026-11-26 22:01:49.796502 UTC".into();
    table["labels"] = json!({
        "authorization_k8s_io_decision": "allow",
        "authorization_k8s_io_reason": plain["labels"]["authorization.k8s.io/reason"],
    });
    for (name, entry) in [
        ("an entry", plain.clone()),
        ("with the body", with_body.clone()),
        ("BigQuery", table),
    ] {
        is_seen(name, &entry.to_string());
        is_seen(name, &json!([entry]).to_string());
        is_seen(
            name,
            &serde_json::to_string_pretty(&json!({ "entries": [entry] })).unwrap(),
        );
    }
    let yaml = format!(
        "---\n{}---\n{{}}\n",
        serde_saphyr::to_string(&with_body).unwrap()
    );
    let outcome = read_files(&[("entries.yaml", yaml.as_bytes())]);
    assert_eq!((outcome.warnings.len(), seen(&outcome).1), (0, 1), "{yaml}");
    let unknown = read_files(&[(
        "entries.yaml",
        yaml.replace("protoPayload", "other").as_bytes(),
    )]);
    assert!(is_unreadable(&unknown));
}

#[test]
fn cloud_logging_reverses_the_names_of_groups() {
    for (method, name, expected) in [
        ("io.k8s.get", "version", "get /version"),
        (
            "com.coreos.monitoring.v1.prometheuses.list",
            "monitoring.coreos.com/v1/namespaces/shop/prometheuses",
            "list prometheuses.monitoring.coreos.com in namespace shop",
        ),
        (
            "dev.knative.serving.v1.services.get",
            "serving.knative.dev/v1/namespaces/shop/services/a",
            "get services.serving.knative.dev in namespace shop",
        ),
    ] {
        let outcome = read_text(&entry(method, name, "allow").to_string());
        assert_eq!(outcome.warnings, []);
        assert_eq!(seen(&outcome).0, [expected]);
    }
}

#[test]
fn a_name_alone_is_no_use_of_a_token() {
    let mut certificate = event();
    certificate["user"]["extra"] =
        json!({ "authentication.kubernetes.io/credential-id": ["X509SHA256=a"] });
    let mut name_only = event();
    name_only["user"]["groups"] = json!(["system:authenticated"]);
    let mut impersonated = event();
    impersonated["impersonatedUser"] = impersonated["user"].take();
    impersonated["user"] =
        json!({ "username": "admin", "groups": ["system:masters", "system:authenticated"] });
    for event in [certificate, name_only, impersonated] {
        let outcome = read_text(&event.to_string());
        let usage = usage(&outcome);
        assert_eq!(
            (
                outcome.events,
                usage.total.last,
                usage.unattributed.is_some()
            ),
            (1, None, false),
            "{event}"
        );
    }
}

#[test]
fn a_token_without_a_pod_belongs_to_the_account_alone() {
    let mut legacy = event();
    legacy["user"].as_object_mut().unwrap().remove("extra");
    let usage = usage(&read_text(&legacy.to_string()));
    assert!(usage.unattributed.is_some());
    assert_eq!(
        (usage.workloads[&mail()].last, usage.others.requests),
        (None, 1)
    );
}

#[test]
fn stages_and_repetitions_of_a_request_count_once() {
    let stage = |stage: &str, id: &str| {
        let mut event = event();
        event["stage"] = stage.into();
        event["auditID"] = id.into();
        event.to_string()
    };
    let mut text = String::new();
    for (name, id) in [
        ("RequestReceived", "1"),
        ("ResponseStarted", "1"),
        ("ResponseComplete", "1"),
        ("ResponseComplete", "1"),
        ("ResponseStarted", "2"),
        ("ResponseStarted", "2"),
        ("ResponseComplete", "3"),
        ("RequestReceived", "3"),
    ] {
        writeln!(text, "{}", stage(name, id)).unwrap();
    }
    assert_eq!(seen(&read_text(&text)).1, 3);
}

#[test]
fn broken_lines_are_counted_and_the_first_is_named() {
    let line = line();
    let half = &line[..line.len() / 2];
    let text = format!("{line}\n{half}\n{{\"other\": true}}\nnot JSON\n{half}\n{line}\n");
    let outcome = read_text(&text);
    let [warning] = &outcome.warnings[..] else {
        panic!("{:?}", outcome.warnings);
    };
    assert!(warning.place.ends_with("log:2"), "{warning}");
    assert_eq!(
        warning.message,
        "is not a whole audit event; 2 such lines in all"
    );
    let holes = usage(&outcome).window.holes;
    assert!(holes.contains(&Hole::Unreadable(2)), "{holes:?}");
}

/// A sign of life of an API server, as it writes it.
fn beat(seconds: u32) -> String {
    let time = format!("2026-11-26T22:00:{seconds:02}.000000Z");
    let mut beat = event();
    beat["user"] = json!({ "username": "system:apiserver", "groups": ["system:masters"] });
    beat["verb"] = "update".into();
    beat["objectRef"] = json!({
        "resource": "leases", "namespace": "kube-system", "name": "apiserver-a", "apiGroup": "coordination.k8s.io",
    });
    beat["requestReceivedTimestamp"] = time.as_str().into();
    beat["stageTimestamp"] = time.as_str().into();
    beat["auditID"] = time.into();
    own(&beat)
}

fn is_unreadable(outcome: &Outcome) -> bool {
    let holes = usage(outcome).window.holes;
    holes.iter().any(|hole| matches!(hole, Hole::Unreadable(_)))
}

#[test]
fn a_cut_line_is_a_hole_but_at_the_end_of_the_newest_file() {
    let (line, beats) = (line(), [beat(10), beat(20)]);
    let half = &line[..line.len() / 2];
    // A server that goes on writes its last line in parts.
    let newest = format!("{}\n{line}\n{}\n{half}", beats[0], beats[1]);
    let cut = read_text(&newest);
    assert_eq!((seen(&cut).1, cut.warnings.len()), (1, 1));
    assert!(!is_unreadable(&cut));
    let next = beat(30);
    let rotated = read_files(&[("1.log", newest.as_bytes()), ("2.log", next.as_bytes())]);
    assert!(is_unreadable(&rotated));
    assert!(is_unreadable(&read_text(&format!("{line}\n{half}"))));
}

#[test]
fn a_damaged_line_is_a_hole_whatever_is_lost_of_it() {
    let mut other = event();
    other["user"] = json!({ "username": "jane", "groups": ["system:authenticated"] });
    other["annotations"] = json!({});
    let (line, other) = (line(), own(&other));
    let name = line.find("system:serviceaccount:").unwrap();
    let merged = format!("{}{other}", &line[..name + 5]);
    let head_lost = &line[line.find("\"groups\"").unwrap() + 3..];
    let nul = line.replace("system:serviceaccount:", &"\0".repeat(22));
    let no_id = line.replace("\"auditID\":\"1\",", "");
    assert_ne!(no_id, line);
    let foreign = json!({ "payload": line }).to_string();
    let behind_text = format!("kube.audit\t{foreign}");
    for damaged in [&merged, head_lost, &nul, &no_id, &foreign, &behind_text] {
        let outcome = read_text(&format!("{line}\n{damaged}\n{line}\n"));
        assert!(is_unreadable(&outcome), "{damaged}");
    }
    let mut invalid = event();
    invalid["user"] = json!({});
    invalid["annotations"] = json!({});
    invalid["responseStatus"]["code"] = 401.into();
    let whole = read_text(&format!("{line}\n{other}\n{}\n", own(&invalid)));
    assert!(!is_unreadable(&whole));
    assert_eq!(whole.events, 3);
}

#[test]
fn a_request_with_an_unknown_method_is_a_request() {
    let mut event = event();
    event["verb"] = "".into();
    event["annotations"]["authorization.k8s.io/decision"] = "forbid".into();
    let outcome = read_text(&own(&event));
    assert!(!is_unreadable(&outcome));
    assert_eq!(
        seen(&outcome).0,
        ["(no verb) configmaps in namespace shop (denied)"]
    );
    event.as_object_mut().unwrap().remove("verb");
    assert!(is_unreadable(&read_text(&own(&event))));
}

#[test]
fn what_is_not_read_is_a_hole() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).unwrap();
    fs::write(logs.join("a.log"), line()).unwrap();
    let read_all = |paths: &[PathBuf]| read(paths, None, &|_, _| {});
    assert!(!is_unreadable(&read_all(std::slice::from_ref(&logs))));
    fs::create_dir(logs.join(".old")).unwrap();
    fs::write(logs.join(".old/.b.log"), "{\"cut").unwrap();
    assert!(
        is_unreadable(&read_all(std::slice::from_ref(&logs))),
        "hidden"
    );
    fs::remove_dir_all(logs.join(".old")).unwrap();
    let missing = read_all(&[logs.clone(), dir.path().join("missing.log")]);
    assert_eq!((missing.problems.len(), is_unreadable(&missing)), (1, true));
    fs::write(dir.path().join("outside.log"), line()).unwrap();
    std::os::unix::fs::symlink("../outside.log", logs.join("b.log")).unwrap();
    let linked = read_all(&[logs]);
    let [problem] = &linked.problems[..] else {
        panic!("{:?}", linked.problems);
    };
    assert!(problem.message.contains("a link out of the folder"));
    assert!(is_unreadable(&linked));
}

#[test]
fn a_watch_that_is_open_since_before_the_time_is_use() {
    let mut started = event();
    started["stage"] = "ResponseStarted".into();
    let since = time::micros("2026-11-26T22:30:00Z");
    let of = |text: &str| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.log");
        fs::write(&file, text).unwrap();
        usage(&read(&[file], since, &|_, _| {})).total.last
    };
    assert_eq!(of(&own(&started)), since);
    assert_eq!(of(&format!("{}\n{}\n", own(&started), line())), None);
}

#[test]
fn compressed_files_and_folders_are_read() {
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let other = line().replace("\"auditID\":\"1\"", "\"auditID\":\"2\"");
    let third = line().replace("\"auditID\":\"1\"", "\"auditID\":\"3\"");
    // Several members, as `cat one.gz two.gz` makes them.
    let compressed = [gzip(&format!("{}\n", line())), gzip(&other)].concat();
    let outcome = read_files(&[
        ("audit.log.gz", &compressed),
        ("audit.log", third.as_bytes()),
    ]);
    assert_eq!((outcome.problems.len(), seen(&outcome).1), (0, 3));
    let cut = read_files(&[("audit.log.gz", &compressed[..compressed.len() / 2])]);
    assert_eq!(cut.problems.len(), 1);
    let holes = usage(&cut).window.holes;
    assert!(
        holes.iter().any(|hole| matches!(hole, Hole::Unreadable(_))),
        "{holes:?}"
    );
}

#[test]
fn a_batch_of_a_webhook_is_read_and_nothing_else() {
    let list = |items: &[Value]| json!({ "kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": items });
    let mut broken = event();
    broken["stage"] = "Never".into();
    let read = batch(
        list(&[event(), broken, json!({ "other": true })])
            .to_string()
            .as_bytes(),
        None,
        i64::MAX,
    );
    let read = read.unwrap();
    assert_eq!((read.events, read.unreadable), (3, 1));
    // Dated in the future, it would outlive all use that follows.
    let dated = list(&[event()]).to_string();
    let future = batch(dated.as_bytes(), None, 0).unwrap();
    assert_eq!((future.events, future.unreadable), (1, 1));
    let account = ServiceAccountRef::new("shop", "mail");
    let usage = read.record.of(&account, &[], 0);
    assert_eq!(usage.total.requests, 1);
    assert!(usage.window.holes.contains(&Hole::Lossy(WEBHOOK)));
    assert!(usage.window.holes.contains(&Hole::Unreadable(1)));
    let empty = json!({ "kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": null });
    assert_eq!(
        batch(empty.to_string().as_bytes(), None, i64::MAX)
            .unwrap()
            .events,
        0
    );
    let mut other = list(&[]);
    other["kind"] = "List".into();
    for text in [
        other.to_string(),
        event().to_string(),
        line(),
        list(&[event()]).to_string()[1..].to_owned(),
        String::new(),
    ] {
        assert!(batch(text.as_bytes(), None, i64::MAX).is_err(), "{text}");
    }
}

#[test]
fn only_our_own_canary_is_credited() {
    let own = ServiceAccountRef::new("shop", "mail");
    let read = |event: &Value| {
        let list =
            json!({ "kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [event] });
        batch(list.to_string().as_bytes(), Some(&own), i64::MAX).unwrap()
    };
    let mut canary = event();
    canary["auditID"] = "te-1".into();
    assert!(read(&canary).canary.is_some());
    assert_eq!(read(&event()).canary, None);
    let mut other = canary.clone();
    other["user"]["username"] = "system:serviceaccount:shop:web".into();
    let mut certificate = canary.clone();
    certificate["user"]["extra"] =
        json!({ "authentication.kubernetes.io/credential-id": ["X509SHA256=a"] });
    let mut impersonated = canary.clone();
    impersonated["impersonatedUser"] = impersonated["user"].take();
    impersonated["user"] = json!({ "username": "admin", "groups": ["system:masters"] });
    for event in [other, certificate, impersonated] {
        assert_eq!(read(&event).canary, None, "{event}");
    }
}

#[test]
fn leases_are_read_as_kubectl_prints_them() {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "apiserver-a", "namespace": "kube-system" },
        "spec": { "renewTime": "2026-11-26T22:02:40.814653Z" },
    });
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [lease] });
    let yaml = serde_saphyr::to_string(&list).unwrap();
    // `kubectl get --raw`: the elements have no kind.
    let mut raw = lease.clone();
    raw.as_object_mut().unwrap().remove("kind");
    let raw = json!({ "kind": "LeaseList", "apiVersion": "coordination.k8s.io/v1", "metadata": {}, "items": [raw] });
    for (name, text) in [
        ("one", lease.to_string()),
        ("raw", raw.to_string()),
        ("raw, pretty", serde_json::to_string_pretty(&raw).unwrap()),
        ("list", list.to_string()),
        ("pretty", serde_json::to_string_pretty(&list).unwrap()),
    ] {
        assert!(read_text(&text).record.knows_servers(), "{name}");
    }
    assert!(
        read_files(&[("leases.yaml", yaml.as_bytes())])
            .record
            .knows_servers()
    );
}

#[test]
fn no_text_makes_the_reader_fail() {
    let line = line();
    for cut in 0..line.len() {
        let (begin, end) = line.split_at(cut);
        for text in [
            format!("{begin}\n{end}\n"),
            format!("[{begin}\n"),
            format!("{end}{begin}\n"),
            format!("{{\"items\":[{end}\n]}}\n"),
        ] {
            let _ = read_text_quick(&text);
        }
    }
    let deep = format!("{}{}", "[{\"items\":".repeat(10_000), "1");
    let _ = read_text_quick(&deep);
    let _ = read_text_quick(&"[".repeat(100_000));
}

/// Without a file for each text.
fn read_text_quick(text: &str) -> u64 {
    let mut reader = Reader::default();
    reader.lines(text.as_bytes()).unwrap();
    reader.events
}
