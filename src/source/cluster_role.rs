//! ClusterRoles from files, with what aggregation needs: live ones store their answer.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    facts::{rbac::rules, wire},
    rbac::aggregate::{AggregatedRole, Requirement, Selector},
};

/// A ClusterRole with what aggregation needs.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ClusterRole {
    pub(super) metadata: Metadata,
    rules: Option<Vec<wire::PolicyRule>>,
    aggregation_rule: Option<AggregationRule>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metadata {
    pub(super) name: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AggregationRule {
    cluster_role_selectors: Option<Vec<LabelSelector>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LabelSelector {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<LabelSelectorRequirement>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LabelSelectorRequirement {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
}

impl ClusterRole {
    pub(super) fn rules(&self) -> &[wire::PolicyRule] {
        self.rules.as_deref().unwrap_or_default()
    }
}

impl From<ClusterRole> for AggregatedRole {
    fn from(wire: ClusterRole) -> Self {
        let requirement = |wire: LabelSelectorRequirement| Requirement {
            key: wire.key,
            operator: wire.operator,
            values: wire.values.unwrap_or_default(),
        };
        let selector = |wire: LabelSelector| Selector {
            labels: wire.match_labels.unwrap_or_default(),
            expressions: wire
                .match_expressions
                .unwrap_or_default()
                .into_iter()
                .map(requirement)
                .collect(),
        };
        let rules: Vec<_> = rules(wire.rules(), false).collect();
        let selectors = wire
            .aggregation_rule
            .map(|rule| rule.cluster_role_selectors.unwrap_or_default());
        Self {
            labels: wire.metadata.labels.unwrap_or_default(),
            selectors: selectors.map(|selectors| selectors.into_iter().map(selector).collect()),
            rules,
        }
    }
}
