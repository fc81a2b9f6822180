//! How is a token switched off in an object of a custom kind, or is that up to its operator?

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::model::{
    WorkloadExposure,
    exposure::{Patch, PatchType},
    workload::{PodKind, Workload},
};

/// A patch of the parts at these JSON pointers; `None` where only the operator decides. A merge patch cannot change one
/// item of a list.
pub(super) fn patch(
    places: &BTreeSet<&str>,
    spec: impl Fn() -> Value,
) -> Option<(PatchType, Value)> {
    if places.iter().any(|place| place.is_empty()) {
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
        let add = |place: &&str| json!({ "op": "add", "path": format!("{place}/automountServiceAccountToken"), "value": false });
        return Some((PatchType::Json, places.iter().map(add).collect()));
    }
    let mut patch = json!({});
    for path in &paths {
        let (last, before) = path.split_last()?;
        let parent = before
            .iter()
            .fold(&mut patch, |part, field| &mut part[field]);
        parent[last] = spec();
    }
    Some((PatchType::Merge, patch))
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
