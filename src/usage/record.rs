//! What is kept of events: for each token's pod, and for each account, first, last and how often.

mod merge;
mod names;
mod open;
mod owner;
mod recent;
mod seen;
mod servers;
mod used;

use std::collections::{BTreeMap, HashMap};

pub use self::{names::is_default, servers::is_lease_of_server};
use self::{
    names::{KnownAction, Numbers, authorized_path},
    open::Open,
    recent::Recent,
    servers::File,
};
pub(super) use self::{
    owner::{OwnerKind, owner_by_name},
    seen::{Owner, SeenPods},
};

use super::{
    Binding, Caller, Micros, PodName, Request, Stage,
    coverage::{Delivery, Lease, Servers},
    policy::Policy,
};
use crate::model::{
    ObjectKey, ServiceAccountRef,
    usage::{Action, Tally},
};
use crate::token::redact::redacted_part;

/// How many kinds of requests are kept for each pod.
const MAX_ACTIONS: usize = 512;
/// How many callers of TokenReviews are named.
const MAX_REVIEWERS: usize = 64;
/// How long the name of a binding may be, in bytes, that is told apart: RBAC objects have names without a limit.
const MAX_NAME: usize = 253;
/// The verbs by which the absence of others is judged; a request may have any.
const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// Which token of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Bearer {
    /// That of the pod with this uid.
    Pod(u128),
    /// One that is bound to no pod.
    Unbound,
    /// The log does not say.
    Unknown,
}

/// What one token was used for.
#[derive(Clone, Debug, Default)]
pub(super) struct Used {
    /// The pod's name; empty where it is not known.
    pub(super) pod: Box<str>,
    pub(super) last: Micros,
    pub(super) requests: u64,
    /// How many were received: more than those that have ended, where their ends are missing.
    pub(super) received: u64,
    pub(super) last_beyond_defaults: Option<Micros>,
    pub(super) last_denied: Option<Micros>,
    /// By the number of the action.
    pub(super) actions: BTreeMap<u32, Tally>,
    /// Whether it has more actions than are kept.
    pub(super) has_more: bool,
}

/// What is known of one account.
#[derive(Clone, Debug, Default)]
pub(super) struct AccountRecord {
    pub(super) tokens: BTreeMap<Bearer, Used>,
    /// When each binding last allowed a request, by its number.
    pub(super) bindings: BTreeMap<u32, Micros>,
    /// Who had a token of it reviewed.
    pub(super) reviewed_by: Option<Box<str>>,
}

/// What was learnt from audit logs.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub(super) accounts: HashMap<ServiceAccountRef, AccountRecord>,
    actions: Numbers<KnownAction>,
    /// The bindings that grant somebody else than every authenticated user.
    bindings: Numbers<Option<ObjectKey>>,
    pub(super) servers: Servers,
    /// When each user last sent a TokenReview for a token of an unknown account.
    pub(super) reviewers: BTreeMap<Box<str>, Micros>,
    /// The verbs that accounts used, of [`VERBS`].
    pub(super) verbs: BTreeMap<Box<str>, Micros>,
    /// The time of the first event, and of the last one, that names an account.
    pub(super) span: Option<(Micros, Micros)>,
    /// Pods by the namespace, kind and name of their workload.
    pub(super) seen_pods: HashMap<Owner, SeenPods>,
    /// The same of the Jobs and ReplicaSets that the controllers of CronJobs and Deployments made.
    pub(super) made: HashMap<Owner, SeenPods>,
    /// What the API servers record.
    pub(super) policy: Option<Policy>,
    /// Since when they do, if somebody says so.
    pub(super) policy_since: Option<Micros>,
    /// What is older is left out.
    since: Option<Micros>,
    recent: Recent,
    /// Requests that began before that time, and have not ended in the same file.
    open: Open,
    /// What this file says of API servers.
    file: File,
    key: String,
}

impl Record {
    /// One event, in any order.
    pub fn add(&mut self, request: &Request<'_>) {
        if request.caller == Caller::ApiServer {
            self.sign_of_life(request);
        }
        if self.since.is_some_and(|since| request.time < since) {
            if self.open.note(request) {
                // There is no room: it counts as open.
                self.is_open(request);
            }
            return;
        }
        match request.caller {
            Caller::ApiServer => self.server(request),
            Caller::Token {
                namespace,
                name,
                pod,
            } => {
                if namespace == "kube-system" {
                    self.controller(request, name);
                }
                self.token(request, &ServiceAccountRef::new(namespace, name), pod);
            }
            Caller::Kubelet | Caller::Other(_) => {}
        }
        if request.object.resource == "tokenreviews"
            && request.object.group == "authentication.k8s.io"
        {
            self.review(request);
        }
        // Whoever may ask could make a workload look old: only the scheduler's word counts, and only where it was heard.
        let is_scheduled = request.caller == Caller::Other("system:kube-scheduler")
            && request.has_succeeded()
            && !request.impersonates;
        if is_scheduled
            && request.object.resource == "pods"
            && request.object.subresource == "binding"
        {
            self.pod(request.object.namespace, request.object.name, request.time);
        }
    }

    /// An empty record, of which events before this time are left out.
    #[must_use]
    pub fn since(since: Option<Micros>) -> Self {
        Self {
            since,
            ..Self::default()
        }
    }

    /// How events came to us.
    pub fn delivered(&mut self, delivery: Delivery) {
        self.servers.deliveries.insert(delivery);
    }

    /// A line or event that cannot be read: whose it is, is not known.
    pub const fn unreadable(&mut self) {
        self.servers.unreadable += 1;
    }

    /// The Lease of an API server that exists.
    pub fn lease(&mut self, lease: Lease) {
        self.servers.leases.get_or_insert_default().push(lease);
    }

    /// Whether any request of a ServiceAccount, or any sign of life of an API server, was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.span.is_none() && self.servers.beats.is_empty()
    }

    /// Whether it is known which API servers exist.
    #[must_use]
    pub const fn knows_servers(&self) -> bool {
        self.servers.leases.is_some()
    }

    /// What the API servers record, and since when; else since the last start of one in the logs.
    pub fn set_policy(&mut self, policy: Policy, since: Option<Micros>) {
        self.policy = Some(policy);
        self.policy_since = since;
    }

    /// A file ends: repetitions are recognised within one.
    pub fn end_of_file(&mut self) {
        self.recent = Recent::default();
        self.file = File::default();
        for open in std::mem::take(&mut self.open).into_requests() {
            self.is_open(&open.request());
        }
    }

    /// A request that began before the time since which events count, and may go on: it counts as one of that time.
    fn is_open(&mut self, request: &Request<'_>) {
        let time = self.since.unwrap_or(request.time);
        self.add(&Request { time, ..*request });
    }

    pub(super) fn action(&self, number: u32) -> Option<&Action> {
        Some(&self.actions.get(number)?.action)
    }

    /// A binding that allowed a request, other than to every authenticated user.
    pub(super) fn binding(&self, number: u32) -> Option<&ObjectKey> {
        self.bindings.get(number)?.as_ref()
    }

    /// Whether bindings are missing because there were too many.
    pub(super) const fn lacks_bindings(&self) -> bool {
        self.bindings.lacks_some()
    }

    fn review(&mut self, request: &Request<'_>) {
        let reviewer = match request.caller {
            // A kubelet authenticates those who ask it: see the rules of this room.
            Caller::Kubelet | Caller::ApiServer => return,
            Caller::Token {
                namespace, name, ..
            } => ServiceAccountRef::new(namespace, name).username(),
            Caller::Other(name) => name.to_owned(),
        };
        match request.reviewed.map(ServiceAccountRef::from_username) {
            Some(Some(account)) => {
                let known = self.accounts.entry(account).or_default();
                known.reviewed_by = Some(redacted_part(&reviewer).into());
            }
            // Somebody else's, or no valid token.
            Some(None) => {}
            None => {
                let name = if self.reviewers.len() < MAX_REVIEWERS {
                    &*reviewer
                } else {
                    "others"
                };
                note_last(&mut self.reviewers, &redacted_part(name), request.time);
            }
        }
    }

    fn token(&mut self, request: &Request<'_>, account: &ServiceAccountRef, pod: PodName<'_>) {
        if VERBS.contains(&request.verb) {
            note_last(&mut self.verbs, request.verb, request.time);
        }
        let (first, last) = self.span.unwrap_or((request.time, request.time));
        self.span = Some((first.min(request.time), last.max(request.time)));
        // What was only received may have been denied.
        let is_answered = request.stage != Stage::Received;
        let is_new = is_answered && self.recent.is_new(request);
        let number = is_answered.then(|| self.action_number(request));
        let created = request.creates_besides().map(|it| self.action_number(&it));
        let action = number.flatten().and_then(|number| self.actions.get(number));
        let is_default = action.map(|known| known.is_default);
        let binding = self.binding_number(request);
        let is_for_all = binding.is_some_and(|number| self.binding(number).is_none());
        let is_allowed = is_answered && !request.is_denied && request.was_decided();
        // Where it is not known what was done, what every authenticated user may do counts as default.
        let is_default = is_default.unwrap_or(is_for_all);
        let is_beyond = is_allowed && (request.impersonates || !is_default);
        if !self.accounts.contains_key(account) {
            self.accounts
                .insert(account.clone(), AccountRecord::default());
        }
        let Some(known) = self.accounts.get_mut(account) else {
            return;
        };
        if let Some(binding) =
            binding.filter(|_| is_allowed && !request.impersonates && !is_for_all)
        {
            let last = known.bindings.entry(binding).or_insert(request.time);
            *last = (*last).max(request.time);
        }
        let (bearer, name) = match pod {
            PodName::Bound { uid, name } => (Bearer::Pod(uid), name),
            PodName::Unbound => (Bearer::Unbound, ""),
            PodName::Unknown => (Bearer::Unknown, ""),
        };
        let used = known.tokens.entry(bearer).or_insert_with(|| Used {
            pod: redacted_part(name).into(),
            last: request.time,
            ..Used::default()
        });
        used.add(request, is_beyond, is_new);
        for action in [number, created].into_iter().flatten() {
            used.add_action(request.time, action, is_new);
        }
    }

    fn action_number(&mut self, request: &Request<'_>) -> Option<u32> {
        let object = request.object;
        let (verb, resource) = if request.impersonates {
            ("impersonate", "users")
        } else {
            (request.verb, object.resource)
        };
        let denied = if request.is_denied { "denied" } else { "" };
        let url = if resource.is_empty() {
            request.path
        } else {
            ""
        };
        let (group, namespace, subresource) = if request.impersonates {
            ("", "", "")
        } else {
            (object.group, object.namespace, object.subresource)
        };
        let parts = [verb, group, resource, subresource, namespace, url].map(redacted_part);
        let [verb, group, resource, subresource, namespace, url] =
            parts.each_ref().map(|part| &**part);
        let url = &*authorized_path(url);
        self.key.clear();
        for part in [verb, group, resource, subresource, namespace, url, denied] {
            self.key.push_str(part);
            self.key.push('\0');
        }
        self.actions.of(&self.key, || {
            let action = Action {
                verb: verb.into(),
                group: group.into(),
                resource: match subresource {
                    "" => resource.into(),
                    subresource => format!("{resource}/{subresource}").into(),
                },
                namespace: namespace.into(),
                url: url.into(),
                is_denied: request.is_denied,
            };
            KnownAction {
                is_default: is_default(&action),
                action,
            }
        })
    }

    fn binding_number(&mut self, request: &Request<'_>) -> Option<u32> {
        let binding = Binding::of_reason(request.reason)?;
        let is_told_apart = !binding.is_for_all && binding.name.len() <= MAX_NAME;
        self.bindings.of(request.reason, || {
            is_told_apart.then(|| ObjectKey::new(binding.namespace, binding.name))
        })
    }
}

/// Keeps the latest time of a name.
fn note_last(times: &mut BTreeMap<Box<str>, Micros>, name: &str, time: Micros) {
    match times.get_mut(name) {
        Some(last) => *last = (*last).max(time),
        None => drop(times.insert(name.into(), time)),
    }
}
