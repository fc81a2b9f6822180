//! What events of API servers say of them: that they live, start and end.

use std::collections::BTreeMap;

use super::{Record, note_last};
use crate::{
    token::redact::redacted_part,
    usage::{Micros, Request, SECOND},
};

/// How long a start takes at most from deleting the Lease to creating it.
const START: Micros = 30 * SECOND;

/// What one file says of API servers, in its order.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    beats: Beats,
    /// When an API server last deleted the Lease of each.
    deleted: BTreeMap<Box<str>, Micros>,
}

/// Signs of life.
#[derive(Clone, Debug, Default)]
enum Beats {
    #[default]
    None,
    /// Of one API server, and the last one was the latest.
    Of(Box<str>, Micros),
    /// Of several, or not in the order of time: several files became one.
    Mixed,
}

impl Record {
    /// The last line of this file is cut.
    pub fn cut(&mut self) {
        let end = match &self.file.beats {
            Beats::Of(server, time) => Some((server.clone(), *time)),
            Beats::None | Beats::Mixed => None,
        };
        self.servers.cuts.insert(end);
    }

    /// When API servers started and lived: also before the time since which events count.
    pub(super) fn sign_of_life(&mut self, request: &Request<'_>) {
        let Some(name) = lease_name(request) else {
            return;
        };
        let name = &*redacted_part(name);
        let time = request.time;
        // A server deletes its Lease and creates it anew when it starts. If somebody else deletes it, it only creates it.
        match request.verb {
            "delete" => note_last(&mut self.file.deleted, name, time),
            "create" => {
                let deleted = self.file.deleted.get(name);
                if deleted.is_some_and(|deleted| (0..START).contains(&(time - deleted))) {
                    let starts = self.servers.starts.entry(name.into()).or_default();
                    starts.insert(time);
                }
            }
            _ => {}
        }
        if matches!(request.verb, "update" | "create" | "patch") {
            let spans = self.servers.all_beats.entry(name.into()).or_default();
            spans.add(time, time);
            self.file.beats = match std::mem::take(&mut self.file.beats) {
                Beats::None => Beats::Of(name.into(), time),
                Beats::Of(server, last) if *server == *name && last <= time => {
                    Beats::Of(server, time)
                }
                Beats::Of(..) | Beats::Mixed => Beats::Mixed,
            };
        }
    }

    pub(super) fn server(&mut self, request: &Request<'_>) {
        let servers = &mut self.servers;
        if let Some(name) = lease_name(request) {
            let name = &*redacted_part(name);
            if matches!(request.verb, "delete") {
                note_last(&mut servers.deleted, name, request.time);
                // A server deletes and creates its own Lease when it starts.
                servers.last_start = servers.last_start.max(Some(request.time));
            } else if matches!(request.verb, "update" | "create" | "patch") {
                let spans = servers.beats.entry(name.into()).or_default();
                spans.add(request.time, request.time);
            }
        }
        // When it starts, it compares the roles that it has with those that it should have.
        if request.object.resource == "clusterroles" && request.verb == "list" {
            servers.last_start = servers.last_start.max(Some(request.time));
        }
    }
}

/// Whether a Lease has the namespace and the name of one of an API server: since 1.27, and in 1.26.
#[must_use]
pub fn is_lease_of_server(namespace: &str, name: &str) -> bool {
    namespace == "kube-system"
        && (name.starts_with("apiserver-") || name.starts_with("kube-apiserver-"))
}

/// The API server whose Lease a request is about.
fn lease_name<'a>(request: &Request<'a>) -> Option<&'a str> {
    let object = request.object;
    let is_lease = object.resource == "leases" && object.group == "coordination.k8s.io";
    (is_lease && is_lease_of_server(object.namespace, object.name)).then_some(object.name)
}
