//! One self-contained page for a browser: a table to search, filter and sort, and for each row the chain
//! that `explain` prints.
//!
//! Names from a cluster are data on the page, never markup: JSON that cannot end its element, which the
//! script of the page turns into text. The page may load nothing, and run only that script.

use std::{collections::HashMap, io};

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::civil::Date;
use ring::digest::{SHA256, digest};
use serde::Serialize;

use super::{
    Scan, Severity, catalogues::controls, explain::chain, table::visible, usage::last_used,
};
use crate::{
    baseline::Change,
    model::{Explanation, Exposure, Level, Reason, Verdict, verdict::meanings},
};

const TEMPLATE: &str = include_str!("report.html");

/// Writes the page.
///
/// # Errors
/// When the output cannot be written.
pub fn write(out: &mut impl io::Write, scan: &Scan<'_>) -> io::Result<()> {
    let data = serde_json::to_string(&Data::from(scan))?;
    let page = TEMPLATE
        .replace("@STYLE@", &hash_of("style"))
        .replace("@SCRIPT@", &hash_of("script"))
        .replace("@COUNTS@", &(scan.counts() + &incomplete(scan)))
        // Only strings contain `<`, and JSON allows to escape it: nothing ends the element or starts a
        // comment. This comes last, since names may look like the placeholders.
        .replace("@DATA@", &data.replace('<', "\\u003c"));
    out.write_all(page.as_bytes())
}

/// The warning beside the counts that some input could not be read.
fn incomplete(scan: &Scan<'_>) -> String {
    let severities = scan.messages.iter().map(|message| message.severity);
    match severities
        .filter(|severity| *severity == Severity::Error)
        .count()
    {
        0 => String::new(),
        1 => ". Some input could not be read: 1 error".to_owned(),
        count => format!(". Some input could not be read: {count} errors"),
    }
}

/// The hash by which the Content-Security-Policy allows the element of this name without attributes.
fn hash_of(element: &str) -> String {
    let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
    let content = TEMPLATE
        .split_once(&begin)
        .and_then(|(_, rest)| rest.split_once(&end))
        .map_or("", |(content, _)| content);
    BASE64_STANDARD.encode(digest(&SHA256, content.as_bytes()))
}

/// The data that the script of the page reads.
#[derive(Serialize)]
struct Data {
    verdicts: Vec<Entry>,
    reasons: Vec<Entry>,
    /// What to know about the input and the answer.
    messages: Vec<Told>,
    /// Whether the findings are compared with a baseline.
    compared: bool,
    /// Whether it is known which tokens are used.
    evidence: bool,
    /// Whether a policy of this product withholds tokens.
    withheld: bool,
    /// What the baseline has and the scan does not find.
    fixed: Vec<String>,
    /// The lines of all chains, each once: accounts share most of them.
    lines: Vec<String>,
    accounts: Vec<Account>,
}

/// A verdict or a reason.
#[derive(Serialize)]
struct Entry {
    name: String,
    meaning: String,
    /// How many accounts have it.
    assessed: usize,
}

/// A message, with its severity.
#[derive(Serialize)]
struct Told {
    severity: &'static str,
    text: String,
}

/// One row, and its chain.
#[derive(Serialize)]
struct Account {
    namespace: String,
    name: String,
    verdict: Verdict,
    reason: Reason,
    pods: u32,
    permissions: Level,
    /// When a token was last used; empty where nothing is known of that.
    used: String,
    /// Since which day a policy withholds tokens of its pods; empty where none does.
    since: String,
    message: String,
    /// How it differs from the baseline; empty for what is no finding.
    baseline: &'static str,
    /// Its lines, as indices into `lines`.
    chain: Vec<usize>,
    /// How many lines at the end are patches.
    patches: usize,
}

impl From<&Scan<'_>> for Data {
    fn from(scan: &Scan<'_>) -> Self {
        let mut lines = Lines::default();
        let accounts = scan.shown.iter().chain(scan.defaults).map(|exposure| {
            let mut explanation = (scan.explain)(&exposure.account);
            explanation
                .exposure
                .remediation
                .clone_from(&exposure.remediation);
            Account::new(scan, &explanation, &mut lines)
        });
        let accounts = accounts.collect();
        let meaning = |(name, meaning): (String, String)| {
            let names = scan.all.iter();
            let names = names.map(|exposure| [exposure.verdict.name(), exposure.reason.name()]);
            let assessed = names.filter(|names| names.contains(&&*name)).count();
            Entry {
                name,
                meaning,
                assessed,
            }
        };
        let told = scan.messages.iter().map(|message| Told {
            severity: message.severity.name(),
            text: message.visible(),
        });
        Self {
            verdicts: meanings::<Verdict>().into_iter().map(meaning).collect(),
            reasons: meanings::<Reason>().into_iter().map(meaning).collect(),
            messages: told.collect(),
            compared: scan.comparison.is_some(),
            evidence: scan.shown.iter().any(|exposure| exposure.usage.is_some()),
            withheld: scan
                .shown
                .iter()
                .any(|exposure| withheld_since(exposure).is_some()),
            fixed: scan.fixed().map(|fixed| visible(&fixed)).collect(),
            lines: lines.in_order(),
            accounts,
        }
    }
}

impl Account {
    fn new(scan: &Scan<'_>, explanation: &Explanation, lines: &mut Lines) -> Self {
        let exposure = &explanation.exposure;
        let mut chain = chain(explanation);
        let remediation = exposure.remediation.iter();
        let patches = remediation
            .flat_map(|remediation| &remediation.patches)
            .count();
        if exposure.verdict.is_reported() {
            // Before what to do, whose patches come last.
            let place = chain.iter().position(|line| line == "WHAT TO DO");
            let place = place.unwrap_or(chain.len());
            let controls = controls(exposure, None).map(|control| format!("  {control}"));
            let heading = "CONTROLS THAT ASK FOR THIS".to_owned();
            chain.splice(place..place, std::iter::once(heading).chain(controls));
        }
        Self {
            namespace: visible(&exposure.account.namespace),
            name: visible(&exposure.account.name),
            verdict: exposure.verdict,
            reason: exposure.reason,
            pods: exposure.pods,
            permissions: exposure.permissions.level,
            used: exposure.usage.as_ref().map_or_else(String::new, last_used),
            since: withheld_since(exposure).map_or_else(String::new, |day| day.to_string()),
            message: visible(&exposure.message),
            baseline: scan.worst_change(exposure).map_or("", Change::name),
            chain: chain
                .into_iter()
                .filter(|line| !line.is_empty())
                .map(|line| lines.index_of(line))
                .collect(),
            patches,
        }
    }
}

/// The first day on which a policy withheld the token of a pod that still exists, in UTC.
fn withheld_since(exposure: &Exposure) -> Option<Date> {
    let workloads = exposure.workloads.iter();
    workloads.filter_map(|found| found.left_out_since).min()
}

/// Lines with their index, each once.
#[derive(Default)]
struct Lines(HashMap<String, usize>);

impl Lines {
    fn index_of(&mut self, line: String) -> usize {
        let next = self.0.len();
        *self.0.entry(line).or_insert(next)
    }

    fn in_order(self) -> Vec<String> {
        let mut lines: Vec<_> = self.0.into_iter().collect();
        lines.sort_unstable_by_key(|(_, index)| *index);
        lines.into_iter().map(|(line, _)| line).collect()
    }
}
