//! How is a token switched off in an object of a custom kind, or is that up to its operator?

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::model::{
    WorkloadExposure,
    patch::{Patch, PatchType},
    workload::{CustomTemplate, PodKind, Workload},
};

/// A patch that disables automount in all templates; `None` where only the operator decides. A merge patch cannot change
/// one item of a list.
pub(super) fn patch(templates: &BTreeSet<&CustomTemplate>) -> Option<(PatchType, Value)> {
    let places: BTreeSet<_> = templates
        .iter()
        .map(|template| &*template.automount)
        .collect();
    if places.contains("") {
        return None;
    }
    let fields = |place: &&str| -> Vec<String> {
        let steps = place.split('/').skip(1);
        steps
            .map(|step| step.replace("~1", "/").replace("~0", "~"))
            .collect()
    };
    let paths: Vec<_> = places.iter().map(fields).collect();
    let is_index = |step: &String| step.bytes().all(|byte| byte.is_ascii_digit());
    if paths.iter().flatten().any(is_index) {
        let patch = places.iter().map(|place| disabling(place)).collect();
        return Some((PatchType::Json, patch));
    }
    let mut patch = json!({});
    for path in &paths {
        let (last, before) = path.split_last()?;
        let parent = before
            .iter()
            .fold(&mut patch, |part, field| &mut part[field]);
        parent[last] = json!({ "automountServiceAccountToken": false });
    }
    Some((PatchType::Merge, patch))
}

/// The same, and a volume with the files beside the token for the containers that see it. Any other patch than this would
/// replace the lists of a custom kind.
pub(super) fn with_files(
    templates: &BTreeSet<&CustomTemplate>,
    volume: &Value,
    mount: &Value,
    seeing: &BTreeSet<&str>,
) -> Option<(PatchType, Value)> {
    let mut operations = Vec::new();
    for template in templates {
        let (at, lists) = (&template.automount, template.lists.as_ref()?);
        operations.push(disabling(at));
        operations.push(adding(&format!("{at}/volumes"), lists.has_volumes, volume));
        let containers = lists.containers.iter();
        let containers = containers.filter(|container| seeing.contains(&*container.name));
        operations.extend(containers.map(|container| {
            let list = format!("{at}/{}/volumeMounts", container.at);
            adding(&list, container.has_mounts, mount)
        }));
    }
    Some((PatchType::Json, operations.into()))
}

fn disabling(place: &str) -> Value {
    let path = format!("{place}/automountServiceAccountToken");
    json!({ "op": "add", "path": path, "value": false })
}

/// Adds a value to a list, or the list with it.
fn adding(list: &str, exists: bool, value: &Value) -> Value {
    if exists {
        json!({ "op": "add", "path": format!("{list}/-"), "value": value })
    } else {
        json!({ "op": "add", "path": list, "value": [value] })
    }
}

/// Which workloads of custom kinds no patch changes.
pub(super) fn left_to_operators(automounted: &[&WorkloadExposure], patches: &[Patch]) -> String {
    if patches
        .iter()
        .any(|patch| *patch.target.kind == *"ServiceAccount")
    {
        return String::new();
    }
    let custom = automounted.iter().map(|workload| &workload.workload);
    let custom = custom.filter(|workload| PodKind::named(&workload.kind).is_none());
    let is_patched = |workload: &Workload| patches.iter().any(|patch| patch.target == *workload);
    let left: Vec<_> = custom.filter(|workload| !is_patched(workload)).collect();
    match left[..] {
        [] => String::new(),
        [one] => format!("; what the pods of {one} mount, its operator decides"),
        [first, ref others @ ..] => format!(
            "; what the pods of {first} and {} more mount, their operators decide",
            others.len()
        ),
    }
}
