//! What is kept of our own reports: enough to tell whether one says what it should.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Kind, Reports, wire};
use crate::{
    api::{ConditionStatus, EVALUATED, TokenExposureReportSpec, TokenExposureReportStatus},
    model::InputKind,
};

/// What is kept of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportFacts {
    /// A hash of all that we write into it, but for the time of its last change of status.
    pub digest: u64,
    /// Whether the condition `Evaluated` holds, and since when.
    pub evaluated: Option<(ConditionStatus, String)>,
    /// `resourceVersion`, where it is a number: newer is greater (KEP-5504).
    pub resource_version: u64,
}

/// A report as parsed; parts that do not fit the schema of today count as absent.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub struct ReportWire {
    /// `metadata`.
    #[serde(default)]
    pub metadata: wire::Metadata,
    /// `spec`.
    #[serde(default)]
    pub spec: serde_json::Value,
    /// `status`.
    #[serde(default)]
    pub status: serde_json::Value,
}

impl Kind for Reports {
    type Wire = ReportWire;
    type Facts = ReportFacts;
    const INPUT: InputKind = InputKind::TokenExposureReport;

    fn metadata(wire: &Self::Wire) -> &wire::Metadata {
        &wire.metadata
    }

    fn facts(wire: &Self::Wire) -> Self::Facts {
        let spec = serde_json::from_value(wire.spec.clone()).unwrap_or_default();
        let status: TokenExposureReportStatus = serde_json::from_value(wire.status.clone()).unwrap_or_default();
        let owner = wire.metadata.owner_references.iter().find(|owner| owner.kind == "ServiceAccount");
        let evaluated = status.conditions.iter().find(|condition| condition.type_ == EVALUATED);
        let evaluated = evaluated.map(|condition| (condition.status, condition.last_transition_time.clone().unwrap_or_default()));
        ReportFacts {
            digest: digest(&spec, &status, owner.map_or("", |owner| &owner.uid)),
            evaluated,
            resource_version: wire.metadata.resource_version.parse().unwrap_or_default(),
        }
    }
}

/// A hash of all that we write into a report, but for the time of its last change of status.
#[must_use]
pub fn digest(spec: &TokenExposureReportSpec, status: &TokenExposureReportStatus, owner_uid: &str) -> u64 {
    let mut status = status.clone();
    for condition in &mut status.conditions {
        condition.last_transition_time = None;
    }
    let mut hasher = DefaultHasher::new();
    (spec, status, owner_uid).hash(&mut hasher);
    hasher.finish()
}
