//! When tokens were last used, as far as API servers send audit events.

use prometheus::proto;

use super::gauges;
use crate::{index::Index, model::AccountSummary};

pub(super) const LAST_USED: (&str, &str, &[&str]) = (
    "last_used_timestamp_seconds",
    "When a token of a ServiceAccount with a finding was last used at the API server, as a Unix timestamp; none where no use was seen. Only with --audit-listen.",
    &["namespace", "serviceaccount"],
);

#[expect(
    clippy::cast_precision_loss,
    reason = "a time in microseconds has 51 bits"
)]
pub(super) fn last_used(index: &Index) -> proto::MetricFamily {
    let findings = index.accounts().filter_map(|(account, known)| {
        let is_finding = |summary: &AccountSummary| summary.verdict.is_finding();
        known.summary().filter(|summary| is_finding(summary))?;
        let last = index.last_used(account)? as f64 / 1e6;
        Some((vec![&*account.namespace, &*account.name], last))
    });
    gauges(LAST_USED, findings)
}
