//! Reads a cluster: watches its objects, or lists them once, into the index, and asks the API server what
//! kind of cluster it is.

pub mod list;
mod object;
pub mod probe;
pub mod servers;
pub mod watch;

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
/// of the kind; the futures run side by side.
macro_rules! each_kind {
    ($opt_ins:expr, $call:ident($($argument:expr),*)) => {{
        let opt_ins: crate::cluster::OptIns = $opt_ins;
        futures::future::join_all([
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
        })))
    }};
}
use each_kind;

/// The rule to grant when listing or watching a kind is denied.
#[must_use]
pub fn missing_rule(kind: InputKind) -> String {
    let group = if kind.group().is_empty() {
        "\"\""
    } else {
        kind.group()
    };
    let example = match kind {
        InputKind::Secret => ", which lets it read their content too, or remove --legacy-tokens",
        InputKind::ConfigMap => ", or remove --config-maps",
        _ => ", as the ClusterRole in deploy/install.yaml does",
    };
    format!(
        "grant `list` and `watch` on `{}` (apiGroup {group}) to this identity{example}",
        kind.plural()
    )
}
