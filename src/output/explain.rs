//! The whole chain behind one verdict, as a person would draw it: which containers carry which token
//! and why, which bindings reach the account and what of them everybody has anyway, and what to do.

use std::{collections::BTreeSet, io};

use super::{patch::command, table::visible};
use crate::model::{
    Carrier, Exposure, Level, Reach, TokenSource, WorkloadExposure,
    exposure::Explanation,
    rbac::{Caveat, Effect, ExplainedGrant, RuleUse},
};

/// Writes the explanation of one account.
///
/// # Errors
/// When the output cannot be written.
pub fn write(out: &mut impl io::Write, explanation: &Explanation) -> io::Result<()> {
    let exposure = &explanation.exposure;
    let head = [
        format!(
            "ServiceAccount {}: {} ({})",
            exposure.account, exposure.verdict, exposure.reason
        ),
        format!("  {}", exposure.message),
        String::new(),
    ];
    for line in head
        .iter()
        .map(|line| visible(line))
        .chain(chain(explanation))
    {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The chain itself, line by line: headings, and below them what is indented. The patches come last, each
/// in one line.
pub(super) fn chain(explanation: &Explanation) -> Vec<String> {
    let mut lines = tokens(explanation);
    lines.push(String::new());
    lines.extend(permissions(explanation));
    lines.extend(todo(&explanation.exposure));
    lines.iter().map(|line| visible(line)).collect()
}

fn tokens(explanation: &Explanation) -> Vec<String> {
    let mut lines = vec!["TOKENS".to_owned()];
    for workload in &explanation.exposure.workloads {
        let pods = match workload.pods {
            1 => "1 pod".to_owned(),
            count => format!("{count} pods"),
        };
        lines.push(format!(
            "  {}, {pods}: {} ({})",
            workload.workload, workload.verdict, workload.reason
        ));
        lines.extend(workload.carriers.iter().flat_map(carrier));
        lines.extend(automount(explanation, workload));
        let consumers = workload.consumers.iter();
        lines.extend(consumers.map(|name| format!("    may be used as an identity by {name}")));
        lines.extend(
            workload
                .notes
                .iter()
                .map(|note| format!("    note: {note}")),
        );
    }
    if lines.len() == 1 {
        lines.push("  no pod runs as this account".to_owned());
    }
    lines
}

fn carrier(carrier: &Carrier) -> Vec<String> {
    let provider = &carrier.provider;
    let what = match carrier.source {
        TokenSource::Automount => "token that admission mounts".to_owned(),
        TokenSource::Explicit => "token that the pod spec projects".to_owned(),
        TokenSource::LegacySecret => format!("token of Secret {provider}"),
        TokenSource::CsiDriver => format!("token that the kubelet hands to CSI driver {provider}"),
        TokenSource::PodCertificate => format!("certificate of signer {provider}"),
    };
    let reach = match (carrier.reach, &*carrier.audience) {
        (Reach::Api, _) => "for this API server".to_owned(),
        (Reach::External, "") => "not for this API server".to_owned(),
        (Reach::External, audience) => match carrier.verifier {
            Some(verifier) => format!("for {verifier} ({audience})"),
            None => format!("for {audience}, not for this API server"),
        },
        (Reach::Unknown, "") => "if it is one".to_owned(),
        (Reach::Unknown, audience) => format!("for {audience}, which may be this API server"),
    };
    let life = carrier.expiration_seconds.map_or_else(
        || "never expires".to_owned(),
        |seconds| format!("{seconds} s"),
    );
    let place = match &*carrier.mount_path {
        "" if carrier.source == TokenSource::LegacySecret => " in the environment".to_owned(),
        "" => String::new(),
        path => format!(" at {path}"),
    };
    let mut lines = vec![format!("    {what}{place}, {reach}, {life}")];
    if !carrier.containers.is_empty() {
        lines.push(format!("      seen by {}", carrier.containers.join(", ")));
    }
    if carrier.drift.is_some() {
        lines.push("      switched off by now: it goes when the pod is made anew".to_owned());
    }
    lines
}

/// Who decides about the mount.
fn automount(explanation: &Explanation, workload: &WorkloadExposure) -> Vec<String> {
    let account = match explanation.automount {
        None => "is not known, so it is mounted",
        Some(None) => "says nothing, so it is mounted",
        Some(Some(true)) => "says true",
        Some(Some(false)) => "says false",
    };
    let of_pods = explanation.pods.iter();
    let of_pods = of_pods.filter(|(name, _)| *name == workload.workload);
    let sentences: BTreeSet<_> = of_pods
        .map(|(_, automount)| match automount {
            Some(value) => format!("the pod says {value}"),
            None => format!("the pod says nothing, the ServiceAccount {account}"),
        })
        .collect();
    let line = |sentence| format!("    automountServiceAccountToken: {sentence}");
    sentences.into_iter().map(line).collect()
}

/// What the account may do, binding by binding and rule by rule.
pub(super) fn permissions(explanation: &Explanation) -> Vec<String> {
    let permissions = &explanation.exposure.permissions;
    let level = match permissions.level {
        Level::None => "none beyond what every identity has",
        Level::Inherited => "only through groups of ServiceAccounts",
        Level::Direct => "granted to the account itself",
    };
    let mut lines = vec![format!("PERMISSIONS: {level}")];
    lines.extend(explanation.grants.iter().flat_map(grant));
    for widened in &permissions.widened_defaults {
        lines.push(format!(
            "  note: {} {} gives {} to every identity, which is more than Kubernetes itself does",
            widened.binding_kind(),
            widened.binding,
            widened.role_ref
        ));
    }
    lines
}

fn grant(explained: &ExplainedGrant) -> Vec<String> {
    let grant = &explained.grant;
    let effect = match grant.effect {
        Effect::Grants => "grants",
        Effect::AdmissionOnly => "is only checked at admission",
        Effect::Latent => "grants nothing today: the role is missing or empty",
        Effect::Unresolved => "the role is not in the input",
        Effect::Covered => "grants what everybody has",
    };
    let head = format!(
        "  {} {} -> {}: {effect}",
        grant.binding_kind(),
        grant.binding,
        grant.role_ref
    );
    // Every cluster has two such bindings.
    if grant.effect == Effect::Covered && grant.via.is_group() {
        return vec![head];
    }
    let via = format!("    reaches it through {}", grant.via);
    let rules = explained.rules.iter().map(rule);
    [head, via].into_iter().chain(rules).collect()
}

fn rule(used: &RuleUse) -> String {
    let remark = match (used.effect, used.caveat) {
        (Effect::Covered, _) => "  (everybody may, or it does nothing here)",
        (Effect::AdmissionOnly, _) => "  (needs no token)",
        (_, Some(Caveat::Unreachable)) => "  (no request can match it)",
        (_, Some(Caveat::ThirdParty)) => "  (others than the API server ask for it)",
        _ => "",
    };
    format!("      {}{remark}", used.rule)
}

fn todo(exposure: &Exposure) -> Vec<String> {
    let Some(remediation) = &exposure.remediation else {
        return Vec::new();
    };
    let summary = format!("  {}", remediation.summary);
    let head = [String::new(), "WHAT TO DO".to_owned(), summary];
    let patches = remediation.patches.iter();
    let patches =
        patches.map(|patch| format!("    {}", command(&exposure.account.namespace, patch)));
    head.into_iter().chain(patches).collect()
}
