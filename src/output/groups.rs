//! What to do first where there are many findings? The most valuable ones, and all of them by cause and by the file or
//! namespace whose owner would change them.

use std::{cmp::Reverse, collections::BTreeMap};

use super::Scan;
use crate::model::{Exposure, Reason, Verdict, note::and_more};

/// How many findings are shown one by one; more are grouped.
pub(super) const MAX_ROWS: usize = 20;
/// How many findings come first.
const MOST_VALUABLE: usize = 10;
/// How many workloads a line names.
const MAX_NAMES: usize = 5;

/// The findings with one cause.
pub(super) struct Group {
    reason: Reason,
    accounts: usize,
    pods: u32,
    /// The workloads by file, or by namespace where there is none.
    places: BTreeMap<String, Vec<String>>,
}

/// The heading of the most valuable findings, with the rule.
pub(super) fn title(shown: &[&Exposure]) -> String {
    format!(
        "The {MOST_VALUABLE} of {} fixes that matter most (pods that a fix frees × how sure it is: Unneeded 4, Review 2, Unknown 1)",
        shown.len()
    )
}

/// The findings with the highest value: how many pods a fix frees of a token, times how sure it is that this is right.
pub(super) fn most_valuable<'a>(shown: &[&'a Exposure]) -> Vec<&'a Exposure> {
    let mut sorted = shown.to_vec();
    sorted.sort_by_key(|exposure| (Reverse(value(exposure)), &exposure.account));
    sorted.truncate(MOST_VALUABLE);
    sorted
}

fn value(exposure: &Exposure) -> u64 {
    let subjects = exposure.subjects(Verdict::is_finding).map(|workload| {
        let (verdict, pods) = workload.map_or((exposure.verdict, exposure.pods), |found| {
            (found.verdict, found.pods)
        });
        let sure = match verdict {
            Verdict::Unneeded => 4,
            Verdict::Review => 2,
            Verdict::Unknown => 1,
            Verdict::Exempted | Verdict::Withheld | Verdict::Needed | Verdict::NoToken => 0,
        };
        sure * u64::from(pods)
    });
    subjects.sum()
}

/// The shown findings by cause, worst first.
pub(super) fn by_cause(scan: &Scan<'_>) -> Vec<Group> {
    let mut groups: BTreeMap<(Verdict, Reason), Group> = BTreeMap::new();
    for exposure in scan.shown {
        let namespace = &exposure.account.namespace;
        let mut counted = None;
        let wanted = if exposure.verdict.is_reported() {
            Verdict::is_reported
        } else {
            |_| true
        };
        for workload in exposure.subjects(wanted) {
            let reason = workload.map_or(exposure.reason, |found| found.reason);
            let group = groups.entry((reason.verdict(), reason));
            let group = group.or_insert_with(|| Group {
                reason,
                accounts: 0,
                pods: 0,
                places: BTreeMap::new(),
            });
            if counted.replace(reason) != Some(reason) {
                group.accounts += 1;
            }
            group.pods += workload.map_or(exposure.pods, |found| found.pods);
            let place = workload.and_then(|found| (scan.place)(&exposure.account, &found.workload));
            let place = place.map_or_else(
                || format!("namespace {namespace}"),
                |(file, _)| file.display().to_string(),
            );
            let name = workload.map_or_else(
                || format!("ServiceAccount/{}", exposure.account.name),
                |found| found.workload.to_string(),
            );
            group.places.entry(place).or_default().push(name);
        }
    }
    groups.into_values().collect()
}

impl Group {
    /// Its cause, its size, and what to do.
    pub(super) fn title(&self) -> String {
        let count = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            count => format!("{count} {what}s"),
        };
        format!(
            "{} {}, {}, {}: {}",
            self.reason.verdict(),
            self.reason,
            count(self.accounts, "ServiceAccount"),
            count(self.pods as usize, "pod"),
            self.reason.advice()
        )
    }

    /// A line for each file or namespace, with the workloads there.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        self.places.iter().map(|(place, names)| {
            let shown = names[..names.len().min(MAX_NAMES)].join(", ");
            format!(
                "{place}: {shown}{}",
                and_more(names.len().saturating_sub(MAX_NAMES))
            )
        })
    }
}
