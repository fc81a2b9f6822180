//! Which findings are new since an earlier scan? A baseline has the findings of that scan: a file of its own, or any
//! list of reports, as `scan -o json` and `kubectl get ter -A -o json` print them.
//!
//! Findings are compared by account, workload, verdict and reason, never by file, line or order: what moves is not new.

mod file;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::{Deserialize, Serialize};

use crate::model::{Exposure, Verdict, Workload, WorkloadExposure, identity::may_be_random};

/// The workloads that get another name each time they are created by hand or by a pipeline.
const RENAMED: [&str; 2] = ["Pod", "Job"];

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// The namespace of the account.
    pub namespace: String,
    /// The name of the account.
    pub service_account: String,
    /// The kind of the workload; empty where the finding is about the account itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The name of the workload.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// What was said about it. A later release may have other verdicts and reasons, so both are text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The verdict.
    pub verdict: String,
    /// The reason; empty where the file has none for a workload.
    #[serde(default)]
    pub reason: String,
}

/// The findings of an earlier scan.
#[derive(Debug, Default)]
pub struct Baseline {
    findings: BTreeMap<Subject, Judged>,
    /// The accounts of which the file has only some workloads.
    truncated: BTreeSet<(String, String)>,
}

/// How a finding differs from the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The baseline does not have it.
    New,
    /// The baseline has a milder verdict.
    Worse,
    /// The baseline has it, or a worse one.
    Old,
}

impl Change {
    /// In one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Worse => "worse",
            Self::Old => "old",
        }
    }

    /// Whether it makes a scan fail.
    #[must_use]
    pub const fn counts(self) -> bool {
        match self {
            Self::New | Self::Worse => true,
            Self::Old => false,
        }
    }
}

/// The findings of a scan beside those of a baseline.
#[derive(Debug, Default)]
pub struct Comparison {
    changes: BTreeMap<Subject, Change>,
    /// What the baseline has and the scan does not find.
    pub fixed: BTreeMap<Subject, Judged>,
    /// How many accounts have new findings that the baseline may only have left out.
    pub unsure: usize,
}

// === impl Subject ===

impl Subject {
    /// A workload of an account, or the account itself.
    #[must_use]
    pub fn of(exposure: &Exposure, workload: Option<&Workload>) -> Self {
        let name = |name: fn(&Workload) -> &str| workload.map_or("", name).to_owned();
        Self {
            namespace: exposure.account.namespace.to_string(),
            service_account: exposure.account.name.to_string(),
            kind: name(|workload| &workload.kind),
            name: name(|workload| &workload.name),
        }
    }

    /// The workload; the account where there is none.
    #[must_use]
    pub fn workload(&self) -> String {
        if self.kind.is_empty() {
            format!("ServiceAccount/{}", self.service_account)
        } else {
            format!("{}/{}", self.kind, self.name)
        }
    }

    fn account(&self) -> (String, String) {
        (self.namespace.clone(), self.service_account.clone())
    }
}

// === impl Baseline ===

impl Baseline {
    /// The findings of these accounts.
    #[must_use]
    pub fn of(all: &[Exposure]) -> Self {
        Self {
            findings: findings(all).collect(),
            truncated: BTreeSet::new(),
        }
    }

    /// Compares a scan with it. What lies outside of the scan, which `covers` says of a namespace, is not fixed.
    #[must_use]
    pub fn compare(&self, all: &[Exposure], covers: &dyn Fn(&str) -> bool) -> Comparison {
        let mut fixed = self.findings.clone();
        let mut changes: BTreeMap<Subject, Change> = BTreeMap::new();
        let mut unmatched = Vec::new();
        for (subject, judged) in findings(all) {
            let change = if let Some(before) = fixed.remove(&subject) {
                judged.since(&before)
            } else {
                unmatched.push((subject.clone(), judged));
                Change::New
            };
            changes.insert(subject, change);
        }
        for (subject, judged) in unmatched {
            if let Some(before) = renamed(&fixed, &subject, &judged) {
                fixed.remove(&before);
                changes.insert(subject, Change::Old);
            }
        }
        fixed.retain(|subject, _| covers(&subject.namespace));
        let new = changes.iter().filter(|(_, change)| change.counts());
        let unsure: BTreeSet<_> = new.map(|(subject, _)| subject.account()).collect();
        Comparison {
            unsure: unsure.intersection(&self.truncated).count(),
            changes,
            fixed,
        }
    }
}

/// The findings of accounts.
fn findings(all: &[Exposure]) -> impl Iterator<Item = (Subject, Judged)> {
    all.iter().flat_map(|exposure| {
        let subjects = exposure.subjects(Verdict::is_finding);
        subjects.map(move |workload| {
            let subject = Subject::of(exposure, workload.map(|found| &found.workload));
            let reason = workload.map_or(exposure.reason, |found| found.reason);
            let judged = Judged {
                verdict: reason.verdict().name().to_owned(),
                reason: reason.name().to_owned(),
            };
            (subject, judged)
        })
    })
}

/// The finding that a new one replaces: a pod or Job of the same account that is gone, judged in the same way, whose
/// name differs in its generated part alone.
fn renamed(gone: &BTreeMap<Subject, Judged>, new: &Subject, judged: &Judged) -> Option<Subject> {
    let stem = generated_from(&new.name).filter(|_| RENAMED.contains(&&*new.kind))?;
    let mut gone = gone.iter().filter(|(subject, before)| {
        subject.account() == new.account()
            && subject.kind == new.kind
            && generated_from(&subject.name) == Some(stem)
            && *before == judged
    });
    gone.next().map(|(subject, _)| subject.clone())
}

/// What a name begins with whose last parts are numbers, times, versions, hashes, or the five characters of
/// `generateName`; `None` for another.
fn generated_from(name: &str) -> Option<&str> {
    let is_generated = |part: &str| {
        (part.len() == 5 && may_be_random(part)) || part.bytes().any(|byte| byte.is_ascii_digit())
    };
    let mut stem = name;
    while let Some((before, _)) = stem
        .rsplit_once(['-', '.'])
        .filter(|(_, last)| is_generated(last))
    {
        stem = before;
    }
    (stem != name).then_some(stem)
}

impl Judged {
    /// The verdict's place in the order of all, worst first; `None` for one that this release does not know.
    fn rank(&self) -> Option<usize> {
        let mut all = Verdict::ALL.iter();
        all.position(|verdict| verdict.name() == self.verdict)
    }

    fn is_finding(&self) -> bool {
        self.rank()
            .is_some_and(|rank| Verdict::ALL[rank].is_finding())
    }

    fn since(&self, before: &Self) -> Change {
        let is_same = self.reason == before.reason || before.reason.is_empty();
        match before.rank() {
            Some(rank) if self.rank() < Some(rank) => Change::Worse,
            Some(rank) if self.rank() > Some(rank) || is_same => Change::Old,
            _ => Change::New,
        }
    }
}

/// Whether an account makes a scan fail: a finding whose verdict does, and that is new or worse where there is a
/// baseline.
pub fn fails(
    exposure: &Exposure,
    comparison: Option<&Comparison>,
    fails: &dyn Fn(Verdict) -> bool,
) -> bool {
    let mut subjects = exposure.subjects(Verdict::is_finding);
    subjects.any(|workload| {
        let change = comparison.and_then(|comparison| comparison.change(exposure, workload));
        change.is_none_or(Change::counts)
            && fails(workload.map_or(exposure.verdict, |found| found.verdict))
    })
}

// === impl Comparison ===

impl Comparison {
    /// How the finding of a workload, or of an account itself, differs; `None` for what is no finding.
    #[must_use]
    pub fn change(
        &self,
        exposure: &Exposure,
        workload: Option<&WorkloadExposure>,
    ) -> Option<Change> {
        let subject = Subject::of(exposure, workload.map(|found| &found.workload));
        self.changes.get(&subject).copied()
    }

    /// How the findings of an account differ: new where one is.
    #[must_use]
    pub fn worst(&self, exposure: &Exposure) -> Option<Change> {
        let subjects = exposure.subjects(Verdict::is_finding);
        subjects
            .filter_map(|workload| self.change(exposure, workload))
            .min()
    }

    /// In one line.
    #[must_use]
    pub fn counts(&self) -> String {
        let count = |wanted| {
            let changes = self.changes.values();
            changes.filter(|change| **change == wanted).count()
        };
        let mut line = format!("{} new", count(Change::New));
        for (count, name) in [
            (count(Change::Worse), "worse"),
            (count(Change::Old), "old"),
            (self.fixed.len(), "fixed"),
        ] {
            if count > 0 {
                // Writing to a String cannot fail.
                let _ = write!(line, ", {count} {name}");
            }
        }
        line
    }
}
