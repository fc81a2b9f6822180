//! Default permissions: those of distributions and add-ons that are known, and those that a user adds.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Entries, fault, read_each};
use crate::{
    facts::{rbac, rejected, wire},
    model::{
        Rule,
        config::{DefaultGroup, DefaultPermission},
    },
    text::Malformed,
};

/// An entry of `defaultPermissions`.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Entry {
    name: String,
    /// Where it is defined: for people.
    #[serde(rename = "source")]
    _source: String,
    to: String,
    namespace: Option<String>,
    rules: Vec<Spanned<RuleEntry>>,
}

/// A `PolicyRule`, with the fields that it has in a ClusterRole.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RuleEntry {
    verbs: Vec<Box<str>>,
    api_groups: Vec<Box<str>>,
    resources: Vec<Box<str>>,
    resource_names: Vec<Box<str>>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<Box<str>>,
}

/// The name of what the deprecated key grants.
const UNNAMED: &str = "the configuration";

/// What distributions and widespread add-ons grant to every ServiceAccount.
fn built_in() -> &'static [DefaultPermission] {
    static BUILT_IN: LazyLock<Vec<DefaultPermission>> = LazyLock::new(|| {
        let text = include_str!("default_permissions.yaml");
        let entries: Entries<Entry> = serde_saphyr::from_str(text).unwrap_or_default();
        read_each(entries, &mut Vec::new(), read)
    });
    &BUILT_IN
}

/// The default permissions that hold: the built-in ones but for those that are disabled, those of the file, and
/// rules under the deprecated key.
pub(super) fn all(
    written: Entries<Entry>,
    rules: Entries<RuleEntry>,
    disabled: Entries<String>,
    faults: &mut Vec<Malformed>,
) -> Vec<DefaultPermission> {
    let disabled = read_each(disabled, faults, known);
    let is_enabled = |entry: &&DefaultPermission| !disabled.contains(&entry.name);
    let mut all: Vec<_> = built_in().iter().filter(is_enabled).cloned().collect();
    all.extend(read_each(written, faults, read));
    let rules = read_each(rules, faults, rule);
    if !rules.is_empty() {
        all.push(DefaultPermission {
            name: UNNAMED.into(),
            to: DefaultGroup::Any,
            namespace: None,
            rules,
        });
    }
    all
}

/// The name of a built-in entry.
fn known(name: &Spanned<String>) -> Result<Box<str>, Malformed> {
    let names: Vec<_> = built_in().iter().map(|entry| &*entry.name).collect();
    if names.contains(&name.value.as_str()) {
        return Ok(name.value.as_str().into());
    }
    let message = format!(
        "`disable` names no built-in default permissions: {:?}: remove it, or use one of: {}",
        name.value,
        names.join(", ")
    );
    Err(fault(name, &message))
}

fn read(entry: &Spanned<Entry>) -> Result<DefaultPermission, Malformed> {
    let written = &entry.value;
    if written.name.trim().is_empty() {
        return Err(fault(
            entry,
            "the default permissions have no `name`: say who grants them",
        ));
    }
    let rules: Vec<_> = written.rules.iter().map(rule).collect::<Result<_, _>>()?;
    if rules.is_empty() {
        return Err(fault(
            entry,
            "the default permissions have no `rules`: add those of the role",
        ));
    }
    let to = match written.to.as_str() {
        "system:authenticated" => DefaultGroup::Authenticated,
        "system:serviceaccounts" => DefaultGroup::AllServiceAccounts,
        "system:serviceaccounts:<namespace>" => DefaultGroup::OwnNamespace,
        _ => {
            let message = format!(
                "`to` is not a group that all accounts are in: {:?}: use system:authenticated, system:serviceaccounts, or system:serviceaccounts:<namespace> for that of each account's own namespace",
                written.to
            );
            return Err(fault(entry, &message));
        }
    };
    Ok(DefaultPermission {
        name: written.name.trim().into(),
        to,
        namespace: written.namespace.as_deref().map(Into::into),
        rules,
    })
}

fn rule(entry: &Spanned<RuleEntry>) -> Result<Rule, Malformed> {
    let written = entry.value.clone();
    let rule = wire::PolicyRule {
        verbs: written.verbs,
        api_groups: written.api_groups,
        resources: written.resources,
        resource_names: written.resource_names,
        non_resource_urls: written.non_resource_urls,
    };
    match rejected::rule(&rule, false) {
        Some(why) => Err(fault(entry, &format!("the rule {why}"))),
        None => Ok(rbac::rule(&rule)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_entry_is_read_and_has_a_source() {
        let text = include_str!("default_permissions.yaml");
        let names = text.matches("- name: ").count();
        assert_eq!(built_in().len(), names);
        assert_eq!(text.matches("  source: https://").count(), names);
    }
}
