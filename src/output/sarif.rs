//! SARIF 2.1.0, within the limits of GitHub's code scanning: a rule for each reason, a result for each
//! workload with a finding, at the line of its pod spec.

mod artifact;

use std::io;

use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use self::artifact::Root;
use super::{
    Message, Scan,
    catalogues::{Control, controls},
    defaults, notes,
};
use crate::{
    baseline::Change,
    model::{
        Exposure, Reason, ServiceAccountRef, Verdict, WorkloadExposure,
        note::AccountNote,
        usage::{Use, seconds},
        verdict::meanings,
    },
};

/// How many fixed findings are listed.
const MAX_FIXED: usize = 1_000;
/// How many results a run may have.
const MAX_RESULTS: usize = 25_000;
/// A log; its results are created while they are written.
#[derive(Serialize)]
struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Value,
    automation_details: Value,
    column_kind: &'static str,
    invocations: [Value; 1],
    results: Results<'a>,
}

struct Results<'a>(&'a Scan<'a>, Root);

impl Serialize for Results<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let subjects = self.0.shown.iter().flat_map(|exposure| {
            let subjects = exposure.subjects(Verdict::is_reported);
            subjects.map(move |workload| result(self, exposure, workload))
        });
        serializer.collect_seq(subjects.take(MAX_RESULTS))
    }
}

/// Writes a log of one run.
///
/// What a baseline has and the scan does not find is a notification, not a result with the state `absent`: code scanning
/// would open an alert for it.
///
/// # Errors
/// When the output cannot be written.
pub fn write<'a>(out: &mut impl io::Write, scan: &'a Scan<'a>) -> io::Result<()> {
    let shown = scan.shown.iter();
    let found: usize = shown
        .map(|exposure| exposure.subjects(Verdict::is_reported).count())
        .sum();
    let omitted = found.saturating_sub(MAX_RESULTS);
    let omitted = (omitted > 0).then(|| {
        Message::warning(format!(
            "{omitted} results are omitted: code scanning accepts at most {MAX_RESULTS} in a run"
        ))
    });
    let fixed = scan.fixed().take(MAX_FIXED);
    let fixed = fixed.map(|text| Message::note(format!("fixed since the baseline: {text}")));
    let defaults = defaults::lines(scan).join(": ");
    let defaults = (!defaults.is_empty()).then(|| Message::note(defaults));
    let notifications: Vec<_> = omitted
        .into_iter()
        .chain(scan.messages.iter().cloned())
        .chain(fixed)
        .chain(defaults)
        .map(|message| {
            json!({ "level": message.severity.name(), "message": { "text": message.text } })
        })
        .collect();
    let workloads = scan.shown.iter().flat_map(|exposure| {
        let workloads = exposure.workloads.iter();
        workloads.map(|found| (&exposure.account, &found.workload))
    });
    let places = workloads.filter_map(|(account, workload)| (scan.place)(account, workload));
    let files = places.map(|(file, _)| file);
    let log = Log {
        schema: "https://json.schemastore.org/sarif-2.1.0.json",
        version: "2.1.0",
        runs: [Run {
            tool: json!({ "driver": {
                "name": "token-exposure",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules(),
            } }),
            automation_details: json!({ "id": "token-exposure/" }),
            column_kind: "unicodeCodePoints",
            invocations: [json!({
                "executionSuccessful": scan.is_complete(),
                "toolExecutionNotifications": notifications,
            })],
            results: Results(scan, Root::here(files)),
        }],
    };
    serde_json::to_writer_pretty(&mut *out, &log)?;
    writeln!(out)
}

/// The reasons of findings in a fixed order: results refer to them by index.
fn reasons() -> impl Iterator<Item = Reason> {
    Reason::ALL
        .into_iter()
        .filter(|reason| reason.verdict().is_reported())
}

fn rules() -> Vec<Value> {
    let meanings = meanings::<Reason>();
    let rule = |reason: Reason| {
        let meaning = meanings.iter().find(|(name, _)| name == reason.name());
        let meaning = meaning.map_or("", |(_, meaning)| meaning);
        // Without the name of the verdict, which is printed separately.
        let sentence = meaning.split_once(": ").map_or(meaning, |(_, rest)| rest);
        let advice = reason.advice();
        json!({
            "id": kebab(reason.name()),
            "name": reason.name(),
            "shortDescription": { "text": format!("{}: {sentence}", reason.verdict()) },
            "fullDescription": { "text": meaning },
            "help": {
                "text": format!("{meaning}\n\n{advice}"),
                "markdown": format!("**{}**\n\n{meaning}\n\n{advice}", reason.name()),
            },
            "defaultConfiguration": { "level": level(reason.verdict()) },
            "properties": {
                "tags": ["security", "kubernetes", "least-privilege"],
                "precision": precision(reason.verdict()),
                "security-severity": severity(reason),
            },
        })
    };
    reasons().map(rule).collect()
}

fn result(
    results: &Results<'_>,
    exposure: &Exposure,
    workload: Option<&WorkloadExposure>,
) -> Value {
    let scan = results.0;
    let account = &exposure.account;
    let reason = workload.map_or(exposure.reason, |workload| workload.reason);
    let subject = workload.map(|workload| workload.workload.to_string());
    let subject = subject.unwrap_or_else(|| format!("ServiceAccount/{}", account.name));
    let message = if reason == exposure.reason {
        exposure.message.clone()
    } else {
        format!("{}: {}", reason.verdict(), reason.advice())
    };
    let noted = notes(exposure).fold(String::new(), |noted, note| {
        format!("{noted}; note: {note}")
    });
    let identity = format!("{account} {subject} {}", reason.name());
    let mut result = json!({
        "ruleId": kebab(reason.name()),
        "ruleIndex": reasons().position(|other| other == reason),
        "level": level(reason.verdict()),
        "message": { "text": format!("{subject} uses ServiceAccount {account}: {message}{noted}") },
        "locations": [location(results, account, workload, &subject)],
        "partialFingerprints": { "primaryLocationLineHash": fingerprint(&identity) },
        "properties": {
            "verdict": reason.verdict().name(),
            "serviceAccount": account.to_string(),
            "pods": workload.map_or(exposure.pods, |workload| workload.pods),
            "controls": controls(exposure, workload).map(Control::name).collect::<Vec<_>>(),
        },
    });
    let used = workload.map_or(exposure.usage.as_ref(), |workload| {
        workload.usage.as_deref()
    });
    if let Some(used) = used {
        result["properties"]["use"] = use_of(used);
    }
    if !exposure.notes.is_empty() {
        result["properties"]["notes"] = exposure.notes.iter().map(told).collect();
    }
    if let Some(comparison) = scan.comparison {
        let change = comparison.change(exposure, workload);
        result["baselineState"] = change.map_or("unchanged", state).into();
    }
    let exemption = workload.and_then(|workload| workload.exemption.as_ref());
    if let Some(exemption) = exemption.filter(|_| reason == Reason::Exemption) {
        let justification = format!("{} ({})", exemption.reason, exemption.by);
        result["suppressions"] = json!([{
            "kind": "external", "status": "accepted", "justification": justification,
        }]);
    }
    result
}

/// Where a result is: the object, and in files the line of its workload.
fn location(
    Results(scan, root): &Results<'_>,
    account: &ServiceAccountRef,
    workload: Option<&WorkloadExposure>,
    subject: &str,
) -> Value {
    let mut location = json!({
        "logicalLocations": [{
            "fullyQualifiedName": format!("{}/{subject}", account.namespace),
            "kind": "resource",
        }],
    });
    let line = workload.and_then(|found| (scan.place)(account, &found.workload));
    if let Some((file, line)) = line {
        location["physicalLocation"] = json!({
            "artifactLocation": root.artifact(file),
            "region": { "startLine": line.max(1) },
        });
    }
    location
}

/// A note as a report has it.
fn told(note: &AccountNote) -> Value {
    json!({ "type": note.type_().name(), "message": note.to_string() })
}

/// The use of a token, as audit logs show it.
fn use_of(used: &Use) -> Value {
    let time = |time: Option<Timestamp>| time.map(|time| seconds(time).to_string());
    json!({
        "lastUsed": time(used.last),
        "lastUsedBeyondDefaults": time(used.last_beyond_defaults),
        "requests": used.requests,
        "window": {
            "from": time(Some(used.window.from)),
            "to": time(Some(used.window.to)),
            "grade": used.window.grade,
        },
    })
}

/// A change as SARIF spells it.
const fn state(change: Change) -> &'static str {
    match change {
        Change::New => "new",
        Change::Worse => "updated",
        Change::Old => "unchanged",
    }
}

const fn level(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unneeded => "error",
        Verdict::Review | Verdict::Unknown => "warning",
        Verdict::Exempted | Verdict::Withheld | Verdict::Needed | Verdict::NoToken => "note",
    }
}

const fn precision(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unneeded
        | Verdict::Exempted
        | Verdict::Withheld
        | Verdict::Needed
        | Verdict::NoToken => "very-high",
        Verdict::Review => "medium",
        Verdict::Unknown => "low",
    }
}

/// From 0 to 10, by which GitHub sorts alerts: a token without permissions is of little use to an attacker,
/// one that never expires gives lasting access.
fn severity(reason: Reason) -> &'static str {
    match (reason, reason.verdict()) {
        (Reason::LegacyToken | Reason::SuspectedLegacyToken, _) => "6.0",
        (Reason::RbacNotEnforced, _) => "9.0",
        (_, Verdict::Unneeded) => "5.0",
        (_, Verdict::Review) => "4.0",
        (_, Verdict::Unknown) => "3.0",
        (_, Verdict::Exempted | Verdict::Withheld | Verdict::Needed | Verdict::NoToken) => "1.0",
    }
}

/// `NoPermissions` as `no-permissions`, `RBACNotEnforced` as `rbac-not-enforced`.
fn kebab(name: &str) -> String {
    let bytes = name.as_bytes();
    let starts_word = |index: usize| {
        index > 0
            && bytes[index].is_ascii_uppercase()
            && (bytes[index - 1].is_ascii_lowercase()
                || bytes.get(index + 1).is_some_and(u8::is_ascii_lowercase))
    };
    let mut kebab = String::new();
    for (index, character) in name.char_indices() {
        if starts_word(index) {
            kebab.push('-');
        }
        kebab.push(character.to_ascii_lowercase());
    }
    kebab
}

/// A fingerprint that never changes for the same text, in GitHub's form: a hash and a sequence number.
fn fingerprint(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_ref()[..8]);
    format!("{:016x}:1", u64::from_be_bytes(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_spelled_in_kebab_case() {
        for (name, spelled) in [
            ("NoPermissions", "no-permissions"),
            ("RBACNotEnforced", "rbac-not-enforced"),
            ("Exemption", "exemption"),
        ] {
            assert_eq!(kebab(name), spelled);
        }
    }

    #[test]
    fn a_fingerprint_never_changes() {
        assert_eq!(fingerprint("abc"), "ba7816bf8f01cfea:1");
    }
}
