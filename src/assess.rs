//! Why is this account flagged? The decision table: what its pods carry, times what RBAC gives it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::{
        ApiAudiences, Carrier, Exposure, Gap, InputKind, KnownRoles, Level, Permissions, PodFacts,
        Reach, Reason, Remediation, ServiceAccountFacts, ServiceAccountRef, TokenSource, Verdict,
        WorkloadExposure,
        exposure::Patch,
        pod::Workload,
        rbac::{Effect, Grant},
    },
    rbac::{self, BoundRole},
    token,
};

/// Everything that the answer for one account is computed from.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// The account.
    pub account: &'a ServiceAccountRef,
    /// The account's object; `None` when it was not seen.
    pub service_account: Option<&'a ServiceAccountFacts>,
    /// The shapes of its pods and templates, with how many there are of each.
    pub pods: Vec<(&'a PodFacts, u32)>,
    /// The bindings that may reach it, those of everybody among them.
    pub bindings: Vec<BoundRole<'a>>,
    /// Whether the roles are all there is.
    pub roles: KnownRoles,
    /// What could not be read.
    pub gaps: BTreeSet<Gap>,
    /// What the API server accepts.
    pub audiences: &'a ApiAudiences,
}

/// What a workload carries that speaks to the API server: the rows of the decision table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Token {
    Absent,
    External,
    UnknownAudience,
    Explicit,
    Automounted,
}

/// What RBAC says of the account: the columns of the decision table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Direct,
    Unknown(Reason),
    Inherited,
    AdmissionOnly,
    Latent,
    None,
}

/// The answer for one account.
#[must_use]
pub fn assess(evidence: &Evidence<'_>) -> Exposure {
    let permissions = rbac::permissions(evidence.account, &evidence.bindings, evidence.roles);
    let gaps = gaps(evidence, &permissions);
    let need = need(&permissions, &gaps);
    let workloads = workloads(evidence, need);
    let (verdict, reason) = worst(&workloads, &gaps);
    let concerned = workloads
        .iter()
        .filter(|workload| (workload.verdict, workload.reason) == (verdict, reason));
    let pods = concerned.map(|workload| workload.pods).sum();
    let mut exposure = Exposure {
        account: evidence.account.clone(),
        verdict,
        reason,
        message: String::new(),
        pods,
        remediation: remediation(verdict, reason, evidence, &workloads),
        workloads,
        permissions,
        gaps,
    };
    exposure.message = message(&exposure);
    exposure
}

/// The decision table.
fn decide(token: Token, need: Need) -> (Verdict, Reason) {
    match (token, need) {
        (Token::Absent, _) => (Verdict::NoToken, Reason::AutomountDisabled),
        (Token::External, _) => (Verdict::NoToken, Reason::ExternalAudienceOnly),
        (Token::UnknownAudience, _) => (Verdict::Unknown, Reason::UnknownAudience),
        (_, Need::Direct) => (Verdict::Needed, Reason::DirectGrant),
        (_, Need::Unknown(reason)) => (Verdict::Unknown, reason),
        (_, Need::Inherited) => (Verdict::Review, Reason::InheritedOnly),
        (Token::Explicit, Need::AdmissionOnly | Need::Latent | Need::None) => {
            (Verdict::Review, Reason::ExplicitToken)
        }
        (Token::Automounted, Need::AdmissionOnly) => (Verdict::Unneeded, Reason::AdmissionOnly),
        (Token::Automounted, Need::Latent) => (Verdict::Review, Reason::LatentBinding),
        (Token::Automounted, Need::None) => (Verdict::Unneeded, Reason::NoPermissions),
    }
}

/// Grants only ever add up: a direct one settles the matter, whatever else could not be read.
fn need(permissions: &Permissions, gaps: &BTreeSet<Gap>) -> Need {
    let deciding = |gap: &&Gap| match gap {
        Gap::Forbidden(kind) => kind.decides_need(),
        Gap::RbacNotEnforced | Gap::UnresolvedRole(_) => true,
        Gap::UnknownAudience(_) => false,
    };
    let has = |effect| permissions.first(effect).is_some();
    if gaps.contains(&Gap::RbacNotEnforced) {
        return Need::Unknown(Reason::RbacNotEnforced);
    }
    match (permissions.level, gaps.iter().find(deciding)) {
        (Level::Direct, _) => Need::Direct,
        (_, Some(gap)) => Need::Unknown(gap.reason()),
        (Level::Inherited, None) => Need::Inherited,
        (Level::None, None) if has(Effect::AdmissionOnly) => Need::AdmissionOnly,
        (Level::None, None) if has(Effect::Latent) => Need::Latent,
        (Level::None, None) => Need::None,
    }
}

/// What the answer lacks: what could not be read, roles outside of the input, odd audiences.
fn gaps(evidence: &Evidence<'_>, permissions: &Permissions) -> BTreeSet<Gap> {
    let unresolved = permissions
        .grants
        .iter()
        .filter(|grant| grant.effect == Effect::Unresolved);
    let audiences = evidence
        .pods
        .iter()
        .flat_map(|(pod, _)| carriers(pod, evidence));
    let audiences = audiences.filter(|carrier| carrier.reach == Reach::Unknown);
    let mut gaps = evidence.gaps.clone();
    gaps.extend(unresolved.map(|grant| Gap::UnresolvedRole(grant.role_ref.clone())));
    gaps.extend(audiences.map(|carrier| Gap::UnknownAudience(carrier.audience)));
    gaps
}

fn carriers(pod: &PodFacts, evidence: &Evidence<'_>) -> Vec<Carrier> {
    let automount = evidence
        .service_account
        .and_then(|account| account.automount);
    token::carriers(pod, automount, evidence.audiences)
}

/// The strongest token among carriers.
fn strongest(carriers: &[Carrier]) -> Token {
    let token = |carrier: &Carrier| match (carrier.reach, carrier.source) {
        (Reach::Api, TokenSource::Automount) => Token::Automounted,
        (Reach::Api, TokenSource::Explicit) => Token::Explicit,
        (Reach::Unknown, _) => Token::UnknownAudience,
        (Reach::External, _) => Token::External,
    };
    carriers.iter().map(token).max().unwrap_or(Token::Absent)
}

/// The workloads of the account, worst first: the pods of each folded into one.
fn workloads(evidence: &Evidence<'_>, need: Need) -> Vec<WorkloadExposure> {
    let mut folded: BTreeMap<&Workload, (u32, BTreeSet<Carrier>)> = BTreeMap::new();
    for (pod, count) in &evidence.pods {
        let (pods, found) = folded.entry(&pod.workload).or_default();
        *pods += count;
        found.extend(carriers(pod, evidence));
    }
    let mut workloads: Vec<_> = folded
        .into_iter()
        .map(|(workload, (pods, found))| {
            let carriers: Vec<_> = found.into_iter().collect();
            let (verdict, reason) = if is_blind(&evidence.gaps) {
                (Verdict::Unknown, Reason::Forbidden)
            } else {
                decide(strongest(&carriers), need)
            };
            WorkloadExposure {
                verdict,
                reason,
                workload: workload.clone(),
                pods,
                carriers,
            }
        })
        .collect();
    workloads.sort_unstable();
    workloads
}

/// The worst of the workloads; without any there is nothing to remove, if that could be seen.
fn worst(workloads: &[WorkloadExposure], gaps: &BTreeSet<Gap>) -> (Verdict, Reason) {
    match workloads.first() {
        Some(workload) => (workload.verdict, workload.reason),
        None if is_blind(gaps) => (Verdict::Unknown, Reason::Forbidden),
        None => (Verdict::NoToken, Reason::NoPods),
    }
}

/// Whether the pods or accounts themselves could not be read: then nothing is certain.
fn is_blind(gaps: &BTreeSet<Gap>) -> bool {
    [InputKind::Pod, InputKind::ServiceAccount]
        .map(Gap::Forbidden)
        .iter()
        .any(|gap| gaps.contains(gap))
}

/// "1 pod carries", "2 pods carry".
fn pods_do(count: u32, one_does: &str, many_do: &str) -> String {
    if count == 1 {
        format!("1 pod {one_does}")
    } else {
        format!("{count} pods {many_do}")
    }
}

/// One sentence that a person can act on.
fn message(exposure: &Exposure) -> String {
    let carry = pods_do(exposure.pods, "carries", "carry");
    let name = |grant: Option<&Grant>| {
        grant.map_or_else(String::new, |grant| {
            format!(
                "{} {} ({}) through {}",
                grant.binding_kind(),
                grant.binding,
                grant.role_ref,
                grant.via
            )
        })
    };
    let grants = &exposure.permissions;
    match exposure.reason {
        Reason::NoPermissions => {
            format!(
                "{carry} a token that no permission needs: set automountServiceAccountToken: false"
            )
        }
        Reason::AdmissionOnly => format!(
            "{carry} a token that nothing needs: {} is only checked at admission",
            name(grants.first(Effect::AdmissionOnly))
        ),
        Reason::LatentBinding => format!(
            "{carry} a token that allows nothing today, but {} may grant something tomorrow",
            name(grants.first(Effect::Latent))
        ),
        Reason::InheritedOnly => format!(
            "{carry} a token whose only permissions come with a group, by {}: see whether they are used",
            name(grants.first(Effect::Grants))
        ),
        Reason::ExplicitToken => format!(
            "{} a token that no permission needs: see whether it proves an identity elsewhere",
            pods_do(exposure.pods, "projects", "project")
        ),
        Reason::DirectGrant => {
            let direct = grants
                .grants
                .iter()
                .find(|grant| grant.effect == Effect::Grants && !grant.via.is_group());
            format!(
                "{} the token by {}",
                pods_do(exposure.pods, "may use", "may use"),
                name(direct)
            )
        }
        Reason::AutomountDisabled => format!("{carry} no token"),
        Reason::ExternalAudienceOnly => {
            format!("{carry} only tokens that the API server does not accept")
        }
        Reason::NoPods => "no pod runs as this account".to_owned(),
        Reason::Forbidden
        | Reason::RbacNotEnforced
        | Reason::UnknownAudience
        | Reason::UnresolvedRole => {
            let missing = exposure
                .gaps
                .iter()
                .find(|gap| gap.reason() == exposure.reason);
            missing.map_or_else(String::new, ToString::to_string)
        }
    }
}

/// What to do about a finding: the account where that suffices, a workload where it overrides it.
fn remediation(
    verdict: Verdict,
    reason: Reason,
    evidence: &Evidence<'_>,
    workloads: &[WorkloadExposure],
) -> Option<Remediation> {
    let finding =
        matches!(verdict, Verdict::Unneeded | Verdict::Review) && reason != Reason::ExplicitToken;
    if !finding {
        let by_hand = reason == Reason::ExplicitToken;
        let summary =
            "remove the serviceAccountToken source from the volume if nothing reads it".to_owned();
        return by_hand.then_some(Remediation {
            summary,
            patches: Vec::new(),
        });
    }
    let automounted = workloads.iter().filter(|workload| {
        workload
            .carriers
            .iter()
            .any(|carrier| carrier.source == TokenSource::Automount)
    });
    let drifted = automounted.clone().all(|workload| {
        workload
            .carriers
            .iter()
            .all(|carrier| carrier.drift.is_some())
    });
    if drifted {
        return Some(Remediation {
            summary: "already switched off: recreate the pods and the token is gone".to_owned(),
            patches: Vec::new(),
        });
    }
    let overrides = |workload: &&WorkloadExposure| {
        evidence
            .pods
            .iter()
            .any(|(pod, _)| pod.workload == workload.workload && pod.automount == Some(true))
    };
    let account = Workload {
        kind: "ServiceAccount".into(),
        name: (&*evidence.account.name).into(),
    };
    let mut patches: Vec<_> = automounted
        .clone()
        .filter(overrides)
        .filter_map(|workload| {
            let patch = workload_patch(&workload.workload.kind)?;
            Some(Patch {
                target: workload.workload.clone(),
                patch: patch.to_owned(),
            })
        })
        .collect();
    if !automounted.clone().all(|workload| overrides(&workload)) {
        patches.push(Patch {
            target: account,
            patch: r#"{"automountServiceAccountToken":false}"#.to_owned(),
        });
    }
    patches.sort_unstable();
    let first = if verdict == Verdict::Review {
        "if nothing needs the token, "
    } else {
        ""
    };
    let summary = format!(
        "{first}set automountServiceAccountToken: false and recreate the pods; where a container reads ca.crt or \
         namespace, mount a projected volume without the token instead"
    );
    Some(Remediation { summary, patches })
}

/// The merge patch that switches the token off in a workload's template; `None` where the template
/// cannot be changed in place (a Pod, a Job) or where its place is not known (a custom kind).
fn workload_patch(kind: &str) -> Option<&'static str> {
    match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" => {
            Some(r#"{"spec":{"template":{"spec":{"automountServiceAccountToken":false}}}}"#)
        }
        "CronJob" => Some(
            r#"{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"automountServiceAccountToken":false}}}}}}"#,
        ),
        _ => None,
    }
}
