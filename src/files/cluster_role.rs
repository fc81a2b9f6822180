//! ClusterRoles from files, with the fields that aggregation needs: a cluster stores the aggregated rules.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    facts::{rbac::rules, wire},
    model::{LabelSelector, selector::Requirement},
    rbac::aggregate::AggregatedRole,
};

/// A ClusterRole with the fields that aggregation needs.
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
    cluster_role_selectors: Option<Vec<Selector>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Selector {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<MatchExpression>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MatchExpression {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
}

impl ClusterRole {
    pub(super) fn rules(&self) -> &[wire::PolicyRule] {
        self.rules.as_deref().unwrap_or_default()
    }
}

impl From<Selector> for LabelSelector {
    /// Mirrors `LabelSelectorAsSelector` (apimachinery/pkg/apis/meta/v1/helpers.go).
    fn from(wire: Selector) -> Self {
        let labels = wire.match_labels.into_iter().flatten();
        let labels = labels.map(|(key, value)| Requirement::In(key, [value].into()));
        let expressions = wire.match_expressions.into_iter().flatten();
        Self(labels.chain(expressions.map(Requirement::from)).collect())
    }
}

impl From<MatchExpression> for Requirement {
    fn from(wire: MatchExpression) -> Self {
        let values = wire.values.into_iter().flatten().collect();
        match wire.operator.as_str() {
            "In" => Self::In(wire.key, values),
            "NotIn" => Self::NotIn(wire.key, values),
            "Exists" => Self::Exists(wire.key),
            "DoesNotExist" => Self::DoesNotExist(wire.key),
            _ => Self::UnknownOperator,
        }
    }
}

impl From<ClusterRole> for AggregatedRole {
    fn from(wire: ClusterRole) -> Self {
        let rules: Vec<_> = rules(wire.rules(), false).collect();
        let selectors = wire
            .aggregation_rule
            .map(|rule| rule.cluster_role_selectors.unwrap_or_default());
        Self {
            labels: vec![wire.metadata.labels.unwrap_or_default()],
            selectors: selectors
                .map(|selectors| selectors.into_iter().map(LabelSelector::from).collect()),
            rules,
            plain: Vec::new(),
        }
    }
}
