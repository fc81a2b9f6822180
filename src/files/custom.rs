//! Which pods does an object of a custom kind stand for? Its pod specs are recognised by their shape, wherever they are
//! in the object; kinds that spell them otherwise are in a table.

mod kinds;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use self::kinds::{PLAIN_KINDS, SPELLED, Spec, WITHOUT_PODS};
use super::pointer;
use crate::{
    facts::wire,
    model::workload::{CustomTemplate, ListedContainer, PodLists},
};

/// A pod spec in an object of a custom kind.
pub(super) struct Found {
    pub(super) metadata: wire::Metadata,
    pub(super) spec: wire::PodSpec,
    pub(super) template: CustomTemplate,
    /// The JSON pointer to what stands for the pod spec.
    pub(super) at: String,
}

/// How deep objects are searched.
const MAX_DEPTH: usize = 64;
/// The container of a template that has none: its operator adds one.
const ADDED: &str = "*";

/// The fields of a pod spec, without `containers` (core/v1 `PodSpec`).
const FIELDS: &[&str] = &[
    "activeDeadlineSeconds",
    "affinity",
    "automountServiceAccountToken",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "ephemeralContainers",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostUsers",
    "hostname",
    "hostnameOverride",
    "imagePullSecrets",
    "initContainers",
    "nodeName",
    "nodeSelector",
    "os",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "resourceClaims",
    "resources",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "subdomain",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
    "volumes",
];
/// The fields that name an account, or say what becomes of its token.
const OF_ACCOUNT: [&str; 3] = [
    "serviceAccountName",
    "serviceAccount",
    "automountServiceAccountToken",
];

/// The pod specs in an object.
pub(super) fn templates(api_version: &str, kind: &str, object: &Value) -> Vec<Found> {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    if WITHOUT_PODS.contains(&group) {
        return Vec::new();
    }
    let is = |(known, name): (&str, &str)| known == group && name == kind;
    let spelled = SPELLED.iter().find(|known| is((known.group, known.kind)));
    if let Some(known) = spelled {
        let specs = known.specs.iter();
        return specs
            .flat_map(|spec| spelled_in(spec, api_version, object))
            .collect();
    }
    let mut places = Vec::new();
    search(object, "", Hint::default(), 0, &mut places);
    let is_guess = !PLAIN_KINDS.iter().any(|known| is(*known));
    let found = places.into_iter().filter_map(|at| {
        let spec = object.pointer(&at)?.as_object()?.clone();
        found(&at, &at, spec, (api_version, object, is_guess))
    });
    found.collect()
}

/// The names of accounts in an object.
pub(super) fn accounts(object: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect_accounts(object, 0, &mut names);
    names
}

fn collect_accounts(value: &Value, depth: usize, names: &mut BTreeSet<String>) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = match &**field {
                    "serviceAccountName" | "serviceAccount" => value.as_str(),
                    "serviceAccountRef" => value["name"].as_str(),
                    _ => None,
                };
                names.extend(name.filter(|name| !name.is_empty()).map(str::to_owned));
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

// === by shape ===

/// What the fields on the way to an object say of it.
#[derive(Clone, Copy, Default)]
struct Hint {
    /// It is the value of a field such as `template` or `podTemplate`.
    is_template: bool,
    /// It is the `spec` of such a value.
    is_spec_of_template: bool,
}

/// Adds the JSON pointers of all pod specs in a value.
fn search(value: &Value, at: &str, hint: Hint, depth: usize, places: &mut Vec<String>) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(fields) if is_pod_spec(fields, hint.is_spec_of_template) => {
            places.push(at.to_owned());
        }
        Value::Object(fields) => {
            for (field, value) in fields {
                if depth == 0 && matches!(&**field, "metadata" | "status") {
                    continue;
                }
                let lower = field.to_ascii_lowercase();
                let hint = Hint {
                    is_template: lower.ends_with("template") || lower.ends_with("templatespec"),
                    is_spec_of_template: hint.is_template && field == "spec",
                };
                search(value, &pointer::joined(at, field), hint, depth + 1, places);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let at = pointer::joined(at, &index.to_string());
                search(item, &at, Hint::default(), depth + 1, places);
            }
        }
        _ => {}
    }
}

/// Whether an object is a pod spec: it has containers with images, and is one by its other fields; the `spec` of a
/// template may leave images or containers to its operator.
fn is_pod_spec(fields: &Map<String, Value>, is_spec_of_template: bool) -> bool {
    let others = || fields.keys().filter(|field| *field != "containers");
    let known = others()
        .filter(|field| FIELDS.contains(&field.as_str()))
        .count();
    let is_only = known == others().count();
    let containers = fields.get("containers").map(|containers| {
        let containers = containers.as_array().map_or(&[][..], Vec::as_slice);
        !containers.is_empty() && containers.iter().all(Value::is_object)
    });
    match containers {
        Some(true) if is_spec_of_template => true,
        Some(true) => (is_only || known > 0) && has_images(&fields["containers"]),
        Some(false) => false,
        None => {
            is_spec_of_template
                && is_only
                && OF_ACCOUNT.iter().any(|field| fields.contains_key(*field))
        }
    }
}

/// Whether a container has an image; a pattern of images is none.
fn has_images(containers: &Value) -> bool {
    let containers = containers.as_array().into_iter().flatten();
    let mut images = containers.filter_map(|container| container["image"].as_str());
    images.any(|image| !image.is_empty() && !image.contains(['*', '!', '?']))
}

// === by the table ===

/// The pod specs that a row of the table describes.
fn spelled_in(spec: &Spec, api_version: &str, object: &Value) -> Vec<Found> {
    let places = places(object, spec.at);
    let found = places.into_iter().filter_map(|at| {
        let part = object.pointer(&at)?;
        let fields = spelled(spec, part)?;
        let automount = spec.automount.map(|path| match path {
            "" => at.clone(),
            path => format!("{at}/{path}"),
        });
        found(
            &at,
            automount.as_deref().unwrap_or_default(),
            fields,
            (api_version, object, false),
        )
    });
    found.collect()
}

/// What stands for a pod spec, as Kubernetes spells it; `None` if it runs no container.
fn spelled(spec: &Spec, part: &Value) -> Option<Map<String, Value>> {
    let mut fields = part.as_object()?.clone();
    let first = |paths: &[&str]| {
        let mut values = paths.iter().flat_map(|path| places(part, path));
        values.find_map(|at| part.pointer(&at).filter(|value| !value.is_null()).cloned())
    };
    let containers = spec.containers.iter().flat_map(|path| places(part, path));
    let mut containers: Vec<Value> = containers
        .filter_map(|at| part.pointer(&at).cloned())
        .collect();
    if containers.is_empty() && spec.added.is_empty() {
        return None;
    }
    if !containers
        .iter()
        .any(|container| container["name"] == spec.added)
        && !spec.added.is_empty()
    {
        containers.push(json!({ "name": spec.added }));
    }
    let automount = spec.automount.map(|path| match path {
        "" => "automountServiceAccountToken".to_owned(),
        path => format!("{path}/automountServiceAccountToken"),
    });
    let automount = automount.and_then(|path| first(&[&path]));
    let automount = automount.or_else(|| spec.default_automount.map(Value::Bool));
    fields.remove("serviceAccount");
    fields.insert(
        "serviceAccountName".to_owned(),
        first(spec.accounts).unwrap_or_default(),
    );
    fields.insert(
        "automountServiceAccountToken".to_owned(),
        automount.unwrap_or_default(),
    );
    fields.insert("containers".to_owned(), containers.into());
    Some(fields)
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

/// A pod spec at a place of an object, and where its `automountServiceAccountToken` is; `None` if it cannot be read.
fn found(
    at: &str,
    automount: &str,
    mut spec: Map<String, Value>,
    (api_version, object, is_guess): (&str, &Value, bool),
) -> Option<Found> {
    if !spec.contains_key("containers") {
        spec.insert("containers".to_owned(), json!([{ "name": ADDED }]));
    }
    let parent = at.strip_suffix("/spec").filter(|parent| !parent.is_empty());
    let lists = (at == automount).then(|| lists(&spec));
    let metadata = parent.and_then(|parent| object.pointer(parent)?.get("metadata"));
    let metadata = metadata.map(|metadata| serde_json::from_value(metadata.clone()));
    Some(Found {
        metadata: metadata.and_then(Result::ok).unwrap_or_default(),
        spec: serde_json::from_value(Value::Object(spec)).ok()?,
        template: CustomTemplate {
            api_version: api_version.into(),
            automount: automount.into(),
            is_guess,
            lists,
        },
        at: at.to_owned(),
    })
}

/// The lists of a pod spec that a patch adds to.
fn lists(spec: &Map<String, Value>) -> PodLists {
    let is_list = |value: Option<&Value>| value.is_some_and(Value::is_array);
    let containers = ["initContainers", "containers"]
        .into_iter()
        .flat_map(|list| {
            let containers = spec.get(list).and_then(Value::as_array);
            let containers = containers.into_iter().flatten().enumerate();
            containers.map(move |(index, container)| ListedContainer {
                name: container["name"].as_str().unwrap_or_default().into(),
                at: format!("{list}/{index}").into(),
                has_mounts: is_list(container.get("volumeMounts")),
            })
        });
    PodLists {
        has_volumes: is_list(spec.get("volumes")),
        containers: containers.collect(),
    }
}
