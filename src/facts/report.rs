//! What is kept of our own reports: enough to know whether one must be written again.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde_json::Value;

use super::{Kind, Reports, wire};
use crate::{
    api::{ConditionStatus, EVALUATED, TokenExposureReportSpec, TokenExposureReportStatus},
    model::{Config, InputKind, Verdict},
};

/// What is kept of a report. Two with the same content and generation are equal, whatever their version.
#[derive(Clone, Debug, Eq)]
pub struct ReportFacts {
    /// A hash of the spec and the owner.
    pub object_digest: u64,
    /// A hash of the status without the time of its last change and the observed generation.
    pub status_digest: u64,
    /// Whether the condition `Evaluated` holds, and since when.
    pub evaluated: Option<(ConditionStatus, String)>,
    /// Its verdict.
    pub verdict: Option<Verdict>,
    /// Its `generation`: each write of other content raises it. 0 if it is not known.
    pub generation: i64,
    /// Its `resourceVersion`, if that is a number: a watch that lags behind sends older ones than we wrote.
    pub version: Option<u64>,
}

impl PartialEq for ReportFacts {
    fn eq(&self, other: &Self) -> bool {
        let known = |facts: &Self| (facts.verdict, facts.generation);
        self.has_content_of(other)
            && known(self) == known(other)
            && self.evaluated == other.evaluated
    }
}

impl ReportFacts {
    /// The facts of a report with this content.
    #[must_use]
    pub fn new(
        spec: &TokenExposureReportSpec,
        status: &TokenExposureReportStatus,
        owner_uid: &str,
    ) -> Self {
        let evaluated = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == EVALUATED);
        let evaluated = evaluated.map(|condition| {
            (
                condition.status,
                condition.last_transition_time.clone().unwrap_or_default(),
            )
        });
        Self {
            object_digest: hash(&(spec, owner_uid)),
            status_digest: status_digest(status),
            evaluated,
            verdict: status.verdict,
            generation: 0,
            version: None,
        }
    }

    /// Whether it has the content of another one, apart from the time of the last change.
    #[must_use]
    pub fn has_content_of(&self, other: &Self) -> bool {
        let digests = |facts: &Self| (facts.object_digest, facts.status_digest);
        digests(self) == digests(other)
    }

    /// Whether it has this status, apart from the time of its last change.
    #[must_use]
    pub fn has_status(&self, status: &TokenExposureReportStatus) -> bool {
        self.status_digest == status_digest(status)
    }
}

fn status_digest(status: &TokenExposureReportStatus) -> u64 {
    let mut content = status.clone();
    content.observed_generation = None;
    for condition in &mut content.conditions {
        condition.observed_generation = None;
        condition.last_transition_time = None;
    }
    hash(&content)
}

/// A hash of content, the same in all replicas.
pub(super) fn hash(content: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

/// A report as parsed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "ReportFields")]
pub struct ReportWire {
    /// `metadata`.
    pub metadata: wire::Metadata,
    /// `metadata.generation`; 0 if it is not known.
    pub generation: i64,
    /// `spec`.
    pub spec: Value,
    /// `status`.
    pub status: Value,
}

/// The fields of a report.
#[derive(Default, Deserialize)]
struct ReportFields {
    #[serde(default)]
    metadata: Value,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

impl TryFrom<ReportFields> for ReportWire {
    type Error = serde_json::Error;

    fn try_from(fields: ReportFields) -> Result<Self, Self::Error> {
        let generation = fields.metadata["generation"].as_i64();
        let metadata: Option<_> = serde_json::from_value(fields.metadata)?;
        Ok(Self {
            metadata: metadata.unwrap_or_default(),
            generation: generation.unwrap_or_default(),
            spec: fields.spec,
            status: fields.status,
        })
    }
}

impl Kind for Reports {
    type Wire = ReportWire;
    type Facts = ReportFacts;
    const INPUT: InputKind = InputKind::TokenExposureReport;

    fn facts(wire: &Self::Wire, _: &Config) -> Self::Facts {
        // Content that does not match the current schema counts as empty, and is written again.
        let spec = Deserialize::deserialize(&wire.spec).unwrap_or_default();
        let status = Deserialize::deserialize(&wire.status).unwrap_or_default();
        let owner = wire
            .metadata
            .owner_references
            .iter()
            .find(|owner| owner.kind == "ServiceAccount");
        ReportFacts {
            version: wire.metadata.resource_version.parse().ok(),
            generation: wire.generation,
            ..ReportFacts::new(&spec, &status, owner.map_or("", |owner| &owner.uid))
        }
    }
}
