//! Why a watch failed: what is logged of it, and when a denied kind counts as denied.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kube::core::Status;
use tokio::time::Instant;

use super::{
    super::{missing_rule, protobuf},
    Feed,
};
use crate::{client::Failed, log::LogLimiter, model::InputKind};

/// The longest pause after a denied request: a permission that was granted shows soon.
const DENIED_PAUSE: Duration = Duration::from_secs(10);

/// What fails, as the log limiter remembers it, where it concerns all kinds.
const WATCHES: &str = "watches";

/// Why a list or a watch failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The request failed.
    #[error(transparent)]
    Request(#[from] Failed),
    #[error("the API server sent nothing for {} seconds", .0.as_secs())]
    Silent(Duration),
    #[error("the list ended early")]
    Incomplete,
    #[error("the API server sent an object without a resourceVersion")]
    NoVersion,
    #[error(
        "the API server's resourceVersion went back from {known} to {newest}: it has another history, for example \
         because etcd was restored; reading everything again"
    )]
    WentBack { known: String, newest: String },
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        Self::Request(Failed::Api(error))
    }
}

impl Failure {
    fn status(&self) -> Option<&Status> {
        match self {
            Self::Request(failed) => failed.status(),
            _ => None,
        }
    }

    /// The HTTP status code of the answer.
    pub(super) fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }

    /// Whether the API server, or a proxy before it, has no usable protobuf.
    pub(super) fn refuses_protobuf(&self) -> bool {
        matches!(self, Self::Request(failed) if protobuf::is_refused(failed))
    }

    /// Whether all objects must be read again. 410: the watch fell behind the history that the API server keeps.
    pub(super) fn needs_a_list(&self) -> bool {
        matches!(self, Self::WentBack { .. } | Self::NoVersion) || self.code() == Some(410)
    }
}

/// What follows from a failure.
pub(super) struct Outcome {
    /// Whether the kind counts as denied.
    pub(super) is_denied: bool,
    /// The longest pause until the next request.
    pub(super) wait_at_most: Option<Duration>,
}

/// Since when the API server denies a kind. What was known stays known until it has denied it for so long that
/// it is no passing failure.
pub(super) struct Denial {
    lasts: Duration,
    since: Option<Instant>,
    state: State,
}

/// How the requests for a kind end.
enum State {
    /// None was answered yet.
    New,
    Passing,
    Failing(#[expect(dead_code, reason = "it counts as long as it exists")] Failing),
}

/// One of the kinds that cannot be watched now; it counts until it is dropped, also with its whole watch.
struct Failing(Arc<AtomicUsize>);

impl Failing {
    fn count(feed: &Feed) -> Self {
        feed.failing.fetch_add(1, Ordering::Relaxed);
        Self(feed.failing.clone())
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Denial {
    /// One that counts after this time.
    pub(super) const fn new(lasts: Duration) -> Self {
        Self {
            lasts,
            since: None,
            state: State::New,
        }
    }

    /// Requests are answered again.
    pub(super) fn passed(&mut self, kind: InputKind, feed: &Feed) {
        self.since = None;
        if matches!(self.state, State::Passing) {
            return;
        }
        self.state = State::Passing;
        if let Some(failures) = feed.log.recovered(kind.plural()) {
            tracing::info!(kind = kind.name(), failures, "allowed again");
        }
        // It was the last of them, or those that failed are read anew.
        if feed.failing.load(Ordering::Relaxed) == 0
            && let Some(failures) = feed.log.recovered(WATCHES)
        {
            tracing::info!(failures, "watching all kinds again");
        }
    }

    /// Notes a failure. Of failures that concern all kinds, only the first is logged.
    pub(super) fn failed(&mut self, kind: InputKind, failure: &Failure, feed: &Feed) -> Outcome {
        if !matches!(self.state, State::Failing(_)) {
            self.state = State::Failing(Failing::count(feed));
        }
        let log = &feed.log;
        let cause = failure.to_string();
        if !failure.status().is_some_and(Status::is_forbidden) {
            self.since = None;
            log_failure(kind, failure, &cause, log);
            return Outcome {
                is_denied: false,
                wait_at_most: None,
            };
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let left = self.lasts.saturating_sub(since.elapsed());
        let is_denied = left.is_zero();
        let fix = missing_rule(&[kind]);
        if is_denied && log.failed(kind.plural(), "denied") {
            tracing::warn!(kind = kind.name(), %cause, fix, "watch denied: verdicts that depend on it are Unknown");
        } else if !is_denied && log.failed(WATCHES, "denied") {
            tracing::warn!(kind = kind.name(), %cause, left = left.as_secs(), "watch denied: what is known stays; if that lasts, verdicts become Unknown");
        } else {
            tracing::debug!(kind = kind.name(), %cause, "watch denied");
        }
        let next = if is_denied {
            DENIED_PAUSE
        } else {
            left.min(DENIED_PAUSE)
        };
        Outcome {
            is_denied,
            wait_at_most: Some(next),
        }
    }
}

fn log_failure(kind: InputKind, failure: &Failure, cause: &str, log: &LogLimiter) {
    let topic = match failure {
        Failure::WentBack { .. } => "history",
        _ => "",
    };
    // An expired watch or list is read again by itself.
    if failure.code() == Some(410) || !log.failed(WATCHES, topic) {
        tracing::debug!(kind = kind.name(), %cause, "watch failed");
    } else {
        tracing::warn!(kind = kind.name(), %cause, "watch failed; retrying");
    }
}
