//! Which accounts does an object of a custom kind name, beside those of its pod specs?

use std::collections::BTreeSet;

use serde_json::Value;

use super::{MAX_DEPTH, embedded};

/// Where kinds say in which namespace they create objects.
const TARGETS: [&str; 3] = [
    // helm.toolkit.fluxcd.io HelmRelease
    "/spec/targetNamespace",
    // argoproj.io Application
    "/spec/destination/namespace",
    // olm.operatorframework.io ClusterExtension
    "/spec/namespace",
];

/// The namespace in which an object says that its operator creates others.
pub(in crate::files) fn target_namespace(object: &Value) -> Option<&str> {
    let mut found = TARGETS.iter().filter_map(|at| object.pointer(at)?.as_str());
    found.find(|namespace| !namespace.is_empty())
}

/// The names of accounts in an object, each with its namespace where it has one.
pub(in crate::files) fn accounts(object: &Value) -> BTreeSet<(Option<String>, String)> {
    let mut names = BTreeSet::new();
    collect_accounts(object, 0, &mut names);
    names
}

fn collect_accounts(value: &Value, depth: usize, names: &mut BTreeSet<(Option<String>, String)>) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(fields) if depth > 0 && embedded::is_object(fields) => {}
        Value::Object(fields) => {
            for (field, value) in fields {
                let lower = field.to_ascii_lowercase();
                let is_account = ["serviceaccountname", "serviceaccount", "serviceaccountref"]
                    .iter()
                    .any(|end| lower.ends_with(end));
                let text = |value: &Value| value.as_str().map(str::to_owned);
                let name = text(value).or_else(|| text(&value["name"]));
                if let Some(name) = name.filter(|name| is_account && !name.is_empty()) {
                    names.insert((text(&value["namespace"]), name));
                }
                collect_accounts(value, depth + 1, names);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect_accounts(item, depth + 1, names);
            }
        }
        _ => {}
    }
}
