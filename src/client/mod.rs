//! How is the API server asked? What an error says, how long to wait for an answer and before the next request,
//! and the time that this is measured in.

mod backoff;
mod proxy;
mod throttle;

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use kube::{Client, client::ClientBuilder, core::Status};

pub use self::{
    backoff::{Backoff, doubled},
    throttle::Throttle,
};

/// A client, and the pause that the API server asked for.
#[derive(Clone)]
pub struct Connection {
    /// The client.
    pub client: Client,
    /// Requests that can wait do so while this lasts.
    pub throttle: Throttle,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection as the configuration says. Each request is sent once: the caller knows best whether, and
    /// when, to send it again. The client's own retries wait as long as the API server says, even for years.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(mut config: kube::Config) -> kube::Result<Self> {
        config.default_retry = false;
        config.proxy_url = proxy::between(&config.cluster_url, config.proxy_url);
        let throttle = Throttle::default();
        let client = ClientBuilder::try_from(config)?.with_layer(&throttle);
        Ok(Self {
            client: client.build(),
            throttle,
        })
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The API server answered with an error, or could not be reached.
    #[error("{}", explain(.0))]
    Api(#[from] kube::Error),
    /// It did not answer in time.
    #[error("no answer within {} seconds", .0.as_secs_f64())]
    Silent(Duration),
}

impl Failed {
    /// What the API server answered.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Api(kube::Error::Api(status)) => Some(status),
            _ => None,
        }
    }

    /// The HTTP status code of the answer.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }
}

/// Waits for the answer to a request, for a limited time.
///
/// # Errors
/// When the request fails, or is not answered in time.
pub async fn within<T>(
    limit: Duration,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Failed> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(Failed::Api),
        Err(_) => Err(Failed::Silent(limit)),
    }
}

/// Why a request was denied or failed, in one line.
#[must_use]
pub fn explain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => answered(status),
        // The innermost error says more than its wrappers: "connection refused", "certificate expired".
        other => innermost(other).to_string(),
    }
}

/// How much of an answer is shown, in bytes: a proxy may answer with a whole page.
const MAX_SHOWN: usize = 500;

/// What the API server answered: its own sentence where it denied the request.
fn answered(status: &Status) -> String {
    let message = status.message.trim_start().lines().next();
    let message = message.unwrap_or_default();
    let shown = &message[..message.floor_char_boundary(MAX_SHOWN)];
    if status.is_forbidden() {
        return shown.to_owned();
    }
    format!("the API server answered {}: {shown}", status.code)
}

fn innermost<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> &'a (dyn std::error::Error + 'static) {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner
}

/// The time since this process began to ask for it. Unlike a clock, it never jumps.
#[must_use]
pub fn uptime() -> Duration {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed()
}
