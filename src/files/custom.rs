//! Which pods does an object of a custom kind stand for? Its pod specs are recognised by their shape, wherever they are
//! in the object; kinds that spell them otherwise are in a table.

mod accounts;
pub(super) mod embedded;
mod kinds;
mod spelled;

pub(super) use self::accounts::{accounts, target_namespace};

use serde_json::{Map, Value, json};

use self::{
    accounts::runs_as_another,
    kinds::{KINDS_WITHOUT_PODS, PLAIN_KINDS, SPELLED, WITHOUT_PODS},
    spelled::spelled_in,
};
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
    /// What to do before its token is disabled.
    pub(super) first: Option<&'static str>,
}

/// An operator that the operator lifecycle manager installs.
const OF_OPERATOR: (&str, &str) = ("operators.coreos.com", "ClusterServiceVersion");

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
    if has_no_pods(group, kind) {
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
    let is_guess = !PLAIN_KINDS.iter().any(|known| is(*known));
    let hint = Hint {
        is_guess,
        ..Hint::default()
    };
    search(object, "", hint, 0, &mut places);
    places.retain(|at| !runs_as_another(group, kind, object, at));
    let found = places.into_iter().filter_map(|at| {
        let spec = object.pointer(&at)?.as_object()?.clone();
        found(&at, &at, spec, (api_version, object, is_guess))
    });
    found.collect()
}

/// Whether no object of a kind runs a pod.
fn has_no_pods(group: &str, kind: &str) -> bool {
    WITHOUT_PODS.contains(&group) || KINDS_WITHOUT_PODS.contains(&(group, kind))
}

/// What the fields on the way to an object say of it.
#[derive(Clone, Copy, Default)]
struct Hint {
    /// It is the value of a field such as `template` or `podTemplate`.
    is_template: bool,
    /// It is the `spec` of such a value.
    is_spec_of_template: bool,
    /// It is in an object of a kind that is not known.
    is_guess: bool,
}

/// Adds the JSON pointers of all pod specs in a value.
fn search(value: &Value, at: &str, hint: Hint, depth: usize, places: &mut Vec<String>) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        // It is read as what it is.
        Value::Object(fields) if depth > 0 && embedded::is_object(fields) => {}
        Value::Object(fields) if is_pod_spec(fields, hint) => {
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
                    is_guess: hint.is_guess,
                };
                search(value, &pointer::joined(at, field), hint, depth + 1, places);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let at = pointer::joined(at, &index.to_string());
                let hint = Hint {
                    is_guess: hint.is_guess,
                    ..Hint::default()
                };
                search(item, &at, hint, depth + 1, places);
            }
        }
        _ => {}
    }
}

/// Whether an object is a pod spec: it has containers with images, and is one by its other fields; the `spec` of a
/// template may leave images or containers to its operator. In a kind that is not known, one that then does not even name
/// an account only changes pods that its operator makes.
fn is_pod_spec(fields: &Map<String, Value>, hint: Hint) -> bool {
    let is_spec_of_template = hint.is_spec_of_template;
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
        Some(true) if is_spec_of_template => {
            let names_account = OF_ACCOUNT[..2]
                .iter()
                .any(|field| fields.contains_key(*field));
            !hint.is_guess || names_account || has_images(&fields["containers"])
        }
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
        first: None,
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
