//! Requests that began before the time since which events count, and may go on in it: a watch leaves an event only when
//! it begins and when it ends.

use std::collections::HashMap;

use crate::usage::{Caller, Object, PodName, Request, Stage};

/// How many are remembered; more of them count as open.
const MAX_OPEN: usize = 1 << 14;

/// The requests of accounts that have begun and not ended, by their ids and by whose they are: clients choose ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Open(HashMap<Box<str>, Owned>);

/// A request without its id and time.
#[derive(Clone, Debug)]
pub(super) struct Owned {
    namespace: Box<str>,
    name: Box<str>,
    /// The uid and name of the pod that the token is bound to, and whether the log says so.
    pod: Option<(u128, Box<str>)>,
    is_unknown: bool,
    impersonates: bool,
    verb: Box<str>,
    object: [Box<str>; 5],
    path: Box<str>,
    is_denied: bool,
    reason: Box<str>,
}

impl Open {
    /// Notes that a request began or ended; whether there is no room for it.
    pub(super) fn note(&mut self, request: &Request<'_>) -> bool {
        let Caller::Token {
            namespace,
            name,
            pod,
        } = request.caller
        else {
            return false;
        };
        if request.stage == Stage::Received {
            return false;
        }
        let uid = match pod {
            PodName::Bound { uid, .. } => uid,
            PodName::Unbound | PodName::Unknown => 0,
        };
        let parts = [request.id, namespace, name, request.verb, request.path];
        let key = format!("{} {uid}", parts.join(" "));
        match request.stage {
            Stage::Complete => {
                self.0.remove(&*key);
                return false;
            }
            Stage::Started if self.0.len() >= MAX_OPEN => return true,
            Stage::Started | Stage::Received => {}
        }
        let object = request.object;
        let owned = Owned {
            namespace: namespace.into(),
            name: name.into(),
            pod: match pod {
                PodName::Bound { uid, name } => Some((uid, name.into())),
                PodName::Unbound | PodName::Unknown => None,
            },
            is_unknown: pod == PodName::Unknown,
            impersonates: request.impersonates,
            verb: request.verb.into(),
            object: [
                object.group,
                object.resource,
                object.subresource,
                object.namespace,
                object.name,
            ]
            .map(Box::from),
            path: request.path.into(),
            is_denied: request.is_denied,
            reason: request.reason.into(),
        };
        self.0.insert(key.into(), owned);
        false
    }

    /// Those that have not ended.
    pub(super) fn into_requests(self) -> impl Iterator<Item = Owned> {
        self.0.into_values()
    }
}

impl Owned {
    /// The request, with no id.
    pub(super) fn request(&self) -> Request<'_> {
        let [group, resource, subresource, namespace, name] = &self.object;
        Request {
            id: "",
            stage: Stage::Started,
            caller: Caller::Token {
                namespace: &self.namespace,
                name: &self.name,
                pod: match &self.pod {
                    Some((uid, name)) => PodName::Bound { uid: *uid, name },
                    None if self.is_unknown => PodName::Unknown,
                    None => PodName::Unbound,
                },
            },
            impersonates: self.impersonates,
            verb: &self.verb,
            object: Object {
                group,
                resource,
                subresource,
                namespace,
                name,
            },
            path: &self.path,
            is_denied: self.is_denied,
            code: 0,
            reason: &self.reason,
            reviewed: None,
            time: 0,
        }
    }
}
