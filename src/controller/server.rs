//! `/metrics`, `/healthz` and `/readyz` on one address.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::Registry;
use tokio::{net::TcpListener, sync::Semaphore};

use super::metrics::exposition;
use crate::{index::SharedIndex, log::LogLimiter};

/// How many connections are served at a time; others wait.
const MAX_CONNECTIONS: usize = 64;
/// What fails, as the log limiter remembers it.
const CONNECTIONS: &str = "connections";
/// How long a client may take to send the head of a request.
const HEADER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
/// How many bytes of a request's head are read.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// A server that is bound and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    registry: Arc<Registry>,
    index: SharedIndex,
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
            registry,
            index,
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
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            let connection = match self.listener.accept().await {
                Ok((connection, _)) => {
                    if self.log.recovered(CONNECTIONS).is_some() {
                        tracing::info!("connections are accepted again");
                    }
                    connection
                }
                Err(error) => {
                    if self.log.failed(CONNECTIONS, "") {
                        tracing::warn!(%error, "cannot accept connections; retrying");
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (registry, index) = (self.registry.clone(), self.index.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answer = answer(&request, &registry, &index);
                    async { Ok::<_, Infallible>(answer) }
                });
                let served = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .max_buf_size(MAX_HEADER_BYTES)
                    .serve_connection(TokioIo::new(connection), service)
                    .await;
                if let Err(error) = served {
                    tracing::debug!(%error, "a connection ended early");
                }
                drop(place);
            });
        }
    }
}

fn answer(
    request: &Request<Incoming>,
    registry: &Arc<Registry>,
    index: &SharedIndex,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served\n");
    }
    match request.uri().path() {
        "/metrics" => {
            let mut response = text(StatusCode::OK, exposition(registry));
            let version = HeaderValue::from_static(prometheus::TEXT_FORMAT);
            response.headers_mut().insert(CONTENT_TYPE, version);
            response
        }
        // Independent of the API server: an outage there must not restart us.
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => readiness(index),
        _ => text(StatusCode::NOT_FOUND, "try /metrics, /healthz or /readyz\n"),
    }
}

/// Ready once every kind was read; until then the answer names the kinds that are missing.
fn readiness(index: &SharedIndex) -> Response<Full<Bytes>> {
    let index = index.read();
    if index.is_settled() {
        return text(StatusCode::OK, "ok\n");
    }
    let waiting: Vec<_> = index
        .readings()
        .filter(|(_, reading)| !reading.synced && !reading.forbidden)
        .map(|(kind, _)| kind.plural())
        .collect();
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("waiting for {}\n", waiting.join(", ")),
    )
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
