//! Which of several replicas writes reports? The leader, which holds a Lease.
//!
//! It saves work and is not needed for correctness: two leaders write the same bytes. Mirrors
//! client-go's leaderelection: a leader is gone when its Lease has not changed for its
//! `leaseDurationSeconds`, by the clock of the replica that looks; clocks of two machines are never
//! compared. Every write names the resourceVersion that it replaces, so that of two candidates one loses.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{sync::watch, time::Instant};

use crate::log::LogLimiter;

/// How long a Lease is valid without a renewal.
const DURATION: Duration = Duration::from_secs(15);
/// How long after its last renewal a leader still writes: it stops before a standby begins.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// What fails, as the log limiter remembers it.
const LEASE: &str = "Lease";
/// How long one round may take: two requests.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a leader renews the Lease.
const RENEW_PERIOD: Duration = Duration::from_secs(5);
/// How often a standby looks at the Lease, and a leader that could not renew it tries again.
const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// Whether this replica writes reports.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<Until>);

/// Until when a replica writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// It is the only replica.
    Always,
    Never,
    /// Unless it renews. A process that was suspended does not write after this.
    Then(Instant),
}

impl Leadership {
    /// The leadership of the only replica.
    #[must_use]
    pub fn alone() -> Self {
        Self(watch::channel(Until::Always).1)
    }

    /// Whether this replica writes now.
    #[must_use]
    pub fn is_mine(&self) -> bool {
        match *self.0.borrow() {
            Until::Always => true,
            Until::Never => false,
            Until::Then(deadline) => Instant::now() < deadline,
        }
    }
}

/// A candidate for leadership.
pub struct Election {
    leases: Api<Lease>,
    name: String,
    identity: String,
    until: watch::Sender<Until>,
    log: LogLimiter,
    /// The Lease as it was read last, and since when it has not changed.
    seen: Option<(Lease, Instant)>,
    /// Whether a write was sent whose answer is not known.
    is_unsure: bool,
}

impl Election {
    /// A candidate called `identity`, for the Lease `name` in `namespace`.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
        log: LogLimiter,
    ) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            until: watch::channel(Until::Never).0,
            log,
            seen: None,
            is_unsure: false,
        }
    }

    /// Whether this candidate leads, as it changes.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        Leadership(self.until.subscribe())
    }

    /// Takes part in the election until it is dropped; calls `gained` each time that this replica becomes
    /// the leader.
    pub async fn run(&mut self, gained: impl Fn()) {
        // The leader as of the last answer: a process that was suspended notices that it no longer leads, and logs it.
        let mut led = false;
        loop {
            let began = Instant::now();
            let round = tokio::time::timeout(REQUEST_TIMEOUT, self.round()).await;
            let is_answered = matches!(round, Ok(Ok(_)));
            match round {
                Ok(Ok(true)) => {
                    // What changed after the deadline was passed over, also where no other replica led meanwhile.
                    led &= self.leadership().is_mine();
                    self.until.send_replace(Until::Then(began + RENEW_DEADLINE));
                    if !led {
                        tracing::info!(
                            identity = self.identity,
                            "leading: this replica writes reports"
                        );
                        gained();
                    }
                    self.log_recovery();
                    led = true;
                }
                Ok(Ok(false)) => {
                    self.until.send_replace(Until::Never);
                    if led {
                        let lease = self.seen.as_ref().map(|(lease, _)| lease);
                        tracing::info!(holder = holder(lease), "another replica leads");
                    }
                    self.log_recovery();
                    led = false;
                }
                // It stays the leader until the deadline.
                Ok(Err(error)) => self.log_failure(&error.to_string()),
                Err(_) => self.log_failure("no answer in time"),
            }
            let period = if is_answered && self.leadership().is_mine() {
                RENEW_PERIOD
            } else {
                RETRY_PERIOD
            };
            tokio::time::sleep(period).await;
        }
    }

    /// Releases the Lease, so that a standby need not wait until it expires.
    pub async fn release(self) {
        if !self.leadership().is_mine() && !self.is_unsure {
            return;
        }
        self.until.send_replace(Until::Never);
        let released = async { while !self.is_released().await.unwrap_or(true) {} };
        // If this fails, the Lease expires.
        let _ = tokio::time::timeout(REQUEST_TIMEOUT, released).await;
    }

    /// Writes that nobody holds the Lease, unless another replica holds it; false on a conflict. Written also if
    /// nobody holds it: a write of ours that is still on its way is in conflict then.
    async fn is_released(&self) -> kube::Result<bool> {
        let lease = self.leases.get_opt(&self.name).await?;
        let holder = holder(lease.as_ref());
        if !holder.is_empty() && holder != self.identity {
            return Ok(true);
        }
        let written = self.write(lease, "").await;
        match written {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            written => written.map(|_| true),
        }
    }

    /// Renews the Lease, acquires it, or finds that another replica holds it; whether we hold it now.
    async fn round(&mut self) -> kube::Result<bool> {
        let known = self.leases.get_opt(&self.name).await?;
        if let Some(lease) = &known
            && self.is_held_by_another(lease)
        {
            return Ok(false);
        }
        self.is_unsure = true;
        let ours = self.write(known, &self.identity).await;
        self.settled(ours)
    }

    /// Whether another replica holds the Lease, which has just been read.
    fn is_held_by_another(&mut self, lease: &Lease) -> bool {
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        let known = self.seen.as_ref();
        let since = known
            .filter(|(known, _)| version(known) == version(lease))
            .map_or_else(Instant::now, |(_, since)| *since);
        self.seen = Some((lease.clone(), since));
        let holder = holder(Some(lease));
        let spec = lease.spec.as_ref();
        let lasts = spec.and_then(|spec| spec.lease_duration_seconds);
        let lasts =
            Duration::from_secs(u64::try_from(lasts.unwrap_or_default()).unwrap_or_default());
        holder != self.identity && !holder.is_empty() && since.elapsed() < lasts
    }

    /// Writes who holds the Lease, as it was read; one that was not there is created.
    async fn write(&self, known: Option<Lease>, holder: &str) -> kube::Result<Lease> {
        let is_new = known.is_none();
        let lease = self.renewed(known.unwrap_or_default(), holder.to_owned());
        let params = PostParams::default();
        if is_new {
            self.leases.create(&params, &lease).await
        } else {
            self.leases.replace(&self.name, &params, &lease).await
        }
    }

    /// Whether a write made us the holder: on a conflict another replica was faster.
    fn settled(&mut self, written: kube::Result<Lease>) -> kube::Result<bool> {
        // A denied write was not done; after any other failure it may have been.
        self.is_unsure = match &written {
            Ok(_) => false,
            Err(kube::Error::Api(status)) => status.code >= 500,
            Err(_) => true,
        };
        match written {
            Ok(lease) => {
                self.seen = Some((lease, Instant::now()));
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The Lease renewed now, for this holder.
    fn renewed(&self, mut lease: Lease, holder: String) -> Lease {
        let now = MicroTime(Timestamp::now());
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        if spec.holder_identity.as_ref() != Some(&holder) {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions =
                Some(spec.lease_transitions.unwrap_or_default().saturating_add(1));
        }
        spec.holder_identity = Some(holder);
        spec.renew_time = Some(now);
        spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
        lease.metadata = ObjectMeta {
            name: Some(self.name.clone()),
            ..lease.metadata
        };
        lease
    }

    fn log_recovery(&self) {
        if self.log.recovered(LEASE).is_some() {
            tracing::info!(name = self.name, "the Lease can be renewed again");
        }
    }

    fn log_failure(&self, cause: &str) {
        if self.log.failed(LEASE, "") {
            let fix = "grant `get`, `create` and `update` on `leases` (apiGroup coordination.k8s.io) in the namespace of the controller";
            tracing::warn!(cause, fix, name = self.name, "the Lease cannot be renewed");
        } else {
            tracing::debug!(cause, "the Lease cannot be renewed");
        }
    }
}

/// Who holds a Lease; empty if nobody does.
fn holder(lease: Option<&Lease>) -> &str {
    let holder = lease.and_then(|lease| lease.spec.as_ref()?.holder_identity.as_deref());
    holder.unwrap_or_default()
}
