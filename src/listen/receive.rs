//! Reads one batch and answers.

use std::{
    borrow::Cow,
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    io::Read,
    sync::Arc,
    time::Duration,
};

use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes, Incoming},
    header::CONTENT_ENCODING,
};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::counters::{Counters, Outcome};
use crate::{
    audit,
    cluster::watch::Feed,
    index::Index,
    log::LogLimiter,
    model::{ServiceAccountRef, usage::MAX_SKEW},
};

/// How large a batch may be, as it arrives and decompressed: 400 events at level Metadata, which is the default of
/// `--audit-webhook-batch-max-size`, have some 0.5 MiB.
const MAX_BATCH: usize = 4 << 20;
/// How many batches are read at a time; a further one is refused.
const MAX_BATCHES: usize = 4;
/// How long a batch may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// When the answer is sent at the latest, after the batch has arrived.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How many batches are remembered, to recognise one that is sent once more.
const MAX_RECENT: usize = 256;
const TOO_LARGE: &str = "is larger than 4 MiB: record at level Metadata, and start the API server with --audit-webhook-truncate-enabled --audit-webhook-truncate-max-batch-size=4000000";
/// What fails, as the log limiter remembers it.
const BATCHES: &str = "batches of audit events";

/// Receives batches.
pub(super) struct Receiver {
    feed: Feed,
    /// Our account.
    own: Option<ServiceAccountRef>,
    counters: Counters,
    log: LogLimiter,
    room: Arc<Semaphore>,
    hasher: RandomState,
    recent: Mutex<VecDeque<u64>>,
}

impl Receiver {
    pub(super) fn new(
        feed: Feed,
        own: Option<ServiceAccountRef>,
        counters: Counters,
        log: LogLimiter,
    ) -> Self {
        Self {
            feed,
            own,
            counters,
            log,
            room: Arc::new(Semaphore::new(MAX_BATCHES)),
            hasher: RandomState::new(),
            recent: Mutex::default(),
        }
    }

    /// Reads the batch that a request has.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only POST is served");
        }
        // Another one is sent once more by the API server.
        let Ok(room) = self.room.clone().try_acquire_owned() else {
            return self.refuse(Outcome::Busy, StatusCode::TOO_MANY_REQUESTS, "");
        };
        let is_compressed = match request.headers().get(CONTENT_ENCODING) {
            None => false,
            Some(encoding) if encoding == "gzip" => true,
            Some(_) => {
                return self.refuse(
                    Outcome::Malformed,
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "has another Content-Encoding than gzip",
                );
            }
        };
        let said = request.body().size_hint().lower();
        if said > MAX_BATCH as u64 {
            return self.too_large();
        }
        let body = Limited::new(request.into_body(), MAX_BATCH).collect();
        let body = match timeout(BODY_TIMEOUT, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return self.too_large(),
            // The client has gone, and sends it once more.
            Ok(Err(_)) => return self.refuse(Outcome::Slow, StatusCode::BAD_REQUEST, "was cut"),
            Err(_) => {
                let late = "did not arrive within 5 seconds";
                return self.refuse(Outcome::Slow, StatusCode::REQUEST_TIMEOUT, late);
            }
        };
        let reading = {
            let receiver = self.clone();
            tokio::task::spawn_blocking(move || receiver.read(&body, is_compressed, room))
        };
        match timeout(ANSWER_TIMEOUT, reading).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => self.refuse(
                Outcome::Malformed,
                StatusCode::INTERNAL_SERVER_ERROR,
                "could not be read",
            ),
            // It will have been read, or refused: what is refused now would not be sent once more anyway.
            Err(_) => text(StatusCode::OK, ""),
        }
    }

    /// Reads a batch, on a thread of its own.
    fn read(
        &self,
        body: &[u8],
        is_compressed: bool,
        _room: OwnedSemaphorePermit,
    ) -> Response<Full<Bytes>> {
        let hash = self.hasher.hash_one(body);
        if !self.is_new(hash) {
            self.counters.batch(Outcome::Repeated);
            return text(StatusCode::OK, "");
        }
        match self.learn(body, is_compressed) {
            Ok(()) => text(StatusCode::OK, ""),
            Err((outcome, status, cause)) => {
                self.recent.lock().retain(|known| *known != hash);
                self.refuse(outcome, status, &cause)
            }
        }
    }

    /// Whether a batch arrives for the first time: another one like it, also while it is read, is the same.
    fn is_new(&self, hash: u64) -> bool {
        let mut recent = self.recent.lock();
        if recent.contains(&hash) {
            return false;
        }
        recent.push_back(hash);
        if recent.len() > MAX_RECENT {
            recent.pop_front();
        }
        true
    }

    fn learn(
        &self,
        body: &[u8],
        is_compressed: bool,
    ) -> Result<(), (Outcome, StatusCode, Cow<'static, str>)> {
        let malformed = |cause: String| (Outcome::Malformed, StatusCode::BAD_REQUEST, cause.into());
        let plain = is_compressed.then(|| decompressed(body)).transpose();
        let plain = plain.map_err(malformed)?;
        let plain = plain.as_deref().unwrap_or(body);
        if plain.len() > MAX_BATCH {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err((Outcome::TooLarge, status, TOO_LARGE.into()));
        }
        let now = Timestamp::now().as_microsecond();
        let latest = now.saturating_add(MAX_SKEW.saturating_mul(1_000_000));
        let batch = audit::batch(plain, self.own.as_ref(), latest).map_err(malformed)?;
        if batch.unreadable > 0 && self.log.failed(BATCHES, "unreadable") {
            tracing::warn!(
                events = batch.unreadable,
                "audit events cannot be read, or are dated in the future: they may be requests of any account"
            );
        }
        let canary = batch.canary;
        self.feed.write(|index| {
            index.learn(batch.record);
            if let Some(time) = canary {
                index.hear(time);
            }
        });
        if canary.is_some() {
            self.counters.canary("heard");
        }
        self.counters.events.inc_by(batch.events);
        self.counters.batch(Outcome::Read);
        Ok(())
    }

    fn too_large(&self) -> Response<Full<Bytes>> {
        self.refuse(Outcome::TooLarge, StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE)
    }

    /// Refuses a batch, and notes the hole.
    fn refuse(&self, outcome: Outcome, status: StatusCode, cause: &str) -> Response<Full<Bytes>> {
        self.counters.batch(outcome);
        self.feed.write(Index::refuse_events);
        if self.log.failed(BATCHES, outcome.name()) {
            let result = outcome.name();
            tracing::warn!(
                result,
                cause,
                "a batch of audit events was refused: a token whose use it has may look unused"
            );
        }
        text(status, cause)
    }
}

/// At most one byte more than a batch may have.
fn decompressed(body: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(body)
        .take(MAX_BATCH as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|error| format!("cannot be decompressed: {error}"))?;
    Ok(plain)
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = status;
    response
}
