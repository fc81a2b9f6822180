//! Which of several replicas writes reports? The one that holds a Lease.
//!
//! It saves work and is not needed for correctness: two leaders write the same bytes. Mirrors
//! client-go's leaderelection: a holder is gone when its Lease has not changed for as long as it says,
//! by the clock of whoever looks, which is compared with no other; every write names the
//! resourceVersion that it was made for, so that of two candidates one loses.

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

/// How long a Lease that does not change is still its holder's.
const DURATION: Duration = Duration::from_secs(15);
/// How long after its last renewal a holder still writes: it stops before anybody else begins.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a holder renews.
const RENEW_PERIOD: Duration = Duration::from_secs(5);
/// How often a standby looks.
const STANDBY_PERIOD: Duration = Duration::from_secs(2);

/// Whether this replica writes reports.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<Until>);

/// Until when a replica writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// It is the only one.
    Always,
    Never,
    /// Unless it renews. A process that was frozen does not write after this, however it wakes up.
    Then(Instant),
}

impl Leadership {
    /// That of a replica which shares the work with no other.
    #[must_use]
    pub fn alone() -> Self {
        Self(watch::channel(Until::Always).1)
    }

    /// Whether it writes now.
    #[must_use]
    pub fn is_mine(&self) -> bool {
        match *self.0.borrow() {
            Until::Always => true,
            Until::Never => false,
            Until::Then(deadline) => Instant::now() < deadline,
        }
    }
}

/// A candidate for the leadership.
pub struct Election {
    leases: Api<Lease>,
    name: String,
    identity: String,
    until: watch::Sender<Until>,
    /// The Lease as it was seen last, and since when it has been so.
    seen: Option<(Lease, Instant)>,
}

impl Election {
    /// A candidate that is called `identity`, for the Lease of a name and namespace.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            until: watch::channel(Until::Never).0,
            seen: None,
        }
    }

    /// Whether this candidate leads, as it changes.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        Leadership(self.until.subscribe())
    }

    /// Stands for election for ever; `gained` is called each time that it is won.
    pub async fn run(&mut self, gained: impl Fn()) {
        // Whoever was frozen finds that it does not lead any more, and says so.
        let (mut failing, mut led) = (false, false);
        loop {
            let began = Instant::now();
            match tokio::time::timeout(REQUEST_TIMEOUT, self.round()).await {
                Ok(Ok(true)) => {
                    self.until.send_replace(Until::Then(began + RENEW_DEADLINE));
                    if !led {
                        tracing::info!(
                            identity = self.identity,
                            "leading: this replica writes reports"
                        );
                        gained();
                    }
                    (failing, led) = (false, true);
                }
                Ok(Ok(false)) => {
                    self.until.send_replace(Until::Never);
                    if led {
                        tracing::info!(holder = self.holder(), "another replica leads");
                    }
                    (failing, led) = (false, false);
                }
                // Until the deadline it leads on.
                Ok(Err(error)) => self.complain(&error.to_string(), &mut failing),
                Err(_) => self.complain("no answer in time", &mut failing),
            }
            let period = if self.leadership().is_mine() {
                RENEW_PERIOD
            } else {
                STANDBY_PERIOD
            };
            tokio::time::sleep(period).await;
        }
    }

    /// Gives the Lease back, so that a standby need not wait for its end.
    pub async fn release(mut self) {
        if !self.leadership().is_mine() {
            return;
        }
        self.until.send_replace(Until::Never);
        let Some((lease, _)) = self.seen.take() else {
            return;
        };
        let released = self.renewed(lease, String::new());
        let params = PostParams::default();
        let released = self.leases.replace(&self.name, &params, &released);
        // If it fails, the Lease ends by itself.
        let _ = tokio::time::timeout(REQUEST_TIMEOUT, released).await;
    }

    /// Renews the Lease, takes it, or sees that it is another's: whether it is ours now.
    async fn round(&mut self) -> kube::Result<bool> {
        let Some(lease) = self.leases.get_opt(&self.name).await? else {
            let made = self.renewed(Lease::default(), self.identity.clone());
            let made = self.leases.create(&PostParams::default(), &made).await;
            return self.settled(made);
        };
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        let known = self.seen.as_ref();
        let since = known
            .filter(|(known, _)| version(known) == version(&lease))
            .map_or_else(Instant::now, |(_, since)| *since);
        let spec = lease.spec.clone().unwrap_or_default();
        self.seen = Some((lease.clone(), since));
        let holder = spec.holder_identity.unwrap_or_default();
        let lasts = spec.lease_duration_seconds.unwrap_or_default();
        let lasts = Duration::from_secs(u64::try_from(lasts).unwrap_or_default());
        if holder != self.identity && !holder.is_empty() && since.elapsed() < lasts {
            return Ok(false);
        }
        let ours = self.renewed(lease, self.identity.clone());
        let params = PostParams::default();
        let ours = self.leases.replace(&self.name, &params, &ours).await;
        self.settled(ours)
    }

    /// What came of writing it: another was faster where the API server speaks of a conflict.
    fn settled(&mut self, written: kube::Result<Lease>) -> kube::Result<bool> {
        match written {
            Ok(lease) => {
                self.seen = Some((lease, Instant::now()));
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The Lease with another renewal, and with another holder perhaps.
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

    fn holder(&self) -> &str {
        let spec = self
            .seen
            .as_ref()
            .and_then(|(lease, _)| lease.spec.as_ref());
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref());
        holder.unwrap_or_default()
    }

    fn complain(&self, cause: &str, failing: &mut bool) {
        if std::mem::replace(failing, true) {
            tracing::debug!(cause, "the Lease cannot be renewed");
        } else {
            let fix = "grant `get`, `create` and `update` on `leases` (apiGroup coordination.k8s.io) in the namespace of the controller";
            tracing::warn!(cause, fix, name = self.name, "the Lease cannot be renewed");
        }
    }
}
