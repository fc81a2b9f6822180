//! Kubernetes events: a line in `kubectl describe serviceaccount` when a verdict changes.
//!
//! `kube::runtime::events::Recorder` names an event by the time, so that two replicas that write the same
//! report would publish it twice, and needs the permission to patch. Here the name follows from the write
//! that the event reports: the API server rejects an event that it already has.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Instant,
};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams, core::Resource};
use parking_lot::Mutex;
use prometheus::IntCounterVec;

use super::write::{WRITE_EVENT, WriteId, within};
use crate::{
    api::TokenExposureReport,
    log::{LogLimiter, Window},
    model::{Exposure, ServiceAccountRef, Verdict},
};

/// The `reportingController` of our events.
const CONTROLLER: &str = "tokenexposure.io/controller";
/// How long a note may be, in bytes: what the API server accepts.
const NOTE_BYTES: usize = 1_024;

/// A change of the verdict on an account that its report does not have yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    verdict: Verdict,
    note: String,
    /// `uid` of the ServiceAccount.
    uid: String,
}

impl Change {
    /// The change that an event reports, for an account whose report had this verdict.
    #[must_use]
    pub fn between(reported: Option<Verdict>, exposure: &Exposure, uid: &str) -> Option<Self> {
        let before = reported.filter(|before| *before != Verdict::Unknown);
        is_published(before, exposure.verdict).then(|| {
            let was = before.map_or_else(String::new, |before| format!(", was {before}"));
            let mut note = format!("{}{was}. {}", exposure.reason, exposure.message);
            note.truncate(note.floor_char_boundary(NOTE_BYTES));
            Self {
                verdict: exposure.verdict,
                note,
                uid: uid.to_owned(),
            }
        })
    }

    fn event(self, account: &ServiceAccountRef, write: &WriteId, instance: &str) -> Event {
        let reference = |api_version: &str, kind: &str, uid: Option<String>| ObjectReference {
            api_version: Some(api_version.to_owned()),
            kind: Some(kind.to_owned()),
            namespace: Some(account.namespace.to_string()),
            name: Some(account.name.to_string()),
            uid,
            ..ObjectReference::default()
        };
        let report = reference(
            &TokenExposureReport::api_version(&()),
            &TokenExposureReport::kind(&()),
            None,
        );
        let warns = asks_for_work(self.verdict);
        Event {
            metadata: ObjectMeta {
                name: Some(name(account, write)),
                namespace: Some(account.namespace.to_string()),
                ..ObjectMeta::default()
            },
            type_: Some(if warns { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(self.verdict.name().to_owned()),
            note: Some(self.note),
            action: Some("Assess".to_owned()),
            regarding: Some(reference("v1", "ServiceAccount", Some(self.uid))),
            related: Some(report),
            event_time: Some(MicroTime(Timestamp::now())),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(instance.to_owned()),
            ..Event::default()
        }
    }
}

/// Whether an event reports the change: never to `Unknown`, which says more about our permissions than
/// about the account, and as the first verdict only one that asks for work.
fn is_published(before: Option<Verdict>, verdict: Verdict) -> bool {
    match before {
        Some(before) => before != verdict && verdict != Verdict::Unknown,
        None => asks_for_work(verdict),
    }
}

fn asks_for_work(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Unneeded | Verdict::Review)
}

/// The name of an event: the same for the same write by any replica, and at most as long as a name may be.
fn name(account: &ServiceAccountRef, write: &WriteId) -> String {
    let mut hasher = DefaultHasher::new();
    write.hash(&mut hasher);
    let beginning = &account.name[..account.name.floor_char_boundary(200)];
    let beginning = beginning.trim_end_matches(['-', '.']);
    format!("{beginning}.{:016x}", hasher.finish())
}

/// Publishes a limited number of events: the first start on a large cluster finds thousands of accounts, and their
/// reports say as much.
pub struct Events {
    client: Client,
    instance: String,
    written: IntCounterVec,
    window: Mutex<Window>,
    log: LogLimiter,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// Publishes as `instance`, which identifies the replica, and counts events by `result`.
    #[must_use]
    pub fn new(client: Client, instance: String, written: IntCounterVec, log: LogLimiter) -> Self {
        Self {
            client,
            instance,
            written,
            window: Mutex::default(),
            log,
        }
    }

    /// Publishes a change that a write made. A failure is counted and logged and is no failure of the
    /// report, which says the same and is the record.
    pub async fn publish(&self, account: &ServiceAccountRef, change: Change, write: &WriteId) {
        let admitted = self.window.lock().admits(Instant::now()).is_some();
        let result = if admitted {
            self.write(account, change, write).await
        } else {
            "dropped"
        };
        self.written.with_label_values(&[result]).inc();
    }

    async fn write(
        &self,
        account: &ServiceAccountRef,
        change: Change,
        write: &WriteId,
    ) -> &'static str {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &account.namespace);
        let event = change.event(account, write, &self.instance);
        let created = within(WRITE_EVENT, events.create(&PostParams::default(), &event)).await;
        let Err(error) = created else {
            return "written";
        };
        if error.code() == Some(409) {
            return "repeated";
        }
        let (namespace, service_account) = (&account.namespace, &account.name);
        if self.log.failed("events", error.cause()) {
            tracing::warn!(%namespace, %service_account, %error, "event not written; further ones are only counted");
        } else {
            tracing::debug!(%namespace, %service_account, %error, "event not written");
        }
        "failed"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_write_has_its_own_event_name_and_it_fits() {
        let account = ServiceAccountRef::new("shop", "a".repeat(253).as_str());
        let write = |version: Option<&str>| WriteId {
            report: Some("uid".to_owned()),
            version: version.map(ToOwned::to_owned),
        };
        let names = [Some("1"), Some("2"), None].map(|version| name(&account, &write(version)));
        assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2]);
        assert_eq!(names[0], name(&account, &write(Some("1"))));
        assert_eq!(names[0].len(), 217);
    }

    #[test]
    fn unknown_is_not_published_and_a_first_verdict_only_if_it_asks_for_work() {
        let new = Verdict::ALL.map(|verdict| is_published(None, verdict));
        assert_eq!(new, [true, true, false, false, false, false, false]);
        for verdict in Verdict::ALL {
            assert!(!is_published(Some(verdict), verdict));
            assert!(!is_published(Some(verdict), Verdict::Unknown));
        }
        assert!(is_published(Some(Verdict::Unneeded), Verdict::NoToken));
        assert!(is_published(Some(Verdict::Exempted), Verdict::Review));
    }
}
