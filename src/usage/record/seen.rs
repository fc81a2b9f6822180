//! When pods of a workload were seen, and of which versions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{OwnerKind, Record, owner_by_name};
use crate::usage::{Micros, Request};

/// How many runs of a CronJob, and how many versions of a template, are told apart.
const MAX_SEEN: usize = 4;

/// A namespace, a kind and the name of a workload.
pub(in crate::usage) type Owner = (Box<str>, OwnerKind, Box<str>);

/// What the logs show of pods of one name.
#[derive(Clone, Debug, Default)]
pub(in crate::usage) struct SeenPods {
    pub(in crate::usage) first: Micros,
    /// The parts of names that tell template versions and runs apart, with the times of each; not all.
    pub(in crate::usage) versions: BTreeMap<Box<str>, Span>,
}

/// The first time, and the last one.
#[derive(Clone, Copy, Debug)]
pub(in crate::usage) struct Span {
    pub(in crate::usage) first: Micros,
    pub(in crate::usage) last: Micros,
}

impl Record {
    /// A pod of this name exists.
    pub(super) fn pod(&mut self, namespace: &str, name: &str, time: Micros) {
        let Some((kind, workload, version)) = owner_by_name(name) else {
            return;
        };
        // The name of a pod of a StatefulSet stays; others may have a name that only begins so.
        let workload = if kind == OwnerKind::StatefulSet {
            name
        } else {
            workload
        };
        let key = (Box::from(namespace), kind, Box::from(workload));
        note_seen(&mut self.seen_pods, key, version, time);
    }

    /// A request with a token of an account of kube-system, which may be that of a controller of Kubernetes.
    pub(super) fn controller(&mut self, request: &Request<'_>, name: &str) {
        let object = request.object;
        let is_making = request.has_succeeded()
            && request.verb == "create"
            && !request.impersonates
            && object.subresource.is_empty();
        let kind = match (object.group, object.resource, name) {
            ("batch", "jobs", "cronjob-controller") => OwnerKind::CronJob,
            ("apps", "replicasets", "deployment-controller") => OwnerKind::Deployment,
            _ => return,
        };
        if let Some((workload, version)) = object.name.rsplit_once('-').filter(|_| is_making) {
            let key = (Box::from(object.namespace), kind, Box::from(workload));
            note_seen(&mut self.made, key, version, request.time);
        }
    }
}

/// Notes a pod, or what makes pods, of this version, if it has one.
fn note_seen(all: &mut HashMap<Owner, SeenPods>, owner: Owner, version: &str, time: Micros) {
    let seen = all.entry(owner).or_insert_with(|| SeenPods {
        first: time,
        ..SeenPods::default()
    });
    seen.first = seen.first.min(time);
    if !version.is_empty() {
        let span = Span {
            first: time,
            last: time,
        };
        seen.note(version.into(), span);
    }
}

impl SeenPods {
    /// The versions that were seen since this time.
    pub(in crate::usage) fn versions_since(&self, from: Micros) -> BTreeSet<Box<str>> {
        let versions = self.versions.iter().filter(|(_, span)| span.last >= from);
        versions.map(|(version, _)| version.clone()).collect()
    }

    /// Adds what another reader saw.
    pub(super) fn merge(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        for (version, span) in other.versions {
            self.note(version, span);
        }
    }

    /// Keeps the latest versions.
    fn note(&mut self, version: Box<str>, span: Span) {
        let own = self.versions.entry(version).or_insert(span);
        own.first = own.first.min(span.first);
        own.last = own.last.max(span.last);
        if self.versions.len() > MAX_SEEN {
            let oldest = self.versions.iter().min_by_key(|(_, span)| span.last);
            if let Some(oldest) = oldest.map(|(version, _)| version.clone()) {
                self.versions.remove(&oldest);
            }
        }
    }
}
