//! JUnit XML for CI servers: a suite for each namespace, a case for each assessed account.

use std::{collections::BTreeMap, io};

use quick_xml::{
    Writer,
    events::{BytesText, Event},
};

use super::{Message, Scan, Severity, judged, notes, table::visible};
use crate::{
    baseline::Change,
    model::{Exposure, Verdict},
};

/// Writes what to know about the input, and all assessed accounts: those that make the scan fail as failures, or as
/// errors if they are `Unknown`.
///
/// # Errors
/// When the output cannot be written.
pub fn write(out: &mut impl io::Write, scan: &Scan<'_>) -> io::Result<()> {
    let mut suites: BTreeMap<&str, Vec<&Exposure>> = BTreeMap::new();
    for exposure in scan.all {
        let suite = suites.entry(&exposure.account.namespace).or_default();
        suite.push(exposure);
    }
    let (errors, others): (Vec<_>, Vec<_>) = scan
        .messages
        .iter()
        .partition(|message| message.severity == Severity::Error);
    let input = errors.len() + usize::from(!others.is_empty());
    let fixed: Vec<_> = scan.fixed().collect();
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    let everything: Vec<&Exposure> = scan.all.iter().collect();
    let counted = counts(scan, &everything, input + fixed.len(), errors.len());
    let mut writer = Writer::new_with_indent(&mut *out, b' ', 2);
    let element = writer.create_element("testsuites");
    let element = element.with_attribute(("name", "token-exposure"));
    let element = element.with_attributes(attributes(&counted));
    element.write_inner_content(|writer| {
        suite(
            writer,
            "input",
            &counts(scan, &[], input, errors.len()),
            |writer| {
                errors
                    .iter()
                    .try_for_each(|error| unread_input(writer, error))?;
                input_notes(writer, &others)
            },
        )?;
        suite(
            writer,
            "baseline",
            &counts(scan, &[], fixed.len(), 0),
            |writer| {
                fixed
                    .iter()
                    .try_for_each(|fixed| passed(writer, &format!("fixed: {fixed}"), "baseline"))
            },
        )?;
        for (namespace, accounts) in &suites {
            suite(writer, namespace, &counts(scan, accounts, 0, 0), |writer| {
                accounts
                    .iter()
                    .try_for_each(|exposure| case(writer, scan, exposure))
            })?;
        }
        Ok(())
    })?;
    writeln!(out)
}

/// A suite, unless it has no case.
fn suite<W: io::Write>(
    writer: &mut Writer<W>,
    name: &str,
    counted: &[(&'static str, String)],
    cases: impl FnOnce(&mut Writer<W>) -> io::Result<()>,
) -> io::Result<()> {
    let name = visible(name);
    if counted.iter().all(|(_, count)| count == "0") {
        return Ok(());
    }
    let element = writer.create_element("testsuite");
    let element = element.with_attribute(("name", name.as_str()));
    let element = element.with_attributes(attributes(counted));
    element.write_inner_content(cases)?;
    Ok(())
}

/// A part of the input that could not be read.
fn unread_input<W: io::Write>(writer: &mut Writer<W>, error: &Message) -> io::Result<()> {
    let message = error.visible();
    let message = message.trim_start_matches("error: ");
    let case = writer.create_element("testcase");
    let case = case.with_attribute(("name", "the input can be read"));
    let case = case.with_attribute(("classname", "input"));
    case.write_inner_content(|writer| {
        let error = writer.create_element("error");
        let error = error.with_attribute(("message", message));
        error.write_empty()?;
        Ok(())
    })?;
    Ok(())
}

/// Warnings and notes: a case that passes.
fn input_notes<W: io::Write>(writer: &mut Writer<W>, notes: &[&Message]) -> io::Result<()> {
    if notes.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = notes
        .iter()
        .map(|note| visible(&note.to_string()))
        .collect();
    let case = writer.create_element("testcase");
    let case = case.with_attribute(("name", "notes about the input"));
    let case = case.with_attribute(("classname", "input"));
    case.write_inner_content(|writer| said_by(writer, &lines))?;
    Ok(())
}

/// A case that passes.
fn passed<W: io::Write>(writer: &mut Writer<W>, name: &str, class: &str) -> io::Result<()> {
    let name = visible(name);
    let case = writer.create_element("testcase");
    let case = case.with_attribute(("name", name.as_str()));
    case.with_attribute(("classname", class)).write_empty()?;
    Ok(())
}

/// How many cases there are of each outcome; `others` of them are about no account, and `errors` of those are errors.
fn counts(
    scan: &Scan<'_>,
    suite: &[&Exposure],
    others: usize,
    errors: usize,
) -> [(&'static str, String); 4] {
    let count = |wanted: Outcome| {
        let outcomes = suite.iter().map(|exposure| outcome(scan, exposure));
        outcomes.filter(|outcome| *outcome == wanted).count()
    };
    [
        ("tests", suite.len() + others),
        ("failures", count(Outcome::Failure)),
        ("errors", count(Outcome::Error) + errors),
        ("skipped", count(Outcome::Skipped)),
    ]
    .map(|(name, count)| (name, count.to_string()))
}

fn attributes<'a>(
    counted: &'a [(&'static str, String)],
) -> impl Iterator<Item = (&'a str, &'a str)> {
    counted.iter().map(|(name, count)| (*name, count.as_str()))
}

/// The outcome of a case, by which CI servers count it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Failure,
    Error,
    Skipped,
    /// It passes, with a message.
    Noted,
    Passed,
}

fn outcome(scan: &Scan<'_>, exposure: &Exposure) -> Outcome {
    match exposure.verdict {
        Verdict::Unknown if scan.fails(exposure) => Outcome::Error,
        Verdict::Unneeded | Verdict::Review if scan.fails(exposure) => Outcome::Failure,
        Verdict::Exempted => Outcome::Skipped,
        Verdict::Unneeded | Verdict::Review | Verdict::Unknown => Outcome::Noted,
        Verdict::Withheld | Verdict::Needed | Verdict::NoToken => Outcome::Passed,
    }
}

fn case<W: io::Write>(
    writer: &mut Writer<W>,
    scan: &Scan<'_>,
    exposure: &Exposure,
) -> io::Result<()> {
    let name = visible(&format!("ServiceAccount {}", exposure.account.name));
    let namespace = visible(&exposure.account.namespace);
    let message = visible(&exposure.message);
    let kind = format!("{}/{}", exposure.verdict, exposure.reason);
    let change = scan.worst_change(exposure).map_or("", Change::name);
    let workloads: Vec<_> = judged(exposure)
        .map(|workload| visible(&workload.workload.to_string()))
        .collect();
    let remediation = exposure.remediation.as_ref();
    let remediation = remediation.map_or("", |remediation| &remediation.summary);
    let details = format!("{}\n{}", workloads.join(", "), visible(remediation));
    let element = writer.create_element("testcase");
    let element = element.with_attribute(("name", name.as_str()));
    let element = element.with_attribute(("classname", namespace.as_str()));
    let mut said: Vec<_> = notes(exposure)
        .map(|note| visible(&format!("note: {note}")))
        .collect();
    let tag = match outcome(scan, exposure) {
        Outcome::Passed => None,
        Outcome::Noted => {
            let text = format!("{change} {kind}: {message}");
            said.insert(0, text.trim_start().to_owned());
            None
        }
        Outcome::Failure => Some("failure"),
        Outcome::Error => Some("error"),
        Outcome::Skipped => Some("skipped"),
    };
    if tag.is_none() && said.is_empty() {
        element.write_empty()?;
        return Ok(());
    }
    element.write_inner_content(|writer| {
        if let Some(tag) = tag {
            let element = writer.create_element(tag);
            let element = element.with_attribute(("message", message.as_str()));
            if exposure.verdict == Verdict::Exempted {
                element.write_empty()?;
            } else {
                let element = element.with_attribute(("type", kind.as_str()));
                element.write_inner_content(|writer| {
                    writer.write_event(Event::Text(BytesText::new(details.trim())))
                })?;
            }
        }
        said_by(writer, &said)
    })?;
    Ok(())
}

/// What a case says beside its outcome.
fn said_by<W: io::Write>(writer: &mut Writer<W>, lines: &[String]) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let said = writer.create_element("system-out");
    said.write_text_content(BytesText::new(&lines.join("\n")))?;
    Ok(())
}
