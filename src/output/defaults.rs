//! One patch for all `default` accounts that mount a token and that no pod uses.

use std::collections::BTreeSet;

use super::{Scan, patch::command_for};
use crate::{
    model::{Exposure, patch::Patch},
    text::shell::quoted,
};

/// Which accounts are patched, and the command that patches all of them; no lines without any.
pub(super) fn lines(scan: &Scan<'_>) -> Vec<String> {
    let [first, ..] = scan.defaults else {
        return Vec::new();
    };
    let namespaces = scan.defaults.iter();
    let namespaces: BTreeSet<&str> = namespaces
        .map(|exposure| &*exposure.account.namespace)
        .collect();
    let patch = Patch::disabling_automount(&first.account);
    let command = command_for("\"$namespace\"", &patch);
    let names: Vec<_> = namespaces.iter().map(|name| quoted(name)).collect();
    vec![
        format!(
            "{}: one command disables automount in all of them; pods that use them later, such as those of a CronJob, then get no token",
            title(scan.defaults.iter().copied())
        ),
        format!("for namespace in {}; do {command}; done", names.join(" ")),
    ]
}

/// How many `default` accounts mount a token and are not used.
pub fn title<'a>(defaults: impl Iterator<Item = &'a Exposure>) -> String {
    let accounts = match defaults.count() {
        1 => "1 default ServiceAccount mounts a token and no pod uses it".to_owned(),
        count => format!("{count} default ServiceAccounts mount a token and no pod uses them"),
    };
    format!("{accounts} (CIS Kubernetes Benchmark 5.1.5)")
}
