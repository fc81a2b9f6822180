//! Does an exemption apply to a pod, and is it in force?

use super::Evidence;
use crate::model::{
    Claim, Exemption, PodFacts, Verdict, WorkloadExposure,
    exemption::{ExemptedBy, ExemptionState, Until},
};

/// The exemption of a pod: one that is in force before one that is not.
pub(super) fn of(evidence: &Evidence<'_>, pod: &PodFacts) -> Option<Exemption> {
    let account = evidence.service_account;
    let account = account.and_then(|facts| facts.exemption.as_deref());
    let account = account.map(|claim| stated(evidence, claim, ExemptedBy::ServiceAccount));
    let own = pod.rare.exemption.as_deref();
    let own = own.map(|claim| stated(evidence, claim, ExemptedBy::Workload(pod.workload.clone())));
    let rules = evidence.config.exemptions.iter();
    let configured = rules
        .filter(|rule| rule.applies_to(evidence.account, &pod.rare.labels))
        .map(|rule| Exemption {
            state: state(evidence, rule.until),
            reason: rule.reason.clone(),
            until: rule.until,
            by: ExemptedBy::Config,
            fault: "".into(),
        });
    let all = account.into_iter().chain(own).chain(configured);
    all.min_by_key(|exemption| exemption.state)
}

/// The exemption of a workload: it is in force only if each shape of its pods has one that is.
pub(super) fn of_all(shapes: Vec<Option<Exemption>>) -> Option<Exemption> {
    let any_without = shapes.iter().any(Option::is_none);
    let applies = |exemption: &Exemption| !(any_without && exemption.is_active());
    let shapes = shapes.into_iter().flatten();
    shapes
        .filter(applies)
        .max_by_key(|exemption| exemption.state)
}

/// The exemption of the first workload that has one and this verdict, if that is a finding.
pub(super) fn shown(workloads: &[WorkloadExposure], verdict: Verdict) -> Option<Exemption> {
    let concerned = workloads
        .iter()
        .filter(|workload| verdict.is_reported() && workload.verdict == verdict);
    let mut exemptions = concerned.filter_map(|workload| workload.exemption.clone());
    exemptions.next()
}

fn stated(evidence: &Evidence<'_>, claim: &Claim, by: ExemptedBy) -> Exemption {
    let fault = claim.fault();
    let until = match claim.until {
        Until::Day(day) => Some(day),
        Until::Open | Until::Malformed(_) | Until::Misspelt(_) => None,
    };
    Exemption {
        state: if fault.is_some() {
            ExemptionState::Invalid
        } else {
            state(evidence, until)
        },
        reason: claim.reason.clone(),
        until,
        by,
        fault: fault.unwrap_or_default().into(),
    }
}

fn state(evidence: &Evidence<'_>, until: Option<jiff::civil::Date>) -> ExemptionState {
    match (evidence.today, until) {
        (Some(today), Some(last)) if today > last => ExemptionState::Expired,
        _ => ExemptionState::Active,
    }
}
