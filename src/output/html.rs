//! One self-contained page for a browser: a table to search, filter and sort, and for each row the chain
//! that `explain` prints.
//!
//! Names from a cluster are data on the page, never markup: JSON that cannot end its element, which the
//! script of the page turns into text. The page may load nothing, and run only that script.

use std::{collections::HashMap, io};

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::digest::{SHA256, digest};
use serde::Serialize;

use super::{
    explain::chain,
    table::{counts, visible},
};
use crate::model::{Explanation, Exposure, Level, Reason, Verdict, verdict::meanings};

const TEMPLATE: &str = include_str!("report.html");

/// Writes the page: `explanations` are shown, worst first; `all` are the assessed accounts; `problems` are
/// the inputs that could not be read.
///
/// # Errors
/// When the output cannot be written.
pub fn write(
    out: &mut impl io::Write,
    explanations: &[Explanation],
    all: &[Exposure],
    problems: &[&str],
) -> io::Result<()> {
    let data = serde_json::to_string(&Data::new(explanations, all))?;
    let page = TEMPLATE
        .replace("@STYLE@", &hash_of("style"))
        .replace("@SCRIPT@", &hash_of("script"))
        .replace("@COUNTS@", &(counts(all) + &incomplete(problems)))
        // Only strings contain `<`, and JSON allows to escape it: nothing ends the element or starts a
        // comment. This comes last, since names may look like the placeholders.
        .replace("@DATA@", &data.replace('<', "\\u003c"));
    out.write_all(page.as_bytes())
}

/// The warning beside the counts that some input could not be read.
fn incomplete(problems: &[&str]) -> String {
    match problems.len() {
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

/// One row, and its chain.
#[derive(Serialize)]
struct Account {
    namespace: String,
    name: String,
    verdict: Verdict,
    reason: Reason,
    pods: u32,
    permissions: Level,
    message: String,
    /// Its lines, as indices into `lines`.
    chain: Vec<usize>,
    /// How many lines at the end are patches.
    patches: usize,
}

impl Data {
    fn new(explanations: &[Explanation], all: &[Exposure]) -> Self {
        let mut lines = Lines::default();
        let accounts = explanations
            .iter()
            .map(|explanation| Account::new(explanation, &mut lines))
            .collect();
        let meaning = |(name, meaning): (String, String)| {
            let has_it = |exposure: &&Exposure| {
                [exposure.verdict.name(), exposure.reason.name()].contains(&&*name)
            };
            let assessed = all.iter().filter(has_it).count();
            Entry {
                name,
                meaning,
                assessed,
            }
        };
        Self {
            verdicts: meanings::<Verdict>().into_iter().map(meaning).collect(),
            reasons: meanings::<Reason>().into_iter().map(meaning).collect(),
            lines: lines.in_order(),
            accounts,
        }
    }
}

impl Account {
    fn new(explanation: &Explanation, lines: &mut Lines) -> Self {
        let exposure = &explanation.exposure;
        let chain = chain(explanation).into_iter();
        let remediation = exposure.remediation.iter();
        let patches = remediation.flat_map(|remediation| &remediation.patches);
        Self {
            namespace: visible(&exposure.account.namespace),
            name: visible(&exposure.account.name),
            verdict: exposure.verdict,
            reason: exposure.reason,
            pods: exposure.pods,
            permissions: exposure.permissions.level,
            message: visible(&exposure.message),
            chain: chain
                .filter(|line| !line.is_empty())
                .map(|line| lines.index_of(line))
                .collect(),
            patches: patches.count(),
        }
    }
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
