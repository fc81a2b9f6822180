//! One batch of events, as the audit webhook of an API server posts it: an `EventList` on one line.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    event::{Event, Found},
    reader::Needles,
};
use crate::{
    model::ServiceAccountRef,
    usage::{Caller, Delivery, Micros, Record, Request, WEBHOOK},
};

/// What a batch says.
#[derive(Debug, Default)]
pub struct Batch {
    /// What was learnt.
    pub record: Record,
    /// How many events it has.
    pub events: u64,
    /// How many of them cannot be read: they are in the record as a hole.
    pub unreadable: u64,
    /// When the last of our own requests was recorded, as far as it has an Audit-ID that begins with [`CANARY`].
    pub canary: Option<Micros>,
}

/// How the Audit-ID of a request begins that is sent only so that it comes back.
pub const CANARY: &str = "te-";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventList<'a> {
    kind: &'a str,
    api_version: &'a str,
    #[serde(default, borrow)]
    items: Option<Vec<&'a RawValue>>,
}

/// Reads a batch. Other formats than that of a webhook are none: who posts is an API server. `own` is our account. What is
/// dated after `latest` is not read: use that lies in the future would outlive all that follows.
///
/// # Errors
/// When the text is no `EventList` of `audit.k8s.io/v1`.
pub fn batch(
    text: &[u8],
    own: Option<&ServiceAccountRef>,
    latest: Micros,
) -> Result<Batch, String> {
    let list: EventList<'_> =
        serde_json::from_slice(text).map_err(|error| format!("is no EventList: {error}"))?;
    if list.kind != "EventList" || list.api_version != "audit.k8s.io/v1" {
        return Err(format!(
            "is a `{}` of `{}` and no `EventList` of `audit.k8s.io/v1`",
            list.kind, list.api_version
        ));
    }
    let needles = Needles::default();
    let mut batch = Batch::default();
    batch.record.delivered(Delivery::Lossy(WEBHOOK));
    for item in list.items.into_iter().flatten() {
        batch.events += 1;
        let text = item.get().as_bytes();
        if needles.are_in(text) && !batch.add(text, own, latest) {
            batch.unreadable += 1;
            batch.record.unreadable();
        }
    }
    Ok(batch)
}

impl Batch {
    /// Adds an event; whether it can be read.
    fn add(&mut self, text: &[u8], own: Option<&ServiceAccountRef>, latest: Micros) -> bool {
        let Ok(event) = serde_json::from_slice::<Event<'_>>(text) else {
            return false;
        };
        let Found::Request(request) = event.found() else {
            return false;
        };
        if request.time > latest {
            return false;
        }
        // Anybody may choose an Audit-ID, and nobody else has our name.
        if request.id.starts_with(CANARY)
            && let Caller::Token {
                namespace, name, ..
            } = request.caller
            && own.is_some_and(|own| (&*own.namespace, &*own.name) == (namespace, name))
        {
            self.canary = self.canary.max(Some(request.time));
        }
        let reviewed = event.reviewed();
        self.record.add(&Request {
            reviewed: reviewed.as_deref(),
            ..request
        });
        true
    }
}
