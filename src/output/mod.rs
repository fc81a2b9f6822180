//! The output formats of the commands, for people and for programs.

pub mod catalogues;
mod defaults;
pub mod explain;
mod groups;
pub mod html;
pub mod inspect;
pub mod junit;
pub mod markdown;
pub mod objects;
pub mod patch;
pub mod preview;
pub mod role;
pub mod sarif;
pub mod table;
mod usage;

use std::{fmt, path::Path};

pub use self::defaults::title as unused_defaults_title;
use crate::{
    baseline::{self, Change, Comparison},
    model::{Explanation, Exposure, ServiceAccountRef, Verdict, Workload, WorkloadExposure},
};

/// The result of a scan, which every format writes whole: what was found, and what to know about the scan.
pub struct Scan<'a> {
    /// All assessed accounts.
    pub all: &'a [Exposure],
    /// The accounts to show, worst first.
    pub shown: &'a [&'a Exposure],
    /// The `default` accounts for which one patch is asked that disables automount.
    pub defaults: &'a [&'a Exposure],
    /// What to know about the input and the answer.
    pub messages: &'a [Message],
    /// The findings beside those of a baseline.
    pub comparison: Option<&'a Comparison>,
    /// Whether a verdict makes the scan fail.
    pub fails: &'a dyn Fn(Verdict) -> bool,
    /// The file of a workload with pods of an account, and the line of its pod spec.
    pub place: &'a Place<'a>,
    /// Where a workload is that the input defines several times, differently; empty for any other.
    pub differing: &'a dyn Fn(&ServiceAccountRef, &Workload) -> String,
    /// What led to the verdict on an account.
    pub explain: &'a dyn Fn(&ServiceAccountRef) -> Explanation,
}

/// Returns the file and line of a workload with pods of an account.
pub type Place<'a> = dyn Fn(&ServiceAccountRef, &Workload) -> Option<(&'a Path, usize)> + 'a;

/// Something to know about a scan as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// How bad it is.
    pub severity: Severity,
    /// What there is to know, with the fix if there is one.
    pub text: String,
}

/// How bad a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Some input could not be read: the answer is incomplete.
    Error,
    /// Something is not as its author meant it.
    Warning,
    /// Good to know.
    Note,
}

// === impl Message ===

impl Message {
    /// An error.
    pub fn error(text: impl Into<String>) -> Self {
        Self::new(Severity::Error, text.into())
    }

    /// A warning.
    pub fn warning(text: impl Into<String>) -> Self {
        Self::new(Severity::Warning, text.into())
    }

    /// A note.
    pub fn note(text: impl Into<String>) -> Self {
        Self::new(Severity::Note, text.into())
    }

    const fn new(severity: Severity, text: String) -> Self {
        Self { severity, text }
    }

    /// With its severity, in one line that is safe to print on a terminal.
    #[must_use]
    pub fn visible(&self) -> String {
        table::visible(&self.to_string())
    }
}

impl Severity {
    /// In one word, also as SARIF spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity.name(), self.text)
    }
}

// === impl Scan ===

impl Scan<'_> {
    /// Whether everything could be read.
    fn is_complete(&self) -> bool {
        let mut severities = self.messages.iter().map(|message| message.severity);
        !severities.any(|severity| severity == Severity::Error)
    }

    /// Whether an account makes the scan fail.
    fn fails(&self, exposure: &Exposure) -> bool {
        baseline::fails(exposure, self.comparison, self.fails)
    }

    /// How the findings of an account differ from the baseline, if there is one.
    fn worst_change(&self, exposure: &Exposure) -> Option<Change> {
        self.comparison?.worst(exposure)
    }

    /// What the baseline has and the scan does not find, as text.
    fn fixed(&self) -> impl Iterator<Item = String> {
        let fixed = self.comparison.into_iter().flat_map(|found| &found.fixed);
        fixed.map(|(subject, judged)| {
            format!(
                "{} of ServiceAccount {}/{} ({} {})",
                subject.workload(),
                subject.namespace,
                subject.service_account,
                judged.verdict,
                judged.reason
            )
        })
    }

    /// How many accounts have each verdict, and how the findings differ from the baseline, in one line.
    fn counts(&self) -> String {
        let counts = table::counts(self.all);
        match self.comparison {
            Some(comparison) => format!("{counts}; since the baseline: {}", comparison.counts()),
            None => counts,
        }
    }
}

/// The accounts that a table shows one by one.
#[must_use]
pub fn rows<'a>(shown: &[&'a Exposure]) -> Vec<&'a Exposure> {
    if shown.len() > groups::MAX_ROWS {
        groups::most_valuable(shown)
    } else {
        shown.to_vec()
    }
}

/// The notes on an account, beyond what its message says.
fn notes(exposure: &Exposure) -> impl Iterator<Item = String> {
    let notes = exposure.notes.iter().map(ToString::to_string);
    notes.filter(|note| !exposure.message.contains(note))
}

/// The notes on several accounts, a line for each: the first ones, and how many more there are.
fn notes_on<'a>(exposures: impl IntoIterator<Item = &'a Exposure>, limit: usize) -> Vec<String> {
    let lines = exposures.into_iter().flat_map(|exposure| {
        let line = |note| format!("note on {}: {note}", exposure.account);
        notes(exposure).map(line)
    });
    let mut lines: Vec<_> = lines.collect();
    let more = lines.len().saturating_sub(limit);
    if more > 0 {
        lines.truncate(limit);
        lines.push(format!("{more} more notes: `-o wide` has them"));
    }
    lines
}

/// The workloads that an account's verdict is about.
fn judged(exposure: &Exposure) -> impl Iterator<Item = &WorkloadExposure> {
    let workloads = exposure.workloads.iter();
    workloads.filter(|workload| workload.verdict == exposure.verdict)
}
