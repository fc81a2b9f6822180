//! How the table describes pod specs that are not spelled as in Kubernetes, and how they are read.

use serde_json::{Map, Value, json};

use super::{Found, found};
use crate::files::pointer;

/// A custom kind that spells its pod specs in its own way.
pub(super) struct CustomKind {
    /// Its API group.
    pub(super) group: &'static str,
    pub(super) kind: &'static str,
    pub(super) specs: &'static [Spec],
}

/// How a custom kind spells a pod spec. Paths have `/` between fields, and `*` for each entry of a list or mapping.
pub(super) struct Spec {
    /// What stands for the pod spec.
    pub(super) at: &'static str,
    /// Where in it the name of the ServiceAccount is, or with a `/` before it, where in the whole object; the first
    /// that is set counts.
    pub(super) accounts: &'static [&'static str],
    /// Where in it the object is that has `automountServiceAccountToken`; `None` where its operator decides.
    pub(super) automount: Option<&'static str>,
    /// What its operator fills in where `automountServiceAccountToken` is not set.
    pub(super) default_automount: Option<bool>,
    /// Where in it containers are.
    pub(super) containers: &'static [&'static str],
    /// The container that its operator adds where there is none; empty where it adds none.
    pub(super) added: &'static str,
    /// Whether there is such a pod only where an account is named: else another row has it.
    pub(super) is_own: bool,
    /// What must be there before the token is disabled.
    pub(super) needs: Option<Needs>,
}

/// A field that must be set before `automountServiceAccountToken: false`.
pub(super) struct Needs {
    /// Where it is in the whole object.
    pub(super) at: &'static str,
    /// A value that is like none; empty where each counts.
    pub(super) default: &'static str,
    /// What to do where it is not set.
    pub(super) first: &'static str,
}

/// The pod specs that a row of the table describes.
pub(super) fn spelled_in(spec: &Spec, api_version: &str, object: &Value) -> Vec<Found> {
    let places = places(object, spec.at);
    let found = places.into_iter().filter_map(|at| {
        let part = object.pointer(&at)?;
        let fields = spelled(spec, part, object)?;
        let automount = spec.automount.map(|path| match path {
            "" => at.clone(),
            path => format!("{at}/{path}"),
        });
        let found = found(
            &at,
            automount.as_deref().unwrap_or_default(),
            fields,
            (api_version, object, false),
        )?;
        let needs = spec.needs.as_ref();
        let needs = needs.filter(|needs| {
            let mut values = found_at(object, needs.at).into_iter();
            values.all(|value| *value == needs.default)
        });
        Some(Found {
            first: needs.map(|needs| needs.first),
            ..found
        })
    });
    found.collect()
}

/// What stands for a pod spec, as Kubernetes spells it; `None` if it runs no container.
fn spelled(spec: &Spec, part: &Value, object: &Value) -> Option<Map<String, Value>> {
    let mut fields = part.as_object()?.clone();
    let first = |paths: &[&str]| {
        let mut values = paths.iter().flat_map(|path| match path.strip_prefix('/') {
            Some(path) => found_at(object, path),
            None => found_at(part, path),
        });
        values.find(|value| !value.is_null()).cloned()
    };
    let containers = spec.containers.iter().flat_map(|path| places(part, path));
    let mut containers: Vec<Value> = containers
        .filter(|at| spec.is_own || !has_own_account(part, at))
        .filter_map(|at| part.pointer(&at).cloned())
        .collect();
    let account = first(spec.accounts);
    if containers.is_empty() && spec.added.is_empty() || spec.is_own && account.is_none() {
        return None;
    }
    for container in &mut containers {
        read_script(container);
        name_container(container, spec.added);
    }
    if !containers
        .iter()
        .any(|container| container["name"] == spec.added)
        && !spec.added.is_empty()
    {
        let settings = ["env", "envFrom", "volumeMounts"].into_iter();
        let settings = settings.filter_map(|field| Some((field.to_owned(), fields.get(field)?)));
        let mut added: Map<_, _> = settings
            .filter(|(_, value)| value.is_array())
            .map(|(field, value)| (field, value.clone()))
            .collect();
        added.insert("name".to_owned(), spec.added.into());
        containers.push(added.into());
    }
    let automount = spec.automount.map(|path| match path {
        "" => "automountServiceAccountToken".to_owned(),
        path => format!("{path}/automountServiceAccountToken"),
    });
    let automount = automount.and_then(|path| first(&[&path]));
    let automount = automount.or_else(|| spec.default_automount.map(Value::Bool));
    fields.remove("serviceAccount");
    fields.insert("serviceAccountName".to_owned(), account.unwrap_or_default());
    fields.insert(
        "automountServiceAccountToken".to_owned(),
        automount.unwrap_or_default(),
    );
    fields.insert("containers".to_owned(), containers.into());
    Some(fields)
}

/// The values at a path of the table.
fn found_at<'a>(value: &'a Value, path: &str) -> Vec<&'a Value> {
    let places = places(value, path).into_iter();
    places.filter_map(|at| value.pointer(&at)).collect()
}

/// Whether a part on the way to a container names an account of its own: another row has it.
fn has_own_account(part: &Value, at: &str) -> bool {
    let parents = at.match_indices('/').skip(1).map(|(end, _)| &at[..end]);
    let mut parents = parents.filter_map(|parent| part.pointer(parent));
    parents.any(|parent| parent["serviceAccountName"].is_string())
}

/// Makes the script of a container an argument, which it becomes in the pod.
fn read_script(container: &mut Value) {
    let script = ["script", "source"].into_iter();
    let script = script.filter_map(|field| container[field].as_str());
    let script: Vec<Value> = script.map(Value::from).collect();
    if let (false, Some(fields)) = (script.is_empty(), container.as_object_mut()) {
        match fields.entry("args").or_insert_with(|| json!([])) {
            Value::Array(args) => args.extend(script),
            other => *other = script.into(),
        }
    }
}

/// Names a container that its operator names.
fn name_container(container: &mut Value, name: &str) {
    if let Some(fields) = container.as_object_mut().filter(|_| !name.is_empty()) {
        let has_name = fields.get("name").and_then(Value::as_str);
        if has_name.is_none_or(str::is_empty) {
            fields.insert("name".to_owned(), name.into());
        }
    }
}

/// The JSON pointers of the values at a path of the table.
fn places(value: &Value, path: &str) -> Vec<String> {
    let mut places = vec![String::new()];
    for step in path.split('/') {
        let next = places.iter().flat_map(|at| match value.pointer(at) {
            Some(Value::Object(fields)) if step == "*" => fields
                .keys()
                .map(|field| pointer::joined(at, field))
                .collect(),
            Some(Value::Array(items)) if step == "*" => (0..items.len())
                .map(|index| pointer::joined(at, &index.to_string()))
                .collect(),
            Some(Value::Object(fields)) if fields.contains_key(step) => {
                vec![pointer::joined(at, step)]
            }
            _ => Vec::new(),
        });
        places = next.collect();
    }
    places
}
