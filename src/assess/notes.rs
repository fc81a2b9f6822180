//! What else is there to know about an account? No verdict depends on it.

use std::collections::BTreeSet;

use serde_json::json;

use super::Evidence;
use crate::model::{
    Carrier, Exposure, Gap, Level, Permissions, PodKind, Reach, Reason, Scope, TokenSource,
    Verdict, Workload, WorkloadExposure,
    exposure::OwnAccount,
    note::{AccountNote, NeedReason, Sharing},
    patch::{Patch, PatchType},
    rbac::{Effect, Grant},
};

/// The account that pods without another one run as.
const DEFAULT: &str = "default";
/// How many workloads get a manifest of an account of their own.
const MAX_OWN: usize = 5;

/// The notes on an account whose verdict is known.
pub(super) fn notes(evidence: &Evidence<'_>, exposure: &Exposure) -> Vec<AccountNote> {
    let notes = [
        named_by(evidence),
        permissions_without_token(evidence, exposure),
        nearly_named_by(evidence, exposure),
        shared_permissions(exposure),
        unused_default(evidence, exposure),
    ];
    notes.into_iter().flatten().collect()
}

/// Whether all that is granted to the account by name is granted in other namespaces, which are not trusted.
pub(super) fn granted_elsewhere(
    evidence: &Evidence<'_>,
    permissions: &Permissions,
) -> Option<AccountNote> {
    let trusted = &evidence.config.grants_elsewhere.trusted;
    let is_elsewhere = |grant: &Grant| match &grant.scope {
        Scope::Cluster => false,
        Scope::Namespace(namespace) => {
            *namespace != evidence.account.namespace
                && !trusted.iter().any(|pattern| pattern.matches(namespace))
        }
    };
    let grants = permissions.grants.iter();
    let direct = grants.filter(|grant| grant.effect == Effect::Grants && !grant.via.is_group());
    if permissions.level != Level::Direct || !direct.clone().all(is_elsewhere) {
        return None;
    }
    let bindings = direct.map(|grant| (grant.binding.clone(), grant.role_ref.clone()));
    Some(AccountNote::GrantedElsewhereOnly(bindings.collect()))
}

/// Which objects of custom kinds name the account.
fn named_by(evidence: &Evidence<'_>) -> Option<AccountNote> {
    let naming: Vec<_> = evidence
        .naming
        .iter()
        .map(|object| (*object).clone())
        .collect();
    (!naming.is_empty()).then_some(AccountNote::NamedBy(naming))
}

/// What is granted to the account by name and can be used.
fn usable(permissions: &Permissions) -> impl Iterator<Item = &Grant> {
    permissions.grants.iter().filter(|grant| {
        grant.effect == Effect::Grants && grant.caveat.is_none() && !grant.via.is_group()
    })
}

/// The tokens of a workload that the API server accepts, or may accept.
fn api_tokens(workload: &WorkloadExposure) -> impl Iterator<Item = &Carrier> {
    let carriers = workload.carriers.iter();
    carriers.filter(|carrier| {
        carrier.reach != Reach::External && carrier.source != TokenSource::PodCertificate
    })
}

/// Permissions that no pod of the account can use, now or after it is recreated: often somebody disabled automount and
/// did not know of them.
fn permissions_without_token(evidence: &Evidence<'_>, exposure: &Exposure) -> Option<AccountNote> {
    let grants: Vec<_> = usable(&exposure.permissions).cloned().collect();
    let mut tokens = exposure.workloads.iter().flat_map(api_tokens).peekable();
    let on_recreate = tokens.peek().is_some();
    let is_lost = tokens.all(|carrier| carrier.drift.is_some());
    (evidence.all_pods && is_lost && !grants.is_empty() && !exposure.workloads.is_empty())
        .then_some(AccountNote::PermissionsWithoutToken {
            grants,
            on_recreate,
        })
}

/// Bindings that may mean the account, where it has pods and nothing is granted to it by name.
fn nearly_named_by(evidence: &Evidence<'_>, exposure: &Exposure) -> Option<AccountNote> {
    let bindings = &evidence.nearly_naming;
    let is_guess = |gap: &Gap| matches!(gap, Gap::NamespaceUnknown(_) | Gap::RbacNotEnforced);
    let is_wanted = exposure.permissions.level != Level::Direct && !exposure.workloads.is_empty();
    let is_wanted = is_wanted && !bindings.is_empty() && !exposure.gaps.iter().any(is_guess);
    is_wanted.then(|| AccountNote::NearlyNamedBy {
        account: exposure.account.clone(),
        bindings: bindings.clone(),
    })
}

/// The workloads that can use the permissions of the account, where there are several.
fn shared_permissions(exposure: &Exposure) -> Option<AccountNote> {
    let carrying = exposure.workloads.iter();
    let carrying = carrying.filter(|workload| api_tokens(workload).next().is_some());
    let carrying: Vec<&WorkloadExposure> = carrying.collect();
    if carrying.len() < 2 || usable(&exposure.permissions).next().is_none() {
        return None;
    }
    let mut workloads: Vec<_> = carrying
        .iter()
        .map(|found| found.workload.clone())
        .collect();
    workloads.sort_unstable();
    let need = used_by(&carrying).or_else(|| named_alike(exposure, &workloads));
    Some(AccountNote::SharedPermissions(Sharing { workloads, need }))
}

/// The workloads that are seen to use the permissions, where others are not.
fn used_by(carrying: &[&WorkloadExposure]) -> Option<(Vec<Workload>, NeedReason)> {
    let is_used = |workload: &&&WorkloadExposure| {
        let usage = workload.usage.as_ref();
        usage.is_some_and(|usage| usage.last_beyond_defaults.is_some())
    };
    let users = carrying.iter().filter(is_used);
    let mut users: Vec<_> = users.map(|found| found.workload.clone()).collect();
    users.sort_unstable();
    let tells = !users.is_empty() && users.len() < carrying.len();
    tells.then_some((users, NeedReason::Used))
}

/// The one workload whose name all bindings have, or their roles, and the account has not: whoever wrote them named
/// them after it.
fn named_alike(exposure: &Exposure, workloads: &[Workload]) -> Option<(Vec<Workload>, NeedReason)> {
    let alike = |workload: &&Workload| {
        let name = &*workload.name;
        let mut grants = usable(&exposure.permissions);
        name != &*exposure.account.name
            && grants.all(|grant| *grant.binding.name == *name || *grant.role_ref.name == *name)
    };
    let mut found = workloads.iter().filter(alike);
    let (workload, None) = (found.next()?, found.next()) else {
        return None;
    };
    let grant = usable(&exposure.permissions).next()?.clone();
    Some((vec![workload.clone()], NeedReason::SameName(grant)))
}

/// Accounts without a token for workloads that share this one, where it is known that others need its permissions. Left
/// out are those whose token may be an identity elsewhere, and those that only an operator changes.
pub(super) fn own_accounts(
    evidence: &Evidence<'_>,
    exposure: &Exposure,
    is_account: &dyn Fn(&str) -> bool,
) -> Vec<OwnAccount> {
    let sharing = exposure.notes.iter().find_map(|note| {
        let AccountNote::SharedPermissions(sharing) = note else {
            return None;
        };
        Some(sharing)
    });
    let others: BTreeSet<&Workload> = sharing.into_iter().flat_map(Sharing::others).collect();
    let is_plain = |found: &&WorkloadExposure| {
        let mut carriers = found.carriers.iter();
        let mut pods = evidence.pods.iter().map(|(pod, _)| pod);
        others.contains(&found.workload)
            && found.consumers.is_empty()
            && found.verdict != Verdict::Exempted
            && carriers.all(|carrier| carrier.source == TokenSource::Automount)
            && !pods.any(|pod| pod.workload == found.workload && pod.rare.template.is_some())
    };
    let own = |found: &WorkloadExposure| {
        let workload = &found.workload;
        let kind = PodKind::named(&workload.kind)?;
        let name = &*workload.name;
        let manifest = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "automountServiceAccountToken": false,
            "metadata": { "name": name, "namespace": &*evidence.account.namespace },
        });
        let patch = Patch {
            target: workload.clone(),
            api_version: kind.api_version.into(),
            type_: PatchType::Merge,
            patch: kind
                .object_with(json!({ "serviceAccountName": name }))
                .into(),
        };
        (!is_account(name)).then_some(OwnAccount { manifest, patch })
    };
    let plain = exposure.workloads.iter().filter(is_plain);
    plain.filter_map(own).take(MAX_OWN).collect()
}

/// A `default` account that mounts a token although no pod uses it and nothing is granted to it.
fn unused_default(evidence: &Evidence<'_>, exposure: &Exposure) -> Option<AccountNote> {
    let automounts = evidence
        .service_account
        .is_some_and(|account| account.automount != Some(false));
    let is_unused = exposure.reason == Reason::NoPods && evidence.naming.is_empty();
    let is_unused = is_unused && evidence.all_pods;
    let is_default = *exposure.account.name == *DEFAULT;
    let is_found =
        is_default && automounts && is_unused && exposure.permissions.level == Level::None;
    is_found.then_some(AccountNote::UnusedDefault)
}
