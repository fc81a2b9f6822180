//! What is kept of our own summaries: enough to know whether one must be written again, and which names it has.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Kind, Summaries, report::hash, wire};
use crate::{
    api::{TokenExposureSummaryStatus, workload_entry},
    model::{AccountSummary, Config, InputKind, Verdict},
};

/// What is kept of a summary. Two with the same content are equal, whatever their version.
#[derive(Clone, Debug, Eq)]
pub struct SummaryFacts {
    /// A hash of the status.
    pub digest: u64,
    /// The accounts to warn of.
    pub unneeded: Box<str>,
    /// Their workloads that are judged otherwise.
    pub judged_otherwise: Box<str>,
    /// The workloads whose token the policy may withhold.
    pub curable: Box<str>,
    /// Their accounts with their uids.
    pub curable_accounts: Box<str>,
    /// Its `resourceVersion`, if that is a number: a watch that lags behind sends older ones than we wrote.
    pub version: Option<u64>,
}

impl PartialEq for SummaryFacts {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl From<&TokenExposureSummaryStatus> for SummaryFacts {
    fn from(status: &TokenExposureSummaryStatus) -> Self {
        Self {
            digest: hash(status),
            unneeded: status.unneeded.as_str().into(),
            judged_otherwise: status.judged_otherwise.as_str().into(),
            curable: status.curable.as_str().into(),
            curable_accounts: status.curable_accounts.as_str().into(),
            version: None,
        }
    }
}

impl SummaryFacts {
    /// Whether policies may act by this summary where they must not by another one: it has names that the other one
    /// lacks, or lacks exceptions that the other one has.
    #[must_use]
    pub fn allows_more_than(&self, other: &Self) -> bool {
        let lacks = |names: &str, other: &str| {
            let has: BTreeSet<_> = other.split('|').collect();
            names.split('|').any(|name| !has.contains(name))
        };
        lacks(&self.unneeded, &other.unneeded)
            || lacks(&self.curable, &other.curable)
            || lacks(&other.judged_otherwise, &self.judged_otherwise)
    }

    /// Whether policies may act on an account by this summary, and must not by its last answer.
    #[must_use]
    pub fn overstates(&self, account: &str, answer: Option<&AccountSummary>) -> bool {
        if !self.unneeded.contains(&format!("|{account}|")) {
            return false;
        }
        let unneeded = answer.filter(|answer| answer.verdict == Verdict::Unneeded);
        unneeded.is_none_or(|answer| {
            let is_missing = |entry: String| !self.judged_otherwise.contains(&format!("|{entry}|"));
            let mut otherwise = answer.otherwise.iter();
            otherwise.any(|workload| is_missing(workload_entry(account, workload)))
        })
    }
}

/// A summary as parsed.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SummaryWire {
    /// `metadata`.
    #[serde(default)]
    pub metadata: wire::Metadata,
    /// `status`.
    #[serde(default)]
    pub status: serde_json::Value,
}

impl Kind for Summaries {
    type Wire = SummaryWire;
    type Facts = SummaryFacts;
    const INPUT: InputKind = InputKind::TokenExposureSummary;

    fn facts(wire: &Self::Wire, _: &Config) -> Self::Facts {
        // Content that does not match the current schema counts as empty, and is written again.
        let status: TokenExposureSummaryStatus =
            Deserialize::deserialize(&wire.status).unwrap_or_default();
        Self::Facts {
            version: wire.metadata.resource_version.parse().ok(),
            ..SummaryFacts::from(&status)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(unneeded: &str, judged_otherwise: &str) -> SummaryFacts {
        SummaryFacts::from(&TokenExposureSummaryStatus {
            unneeded: unneeded.to_owned(),
            judged_otherwise: judged_otherwise.to_owned(),
            ..TokenExposureSummaryStatus::default()
        })
    }

    #[test]
    fn fewer_names_and_more_exceptions_are_withdrawals() {
        for (stored, wanted, expected) in [
            (("|a|", "|"), ("|a|b|", "|"), false),
            (("|a|b|", "|"), ("|b|", "|"), true),
            (("|ab|", "|"), ("|a|b|", "|"), true),
            (("|a|", "|a/Job/x|"), ("|a|", "|"), false),
            (("|a|", "|"), ("|a|", "|a/Job/x|"), true),
            (("", ""), ("|a|", "|"), false),
        ] {
            let [stored, wanted] = [stored, wanted].map(|(names, but)| facts(names, but));
            assert_eq!(
                stored.allows_more_than(&wanted),
                expected,
                "{stored:?} {wanted:?}"
            );
        }
    }
}
