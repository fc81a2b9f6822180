//! Why is this account flagged? The decision table: what its pods carry, times what RBAC grants it.

mod configs;
mod exemption;
mod message;
mod notes;
mod proposal;
mod remediation;
mod usage;
mod workloads;

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use crate::{
    model::{
        ApiAudiences, Carrier, Config, CsiDriverFacts, Explanation, Exposure, Gap, InputKind,
        KnownRoles, Level, Permissions, PodFacts, Reach, Reason, ServiceAccountFacts,
        ServiceAccountRef, TokenSource, Verdict, Workload, WorkloadExposure,
        note::NearName,
        pod::{ConfigFacts, ConfigReference},
        rbac::Effect,
    },
    rbac::{self, BoundRole},
    token::{Bearer, legacy::Holding},
    usage::AccountUsage,
};

/// Everything that the answer for one account is computed from.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// The account.
    pub account: &'a ServiceAccountRef,
    /// The account's object; `None` when it was not seen.
    pub service_account: Option<&'a ServiceAccountFacts>,
    /// Whether it is certain that the account does not exist.
    pub is_missing: bool,
    /// The shapes of its pods and templates, and of those that refer to its legacy tokens, with the
    /// number of each.
    pub pods: Vec<(&'a PodFacts, u32)>,
    /// The Secrets that these pods expose and that hold, or may hold, a token of the account.
    pub secrets: BTreeMap<&'a str, Holding>,
    /// The CSI drivers of these pods that are known.
    pub drivers: BTreeMap<&'a str, &'a CsiDriverFacts>,
    /// The ConfigMaps and Secrets of these pods that were read.
    pub configs: BTreeMap<&'a ConfigReference, &'a ConfigFacts>,
    /// The systems whose clients are added to the pods of its namespace.
    pub namespace_consumers: &'a [Box<str>],
    /// The bindings that may reach it, including those of `system:authenticated`.
    pub bindings: Vec<BoundRole<'a>>,
    /// The objects of custom kinds that name the account, of which it is not known which pods they stand for; in order.
    pub naming: Vec<&'a Workload>,
    /// The bindings that may mean the account, although they name none that exists; in order.
    pub nearly_naming: Vec<NearName>,
    /// Whether all roles are known.
    pub roles: KnownRoles,
    /// Whether all pods are read, not only some that the user selects.
    pub all_pods: bool,
    /// What could not be read.
    pub gaps: BTreeSet<Gap>,
    /// What the API server accepts.
    pub audiences: &'a ApiAudiences,
    /// What the user's configuration adds to the facts.
    pub config: &'a Config,
    /// Today, in UTC; `None` when it is not known.
    pub today: Option<Date>,
    /// What audit logs say; `None` where none were given.
    pub usage: Option<AccountUsage>,
    /// The last day on which a token in a Secret was used, in UTC, as a label of the Secret says.
    pub secret_used: Option<Date>,
}

/// What kind of token a workload carries: the rows of the decision table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Token {
    Absent,
    External,
    UnknownAudience,
    Explicit,
    Automounted,
    SuspectedLegacy,
    Legacy,
}

/// What RBAC grants the account: the columns of the decision table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Direct,
    Elsewhere,
    Unknown(Reason),
    Inherited,
    AdmissionOnly,
    Latent,
    None,
}

/// The answer for one account.
#[must_use]
pub fn assess(evidence: &Evidence<'_>) -> Exposure {
    let mut permissions = rbac::permissions(
        evidence.account,
        &evidence.bindings,
        evidence.roles,
        &evidence.config.default_permissions,
    );
    usage::note_last_use(evidence, &mut permissions);
    let mut gaps = gaps(evidence, &permissions);
    let elsewhere_only = notes::granted_elsewhere(evidence, &permissions);
    let elsewhere = evidence.config.grants_elsewhere.is_reviewed && elsewhere_only.is_some();
    let need = need(&permissions, &gaps, elsewhere);
    let workloads = workloads::workloads(evidence, need);
    gaps.extend(carrier_gaps(&workloads));
    let exceeded = evidence
        .pods
        .iter()
        .filter_map(|(pod, _)| exceeded(evidence, pod));
    gaps.extend(exceeded.map(Gap::LimitExceeded));
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
        consumers: consumers(&workloads),
        exemption: exemption::shown(&workloads, verdict),
        remediation: remediation::remediation(verdict, reason, evidence, &workloads),
        workloads,
        permissions,
        notes: elsewhere_only.into_iter().collect(),
        gaps,
        usage: usage::of_account(evidence),
    };
    let further = notes::notes(evidence, &exposure);
    exposure.notes.extend(further);
    exposure.message = message::message(evidence, &exposure);
    exposure
}

/// The answer for one account, with everything that led to it; `is_account` says whether its namespace has an account
/// of a name.
#[must_use]
pub fn explain(evidence: &Evidence<'_>, is_account: &dyn Fn(&str) -> bool) -> Explanation {
    let own = evidence
        .pods
        .iter()
        .filter(|(pod, _)| pod.service_account.as_ref() == Some(&evidence.account.name));
    let mut pods: Vec<_> = own
        .map(|(pod, _)| (pod.workload.clone(), pod.automount))
        .collect();
    pods.sort_unstable();
    pods.dedup();
    let grants = proposal::grants(evidence);
    let exposure = assess(evidence);
    Explanation {
        own_accounts: notes::own_accounts(evidence, &exposure, is_account),
        exposure,
        automount: evidence.service_account.map(|facts| facts.automount),
        pods,
        usage: proposal::detail(evidence, &grants),
        grants,
    }
}

/// Who may accept a token of the account as an identity: systems that the pods refer to, and those that
/// the audiences of its tokens belong to.
fn consumers(workloads: &[WorkloadExposure]) -> BTreeSet<Box<str>> {
    let carrying = workloads
        .iter()
        .filter(|workload| workload.verdict != Verdict::NoToken);
    let recognised = carrying.flat_map(|workload| workload.consumers.clone());
    let carriers = workloads.iter().flat_map(|workload| &workload.carriers);
    let verifiers = carriers.filter_map(|carrier| carrier.verifier);
    recognised.chain(verifiers.map(Box::from)).collect()
}

/// The decision table; `known_consumer` where the pod refers to a system that may accept its token
/// as an identity.
fn decide(token: Token, need: Need, known_consumer: bool) -> (Verdict, Reason) {
    match (token, need) {
        (Token::Absent, _) => (Verdict::NoToken, Reason::AutomountDisabled),
        (Token::External, _) => (Verdict::NoToken, Reason::ExternalAudienceOnly),
        (Token::UnknownAudience, _) => (Verdict::Unknown, Reason::UnknownAudience),
        (Token::SuspectedLegacy, _) => (Verdict::Unknown, Reason::SuspectedLegacyToken),
        (Token::Legacy, _) => (Verdict::Review, Reason::LegacyToken),
        (_, Need::Direct) => (Verdict::Needed, Reason::DirectGrant),
        (_, Need::Unknown(reason)) => (Verdict::Unknown, reason),
        (_, Need::Elsewhere) => (Verdict::Review, Reason::GrantedElsewhere),
        (_, Need::Inherited) => (Verdict::Review, Reason::InheritedOnly),
        (_, Need::AdmissionOnly | Need::Latent | Need::None) if known_consumer => {
            (Verdict::Review, Reason::KnownConsumer)
        }
        (Token::Explicit, Need::AdmissionOnly | Need::Latent | Need::None) => {
            (Verdict::Review, Reason::ExplicitToken)
        }
        (Token::Automounted, Need::AdmissionOnly) => (Verdict::Unneeded, Reason::AdmissionOnly),
        (Token::Automounted, Need::Latent) => (Verdict::Review, Reason::LatentBinding),
        (Token::Automounted, Need::None) => (Verdict::Unneeded, Reason::NoPermissions),
    }
}

/// Grants only add permissions: a direct one decides, whatever else could not be read.
fn need(permissions: &Permissions, gaps: &BTreeSet<Gap>, elsewhere: bool) -> Need {
    let deciding = |gap: &&Gap| match gap {
        Gap::Forbidden(kind) => kind.decides_need(),
        Gap::RbacNotEnforced | Gap::NamespaceUnknown(_) | Gap::UnresolvedRole(_) => true,
        Gap::UnknownAudience(_) | Gap::SuspectedSecret(_) | Gap::LimitExceeded(_) => false,
    };
    let has = |effect| permissions.first(effect).is_some();
    if gaps.contains(&Gap::RbacNotEnforced) {
        return Need::Unknown(Reason::RbacNotEnforced);
    }
    match (permissions.level, gaps.iter().find(deciding)) {
        (Level::Direct, _) if !elsewhere => Need::Direct,
        (_, Some(gap)) => Need::Unknown(gap.reason()),
        (Level::Direct, None) => Need::Elsewhere,
        (Level::Inherited, None) => Need::Inherited,
        (Level::None, None) if has(Effect::AdmissionOnly) => Need::AdmissionOnly,
        (Level::None, None) if has(Effect::Latent) => Need::Latent,
        (Level::None, None) => Need::None,
    }
}

/// What could not be read, and roles that are not in the input.
fn gaps(evidence: &Evidence<'_>, permissions: &Permissions) -> BTreeSet<Gap> {
    let grants = permissions.grants.iter();
    let unresolved = grants.filter(|grant| grant.effect == Effect::Unresolved);
    let unresolved = unresolved.map(|grant| Gap::UnresolvedRole(grant.role_ref.clone()));
    evidence.gaps.iter().cloned().chain(unresolved).collect()
}

/// The field that is too large, where more has to be known of a pod than is kept.
fn exceeded(evidence: &Evidence<'_>, pod: &PodFacts) -> Option<&'static str> {
    const SECRETS: &str = "secrets";
    let account = evidence.service_account;
    let is_cut = account.is_some_and(|account| account.has_more_secrets);
    let secrets = (is_cut && pod.token_secrets().next().is_some()).then_some(SECRETS);
    pod.rare.exceeded.or(secrets)
}

/// Unknown audiences, and Secrets that are not read.
fn carrier_gaps(workloads: &[WorkloadExposure]) -> impl Iterator<Item = Gap> {
    let carriers = workloads.iter().flat_map(|workload| &workload.carriers);
    let unknown = carriers.filter(|carrier| {
        carrier.reach == Reach::Unknown && !carrier.source.is_outside_of_the_pod()
    });
    unknown.map(|carrier| match carrier.source {
        TokenSource::LegacySecret => Gap::SuspectedSecret(carrier.provider.clone()),
        TokenSource::Automount
        | TokenSource::Explicit
        | TokenSource::CsiDriver
        | TokenSource::PodCertificate => Gap::UnknownAudience(carrier.audience.clone()),
    })
}

impl<'a> Evidence<'a> {
    fn bearer(&'a self) -> Bearer<'a> {
        Bearer {
            name: &self.account.name,
            is_known: self.service_account.is_some(),
            automount: self.service_account.and_then(|facts| facts.automount),
            secrets: &self.secrets,
            drivers: &self.drivers,
            audiences: self.audiences,
        }
    }
}

/// The verdict on what a workload carries: the strongest of its own tokens decides, and each legacy
/// one is a separate finding. What only others receive does not count: the pod cannot lose it.
fn judge(carriers: &[Carrier], need: Need, known_consumer: bool) -> (Verdict, Reason) {
    let token = |carrier: &Carrier| match (carrier.source, carrier.reach) {
        (TokenSource::CsiDriver | TokenSource::PodCertificate, _) => Token::Absent,
        (TokenSource::LegacySecret, Reach::Api) => Token::Legacy,
        (TokenSource::LegacySecret, Reach::External | Reach::Unknown) => Token::SuspectedLegacy,
        (_, Reach::External) => Token::External,
        (_, Reach::Unknown) => Token::UnknownAudience,
        (TokenSource::Explicit, Reach::Api) => Token::Explicit,
        (TokenSource::Automount, Reach::Api) => Token::Automounted,
    };
    let is_legacy = |token: &Token| matches!(token, Token::Legacy | Token::SuspectedLegacy);
    let (legacy, own): (Vec<_>, Vec<_>) = carriers.iter().map(token).partition(is_legacy);
    let decide = |token| decide(token, need, known_consumer);
    let strongest = own.into_iter().max().unwrap_or(Token::Absent);
    legacy
        .into_iter()
        .map(decide)
        .fold(decide(strongest), Ord::min)
}

/// The worst verdict of the workloads; without workloads there is nothing to remove, unless pods could
/// not be read.
fn worst(workloads: &[WorkloadExposure], gaps: &BTreeSet<Gap>) -> (Verdict, Reason) {
    match workloads.first() {
        Some(workload) => (workload.verdict, workload.reason),
        None if lists_are_forbidden(gaps) => (Verdict::Unknown, Reason::Forbidden),
        None => (Verdict::NoToken, Reason::NoPods),
    }
}

/// Whether the pods or accounts themselves could not be read: then nothing is certain.
fn lists_are_forbidden(gaps: &BTreeSet<Gap>) -> bool {
    [InputKind::Pod, InputKind::ServiceAccount]
        .map(Gap::Forbidden)
        .iter()
        .any(|gap| gaps.contains(gap))
}
