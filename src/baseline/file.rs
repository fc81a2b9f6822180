//! How is a baseline written and read?

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Baseline, Judged, Subject};
use crate::{
    model::InputKind,
    text::{self, yaml},
};

/// The `kind` of a file of `--write-baseline`.
const KIND: &str = "Baseline";
/// The `kind` of a report, and of a list of them as the API server sends it.
const REPORT: &str = InputKind::TokenExposureReport.name();
const REPORTS: &str = "TokenExposureReportList";
/// The version of its fields. Another release reads it, another version of the fields is an error.
const SCHEMA_VERSION: u64 = 1;

/// A file of either form.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
struct Wire {
    #[serde(default)]
    kind: String,
    schema_version: Option<u64>,
    #[serde(default)]
    findings: Value,
    items: Option<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(expecting = "a finding")]
struct Finding {
    #[serde(flatten)]
    subject: Subject,
    #[serde(flatten)]
    judged: Judged,
}

/// What is read of a report.
#[derive(Deserialize)]
#[serde(expecting = "a report")]
struct Report {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Metadata {
    #[serde(default)]
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default, expecting = "an object")]
struct Status {
    verdict: String,
    reason: String,
    workloads: Vec<Reported>,
    truncated: Option<u64>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Reported {
    kind: String,
    name: String,
    #[serde(flatten)]
    judged: Judged,
}

/// The kind of an item of a list that is no report; that of the items of a TokenExposureReportList need not be said.
fn foreign(list: &str, items: &Value) -> Option<String> {
    let mut kinds = items.as_array()?.iter().map(|item| item.get("kind"));
    let odd = kinds.find(|kind| match kind {
        Some(kind) => **kind != REPORT,
        None => list != REPORTS,
    })?;
    Some(odd.map_or_else(|| "unknown".to_owned(), Value::to_string))
}

impl Baseline {
    /// Reads a file.
    ///
    /// # Errors
    /// The cause and what to do, when it cannot be read or is no baseline.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = text::open(path).and_then(text::read);
        let text = text.map_err(|error| {
            format!("cannot be read: {error}: `--write-baseline` makes a baseline")
        })?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, String> {
        const NEITHER: &str = "is neither a file of `--write-baseline` nor a list of reports, as `scan -o json` prints it";
        let odd = |cause: serde_json::Error| format!("{NEITHER}: {cause}");
        let wire: Wire = match serde_json::from_str(text) {
            Ok(wire) => wire,
            Err(cause) => match yaml::first(text) {
                Some(value) => serde_json::from_value(value).map_err(odd)?,
                None => return Err(odd(cause)),
            },
        };
        match (&*wire.kind, wire.items) {
            (KIND, _) if wire.schema_version == Some(SCHEMA_VERSION) => {
                let findings: Vec<Finding> = serde_json::from_value(wire.findings).map_err(odd)?;
                let findings = findings.into_iter();
                Ok(Self {
                    findings: findings
                        .map(|finding| (finding.subject, finding.judged))
                        .collect(),
                    truncated: BTreeSet::new(),
                })
            }
            (KIND, _) => Err(format!(
                "has schema version {}, and this release reads version {SCHEMA_VERSION}: write it again with `--write-baseline`",
                wire.schema_version.unwrap_or_default()
            )),
            (kind @ ("List" | REPORTS), Some(items)) => {
                if let Some(foreign) = foreign(kind, &items) {
                    return Err(format!("{NEITHER}: it has objects of kind {foreign}"));
                }
                let reports = serde_json::from_value(items).map_err(odd)?;
                Ok(Self::from_reports(reports))
            }
            ("", _) => Err(format!("{NEITHER}: it has no `kind`")),
            (kind, _) => Err(format!("{NEITHER}: its kind is {kind:?}")),
        }
    }

    fn from_reports(reports: Vec<Report>) -> Self {
        let mut baseline = Self::default();
        for report in reports {
            let account = Subject {
                namespace: report.metadata.namespace,
                service_account: report.metadata.name,
                kind: String::new(),
                name: String::new(),
            };
            let status = report.status;
            let mut found = BTreeMap::new();
            for workload in status.workloads {
                let mut judged = workload.judged;
                // Reports of early releases have a reason for the account alone.
                if judged.reason.is_empty() && judged.verdict == status.verdict {
                    judged.reason.clone_from(&status.reason);
                }
                let subject = Subject {
                    kind: workload.kind,
                    name: workload.name,
                    ..account.clone()
                };
                found.insert(subject, judged);
            }
            found.retain(|_, judged| judged.is_finding());
            if status.truncated.is_some() {
                baseline.truncated.insert(account.account());
            }
            if found.is_empty() {
                let judged = Judged {
                    verdict: status.verdict,
                    reason: status.reason,
                };
                found.extend(judged.is_finding().then_some((account, judged)));
            }
            baseline.findings.append(&mut found);
        }
        baseline
    }

    /// Writes it, with a finding on each line: versions of it are easy to compare and to merge.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn write(&self, out: &mut impl io::Write) -> io::Result<()> {
        write!(
            out,
            "{{\"apiVersion\": \"tokenexposure.io/v1alpha1\", \"kind\": \"{KIND}\", \"schemaVersion\": {SCHEMA_VERSION}, \"findings\": ["
        )?;
        let mut separator = "\n";
        for (subject, judged) in &self.findings {
            let finding = Finding {
                subject: subject.clone(),
                judged: judged.clone(),
            };
            write!(out, "{separator}{}", serde_json::to_string(&finding)?)?;
            separator = ",\n";
        }
        writeln!(out, "\n]}}")
    }
}
