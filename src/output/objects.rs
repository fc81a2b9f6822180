//! JSON and YAML: a `v1` List of the same objects that the controller writes.

use std::{collections::BTreeSet, io};

use serde::{Serialize, Serializer};

use super::{Message, Scan, Severity};
use crate::{
    api::TokenExposureReport,
    baseline::{Change, Comparison, Subject},
    model::{Exposure, ServiceAccountRef, Verdict, WorkloadExposure, note::and_more},
};

/// The annotation that says how the findings of an account differ from the baseline: `new`, `worse`, `old` or `fixed`.
const BASELINE: &str = "tokenexposure.io/baseline";
/// The annotations with the workloads whose finding is new or worse, and those whose finding is fixed.
const NEW_WORKLOADS: &str = "tokenexposure.io/baseline-new";
const FIXED_WORKLOADS: &str = "tokenexposure.io/baseline-fixed";
/// How many workloads an annotation names.
const MAX_NAMES: usize = 100;

/// A `v1` List, with the messages beside its items.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: Items<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<Told>,
}

/// Reports, each of which is made when it is written: those of a large cluster take more memory than it does.
struct Items<'a> {
    exposures: Vec<&'a Exposure>,
    comparison: Option<&'a Comparison>,
}

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let exposures = self.exposures.iter();
        serializer.collect_seq(exposures.map(|exposure| report(self.comparison, exposure)))
    }
}

/// A message, in the words of events and conditions.
#[derive(Serialize)]
struct Told {
    #[serde(rename = "type")]
    type_: &'static str,
    message: String,
}

impl From<&Message> for Told {
    fn from(message: &Message) -> Self {
        Self {
            type_: match message.severity {
                Severity::Error => "Error",
                Severity::Warning => "Warning",
                Severity::Note => "Note",
            },
            message: message.text.clone(),
        }
    }
}

impl<'a> List<'a> {
    fn of<'b: 'a>(scan: &Scan<'b>, cleared: &'a [Exposure]) -> Self {
        let shown = scan.shown.iter().chain(scan.defaults).copied();
        let mut exposures: Vec<_> = shown.chain(cleared).collect();
        // The API server lists objects in this order: by their key in etcd.
        exposures.sort_by_cached_key(|exposure| exposure.account.to_string());
        Self {
            api_version: "v1",
            kind: "List",
            items: Items {
                exposures,
                comparison: scan.comparison,
            },
            messages: scan.messages.iter().map(Told::from).collect(),
        }
    }
}

/// The accounts that are not shown, since all of their findings are fixed: what is said of them now, even where nothing
/// of them is left.
fn cleared(scan: &Scan<'_>) -> Vec<Exposure> {
    let shown = scan.shown.iter();
    let shown: BTreeSet<_> = shown.map(|exposure| &exposure.account).collect();
    let fixed = scan
        .comparison
        .into_iter()
        .flat_map(fixed_workloads)
        .map(|subject| ServiceAccountRef::new(&*subject.namespace, &*subject.service_account));
    let fixed: BTreeSet<_> = fixed.collect();
    let hidden = fixed.iter().filter(|account| !shown.contains(account));
    hidden
        .map(|account| (scan.explain)(account).exposure)
        .collect()
}

fn fixed_workloads(comparison: &Comparison) -> impl Iterator<Item = &Subject> {
    comparison.fixed.keys()
}

fn account(subject: &Subject) -> (&str, &str) {
    (&subject.namespace, &subject.service_account)
}

/// A report, with annotations that compare it with the baseline.
fn report(comparison: Option<&Comparison>, exposure: &Exposure) -> TokenExposureReport {
    let mut report = TokenExposureReport::exact(exposure);
    let Some(comparison) = comparison else {
        return report;
    };
    let own = (&*exposure.account.namespace, &*exposure.account.name);
    let fixed: Vec<_> = fixed_workloads(comparison)
        .filter(|subject| account(subject) == own)
        .map(Subject::workload)
        .collect();
    let is_new = |workload: Option<&WorkloadExposure>| {
        comparison
            .change(exposure, workload)
            .is_some_and(Change::counts)
    };
    let new: Vec<_> = exposure
        .subjects(Verdict::is_finding)
        .filter(|workload| is_new(*workload))
        .map(|workload| Subject::of(exposure, workload.map(|found| &found.workload)).workload())
        .collect();
    let change = comparison.worst(exposure).map(Change::name);
    let change = change.or_else(|| (!fixed.is_empty()).then_some("fixed"));
    let names = [
        (NEW_WORKLOADS, named(&new)),
        (FIXED_WORKLOADS, named(&fixed)),
    ];
    let annotations = report.metadata.annotations.get_or_insert_default();
    annotations.extend(change.map(|change| (BASELINE.to_owned(), change.to_owned())));
    annotations.extend(
        names
            .into_iter()
            .filter_map(|(key, names)| Some((key.to_owned(), names?))),
    );
    report
}

/// Names in one line; `None` without any.
fn named(names: &[String]) -> Option<String> {
    let shown = names[..names.len().min(MAX_NAMES)].join(", ");
    let more = and_more(names.len().saturating_sub(MAX_NAMES));
    (!names.is_empty()).then(|| shown + &more)
}

/// Writes JSON.
///
/// # Errors
/// When the output cannot be written.
pub fn write_json(out: &mut impl io::Write, scan: &Scan<'_>) -> io::Result<()> {
    let cleared = cleared(scan);
    serde_json::to_writer_pretty(&mut *out, &List::of(scan, &cleared))?;
    writeln!(out)
}

/// Writes YAML; strings that a parser could read as another type are quoted.
///
/// # Errors
/// When the output cannot be written.
pub fn write_yaml(out: &mut impl io::Write, scan: &Scan<'_>) -> io::Result<()> {
    let cleared = cleared(scan);
    serde_saphyr::to_io_writer(out, &List::of(scan, &cleared)).map_err(io::Error::other)
}
