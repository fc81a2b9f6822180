//! `Retry-After`: for how long the API server wants no more requests.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, TryFutureExt, future::BoxFuture};
use http::{HeaderMap, Request, Response, StatusCode, header::RETRY_AFTER};
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::{Layer, Service};

/// The longest pause that is kept: a server that asks for years is asked again after this.
const LONGEST: Duration = Duration::from_mins(1);

/// Until when the API server wants no more requests; clones share it. As a layer, it reads the answers of a
/// client. It delays nothing by itself: the requests of the leader election must not wait.
#[derive(Clone, Debug, Default)]
pub struct Throttle(Arc<Mutex<Option<Instant>>>);

impl Throttle {
    /// Resolves when the pause that the API server asked for is over; at once without one.
    pub async fn passed(&self) {
        loop {
            let until = *self.0.lock();
            match until.filter(|until| *until > Instant::now()) {
                Some(until) => tokio::time::sleep_until(until).await,
                None => return,
            }
        }
    }

    /// Whether requests should wait now.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.lock().is_some_and(|until| until > Instant::now())
    }

    fn read(&self, status: StatusCode, headers: &HeaderMap) {
        if let Some(pause) = asked_for(status, headers) {
            let until = Instant::now() + pause;
            let mut known = self.0.lock();
            *known = Some(known.map_or(until, |known| known.max(until)));
        }
    }
}

/// The pause that an answer asks for. A date or garbage is no pause: the caller's own back-off is.
fn asked_for(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let throttles = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    if !throttles.contains(&status) {
        return None;
    }
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let is_number = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    // A number too large to parse is longer than the longest.
    is_number.then(|| {
        seconds
            .parse()
            .map_or(LONGEST, Duration::from_secs)
            .min(LONGEST)
    })
}

impl<S> Layer<S> for Throttle {
    type Service = Throttled<S>;

    fn layer(&self, inner: S) -> Throttled<S> {
        Throttled {
            inner,
            throttle: self.clone(),
        }
    }
}

/// A client whose answers are read.
#[derive(Debug)]
pub struct Throttled<S> {
    inner: S,
    throttle: Throttle,
}

impl<S, A, B> Service<Request<A>> for Throttled<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let throttle = self.throttle.clone();
        let answer = self.inner.call(request);
        answer
            .inspect_ok(move |answer| throttle.read(answer.status(), answer.headers()))
            .boxed()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_obeyed_up_to_a_minute_and_garbage_is_none() {
        let asked = |status: u16, value: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            asked_for(StatusCode::from_u16(status).unwrap(), &headers).map(|pause| pause.as_secs())
        };
        assert_eq!(asked(429, "1"), Some(1));
        assert_eq!(asked(503, "30"), Some(30));
        assert_eq!(asked(429, "1000000000"), Some(60));
        assert_eq!(asked(429, "99999999999999999999999"), Some(60));
        for garbage in ["-1", "", "soon", "Wed, 21 Oct 2026 07:28:00 GMT", "+5"] {
            assert_eq!(asked(429, garbage), None, "{garbage}");
        }
        assert_eq!(asked(200, "30"), None);
        assert_eq!(
            asked_for(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new()),
            None
        );
    }
}
