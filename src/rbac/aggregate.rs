//! Which rules would the aggregation controller write into aggregated ClusterRoles? Used for files
//! only: a live cluster stores them. Mirrors `syncClusterRole` (clusterroleaggregation_controller.go),
//! as a fixpoint.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{LabelSelector, Rule};

/// A ClusterRole from a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AggregatedRole {
    /// `metadata.labels` of each copy.
    pub labels: Vec<BTreeMap<String, String>>,
    /// `aggregationRule.clusterRoleSelectors`; `None` for a plain role.
    pub selectors: Option<Vec<LabelSelector>>,
    /// `rules`; those of an aggregated role are overwritten.
    pub rules: Vec<Rule>,
    /// Of an aggregated role, the rules of its copies that are plain ones.
    pub plain: Vec<Rule>,
}

/// Sets the rules of every aggregated role: the union of the rules of the roles that it selects, without
/// itself. A role whose union is empty keeps its own rules, as in the controller. Where such roles select
/// each other, a cluster keeps some of both; here each gets all of them. The rules of plain copies stay.
pub fn aggregate(roles: &mut BTreeMap<String, AggregatedRole>) {
    let selected = selections(roles);
    let mut own: BTreeMap<&str, Vec<Rule>> = BTreeMap::new();
    for name in selected.keys() {
        if let Some(role) = roles.get_mut(name) {
            own.insert(name, std::mem::replace(&mut role.rules, role.plain.clone()));
        }
    }
    add_selected(roles, &selected);
    for (name, rules) in own {
        let selects_none = |role: &&mut AggregatedRole| role.rules == role.plain;
        if let Some(role) = roles.get_mut(name).filter(selects_none) {
            role.rules.extend(rules);
        }
    }
    add_selected(roles, &selected);
}

/// Which roles each aggregated role selects.
fn selections(roles: &BTreeMap<String, AggregatedRole>) -> BTreeMap<String, Vec<String>> {
    let aggregated = roles
        .iter()
        .filter_map(|(name, role)| Some((name, role.selectors.as_ref()?)));
    let matching = aggregated.map(|(name, selectors)| {
        let others = roles.iter().filter(|(other, role)| {
            let mut selectors = selectors.iter();
            *other != name
                && selectors.any(|selector| {
                    let mut copies = role.labels.iter();
                    copies.any(|labels| selector.matches(|key| labels.get(key).map(String::as_str)))
                })
        });
        (
            name.clone(),
            others.map(|(other, _)| other.clone()).collect(),
        )
    });
    matching.collect()
}

/// Adds the rules of the selected roles to each role until nothing changes. Rules are only added, and
/// there are finitely many: this ends, even with cycles.
fn add_selected(
    roles: &mut BTreeMap<String, AggregatedRole>,
    selected: &BTreeMap<String, Vec<String>>,
) {
    loop {
        let mut grown = false;
        for (name, sources) in selected {
            let sources = sources.iter().chain([name]);
            let union: BTreeSet<Rule> = sources
                .filter_map(|source| roles.get(source))
                .flat_map(|role| role.rules.clone())
                .collect();
            let smaller = roles
                .get_mut(name)
                .filter(|role| role.rules.len() < union.len());
            if let Some(role) = smaller {
                role.rules = union.into_iter().collect();
                grown = true;
            }
        }
        if !grown {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::selector::Requirement;

    fn role(labels: &[&str], selects: &[&str], resources: &[&str]) -> AggregatedRole {
        let label = |label: &str| (label.to_owned(), "true".to_owned());
        let selector = |name: &&str| {
            LabelSelector(vec![Requirement::In(
                (*name).to_owned(),
                ["true".to_owned()].into(),
            )])
        };
        AggregatedRole {
            labels: vec![labels.iter().map(|name| label(name)).collect()],
            selectors: (!selects.is_empty()).then(|| selects.iter().map(selector).collect()),
            rules: resources.iter().map(|resource| rule(resource)).collect(),
            plain: Vec::new(),
        }
    }

    fn rule(resource: &str) -> Rule {
        let one = |word: &str| vec![Box::from(word)].into_boxed_slice();
        Rule {
            verbs: one("get"),
            api_groups: one(""),
            resources: one(resource),
            ..Rule::default()
        }
    }

    fn aggregated(roles: &[(&str, AggregatedRole)], of: &str) -> Vec<Rule> {
        let mut roles = roles
            .iter()
            .map(|(name, role)| ((*name).to_owned(), role.clone()))
            .collect();
        aggregate(&mut roles);
        roles.remove(of).map(|role| role.rules).unwrap_or_default()
    }

    #[test]
    fn an_aggregated_role_has_the_rules_of_those_it_selects_and_no_others() {
        let roles = [
            ("all", role(&[], &["to-all"], &["secrets"])),
            ("some", role(&["to-all"], &["to-some"], &[])),
            ("pods", role(&["to-some"], &[], &["pods"])),
            ("nodes", role(&["to-all"], &[], &["nodes"])),
            ("other", role(&[], &[], &["other"])),
        ];
        assert_eq!(aggregated(&roles, "all"), [rule("nodes"), rule("pods")]);
    }

    #[test]
    fn a_role_that_selects_nothing_keeps_its_own_rules() {
        let roles = [
            ("a", role(&["to-b"], &["to-a"], &["x"])),
            ("b", role(&["to-a"], &["to-b"], &["y"])),
        ];
        assert_eq!(aggregated(&roles, "a"), [rule("x"), rule("y")]);
        let alone = [("a", role(&[], &["to-a"], &["x"]))];
        assert_eq!(aggregated(&alone, "a"), [rule("x")]);
        assert_eq!(aggregated(&[("a", role(&[], &["to-a"], &[]))], "a"), []);
    }
}
