//! A request of ours that must come back as an event: it shows, at this moment, that the audit policy records requests of
//! accounts and that their events arrive.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

use super::Counters;
use crate::{
    audit::CANARY,
    client::{Connection, within},
    cluster::watch::Feed,
    index::Index,
    log::LogLimiter,
    model::ServiceAccountRef,
    usage::Micros,
};

/// What is asked for: our account may list its reports, and few audit policies leave them out.
const PATH: &str = "/apis/tokenexposure.io/v1alpha1/tokenexposurereports?limit=1";
/// How often one is sent, and how long it may take to come back: to another replica too, which says so in what is kept.
const PERIOD: Duration = Duration::from_mins(15);
/// How long after the start the first one is sent.
const FIRST: Duration = Duration::from_secs(5);
/// How far the clocks of the API server and ours may differ, and how coarse what is kept is.
const TOLERANCE: i64 = 900 * 1_000_000;
/// How soon after each other requests of two replicas count as one: the event of either may be the last that is heard of.
const TOGETHER: i64 = 60 * 1_000_000;
/// How long the answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What fails, as the log limiter remembers it.
const SUBJECT: &str = "requests that should come back as audit events";

/// Who sends it.
#[derive(Debug)]
pub struct Canary {
    /// Our account; without one nothing is sent, as the event of another user shows nothing about accounts.
    pub own: Option<ServiceAccountRef>,
    /// The connection to an API server.
    pub connection: Connection,
    /// Limits how often a failure is logged.
    pub log: LogLimiter,
}

impl Canary {
    /// Sends one after the other until it is dropped.
    pub(super) async fn sing(&self, feed: &Feed, counters: &Counters) {
        if self.own.is_none() {
            return std::future::pending().await;
        }
        tokio::time::sleep(FIRST).await;
        loop {
            let before = feed.index().read().heard();
            let sent = Timestamp::now().as_microsecond();
            let is_sent = self.send().await;
            if is_sent {
                counters.canary("sent");
            }
            tokio::time::sleep(PERIOD).await;
            if !is_sent {
                continue;
            }
            let heard = feed.index().read().heard();
            if is_back(sent, before, heard) {
                let _ = self.log.recovered(SUBJECT);
                continue;
            }
            counters.canary("missed");
            feed.write(Index::miss);
            if self.log.failed(SUBJECT, "") {
                tracing::warn!(
                    "a request of the controller did not come back as an audit event: the audit policy leaves out requests of ServiceAccounts, or the API server does not send its events here"
                );
            }
        }
    }

    /// Whether the API server answered: then it has an event.
    async fn send(&self) -> bool {
        let hasher = RandomState::new();
        let id = format!(
            "{CANARY}{:016x}{:016x}",
            hasher.hash_one(0),
            hasher.hash_one(1)
        );
        let request = http::Request::get(PATH)
            .header("Audit-ID", id)
            .body(Vec::new());
        let Ok(request) = request else { return false };
        let answer = within(TIMEOUT, self.connection.client.request::<Value>(request)).await;
        if let Err(failed) = &answer {
            tracing::debug!(%failed, "a request that should come back as an audit event failed");
        }
        answer.is_ok()
    }
}

/// Whether an event that was last heard of is one of a request that was sent then, and not the one before it, which was
/// the last that was heard of when it was sent.
fn is_back(sent: Micros, before: Option<Micros>, heard: Option<Micros>) -> bool {
    heard.is_some_and(|heard| {
        let is_another = before.is_none_or(|before| heard > before);
        heard >= sent - TOLERANCE && (is_another || heard >= sent - TOGETHER)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_of_an_earlier_request_is_not_that_of_this_one() {
        const SECOND: Micros = 1_000_000;
        let sent = 1_795_730_509_796_502;
        let at = |seconds: i64| Some(sent + seconds * SECOND);
        for (what, before, heard, expected) in [
            ("nothing came back", None, None, false),
            ("the first one", None, at(0), true),
            ("another one after it", at(-900), at(0), true),
            ("only the one before it", at(-900), at(-900), false),
            (
                "the same, and a clock that is ahead",
                at(-895),
                at(-895),
                false,
            ),
            (
                "a clock that is 5 minutes behind",
                at(-1200),
                at(-300),
                true,
            ),
            ("a clock that is 5 minutes ahead", at(-600), at(300), true),
            (
                "another replica heard it, in 10 minutes",
                at(-900),
                at(-600),
                true,
            ),
            (
                "another replica sent one right before it",
                at(-1),
                at(-1),
                true,
            ),
            ("one of long ago, read late", None, at(-1000), false),
        ] {
            assert_eq!(is_back(sent, before, heard), expected, "{what}");
        }
    }
}
