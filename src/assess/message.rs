//! The verdict in one sentence that a person can act on.

use std::collections::BTreeSet;

use super::{Evidence, remediation};
use crate::model::{
    Exposure, Reason, Verdict,
    exemption::ExemptionState,
    note::AccountNote,
    rbac::{Caveat, Effect, Grant},
};

/// How to get a withheld token back.
const OFF: &str =
    "label the pod template or the namespace tokenexposure.io/cure=off to get it back";

/// How many workloads a sentence names.
const MOST_NAMED: usize = 3;

/// "1 pod carries", "2 pods carry".
fn pods_do(count: u32, one_does: &str, many_do: &str) -> String {
    if count == 1 {
        format!("1 pod {one_does}")
    } else {
        format!("{count} pods {many_do}")
    }
}

/// A grant as its binding, role and subject.
fn name(grant: Option<&Grant>) -> String {
    grant.map_or_else(String::new, |grant| {
        format!("{grant} through {}", grant.via)
    })
}

/// That consumers may use the token, because of which it is not reported as unneeded.
fn known_consumers(exposure: &Exposure, carry: &str) -> String {
    let concerned = exposure
        .workloads
        .iter()
        .filter(|workload| workload.reason == Reason::KnownConsumer);
    let consumers: BTreeSet<_> = concerned
        .flat_map(|workload| &workload.consumers)
        .map(|name| &**name)
        .collect();
    let consumers = consumers.into_iter().collect::<Vec<_>>().join(" and ");
    format!(
        "{carry} a token that no permission needs, but {consumers} may use it as an identity: check before you remove it"
    )
}

/// The first direct grant, with its caveat if all of them have one.
fn direct_grant(exposure: &Exposure) -> String {
    let grants = exposure.permissions.grants.iter();
    let direct = grants.filter(|grant| grant.effect == Effect::Grants && !grant.via.is_group());
    let caveat = match direct.clone().map(|grant| grant.caveat).min().flatten() {
        Some(Caveat::Unreachable) => ", though no request can match its rules",
        Some(Caveat::ThirdParty) => {
            ", whose verbs are checked by other components, not by the API server"
        }
        None => "",
    };
    name(direct.clone().next()) + caveat
}

/// What is exempted, why, and for how long.
fn exempted(exposure: &Exposure, carry: &str) -> String {
    let Some(exemption) = &exposure.exemption else {
        return format!("{carry} an exempted token");
    };
    let until = exemption.until;
    let until = until.map_or_else(String::new, |day| format!(" until {day}"));
    format!(
        "{carry} a token that is exempted{until}: {} ({})",
        exemption.reason, exemption.by
    )
}

/// Why an exemption is not in force.
fn not_exempted(exposure: &Exposure) -> String {
    let exemption = exposure.exemption.as_ref();
    let exemption = exemption.map(|exemption| (exemption.state, exemption));
    match exemption {
        None | Some((ExemptionState::Active, _)) => String::new(),
        Some((ExemptionState::Expired, exemption)) => {
            let day = exemption.until.unwrap_or_default();
            format!("; its exemption expired after {day}: {}", exemption.reason)
        }
        Some((ExemptionState::Invalid, exemption)) => {
            format!("; its exemption is invalid: {}", exemption.fault)
        }
    }
}

/// One sentence that a person can act on.
pub(super) fn message(evidence: &Evidence<'_>, exposure: &Exposure) -> String {
    verdict(evidence, exposure) + &not_exempted(exposure)
}

/// That nothing needs the token, which default permissions were set aside, and what removes it.
fn no_permissions(evidence: &Evidence<'_>, exposure: &Exposure, carry: &str) -> String {
    let need = exposure.permissions.default_of().map_or_else(
        || "no permission needs".to_owned(),
        |who| format!("nothing needs beyond what {who} grants to every ServiceAccount"),
    );
    let removal = remediation::in_short(evidence, &exposure.workloads);
    format!("{carry} a token that {need}: {removal}")
}

/// What the verdict says.
fn verdict(evidence: &Evidence<'_>, exposure: &Exposure) -> String {
    let carry = pods_do(exposure.pods, "carries", "carry");
    let grants = &exposure.permissions;
    match exposure.reason {
        Reason::NoPermissions => no_permissions(evidence, exposure, &carry),
        Reason::AdmissionOnly => format!(
            "{carry} a token that nothing needs: {} is only checked at admission",
            name(grants.first(Effect::AdmissionOnly))
        ),
        Reason::LatentBinding => format!(
            "{carry} a token that no permission needs today, but {} grants permissions once its role has rules",
            name(grants.first(Effect::Latent))
        ),
        Reason::InheritedOnly => format!(
            "{carry} a token whose only permissions are granted to a group, by {}: check whether they are used",
            name(grants.first(Effect::Grants))
        ),
        Reason::ExplicitToken => format!(
            "{} a token that no permission needs: check whether another system accepts it as an identity",
            pods_do(exposure.pods, "projects", "project")
        ),
        Reason::KnownConsumer => known_consumers(exposure, &carry),
        Reason::LegacyToken => format!(
            "{carry} a token from a Secret, which never expires: replace it with a projected token"
        ),
        Reason::GrantedElsewhere => elsewhere(exposure, &carry),
        Reason::DirectGrant => format!(
            "{} the token: permissions are granted by {}",
            pods_do(exposure.pods, "may use", "may use"),
            direct_grant(exposure)
        ),
        Reason::InUse => format!(
            "{}: audit logs show requests that the default permissions of Kubernetes do not allow",
            pods_do(exposure.pods, "uses the token", "use the token")
        ),
        Reason::NeverUsed => never_used(exposure),
        Reason::UsedWithoutPermission => format!(
            "{carry} a token that no permission needs, but audit logs show requests that need one: grant what it asks for, or disable automount"
        ),
        Reason::AutomountDisabled => format!("{carry} no token"),
        Reason::ExternalAudienceOnly => {
            format!("{carry} only tokens that the API server does not accept")
        }
        Reason::ServiceAccountMissing => format!(
            "{carry} a token that the API server rejects (401 Unauthorized): the ServiceAccount does not exist"
        ),
        Reason::NoPods => no_pods(exposure),
        Reason::Exemption => exempted(exposure, &carry),
        Reason::MissingToken | Reason::LeftOut | Reason::Neutered => withheld(exposure, &carry),
        Reason::Forbidden
        | Reason::RbacNotEnforced
        | Reason::UnknownAudience
        | Reason::NamespaceUnknown
        | Reason::SuspectedLegacyToken
        | Reason::LimitExceeded
        | Reason::UnresolvedRole => missing(exposure),
    }
}

/// That tokens were not used, and what may go: other workloads of the account may need its bindings.
fn never_used(exposure: &Exposure) -> String {
    let carrying = exposure.workloads.iter();
    let carrying = carrying.filter(|workload| workload.verdict != Verdict::NoToken);
    let (unused, others): (Vec<_>, Vec<_>) =
        carrying.partition(|workload| workload.reason == Reason::NeverUsed);
    let carry = pods_do(
        unused.iter().map(|workload| workload.pods).sum(),
        "carries",
        "carry",
    );
    let proven = "a token that has permissions and was not used at the API server during the whole evidence window: check whether another system accepts it, then disable automount";
    if others.is_empty() {
        return format!("{carry} {proven} or delete the bindings");
    }
    let shown = unused.iter().take(MOST_NAMED);
    let mut names: Vec<_> = shown
        .map(|workload| workload.workload.to_string())
        .collect();
    let more = unused.len() - names.len();
    names.extend((more > 0).then(|| format!("{more} more")));
    format!(
        "{carry} {proven} for {} alone: other workloads of the account use its bindings, or may use them",
        names.join(", ")
    )
}

/// What a policy of this product did.
fn withheld(exposure: &Exposure, carry: &str) -> String {
    match exposure.reason {
        Reason::LeftOut => format!(
            "{} without a token that nothing needs: a policy left it out; {OFF}",
            pods_do(exposure.pods, "runs", "run")
        ),
        Reason::Neutered => format!(
            "{carry} a token that the API server rejects (401 Unauthorized) and that nothing needs: a policy changed its audience; {OFF}"
        ),
        _ => format!(
            "{} a token that a policy withheld, and the account has a permission or a consumer now: recreate the pods",
            pods_do(exposure.pods, "lacks", "lack")
        ),
    }
}

/// What the verdict would depend on.
fn missing(exposure: &Exposure) -> String {
    let gaps = exposure.gaps.iter();
    let missing = gaps.filter(|gap| gap.reason() == exposure.reason);
    let missing: Vec<_> = missing.map(ToString::to_string).collect();
    missing.join("; ")
}

/// That no pod runs as the account, as far as is known.
fn no_pods(exposure: &Exposure) -> String {
    let is_named = |note: &&AccountNote| matches!(note, AccountNote::NamedBy(_));
    let named = exposure.notes.iter().find(is_named);
    named.map_or_else(
        || "no pod runs as this account".to_owned(),
        |note| format!("no pod that was read runs as this account; {note}"),
    )
}

/// Why grants of other namespaces ask for a look.
fn elsewhere(exposure: &Exposure, carry: &str) -> String {
    let note = exposure.granted_elsewhere().map(ToString::to_string);
    let note = note.unwrap_or_default();
    format!("{carry} a token, and {note}: check whether the workload works there")
}
