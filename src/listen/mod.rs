//! What do the API servers send of what they audit? Receives the batches of their audit webhooks, and keeps what was
//! learnt from them across restarts.
//!
//! Whoever may post could make a token look used, and so needed. There is no mode without mutual TLS, and no client is
//! heard whose certificate another authority signed. Nothing waits for us: a batch that is too large, or for which there
//! is no room now, is refused, and is a hole. An API server sends most of those once more.

mod canary;
mod counters;
pub mod memory;
mod receive;
mod tls;

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::AbortHandle,
    time::{Instant, timeout},
};

use self::receive::Receiver;
pub use self::{
    canary::Canary,
    counters::Counters,
    tls::{Fault, Files, Tls},
};
use crate::{cluster::watch::Feed, log::LogLimiter};

/// How many connections wait for a client's certificate; the oldest makes room for one more.
const MAX_UNKNOWN: usize = 32;
/// How many clients are connected; a further one is turned away. An API server needs a few connections.
const MAX_CLIENTS: usize = 64;
/// How long a client may take to show its certificate.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may be without a request: an API server sends a batch at least every 30 seconds, if anything
/// happens.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
/// How many bytes of a request's head are read.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// How often the certificates are read again.
const RELOAD_PERIOD: Duration = Duration::from_secs(30);
/// What fails, as the log limiter remembers it.
const CLIENTS: &str = "clients of --audit-listen";

/// An address that is bound, and where nobody answers yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    tls: Tls,
    counters: Counters,
    log: LogLimiter,
}

impl Listener {
    /// Binds an address; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(
        address: SocketAddr,
        tls: Tls,
        counters: Counters,
        log: LogLimiter,
    ) -> io::Result<Self> {
        Ok(Self {
            socket: TcpListener::bind(address).await?,
            tls,
            counters,
            log,
        })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// What limits its logs.
    #[must_use]
    pub fn log(&self) -> LogLimiter {
        self.log.clone()
    }

    /// Receives events into the index, and lets requests of ours come back as such, until it is dropped.
    pub async fn serve(self, feed: &Feed, canary: &Canary) {
        let counters = self.counters.clone();
        let receiver = Receiver::new(
            feed.clone(),
            canary.own.clone(),
            counters.clone(),
            self.log.clone(),
        );
        futures::future::join(
            self.receive(Arc::new(receiver)),
            canary.sing(feed, &counters),
        )
        .await;
    }

    async fn receive(mut self, receiver: Arc<Receiver>) {
        let clients = Arc::new(Semaphore::new(MAX_CLIENTS));
        let mut unknown: VecDeque<(AbortHandle, Arc<AtomicBool>)> = VecDeque::new();
        let mut read = Instant::now();
        loop {
            let wait = RELOAD_PERIOD.saturating_sub(read.elapsed());
            let accepted = timeout(wait, self.socket.accept()).await;
            if read.elapsed() >= RELOAD_PERIOD {
                read = Instant::now();
                self.tls.reload(&self.log);
            }
            let connection = match accepted {
                Err(_) => continue,
                Ok(Ok((connection, _))) => connection,
                Ok(Err(error)) => {
                    if self.log.failed(CLIENTS, "accept") {
                        tracing::warn!(%error, "cannot accept connections of API servers; retrying");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            unknown.retain(|(task, is_known)| {
                !task.is_finished() && !is_known.load(Ordering::Relaxed)
            });
            if unknown.len() >= MAX_UNKNOWN
                && let Some((oldest, _)) = unknown.pop_front()
            {
                oldest.abort();
            }
            let is_known = Arc::new(AtomicBool::new(false));
            let client = Client {
                tls: self.tls.acceptor(),
                receiver: receiver.clone(),
                clients: clients.clone(),
                is_known: is_known.clone(),
                log: self.log.clone(),
            };
            let task = tokio::spawn(client.serve(connection));
            unknown.push_back((task.abort_handle(), is_known));
        }
    }
}

/// A connection.
struct Client {
    tls: tokio_rustls::TlsAcceptor,
    receiver: Arc<Receiver>,
    clients: Arc<Semaphore>,
    is_known: Arc<AtomicBool>,
    log: LogLimiter,
}

impl Client {
    async fn serve(self, connection: TcpStream) {
        let connection = match timeout(HANDSHAKE_TIMEOUT, self.tls.accept(connection)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                if self.log.failed(CLIENTS, "handshake") {
                    tracing::warn!(%error, "a client was refused: it needs a certificate that --audit-client-ca signed, and must trust that of --audit-tls-cert");
                }
                return;
            }
            Err(_) => return tracing::debug!("a client did not show its certificate in time"),
        };
        let Ok(_place) = self.clients.try_acquire() else {
            if self.log.failed(CLIENTS, "many") {
                tracing::warn!("a client was turned away: {MAX_CLIENTS} are connected");
            }
            return;
        };
        self.is_known.store(true, Ordering::Relaxed);
        let receiver = self.receiver.clone();
        let service = hyper::service::service_fn(move |request| {
            let receiver = receiver.clone();
            async move { Ok::<_, std::convert::Infallible>(receiver.answer(request).await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_TIMEOUT)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(connection), service);
        if let Err(error) = served.await {
            tracing::debug!(%error, "a connection of an API server ended early");
        }
    }
}
