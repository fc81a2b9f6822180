//! The chain behind one verdict: which containers carry which token and why, which bindings reach the
//! account and what they grant beyond the default permissions, and what to do.

use std::{collections::BTreeSet, io};

use super::{patch::command, table::visible, usage};
use crate::model::{
    Carrier, Exposure, Level, Reach, Reason, TokenSource, WorkloadExposure,
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

/// The lines of the chain: headings, and indented lines below them. The patches come last, one a line.
pub(super) fn chain(explanation: &Explanation) -> Vec<String> {
    let mut lines = tokens(explanation);
    lines.push(String::new());
    lines.extend(permissions(explanation));
    lines.extend(usage::lines(explanation));
    lines.extend(own_accounts(explanation));
    lines.extend(remediation(&explanation.exposure));
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
        if let Some(day) = workload.left_out_since {
            lines.push(format!("    token withheld since {day} (UTC)"));
        }
        lines.extend(automount(explanation, workload));
        let consumers = workload.consumers.iter();
        lines.extend(consumers.map(|name| format!("    may be accepted as an identity by {name}")));
        lines.extend(
            workload
                .notes
                .iter()
                .map(|note| format!("    note: {note}")),
        );
    }
    if lines.len() == 1 {
        lines.push("  no pod uses this ServiceAccount".to_owned());
    }
    lines
}

fn carrier(carrier: &Carrier) -> Vec<String> {
    let provider = &carrier.provider;
    let source = match carrier.source {
        TokenSource::Automount => "auto-mounted token".to_owned(),
        TokenSource::Explicit => "projected token".to_owned(),
        TokenSource::LegacySecret if carrier.reach == Reach::Unknown => {
            format!("possible legacy token from Secret {provider}")
        }
        TokenSource::LegacySecret => format!("legacy token from Secret {provider}"),
        TokenSource::CsiDriver => format!("token that the kubelet passes to CSI driver {provider}"),
        TokenSource::PodCertificate => format!("certificate from signer {provider}"),
    };
    let audience = match (carrier.reach, &*carrier.audience) {
        (Reach::Api, _) => "audience: this API server".to_owned(),
        (Reach::External, "") => "audience: not this API server".to_owned(),
        (Reach::External, audience) => match carrier.verifier {
            Some(verifier) => format!("audience: {verifier} ({audience})"),
            None => format!("audience: {audience}, not this API server"),
        },
        (Reach::Unknown, "") => "not confirmed".to_owned(),
        (Reach::Unknown, audience) => format!("audience: {audience}, which may be this API server"),
    };
    let lifetime = carrier.expiration_seconds.map_or_else(
        || "never expires".to_owned(),
        |seconds| format!("lifetime {seconds} s"),
    );
    let place = match &*carrier.mount_path {
        "" if carrier.source == TokenSource::LegacySecret => {
            " in an environment variable".to_owned()
        }
        "" => String::new(),
        path => format!(" at {path}"),
    };
    let mut lines = vec![format!("    {source}{place}, {audience}, {lifetime}")];
    if !carrier.containers.is_empty() {
        lines.push(format!(
            "      containers: {}",
            carrier.containers.join(", ")
        ));
    }
    if carrier.drift.is_some() {
        lines.push(
            "      automount is already disabled; this pod keeps its token until it is recreated"
                .to_owned(),
        );
    }
    lines
}

/// Which `automountServiceAccountToken` decides whether the token is mounted.
fn automount(explanation: &Explanation, workload: &WorkloadExposure) -> Vec<String> {
    let account = match explanation.automount {
        None => "not set in the pod; the ServiceAccount is not known, so true is assumed",
        Some(None) => "not set in the pod or in the ServiceAccount; the default is true",
        Some(Some(true)) => "not set in the pod; true in the ServiceAccount",
        Some(Some(false)) => "not set in the pod; false in the ServiceAccount",
    };
    let is_mounted = workload
        .carriers
        .iter()
        .any(|carrier| carrier.source == TokenSource::Automount);
    let left_out = if workload.reason == Reason::AutomountDisabled && !is_mounted {
        "; but no auto-mounted token: another volume is mounted there, or a policy or webhook took the token out of the pod"
    } else {
        ""
    };
    let of_pods = explanation.pods.iter();
    let of_pods = of_pods.filter(|(name, _)| *name == workload.workload);
    let sentences: BTreeSet<_> = of_pods
        .map(|(_, automount)| match automount {
            Some(true) => format!("true in the pod{left_out}"),
            Some(false) => "false in the pod".to_owned(),
            None if explanation.automount == Some(Some(false)) => account.to_owned(),
            None => format!("{account}{left_out}"),
        })
        .collect();
    let line = |sentence| format!("    automountServiceAccountToken: {sentence}");
    sentences.into_iter().map(line).collect()
}

/// What the account is granted, by binding and rule.
pub(super) fn permissions(explanation: &Explanation) -> Vec<String> {
    let permissions = &explanation.exposure.permissions;
    let is_unresolved = permissions.first(Effect::Unresolved).is_some();
    let level = match permissions.level {
        Level::None if is_unresolved => "not known: a role is not in the input",
        Level::None => "none beyond the default permissions of every authenticated user",
        Level::Inherited => "only through groups of ServiceAccounts",
        Level::Direct => "granted to the ServiceAccount by name",
    };
    let mut lines = vec![format!("PERMISSIONS: {level}")];
    lines.extend(explanation.grants.iter().flat_map(grant));
    let notes = explanation.exposure.notes.iter();
    lines.extend(notes.map(|note| format!("  note: {note}")));
    for widened in &permissions.widened_defaults {
        lines.push(format!(
            "  note: {} {} grants {} to every authenticated user: more than the default permissions of Kubernetes",
            widened.binding_kind(),
            widened.binding,
            widened.role_ref
        ));
    }
    lines
}

fn grant(explained: &ExplainedGrant) -> Vec<String> {
    let grant = &explained.grant;
    // A request for a URL has no namespace.
    let has_no_effect =
        |used: &RuleUse| !grant.binding.is_cluster() && used.rule.resources.is_empty();
    let effect = match grant.effect {
        Effect::Grants => "grants",
        Effect::AdmissionOnly => "checked only at admission, without the token",
        Effect::Latent => "grants nothing today: the role is missing or empty",
        Effect::Unresolved => "the role is not in the input",
        Effect::Covered
            if !explained.rules.is_empty() && explained.rules.iter().all(has_no_effect) =>
        {
            "grants nothing: rules for URLs have an effect only in a ClusterRoleBinding"
        }
        Effect::Covered => match &grant.default_of {
            Some(who) => &format!("default permission: {who} grants it to every ServiceAccount"),
            None => "grants nothing beyond what every authenticated user has",
        },
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
    let via = format!("    through {}", grant.via);
    let rules = explained
        .rules
        .iter()
        .map(|used| rule(used, has_no_effect(used)));
    [head, via].into_iter().chain(rules).collect()
}

fn rule(used: &RuleUse, has_no_effect: bool) -> String {
    let remark = match (used.effect, used.caveat) {
        _ if has_no_effect => "  (no effect: a request for a URL has no namespace)",
        (Effect::Covered, _) => {
            "  (covered by the default permissions of every authenticated user)"
        }
        (Effect::AdmissionOnly, _) => "  (needs no token)",
        (_, Some(Caveat::Unreachable)) => "  (no request can match this rule)",
        (_, Some(Caveat::ThirdParty)) => "  (checked by other components than the API server)",
        _ => "",
    };
    format!("      {}{remark}", used.rule)
}

/// The manifests that give workloads an account of their own.
fn own_accounts(explanation: &Explanation) -> Vec<String> {
    if explanation.own_accounts.is_empty() {
        return Vec::new();
    }
    let account = &explanation.exposure.account;
    let own = explanation.own_accounts.iter().flat_map(|own| {
        [
            format!("  {} as a ServiceAccount of its own, without a token; add the imagePullSecrets of {account}, if it has any:", own.patch.target),
            format!("    {}", own.manifest),
            format!("    {}", command(&account.namespace, &own.patch)),
        ]
    });
    let head = [String::new(), "OWN SERVICEACCOUNTS".to_owned()];
    head.into_iter().chain(own).collect()
}

fn remediation(exposure: &Exposure) -> Vec<String> {
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
