//! The CustomResourceDefinitions.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use super::{TokenExposureReport, TokenExposureSummary};

impl TokenExposureReport {
    /// Sets the generation that the status is of.
    pub fn observe(&mut self, generation: i64) {
        if let Some(status) = &mut self.status {
            status.observed_generation = Some(generation);
            for condition in &mut status.conditions {
                condition.observed_generation = Some(generation);
            }
        }
    }

    /// Sets the generation that the next write makes of the stored one; `None` where no report is stored.
    pub fn observe_next(&mut self, stored: Option<i64>) {
        self.observe(stored.unwrap_or(0).saturating_add(1));
    }
}

/// The CustomResourceDefinitions, in the order in which they are printed.
///
/// The status of a report is no subresource: one request writes a report, where a subresource needs two for a new one.
/// Nothing is lost, since the controller alone writes reports, and nobody has a spec to change; but each change of the
/// status counts as a generation.
#[must_use]
pub fn definitions() -> [CustomResourceDefinition; 2] {
    let mut reports = TokenExposureReport::crd();
    for version in &mut reports.spec.versions {
        version.subresources = None;
    }
    [reports, TokenExposureSummary::crd()]
}
