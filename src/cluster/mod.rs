//! Reads a cluster: watches its objects, or lists them once, into the index, and asks the API server what
//! kind of cluster it is.

pub mod list;
mod object;
pub mod probe;
mod protobuf;
pub mod servers;
pub mod watch;

use std::collections::BTreeMap;

use crate::model::InputKind;

/// Reports progress: how many more objects were read, and how many more there are to read.
pub type Progress<'a> = &'a dyn Fn(u64, u64);

/// The kinds that the controller watches beside its own reports: those that verdicts depend on. Namespaces also say
/// where nothing can be written. A test compares the RBAC of `deploy/` with it.
pub const KINDS: [InputKind; 7] = [
    InputKind::Pod,
    InputKind::ServiceAccount,
    InputKind::Namespace,
    InputKind::Role,
    InputKind::ClusterRole,
    InputKind::RoleBinding,
    InputKind::ClusterRoleBinding,
];

/// What is read only where the user opts in.
#[derive(Clone, Copy, Debug, Default)]
pub struct OptIns {
    /// Secrets, to find legacy tokens: only their metadata.
    pub legacy_tokens: bool,
    /// ConfigMaps, for what they say about the pods that they configure.
    pub config_maps: bool,
}

/// The kinds that are read: [`KINDS`], and those that the user opts in to.
#[must_use]
pub fn kinds(opt_ins: OptIns) -> Vec<InputKind> {
    let secrets = opt_ins.legacy_tokens.then_some(InputKind::Secret);
    let config_maps = opt_ins.config_maps.then_some(InputKind::ConfigMap);
    KINDS
        .into_iter()
        .chain(secrets)
        .chain(config_maps)
        .collect()
}

/// Calls an async function for each kind that verdicts depend on, those of [`OptIns`] included, with the marker type
/// of the kind; the futures run side by side, and each is polled only when it can go on.
macro_rules! each_kind {
    ($opt_ins:expr, $call:ident($($argument:expr),*)) => {{
        let opt_ins: crate::cluster::OptIns = $opt_ins;
        let futures = [
            Box::pin($call::<crate::facts::Pods>($($argument),*)) as futures::future::LocalBoxFuture<'_, _>,
            Box::pin($call::<crate::facts::ServiceAccounts>($($argument),*)),
            Box::pin($call::<crate::facts::Namespaces>($($argument),*)),
            Box::pin($call::<crate::facts::Roles>($($argument),*)),
            Box::pin($call::<crate::facts::ClusterRoles>($($argument),*)),
            Box::pin($call::<crate::facts::RoleBindings>($($argument),*)),
            Box::pin($call::<crate::facts::ClusterRoleBindings>($($argument),*)),
        ].into_iter().chain(opt_ins.legacy_tokens.then(|| {
            Box::pin($call::<crate::facts::Secrets>($($argument),*)) as futures::future::LocalBoxFuture<'_, _>
        })).chain(opt_ins.config_maps.then(|| {
            Box::pin($call::<crate::facts::ConfigMaps>($($argument),*)) as futures::future::LocalBoxFuture<'_, _>
        }));
        futures::StreamExt::collect::<Vec<_>>(futures.collect::<futures::stream::FuturesOrdered<_>>())
    }};
}
use each_kind;

/// The rules to grant when listing or watching these kinds is denied, as one sentence.
#[must_use]
pub fn missing_rule(kinds: &[InputKind]) -> String {
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for kind in kinds {
        let plurals = groups.entry(kind.group()).or_default();
        plurals.push(format!("`{}`", kind.plural()));
    }
    let rules: Vec<_> = groups
        .iter()
        .map(|(group, plurals)| {
            let group = if group.is_empty() { "\"\"" } else { group };
            format!("{} (apiGroup {group})", plurals.join(", "))
        })
        .collect();
    let is_opt_in = |kind: &InputKind| matches!(kind, InputKind::Secret | InputKind::ConfigMap);
    let others = !kinds.iter().all(is_opt_in);
    let example = others.then_some(", as the ClusterRole in deploy/install.yaml does");
    let secrets = kinds.contains(&InputKind::Secret).then_some(if others {
        "; whoever may list Secrets can read their content too: or remove --legacy-tokens"
    } else {
        ", which lets it read their content too, or remove --legacy-tokens"
    });
    let config_maps = kinds
        .contains(&InputKind::ConfigMap)
        .then_some(if kinds.len() > 1 {
            "; or remove --config-maps"
        } else {
            ", or remove --config-maps"
        });
    format!(
        "grant `list` and `watch` on {} to this identity{}{}{}",
        rules.join(" and on "),
        example.unwrap_or_default(),
        secrets.unwrap_or_default(),
        config_maps.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_for_several_kinds_are_one_sentence_with_their_api_groups() {
        let example = "to this identity, as the ClusterRole in deploy/install.yaml does";
        let secrets =
            "to this identity, which lets it read their content too, or remove --legacy-tokens";
        for (kinds, rule) in [
            (
                &[InputKind::Pod][..],
                format!("grant `list` and `watch` on `pods` (apiGroup \"\") {example}"),
            ),
            (
                &[InputKind::Role, InputKind::Pod, InputKind::RoleBinding],
                format!(
                    "grant `list` and `watch` on `pods` (apiGroup \"\") and on `roles`, `rolebindings` (apiGroup rbac.authorization.k8s.io) {example}"
                ),
            ),
            (
                &[InputKind::Secret],
                format!("grant `list` and `watch` on `secrets` (apiGroup \"\") {secrets}"),
            ),
            (
                &[InputKind::Pod, InputKind::Secret],
                format!(
                    "grant `list` and `watch` on `pods`, `secrets` (apiGroup \"\") {example}; whoever may list Secrets can read their content too: or remove --legacy-tokens"
                ),
            ),
        ] {
            assert_eq!(missing_rule(kinds), rule);
        }
    }
}
