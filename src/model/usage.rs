//! What audit logs say about the use of tokens, and how complete they are.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Workload, identity::ObjectKey, rbac::Rule};

/// How complete audit logs are over a window.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Grade {
    /// Every request of the account would have been recorded.
    Complete,
    /// Some requests may not have been recorded.
    Partial,
    /// Nothing shows that requests were recorded.
    Unproven,
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "Complete",
            Self::Partial => "Partial",
            Self::Unproven => "Unproven",
        })
    }
}

/// How far the clocks of two API servers may differ, in seconds.
pub const MAX_SKEW: i64 = 300;

/// The time that audit logs cover.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// Its begin: of the logs, of the audit policy that is known, or of the workload's first pod.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// How complete the logs are.
    pub grade: Grade,
    /// What is missing.
    pub holes: Vec<Hole>,
}

impl Window {
    /// The window for a workload that exists since this time: what is missing before does not matter.
    #[must_use]
    pub fn since(mut self, time: Timestamp) -> Self {
        self.from = self.from.max(time).min(self.to);
        // The clock of the API server that wrote the time may be ahead of that of the silent one.
        self.holes.retain(|hole| match hole {
            Hole::Silence { to, .. } => to.as_second() + MAX_SKEW > time.as_second(),
            _ => true,
        });
        self.grade = match self.grade {
            Grade::Unproven => Grade::Unproven,
            Grade::Complete | Grade::Partial if self.holes.is_empty() && self.from < self.to => {
                Grade::Complete
            }
            Grade::Complete | Grade::Partial => Grade::Partial,
        };
        self
    }
}

/// Something that audit logs lack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hole {
    /// No sign of life of an API server for more than 25 seconds.
    Silence {
        /// The API server, by the name of its Lease.
        server: Box<str>,
        /// Its last sign of life before, or when its log should begin.
        from: Timestamp,
        /// Its next one, or when its log should end.
        to: Timestamp,
    },
    /// An API server exists, and no log has a sign of its life.
    NoLog(Box<str>),
    /// No log has the heartbeats of an API server.
    NoHeartbeats,
    /// Which API servers exist is not known.
    UnknownServers,
    /// Events were delivered in a way that may lose some.
    Lossy(&'static str),
    /// There are no audit logs: only a label of a Secret says when its token was last used.
    LabelOnly,
    /// What the audit policy records is not known.
    NoPolicy,
    /// The audit policy does not record some requests of the account.
    Dropped(Box<str>),
    /// A verb that the account is granted, and that no ServiceAccount is ever seen to use.
    NeverSeen(Box<str>),
    /// Events, lines or files that cannot be read.
    Unreadable(u64),
    /// A watch that began before the logs may still be open: it leaves an event only when it begins and when it ends.
    OpenRequests,
    /// Batches of events that were refused: too large, malformed, or too many at a time.
    Refused(u64),
    /// Requests of ours that did not come back as events.
    Unreported(u64),
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence { server, from, to } => {
                let (from, to) = (seconds(*from), seconds(*to));
                write!(f, "no event of API server {server} from {from} to {to}")
            }
            Self::NoLog(server) => write!(f, "the log of API server {server} is missing"),
            Self::NoHeartbeats => f.write_str(
                "no heartbeats of API servers: the audit policy must record updates of leases in kube-system",
            ),
            Self::UnknownServers => f.write_str(
                "which API servers exist is not known: add the output of `kubectl get leases -n kube-system -o json` to --audit-log, or scan the cluster",
            ),
            Self::Lossy(how) => write!(f, "{how} may lose events"),
            Self::LabelOnly => f.write_str(
                "no audit logs: only the label kubernetes.io/legacy-token-last-used of a Secret says when its token was last used",
            ),
            Self::NoPolicy => f.write_str(
                "what the audit policy records is not known: add it with --audit-policy",
            ),
            Self::Dropped(rule) => write!(f, "the audit policy does not record all requests: {rule}"),
            Self::NeverSeen(verb) => write!(
                f,
                "no ServiceAccount is seen to use the verb `{verb}`, which is granted here: it may not be recorded"
            ),
            Self::Unreadable(events) => write!(
                f,
                "{events} events, lines or files cannot be read: they may have requests of any account"
            ),
            Self::OpenRequests => f.write_str(
                "the audit logs cover less than an hour, and not the start of each API server: a watch that began before them may still be open",
            ),
            Self::Unreported(requests) => write!(
                f,
                "{requests} requests of the controller did not come back as audit events: others may be missing too"
            ),
            Self::Refused(batches) => write!(
                f,
                "{batches} batches of events were refused: they may have had requests of any account"
            ),
        }
    }
}

/// Why a token may be in use although audit logs show no use of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Doubt {
    /// The window is shorter than the evidence that is asked for, in seconds.
    Short(i64),
    /// The workload has run for less time than that, in seconds.
    Young(i64),
    /// None of its pods is known to run: they wait, have ended, or there are none.
    NotRunning,
    /// A CronJob that ran this often.
    FewRuns(u32),
    /// A token of the account was used, by which workload is not known.
    Unattributed,
    /// The account may ask kubelets or URLs, which may not be API servers.
    OtherServers,
    /// A user sent a TokenReview for a token of an unknown account.
    Reviewed(Box<str>),
    /// A token of the account was reviewed.
    ReviewedHere(Box<str>),
    /// The workload refers to a system that may accept its token.
    Consumer(Box<str>),
    /// The pod spec projects the token by hand.
    Explicit,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short(seconds) => {
                write!(f, "the audit logs cover only {} without a break", span(*seconds))
            }
            Self::Young(seconds) => write!(f, "the workload has run only for {}", span(*seconds)),
            Self::NotRunning => f.write_str("no pod of the workload is known to run"),
            Self::FewRuns(0) => f.write_str("the CronJob was not seen to run"),
            Self::FewRuns(1) => f.write_str("the CronJob was seen to run only once"),
            Self::FewRuns(runs) => {
                write!(f, "the CronJob was seen to run only {runs} times")
            }
            Self::Unattributed => f.write_str(
                "a token of the account was used, and by which workload is not known",
            ),
            Self::OtherServers => f.write_str(
                "the account is granted nodes/* or URLs, which are also used at kubelets and metrics ports",
            ),
            Self::Reviewed(by) => write!(f, "{by} had tokens reviewed, perhaps one of this account"),
            Self::ReviewedHere(by) => write!(f, "{by} had a token of this account reviewed"),
            Self::Explicit => f.write_str("the pod spec projects the token, perhaps for another system"),
            Self::Consumer(name) => write!(f, "{name} may accept the token as an identity"),
        }
    }
}

/// The use of a token, or of all tokens of an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// The last request.
    pub last: Option<Timestamp>,
    /// The last request that was allowed and that the default permissions do not allow.
    pub last_beyond_defaults: Option<Timestamp>,
    /// The last request that was denied.
    pub last_denied: Option<Timestamp>,
    /// How many requests.
    pub requests: u64,
    /// Which pod sent the last one, where it is known.
    pub last_pod: Option<Box<str>>,
    /// The time that the logs cover.
    pub window: Window,
    /// Why it may be in use although none is seen, sorted.
    pub doubts: Vec<Doubt>,
}

impl Use {
    /// Whether it is certain that no token was used during a window of sufficient length.
    #[must_use]
    pub const fn is_never(&self) -> bool {
        self.last.is_none()
            && self.requests == 0
            && matches!(self.window.grade, Grade::Complete)
            && self.doubts.is_empty()
    }
}

/// One kind of request: what RBAC decides about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Action {
    /// The verb.
    pub verb: Box<str>,
    /// The API group.
    pub group: Box<str>,
    /// The resource, with its subresource; empty for a URL.
    pub resource: Box<str>,
    /// The namespace; empty for a request to the whole cluster.
    pub namespace: Box<str>,
    /// The path of a request for no resource; else empty.
    pub url: Box<str>,
    /// Whether it was denied.
    pub is_denied: bool,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let denied = if self.is_denied { " (denied)" } else { "" };
        match (&*self.resource, &*self.group) {
            ("", _) => write!(f, "{} {}{denied}", self.verb, self.url),
            (resource, "") => write!(f, "{} {resource}{}{denied}", self.verb, self.place()),
            (resource, group) => {
                write!(
                    f,
                    "{} {resource}.{group}{}{denied}",
                    self.verb,
                    self.place()
                )
            }
        }
    }
}

impl Action {
    fn place(&self) -> String {
        match &*self.namespace {
            "" => String::new(),
            namespace => format!(" in namespace {namespace}"),
        }
    }
}

/// How often, and when last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// When last.
    pub last: Timestamp,
    /// How often.
    pub count: u64,
}

/// What was seen of one account, in detail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageDetail {
    /// What each workload asked for; `None` for requests of no workload that exists.
    pub actions: BTreeMap<Option<Workload>, BTreeMap<Action, Tally>>,
    /// Bindings that grant something, and whose grants were not used: no used one covers them.
    pub unused_bindings: Vec<ObjectKey>,
    /// The smallest rules that cover what was seen, by namespace; empty for the whole cluster.
    pub proposal: BTreeMap<Box<str>, Vec<Rule>>,
    /// Why the proposal may lack something.
    pub remarks: Vec<String>,
}

/// A note on a workload whose token needs no permission, and is used.
pub(super) const ONLY_DEFAULTS_USED: &str = "the token is used, though only for what the default permissions allow, such as discovery: check that the workload starts without it";

/// Writes a note on a workload whose pod template changed.
pub(super) fn changed(f: &mut fmt::Formatter<'_>, versions: usize) -> fmt::Result {
    write!(
        f,
        "the audit logs show {versions} versions of its pod template: the present one was watched for a shorter time"
    )
}

/// A time, to the second.
#[must_use]
pub fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A length of time, in its two largest units.
#[must_use]
pub fn span(seconds: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let seconds = seconds.max(0);
    let first = UNITS.iter().position(|(unit, _)| seconds >= *unit);
    let first = first.unwrap_or(UNITS.len() - 1);
    let (unit, name) = UNITS[first];
    let rest = UNITS
        .get(first + 1)
        .map(|(next, name)| (seconds % unit / next, name));
    match rest {
        Some((count @ 1.., next)) => format!("{}{name}{count}{next}", seconds / unit),
        _ => format!("{}{name}", seconds / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missing_before_a_pod_existed_matters_if_clocks_may_differ() {
        let time = |second| Timestamp::from_second(second).unwrap_or_default();
        let window = Window {
            from: time(0),
            to: time(9_000),
            grade: Grade::Partial,
            holes: vec![Hole::Silence {
                server: "b".into(),
                from: time(800),
                to: time(950),
            }],
        };
        assert_eq!(window.clone().since(time(1_000)).grade, Grade::Partial);
        assert_eq!(window.since(time(1_250)).grade, Grade::Complete);
    }

    #[test]
    fn requests_without_a_time_are_use() {
        let mut used = Use {
            last: None,
            last_beyond_defaults: None,
            last_denied: None,
            requests: 0,
            last_pod: None,
            window: Window {
                from: Timestamp::MIN,
                to: Timestamp::MAX,
                grade: Grade::Complete,
                holes: Vec::new(),
            },
            doubts: Vec::new(),
        };
        assert!(used.is_never());
        used.requests = 1;
        assert!(!used.is_never());
    }

    #[test]
    fn a_length_has_its_two_largest_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (3_600, "1h"),
            (93_600, "1d2h"),
            (86_461, "1d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
