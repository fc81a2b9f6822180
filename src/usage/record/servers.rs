//! What events of API servers say of them: that they live, start and end.

use super::{Record, note_last};
use crate::{token::redact::redacted_part, usage::Request};

impl Record {
    /// When API servers started and lived: also before the time since which events count.
    pub(super) fn sign_of_life(&mut self, request: &Request<'_>) {
        let Some(name) = lease_name(request) else {
            return;
        };
        let name = &*redacted_part(name);
        let time = request.time;
        if request.verb == "create" {
            note_last(&mut self.servers.starts, name, time);
        }
        if matches!(request.verb, "update" | "create" | "patch") {
            let spans = self.servers.all_beats.entry(name.into()).or_default();
            spans.add(time, time);
            let last = self.last_beat.as_ref().map(|(_, last)| *last);
            if last < Some(time) {
                self.last_beat = Some((name.into(), time));
            }
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

/// The API server whose Lease a request is about.
fn lease_name<'a>(request: &Request<'a>) -> Option<&'a str> {
    let object = request.object;
    let is_lease = object.resource == "leases" && object.group == "coordination.k8s.io";
    let is_own = object.namespace == "kube-system" && object.name.starts_with("apiserver-");
    (is_lease && is_own).then_some(object.name)
}
