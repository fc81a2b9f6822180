//! A table for a pull request, or for `$GITHUB_STEP_SUMMARY`.

use std::io;

use super::{Scan, Severity, defaults, groups, judged, notes_on, table::visible};
use crate::{
    baseline::Change,
    model::{Exposure, note::and_more},
};

/// How many rows a table has; beyond them, findings are grouped by cause and file.
const MAX_ROWS: usize = groups::MAX_ROWS;
/// How many workloads a row names.
const MAX_NAMES: usize = 5;

/// Writes a heading, the counts, what to know about the input, and a table.
///
/// # Errors
/// When the output cannot be written.
pub fn write(out: &mut impl io::Write, scan: &Scan<'_>) -> io::Result<()> {
    writeln!(out, "### ServiceAccount tokens\n\n{}", scan.counts())?;
    if !scan.is_complete() {
        writeln!(out, "\n**Some input could not be read:**")?;
    }
    if !scan.messages.is_empty() {
        writeln!(out)?;
    }
    for message in scan.messages {
        let text = message.visible();
        let text = match message.severity {
            Severity::Error => text.trim_start_matches("error: "),
            Severity::Warning | Severity::Note => &text,
        };
        writeln!(out, "* {}", escaped(text))?;
    }
    let fixed: Vec<_> = scan.fixed().collect();
    if !fixed.is_empty() {
        writeln!(out, "\n**Fixed since the baseline:**\n")?;
    }
    for fixed in fixed {
        writeln!(out, "* {}", escaped(&fixed))?;
    }
    match scan.shown.len() {
        0 => {}
        1..=MAX_ROWS => rows(out, scan, scan.shown.iter().copied())?,
        _ => grouped(out, scan)?,
    }
    let noted = notes_on(super::rows(scan.shown), MAX_ROWS);
    let lines: Vec<_> = noted.into_iter().chain(defaults::lines(scan)).collect();
    if !lines.is_empty() {
        writeln!(out)?;
    }
    for line in lines {
        writeln!(out, "* {}", escaped(&line))?;
    }
    Ok(())
}

fn rows<'a>(
    out: &mut impl io::Write,
    scan: &Scan<'_>,
    exposures: impl Iterator<Item = &'a Exposure>,
) -> io::Result<()> {
    writeln!(
        out,
        "\n| ServiceAccount | verdict | workloads | what to do |"
    )?;
    writeln!(out, "|---|---|---|---|")?;
    for exposure in exposures {
        let names = judged(exposure).take(MAX_NAMES).map(|found| {
            let place = (scan.place)(&exposure.account, &found.workload);
            let place = place.map(|(file, line)| format!(" ({}:{line})", file.display()));
            format!("{}{}", found.workload, place.unwrap_or_default())
        });
        let names: Vec<_> = names.collect();
        let more = and_more(judged(exposure).count().saturating_sub(MAX_NAMES));
        let change = scan.worst_change(exposure);
        let change = change.map_or(String::new(), |change| match change {
            Change::New | Change::Worse => format!("**{}** ", change.name()),
            Change::Old => format!("{} ", change.name()),
        });
        writeln!(
            out,
            "| {} | {change}**{}** {} | {}{more} | {} |",
            escaped(&exposure.account.to_string()),
            exposure.verdict,
            exposure.reason,
            escaped(&names.join(", ")),
            escaped(&exposure.message)
        )?;
    }
    Ok(())
}

/// Many findings: the most valuable, then all by cause and file.
fn grouped(out: &mut impl io::Write, scan: &Scan<'_>) -> io::Result<()> {
    writeln!(out, "\n{}:", groups::title(scan.shown))?;
    rows(out, scan, groups::most_valuable(scan.shown).into_iter())?;
    for group in groups::by_cause(scan) {
        writeln!(
            out,
            "\n<details><summary>{}</summary>\n",
            escaped(&group.title())
        )?;
        for line in group.lines() {
            writeln!(out, "* {}", escaped(&line))?;
        }
        writeln!(out, "\n</details>")?;
    }
    Ok(())
}

/// Text as a cell shows it, with all markup escaped, and what GitHub makes a link.
fn escaped(text: &str) -> String {
    let text = visible(text);
    let mut escaped = String::new();
    for (at, character) in text.char_indices() {
        let begins_link = match character {
            ':' => text[at..].starts_with("://"),
            '.' => text[..at].ends_with("www"),
            _ => false,
        };
        if begins_link || r"\`*_[]<>|#@!~$&".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
