//! What does each workload of an account carry, and what is the verdict on it?

use std::collections::{BTreeMap, BTreeSet};

use super::{Evidence, Need, configs, exceeded, exemption, judge, lists_are_forbidden, usage};
use crate::{
    model::{
        Carrier, Exemption, Keep, Note, PodFacts, Reach, Reason, TokenSource, Verdict, Workload,
        WorkloadExposure,
        pod::{ConfigKind, Origin, Withheld},
    },
    token,
};

/// The pods of one workload, merged.
#[derive(Default)]
struct Merged {
    pods: u32,
    carriers: BTreeSet<Carrier>,
    consumers: BTreeSet<Box<str>>,
    notes: BTreeSet<Note>,
    /// The ConfigMaps and Secrets of its pods that were not read.
    not_read: BTreeSet<(ConfigKind, Box<str>)>,
    /// The exemption of each shape of its pods.
    exemptions: Vec<Option<Exemption>>,
    /// The API server rejects the token of one of its pods: the account does not exist.
    is_dead: bool,
    /// More has to be known of one of its pods than is kept.
    is_exceeded: bool,
    /// What in its pods speaks for the token.
    keeps: BTreeSet<Keep>,
    /// What a policy of this product did to the token of some of its pods: the earliest.
    withheld: Option<Withheld>,
}

/// The verdict on pods without a token that a policy of this product withholds.
fn withheld(withheld: Withheld, need: Need, is_consumer: bool) -> (Verdict, Reason) {
    match need {
        Need::Direct | Need::Elsewhere | Need::Inherited => (Verdict::Review, Reason::MissingToken),
        Need::Unknown(reason) => (Verdict::Unknown, reason),
        _ if is_consumer => (Verdict::Review, Reason::MissingToken),
        Need::AdmissionOnly | Need::Latent | Need::None if withheld.is_neutered => {
            (Verdict::Withheld, Reason::Neutered)
        }
        Need::AdmissionOnly | Need::Latent | Need::None => (Verdict::Withheld, Reason::LeftOut),
    }
}

/// What in a pod speaks for its token, beside the verdict.
fn keeps(evidence: &Evidence<'_>, pod: &PodFacts) -> impl Iterator<Item = Keep> {
    let found = [
        (Keep::Exempted, exemption::of(evidence, pod).is_some()),
        (Keep::AskedFor, pod.automount == Some(true)),
        (Keep::OpenedAtStart, pod.starts_client),
        (Keep::ChangedFirst, !pod.rare.before_removal.is_empty()),
        (Keep::CustomKind, pod.rare.template.is_some()),
    ];
    let found = found.into_iter().filter(|(_, is_so)| *is_so);
    found.map(|(keep, _)| keep)
}

/// The pods of each workload, merged into one.
fn merged<'a>(evidence: &'a Evidence<'_>) -> BTreeMap<&'a Workload, Merged> {
    let bearer = evidence.bearer();
    let mut merged: BTreeMap<&Workload, Merged> = BTreeMap::new();
    for (pod, count) in &evidence.pods {
        let carriers = token::carriers(pod, &bearer);
        let workload = merged.entry(&pod.workload).or_default();
        workload.pods += count;
        workload.exemptions.push(exemption::of(evidence, pod));
        workload.is_dead |= evidence.is_missing && pod.origin == Origin::Live;
        workload.is_exceeded |= exceeded(evidence, pod).is_some();
        workload.keeps.extend(keeps(evidence, pod));
        let earliest = [workload.withheld, pod.rare.withheld].into_iter().flatten();
        workload.withheld = earliest.min_by_key(|withheld| withheld.since);
        workload.notes.extend(token::notes(pod, &bearer, &carriers));
        workload.consumers.extend(configs::consumers(evidence, pod));
        workload.not_read.extend(configs::not_read(evidence, pod));
        let drivers = carriers.iter().filter(|carrier| {
            carrier.source == TokenSource::CsiDriver && carrier.reach != Reach::External
        });
        workload
            .consumers
            .extend(drivers.map(|carrier| carrier.provider.clone()));
        workload.carriers.extend(carriers);
    }
    merged
}

/// The workloads of the account, worst first.
pub(super) fn workloads(evidence: &Evidence<'_>, need: Need) -> Vec<WorkloadExposure> {
    let merged = merged(evidence);
    let forbidden = lists_are_forbidden(&evidence.gaps);
    let granted = usage::Granted::of(evidence);
    let exposure = |(workload, merged): (&Workload, Merged)| {
        let carriers: Vec<_> = merged.carriers.into_iter().collect();
        let mut notes = merged.notes;
        if !carriers.is_empty() && !merged.not_read.is_empty() {
            notes.insert(Note::NotRead(merged.not_read.into_iter().collect()));
        }
        let used = usage::of_workload(evidence, &granted, workload, &merged.consumers, &carriers);
        let exemption = exemption::of_all(merged.exemptions);
        let is_exempted = exemption.as_ref().is_some_and(Exemption::is_active);
        let (verdict, reason) = if forbidden {
            (Verdict::Unknown, Reason::Forbidden)
        } else if merged.is_dead {
            (Verdict::NoToken, Reason::ServiceAccountMissing)
        } else {
            let judged = judge(&carriers, need, !merged.consumers.is_empty());
            let judged = used.as_ref().map_or(judged, |used| {
                usage::judge(evidence, &granted, judged, used)
            });
            let is_consumer = !merged.consumers.is_empty();
            let withheld = merged
                .withheld
                .map(|found| withheld(found, need, is_consumer));
            let judged = withheld.map_or(judged, |withheld| judged.min(withheld));
            let limit = (Verdict::Unknown, Reason::LimitExceeded);
            let limit = merged.is_exceeded.then_some(limit);
            match limit.map_or(judged, |limit| judged.min(limit)) {
                // An exemption keeps a token: it does not excuse that one is missing.
                (verdict, reason)
                    if verdict.is_finding() && is_exempted && reason != Reason::MissingToken =>
                {
                    (Verdict::Exempted, Reason::Exemption)
                }
                judged => judged,
            }
        };
        let of_use = used
            .as_ref()
            .map(|used| usage::notes(evidence, workload, reason, used));
        notes.extend(of_use.into_iter().flatten());
        WorkloadExposure {
            verdict,
            reason,
            workload: workload.clone(),
            pods: merged.pods,
            carriers,
            consumers: merged.consumers.into_iter().collect(),
            exemption,
            notes: notes.into_iter().collect(),
            usage: used.map(Box::new),
            keeps: merged.keeps,
            left_out_since: merged.withheld.and_then(|withheld| withheld.since),
        }
    };
    let mut workloads: Vec<_> = merged.into_iter().map(exposure).collect();
    workloads.sort_unstable();
    workloads
}
