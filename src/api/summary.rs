//! The custom resource `TokenExposureSummary`: one for each namespace, for people, collectors and admission policies.

use std::collections::{BTreeMap, BTreeSet};

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{AccountSummary, Verdict, Workload, summary::is_name};

/// Between names: no name of an object has it.
const SEPARATOR: char = '|';
/// How many bytes all names of a summary may have: with the rest it stays below 256 KiB.
const MAX_BYTES: usize = 240 * 1024;

/// Summarizes the reports of one namespace. It is written by the controller and read by admission policies.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, CustomResource, KubeSchema,
)]
#[kube(
    group = "tokenexposure.io",
    version = "v1alpha1",
    kind = "TokenExposureSummary",
    plural = "tokenexposuresummaries",
    namespaced,
    status = "TokenExposureSummaryStatus",
    shortname = "tes",
    validation = kube::core::Rule::new("self.metadata.name == 'token-exposure'").message("a namespace has one summary, called token-exposure"),
    doc = "Summarizes the tokens that the pods of one namespace carry: one object, token-exposure, in each namespace that has an account with a pod.",
    printcolumn(
        name = "Accounts",
        type_ = "integer",
        json_path = ".status.accounts.total",
        description = "How many ServiceAccounts have a pod."
    ),
    printcolumn(
        name = "Unneeded",
        type_ = "integer",
        json_path = ".status.accounts.unneeded",
        description = "How many of them have the verdict Unneeded."
    ),
    printcolumn(
        name = "Review",
        type_ = "integer",
        json_path = ".status.accounts.review",
        description = "How many of them have the verdict Review."
    ),
    printcolumn(
        name = "Unknown",
        type_ = "integer",
        json_path = ".status.accounts.unknown",
        description = "How many of them have the verdict Unknown."
    ),
    printcolumn(
        name = "Withheld",
        type_ = "integer",
        json_path = ".status.accounts.withheld",
        description = "Of how many a policy of this product leaves the token out."
    ),
    printcolumn(
        name = "Pods",
        type_ = "integer",
        json_path = ".status.pods.total",
        description = "How many pods they have."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "How long ago the summary was created."
    )
)]
#[serde(rename_all = "camelCase")]
pub struct TokenExposureSummarySpec {}

/// What was found in the namespace, written by the controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenExposureSummaryStatus {
    /// The ServiceAccounts that have a pod, by verdict.
    #[serde(default)]
    pub accounts: Counts,
    /// Their pods, by the verdict on their workload.
    #[serde(default)]
    pub pods: Counts,
    /// The names of the ServiceAccounts whose verdict is Unneeded: `|a|b|`. An expression finds one by
    /// `contains("|" + name + "|")`.
    #[serde(default)]
    #[schemars(length(max = 262_144))]
    pub unneeded: String,
    /// Workloads of these ServiceAccounts that are exempted or need a review: `|account/Kind/name|`.
    #[serde(default)]
    #[schemars(length(max = 262_144))]
    pub judged_otherwise: String,
    /// The workloads whose unneeded token the policy may withhold from new pods: `|account/Kind/name|`. Empty unless the
    /// chart's `cure.mode` asks for it.
    #[serde(default)]
    #[schemars(length(max = 262_144))]
    pub curable: String,
    /// Their ServiceAccounts with the begin of their uids, for the controller: `|account=uid|`.
    #[serde(default)]
    #[schemars(length(max = 262_144))]
    pub curable_accounts: String,
    /// How many ServiceAccounts and workloads do not fit: policies leave their pods alone.
    #[serde(default)]
    #[schemars(extend("format" = "int32"))]
    pub left_out: u32,
}

/// How many there are of each verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// How many there are.
    #[serde(default)]
    #[schemars(extend("format" = "int32"))]
    pub total: u32,
    /// A token is mounted, and no permission beyond the default permissions needs it.
    #[serde(default)]
    #[schemars(extend("format" = "int32"))]
    pub unneeded: u32,
    /// Probably unneeded, but a person must look.
    #[serde(default)]
    #[schemars(extend("format" = "int32"))]
    pub review: u32,
    /// The answer would be a guess.
    #[serde(default)]
    #[schemars(extend("format" = "int32"))]
    pub unknown: u32,
    /// An exemption states why the token stays.
    #[serde(default)]
    #[schemars(extend("format" = "int32"))]
    pub exempted: u32,
    /// A policy of this product leaves the token out.
    #[serde(default)]
    #[schemars(extend("format" = "int32"))]
    pub withheld: u32,
    /// A direct grant exists, or a permission is used.
    #[serde(default)]
    #[schemars(extend("format" = "int32"))]
    pub needed: u32,
    /// There is nothing to remove.
    #[serde(default)]
    #[schemars(extend("format" = "int32"))]
    pub no_token: u32,
}

impl Counts {
    fn add(&mut self, verdict: Verdict, more: u32) {
        let count = match verdict {
            Verdict::Unneeded => &mut self.unneeded,
            Verdict::Review => &mut self.review,
            Verdict::Unknown => &mut self.unknown,
            Verdict::Exempted => &mut self.exempted,
            Verdict::Withheld => &mut self.withheld,
            Verdict::Needed => &mut self.needed,
            Verdict::NoToken => &mut self.no_token,
        };
        *count = count.saturating_add(more);
        self.total = self.total.saturating_add(more);
    }
}

/// What the policy may withhold the token of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Curable(BTreeMap<Box<str>, CurableAccount>);

/// The workloads of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CurableAccount {
    uid: Box<str>,
    entries: BTreeSet<String>,
}

impl Curable {
    /// Adds a workload of an account, which is told from an earlier one with its name by its `uid`, or the begin of that.
    pub fn add(&mut self, account: &str, uid: &str, workload: &Workload) {
        let known = self.0.entry(account.into()).or_default();
        known.uid = uid.into();
        known.entries.insert(workload_entry(account, workload));
    }

    /// Whether it has no workload.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Names between separators.
struct Names(String);

impl Names {
    fn new() -> Self {
        Self(SEPARATOR.to_string())
    }

    fn push(&mut self, name: &str) {
        self.0.push_str(name);
        self.0.push(SEPARATOR);
    }
}

/// A workload of an account, as a summary names it.
#[must_use]
pub fn workload_entry(account: &str, workload: &Workload) -> String {
    format!("{account}/{workload}")
}

impl TokenExposureSummaryStatus {
    /// The summary of the accounts of a namespace, in the order of their names.
    #[must_use]
    pub fn new<'a>(
        accounts: impl IntoIterator<Item = (&'a str, &'a AccountSummary)>,
        curable: &Curable,
    ) -> Self {
        let mut status = Self::default();
        let (mut unneeded, mut otherwise) = (Names::new(), Names::new());
        for (name, answer) in accounts {
            status.accounts.add(answer.verdict, 1);
            for (verdict, pods) in Verdict::ALL.into_iter().zip(answer.pods_by_verdict) {
                status.pods.add(verdict, pods);
            }
            if answer.verdict != Verdict::Unneeded {
                continue;
            }
            let workloads = answer.otherwise.iter();
            let workloads: Vec<_> = workloads.map(|other| workload_entry(name, other)).collect();
            let bytes = workloads.iter().map(|entry| entry.len() + 1).sum::<usize>() + name.len();
            // Never an account without its exceptions.
            if is_name(name) && unneeded.0.len() + otherwise.0.len() + bytes < MAX_BYTES {
                unneeded.push(name);
                for entry in &workloads {
                    otherwise.push(entry);
                }
            } else {
                status.left_out = status.left_out.saturating_add(1);
            }
        }
        let left = MAX_BYTES.saturating_sub(unneeded.0.len() + otherwise.0.len());
        status.unneeded = unneeded.0;
        status.judged_otherwise = otherwise.0;
        status.list(curable, left);
        status
    }

    /// Lists what the policy may withhold the token of, as far as it fits.
    fn list(&mut self, curable: &Curable, mut left: usize) {
        let (mut workloads, mut accounts) = (Names::new(), Names::new());
        left = left.saturating_sub(workloads.0.len() + accounts.0.len());
        for (name, found) in &curable.0 {
            let account = format!("{name}={}", found.uid);
            let mut bytes = account.len() + 1;
            let mut is_new = true;
            for entry in &found.entries {
                bytes += entry.len() + 1;
                if is_name(name) && bytes <= left {
                    left -= bytes;
                    if std::mem::take(&mut is_new) {
                        accounts.push(&account);
                    }
                    workloads.push(entry);
                    bytes = 0;
                } else {
                    bytes -= entry.len() + 1;
                    self.left_out = self.left_out.saturating_add(1);
                }
            }
        }
        self.curable = workloads.0;
        self.curable_accounts = accounts.0;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::model::{Reason, note::NoteType};

    fn answer(verdict: Verdict, otherwise: &[(&str, &str)]) -> AccountSummary {
        let workload = |(kind, name): &(&str, &str)| Workload::new(kind, name);
        AccountSummary {
            verdict,
            reason: Reason::NoPermissions,
            pods: 2,
            exempt_until: None,
            pods_by_verdict: Verdict::ALL.map(|of| if of == verdict { 2 } else { 0 }),
            notes: NoteType::ALL.map(|_| false),
            otherwise: otherwise.iter().map(workload).collect(),
        }
    }

    #[test]
    fn accounts_and_pods_are_counted_and_the_unneeded_ones_named() {
        let accounts = [
            ("a", answer(Verdict::Unneeded, &[("Deployment", "kept")])),
            ("b", answer(Verdict::Needed, &[])),
            ("c", answer(Verdict::Review, &[])),
            ("d.e-f", answer(Verdict::Unneeded, &[])),
        ];
        let accounts = accounts.iter().map(|(name, answer)| (*name, answer));
        let status = TokenExposureSummaryStatus::new(accounts, &Curable::default());
        assert_eq!(status.unneeded, "|a|d.e-f|");
        assert_eq!(status.judged_otherwise, "|a/Deployment/kept|");
        let counts =
            |counts: &Counts| [counts.total, counts.unneeded, counts.review, counts.needed];
        assert_eq!(counts(&status.accounts), [4, 2, 1, 1]);
        assert_eq!(counts(&status.pods), [8, 4, 2, 2]);
        assert_eq!(status.left_out, 0);
    }

    #[test]
    fn no_names_are_two_separators_in_one() {
        let status = TokenExposureSummaryStatus::new([], &Curable::default());
        assert_eq!([&*status.unneeded, &*status.judged_otherwise], ["|", "|"]);
    }

    #[test]
    fn a_summary_never_exceeds_256_kib_and_names_no_account_without_its_exceptions() {
        let (long, name) = ("x".repeat(200), "n".repeat(253));
        let plain = answer(Verdict::Unneeded, &[]);
        let kept = answer(Verdict::Unneeded, &[("Deployment", &long)]);
        let names: Vec<_> = (0..3_000).map(|number| format!("{number}{long}")).collect();
        let of = |(number, name): (usize, &String)| {
            if number % 2 == 0 {
                (name.clone(), &kept)
            } else {
                (name.clone(), &plain)
            }
        };
        let accounts: Vec<_> = names.iter().enumerate().map(of).collect();
        let accounts = accounts.iter().map(|(name, answer)| (&**name, *answer));
        let status = TokenExposureSummaryStatus::new(
            accounts.chain([(&*name, &plain)]),
            &Curable::default(),
        );
        let mut summary = TokenExposureSummary::new("token-exposure", TokenExposureSummarySpec {});
        summary.status = Some(status.clone());
        assert!(serde_json::to_vec(&summary).unwrap().len() < 256 * 1024);
        let entries = status.unneeded.split('|').filter(|name| !name.is_empty());
        let entries: Vec<_> = entries.collect();
        assert_eq!(entries.len() + status.left_out as usize, 3_001);
        for (number, name) in names
            .iter()
            .enumerate()
            .filter(|(number, _)| number % 2 == 0)
        {
            let entry = format!("|{name}/Deployment/{long}|");
            assert_eq!(
                entries.contains(&&**name),
                status.judged_otherwise.contains(&entry),
                "{number}"
            );
        }
    }

    #[test]
    fn a_name_with_a_separator_is_left_out() {
        let plain = answer(Verdict::Unneeded, &[]);
        let status =
            TokenExposureSummaryStatus::new([("a|b", &plain), ("", &plain)], &Curable::default());
        assert_eq!((&*status.unneeded, status.left_out), ("|", 2));
    }
}
