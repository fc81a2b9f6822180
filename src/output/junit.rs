//! JUnit XML for CI servers: a suite for each namespace, a case for each assessed account.

use std::{collections::BTreeMap, io};

use quick_xml::{
    Writer,
    events::{BytesText, Event},
};

use super::table::visible;
use crate::model::{Exposure, Verdict};

/// Writes the inputs that could not be read, and all assessed accounts: those whose verdict `fails` as
/// failures, or as errors if it is `Unknown`.
///
/// # Errors
/// When the output cannot be written.
pub fn write(
    out: &mut impl io::Write,
    all: &[Exposure],
    problems: &[&str],
    fails: &dyn Fn(Verdict) -> bool,
) -> io::Result<()> {
    let mut suites: BTreeMap<&str, Vec<&Exposure>> = BTreeMap::new();
    for exposure in all {
        let suite = suites.entry(&exposure.account.namespace).or_default();
        suite.push(exposure);
    }
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    let everything: Vec<&Exposure> = all.iter().collect();
    let (counted, unread) = (
        counts(&everything, problems.len(), fails),
        problems.len().to_string(),
    );
    let mut writer = Writer::new_with_indent(&mut *out, b' ', 2);
    let element = writer.create_element("testsuites");
    let element = element.with_attribute(("name", "token-exposure"));
    let element = element.with_attributes(attributes(&counted));
    element.write_inner_content(|writer| {
        if !problems.is_empty() {
            let element = writer.create_element("testsuite");
            let element = element.with_attribute(("name", "input"));
            let element = element.with_attribute(("tests", unread.as_str()));
            let element = element.with_attribute(("errors", unread.as_str()));
            element.write_inner_content(|writer| {
                problems
                    .iter()
                    .try_for_each(|problem| unread_input(writer, problem))
            })?;
        }
        for (namespace, suite) in &suites {
            let (name, counted) = (visible(namespace), counts(suite, 0, fails));
            let element = writer.create_element("testsuite");
            let element = element.with_attribute(("name", name.as_str()));
            let element = element.with_attributes(attributes(&counted));
            element.write_inner_content(|writer| {
                suite
                    .iter()
                    .try_for_each(|exposure| case(writer, exposure, fails))
            })?;
        }
        Ok(())
    })?;
    writeln!(out)
}

/// A part of the input that could not be read.
fn unread_input<W: io::Write>(writer: &mut Writer<W>, problem: &str) -> io::Result<()> {
    let message = visible(problem);
    let case = writer.create_element("testcase");
    let case = case.with_attribute(("name", "the input can be read"));
    let case = case.with_attribute(("classname", "input"));
    case.write_inner_content(|writer| {
        let error = writer.create_element("error");
        let error = error.with_attribute(("message", message.as_str()));
        error.write_empty()?;
        Ok(())
    })?;
    Ok(())
}

/// How many cases there are of each outcome; `unread` inputs count as errors.
fn counts(
    suite: &[&Exposure],
    unread: usize,
    fails: &dyn Fn(Verdict) -> bool,
) -> [(&'static str, String); 4] {
    let count = |wanted: Outcome| {
        let outcomes = suite.iter();
        let outcomes = outcomes.map(|exposure| outcome(exposure.verdict, fails));
        outcomes.filter(|outcome| *outcome == wanted).count()
    };
    [
        ("tests", suite.len() + unread),
        ("failures", count(Outcome::Failure)),
        ("errors", count(Outcome::Error) + unread),
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

fn outcome(verdict: Verdict, fails: &dyn Fn(Verdict) -> bool) -> Outcome {
    match verdict {
        Verdict::Unknown if fails(verdict) => Outcome::Error,
        Verdict::Unneeded | Verdict::Review if fails(verdict) => Outcome::Failure,
        Verdict::Exempted => Outcome::Skipped,
        Verdict::Unneeded | Verdict::Review | Verdict::Unknown => Outcome::Noted,
        Verdict::Needed | Verdict::NoToken => Outcome::Passed,
    }
}

fn case<W: io::Write>(
    writer: &mut Writer<W>,
    exposure: &Exposure,
    fails: &dyn Fn(Verdict) -> bool,
) -> io::Result<()> {
    let name = visible(&format!("ServiceAccount {}", exposure.account.name));
    let namespace = visible(&exposure.account.namespace);
    let message = visible(&exposure.message);
    let kind = format!("{}/{}", exposure.verdict, exposure.reason);
    let workloads = exposure.workloads.iter();
    let workloads = workloads.filter(|workload| workload.verdict == exposure.verdict);
    let workloads: Vec<_> = workloads
        .map(|workload| visible(&workload.workload.to_string()))
        .collect();
    let remediation = exposure.remediation.as_ref();
    let remediation = remediation.map_or("", |remediation| &remediation.summary);
    let details = format!("{}\n{}", workloads.join(", "), visible(remediation));
    let element = writer.create_element("testcase");
    let element = element.with_attribute(("name", name.as_str()));
    let element = element.with_attribute(("classname", namespace.as_str()));
    let tag = match outcome(exposure.verdict, fails) {
        Outcome::Passed => {
            element.write_empty()?;
            return Ok(());
        }
        Outcome::Noted => {
            element.write_inner_content(|writer| {
                let text = format!("{kind}: {message}");
                let noted = writer.create_element("system-out");
                noted.write_text_content(BytesText::new(&text))?;
                Ok(())
            })?;
            return Ok(());
        }
        Outcome::Failure => "failure",
        Outcome::Error => "error",
        Outcome::Skipped => "skipped",
    };
    element.write_inner_content(|writer| {
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
        Ok(())
    })?;
    Ok(())
}
