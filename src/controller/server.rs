//! `/metrics`, `/healthz` and `/readyz` on one address.
//!
//! Anybody who can reach the address can open connections, send requests slowly and read answers slowly. Probes
//! are answered in any case: each connection has one request and a limited time, and the oldest one makes room
//! for the newest.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use prometheus::Registry;
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

use super::metrics::exposition;
use crate::{
    client::uptime,
    index::{Index, Reading, SharedIndex},
    log::LogLimiter,
    model::InputKind,
};

/// How many connections are open at a time; the oldest makes room for one more.
const MAX_CONNECTIONS: usize = 64;
/// What fails, as the log limiter remembers it.
const CONNECTIONS: &str = "connections";
/// How long a client may take to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection lasts, with the time to read the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// How many bytes of a request's head are read.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Rendered metrics serve all who ask within this many times of what rendering took: rendering takes at most a
/// tenth of one core, however many ask.
const SHARED_FOR: u32 = 10;
/// From how many seconds without news of a kind on the controller is not ready.
const NOT_READY_AFTER: f64 = 180.0;

/// A server that is bound and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    pages: Arc<Pages>,
    log: LogLimiter,
}

impl Server {
    /// Binds an address; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(
        address: SocketAddr,
        registry: Arc<Registry>,
        index: SharedIndex,
        log: LogLimiter,
    ) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            pages: Arc::new(Pages {
                registry,
                index,
                rendered: Mutex::default(),
            }),
            log,
        })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is dropped.
    pub async fn serve(self) {
        let mut open: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            let connection = self.accept().await;
            open.retain(|connection| !connection.is_finished());
            if open.len() >= MAX_CONNECTIONS
                && let Some(oldest) = open.pop_front()
            {
                oldest.abort();
            }
            let served = serve_connection(connection, self.pages.clone());
            open.push_back(tokio::spawn(served).abort_handle());
        }
    }

    async fn accept(&self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((connection, _)) => {
                    if self.log.recovered(CONNECTIONS).is_some() {
                        tracing::info!("connections are accepted again");
                    }
                    return connection;
                }
                Err(error) => {
                    if self.log.failed(CONNECTIONS, "") {
                        tracing::warn!(%error, "cannot accept connections; retrying");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Answers one request.
async fn serve_connection(connection: TcpStream, pages: Arc<Pages>) {
    let service = service_fn(move |request| {
        let answer = pages.answer(&request);
        async { Ok::<_, Infallible>(answer) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(connection), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection ended early"),
        Err(_) => tracing::debug!("a connection took too long"),
    }
}

/// What is served.
#[derive(Debug)]
struct Pages {
    registry: Arc<Registry>,
    index: SharedIndex,
    rendered: Mutex<Option<Rendered>>,
}

/// Metrics that serve several requests.
#[derive(Debug)]
struct Rendered {
    text: Bytes,
    until: Instant,
}

impl Pages {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served\n");
        }
        match request.uri().path() {
            "/metrics" => {
                let mut response = text(StatusCode::OK, self.metrics());
                let version = HeaderValue::from_static(prometheus::TEXT_FORMAT);
                response.headers_mut().insert(CONTENT_TYPE, version);
                response
            }
            // Independent of the API server: an outage there must not restart us.
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => {
                let waiting = waiting_for(&self.index.read(), uptime().as_secs_f64());
                if waiting.is_empty() {
                    return text(StatusCode::OK, "ok\n");
                }
                text(StatusCode::SERVICE_UNAVAILABLE, waiting.join("\n") + "\n")
            }
            _ => text(StatusCode::NOT_FOUND, "try /metrics, /healthz or /readyz\n"),
        }
    }

    fn metrics(&self) -> Bytes {
        let mut rendered = self.rendered.lock();
        let began = Instant::now();
        if let Some(rendered) = rendered.as_ref().filter(|rendered| began < rendered.until) {
            return rendered.text.clone();
        }
        let text = Bytes::from(exposition(&self.registry));
        *rendered = Some(Rendered {
            text: text.clone(),
            until: Instant::now() + SHARED_FOR * began.elapsed(),
        });
        text
    }
}

/// What is missing until the controller is ready: every kind was read once, or is denied; and the API server
/// has confirmed lately what is known of each that is not denied.
fn waiting_for(index: &Index, now: f64) -> Vec<String> {
    let missing = |(kind, reading): (InputKind, &Reading)| {
        let stale = reading.stale_seconds(now);
        if reading.forbidden {
            None
        } else if !reading.synced {
            Some(format!("waiting for {}", kind.plural()))
        } else if stale > NOT_READY_AFTER {
            Some(format!("no news of {} for {stale:.0} s", kind.plural()))
        } else {
            None
        }
    };
    index.readings().filter_map(missing).collect()
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_once_everything_was_read_and_as_long_as_there_is_news() {
        let kinds = [InputKind::Pod, InputKind::Role];
        let mut index = Index::new(&kinds);
        assert_eq!(
            waiting_for(&index, 1.0),
            ["waiting for pods", "waiting for roles"]
        );
        index.read(InputKind::Role, |reading| reading.forbidden = true);
        index.read(InputKind::Pod, |reading| {
            reading.synced = true;
            reading.confirmed_seconds = Some(100.0);
        });
        assert!(waiting_for(&index, 100.0).is_empty());
        assert!(waiting_for(&index, 280.0).is_empty());
        assert_eq!(waiting_for(&index, 290.0), ["no news of pods for 190 s"]);
    }
}
