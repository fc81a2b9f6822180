//! The switch of the policy that withholds tokens: a RoleBinding that exists only while this controller is in sync.
//!
//! A mutating policy has no clock, so it cannot see that a summary is old. It asks whether the controller has a
//! permission that exists for nothing else, and that this binding alone grants. The binding is owned by the pod of the
//! controller: when that goes, the garbage collector takes it away.

mod names;

pub use self::names::Names;

use std::{cell::Cell, pin::pin, time::Duration};

use k8s_openapi::api::{authorization::v1::SubjectAccessReview, rbac::v1::RoleBinding};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams, Preconditions},
};
use tokio::time::{Instant, sleep};

use super::{
    cure::{Cure, Uncontrolled},
    reconcile::Context,
};
use crate::{
    client::{Failed, uptime, within},
    index::Reading,
    log::LogLimiter,
};

/// How often it is looked whether the controller is in sync.
const PERIOD: Duration = Duration::from_millis(250);
/// How often while its requests are denied, which costs the API server as much as if they were granted.
const DENIED: Duration = Duration::from_secs(2);
/// How often the binding is created again, in case somebody deleted it, and deleted again while it must not be there; and
/// how often it is looked whether what prevents the switch is over.
const RENEWAL: Duration = Duration::from_secs(10);
/// How long the API server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// For how many seconds the watch of a kind may fail.
const FAILING: f64 = 3.0;
/// How old, in seconds, what is known of a kind may be when its watch fails.
const STALE: f64 = 10.0;
/// How long a watch lasts, in seconds, where tokens are withheld by what is known: each one that begins shows that the
/// API server answers. Elsewhere it lasts longer.
pub const WATCH_SECONDS: u32 = 15;
/// How old, in seconds, what is known of a kind may be without a failure: a watch has died, or the API server does not
/// answer between two watches.
const SILENT: f64 = WATCH_SECONDS as f64 + 5.0;
/// How long answers may wait to be computed, or names to be withdrawn.
const WAITING: Duration = Duration::from_secs(1);
/// How late this may look until the process is taken for one that hung: events have not been read meanwhile.
const LATE: Duration = Duration::from_secs(2);
/// How long after that the switch stays off.
const CATCHING_UP: Duration = Duration::from_secs(5);
/// How long the API server may take to apply that the binding was deleted.
const PROPAGATION: Duration = Duration::from_secs(10);

/// What is known of the binding.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It may be there: an earlier process, another leader or a request without an answer may have left it.
    Unknown,
    Off,
    /// It is ours, and has this `uid`.
    On(String),
}

/// The switch.
pub struct Switch {
    api: Api<RoleBinding>,
    reviews: Api<SubjectAccessReview>,
    names: Names,
    state: State,
    /// When the binding was last created, or deleted.
    written: Option<Instant>,
    /// Until when it stays off.
    hold: Option<Instant>,
    /// Until when it is not looked again whether it can be switched on.
    pause: Option<Instant>,
    /// Whether this replica led when it was last looked.
    led: bool,
    /// Since when the permission is granted although the switch is off.
    granted: Option<Instant>,
}

impl Switch {
    /// A switch that is not known to be off.
    #[must_use]
    pub fn new(client: Client, names: Names) -> Self {
        Self {
            api: Api::namespaced(client.clone(), &names.namespace),
            reviews: Api::all(client),
            names,
            state: State::Unknown,
            written: None,
            hold: None,
            pause: None,
            led: false,
            granted: None,
        }
    }

    /// Switches off what an earlier process left on, with one request, unless that is done: whatever fails later in the
    /// start of this one, the switch is off.
    pub async fn begin(&mut self, cure: &Cure, log: &LogLimiter) {
        if self.state == State::Unknown
            && let Err(failed) = self.take_over(cure).await
        {
            log_failure(log, &failed);
        }
    }

    /// Keeps the binding while this replica leads and is in sync, and deletes it otherwise, until `stop` resolves; then
    /// it is deleted. `revisit` has every account assessed again.
    pub async fn run(
        &mut self,
        context: &Context,
        cure: &Cure,
        revisit: impl Fn(),
        stop: impl Future<Output = ()>,
    ) {
        let is_late = Cell::new(false);
        // Beside the requests, which may take long without the process being late.
        let watching_the_clock = async {
            loop {
                let began = Instant::now();
                sleep(PERIOD).await;
                if began.elapsed() > PERIOD + LATE {
                    is_late.set(true);
                }
            }
        };
        let stepping = async {
            let mut stop = pin!(stop);
            loop {
                let stepped = self.step(context, cure, &revisit, is_late.take()).await;
                let mut pause = PERIOD;
                if let Err(failed) = stepped {
                    log_failure(&context.log, &failed);
                    if failed.code() == Some(403) {
                        pause = DENIED;
                        self.pause = Some(Instant::now() + RENEWAL);
                        note_control(cure, Uncontrolled::Denied, true, &revisit);
                    }
                }
                tokio::select! {
                    () = &mut stop => break,
                    () = sleep(pause) => {}
                }
            }
        };
        tokio::select! {
            () = stepping => {}
            () = watching_the_clock => {}
        }
        self.end().await;
    }

    /// Switches off at the end of the process.
    pub async fn end(&mut self) {
        if let Err(failed) = self.off().await {
            tracing::warn!(%failed, "the switch could not be turned off: it is deleted with the pod");
        }
    }

    async fn step(
        &mut self,
        context: &Context,
        cure: &Cure,
        revisit: &impl Fn(),
        is_late: bool,
    ) -> Result<(), Failed> {
        let leads = context.leadership.is_mine();
        let led = std::mem::replace(&mut self.led, leads);
        if !leads {
            cure.forget();
            return self.off().await;
        }
        if is_late {
            self.hold(CATCHING_UP);
        }
        if !led {
            self.led = false;
            self.take_over(cure).await?;
            self.led = true;
        }
        let holds = self.hold.is_some_and(|until| Instant::now() < until);
        let is_in_sync = is_in_sync(context);
        if is_late || !is_in_sync {
            cure.restart();
        }
        if holds || !is_in_sync || cure.waiting() > WAITING {
            return self.off().await;
        }
        if self.state == State::Unknown {
            self.off().await?;
        }
        if self.state == State::Off {
            let pauses = self.pause.is_some_and(|until| Instant::now() < until);
            if pauses || !self.is_effective(context, cure, revisit).await? {
                return Ok(());
            }
        }
        self.keep().await?;
        note_control(cure, Uncontrolled::Denied, false, revisit);
        Ok(())
    }

    /// Whether the controller lacks the permission while the switch is off. If not for long, something else grants it, and
    /// the policy cannot be switched off: then nothing is listed.
    async fn is_effective(
        &mut self,
        context: &Context,
        cure: &Cure,
        revisit: &impl Fn(),
    ) -> Result<bool, Failed> {
        let is_granted = self.is_granted().await?;
        let since = self.granted.unwrap_or_else(Instant::now);
        self.granted = is_granted.then_some(since);
        let is_elsewhere = is_granted && since.elapsed() >= PROPAGATION;
        note_control(cure, Uncontrolled::GrantedElsewhere, is_elsewhere, revisit);
        if is_elsewhere {
            self.pause = Some(Instant::now() + RENEWAL);
            log_uncontrolled(&context.log, &self.names);
        }
        Ok(!is_granted)
    }

    /// Switches off whatever another process left on. One that did not end in order may have left a summary that is not
    /// true any more, and may do so again: the switch stays off for the grace period.
    async fn take_over(&mut self, cure: &Cure) -> Result<(), Failed> {
        self.state = State::Unknown;
        if self.delete(None).await? {
            self.hold(cure.grace());
        }
        self.deleted();
        Ok(())
    }

    fn hold(&mut self, time: Duration) {
        self.hold = self.hold.max(Some(Instant::now() + time));
    }

    fn deleted(&mut self) {
        (self.state, self.written) = (State::Off, Some(Instant::now()));
    }

    /// Whether it is time to write again.
    fn is_due(&self) -> bool {
        self.written
            .is_none_or(|written| written.elapsed() >= RENEWAL)
    }

    /// Switches off. A leader also deletes what others create; a standby only deletes what it created.
    ///
    /// # Errors
    /// When the API server does not delete the binding.
    pub async fn off(&mut self) -> Result<(), Failed> {
        let was_on = matches!(self.state, State::On(_));
        let uid = match &self.state {
            State::Off if !self.led || !self.is_due() => return Ok(()),
            State::On(uid) if !self.led => Some(uid.clone()),
            State::Off | State::On(_) | State::Unknown => None,
        };
        self.delete(uid).await?;
        self.deleted();
        if was_on {
            tracing::info!("tokens stay in pods: the switch is off");
        }
        Ok(())
    }

    /// Creates the binding, also where it should exist.
    async fn keep(&mut self) -> Result<(), Failed> {
        let known = match &self.state {
            State::On(_) if !self.is_due() => return Ok(()),
            State::On(uid) => Some(uid.clone()),
            State::Off | State::Unknown => None,
        };
        self.state = State::Unknown;
        let params = PostParams::default();
        let created = within(TIMEOUT, self.api.create(&params, &self.names.binding())).await;
        let uid = match created {
            Ok(binding) => {
                tracing::info!("unneeded tokens are withheld: the switch is on");
                binding.metadata.uid
            }
            // Ours is still there. One that is not ours goes: nobody else would delete it.
            Err(failed) if failed.code() == Some(409) => known,
            Err(failed) => return Err(failed),
        };
        if let Some(uid) = uid {
            (self.state, self.written) = (State::On(uid), Some(Instant::now()));
        }
        Ok(())
    }

    /// Deletes the binding, if it is there and has this `uid`; returns whether it was.
    async fn delete(&self, uid: Option<String>) -> Result<bool, Failed> {
        let params = DeleteParams {
            preconditions: uid.map(|uid| Preconditions {
                uid: Some(uid),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match within(TIMEOUT, self.api.delete(&self.names.role, &params)).await {
            Ok(_) => Ok(true),
            Err(failed) if matches!(failed.code(), Some(404 | 409)) => Ok(false),
            Err(failed) => Err(failed),
        }
    }

    /// Whether the controller has the permission that the policy asks for.
    async fn is_granted(&self) -> Result<bool, Failed> {
        let review = self.names.review();
        let params = PostParams::default();
        let review = within(TIMEOUT, self.reviews.create(&params, &review)).await?;
        Ok(review.status.is_none_or(|status| status.allowed))
    }
}

/// Notes whether the policy cannot be switched off for this reason; if that is new, every account is assessed again.
fn note_control(cure: &Cure, why: Uncontrolled, is_so: bool, revisit: &impl Fn()) {
    if cure.note_control(why, is_so) {
        revisit();
    }
}

/// Whether everything is known, and every kind is watched.
fn is_in_sync(context: &Context) -> bool {
    let now = uptime().as_secs_f64();
    let index = context.index.read();
    index.is_settled()
        && index
            .readings()
            .all(|(_, reading)| is_watched(reading, now))
}

/// Whether what is known of a kind is current at this time of the reader.
fn is_watched(reading: &Reading, now: f64) -> bool {
    let age = reading.stale_seconds(now);
    let fails = |since| now - since > FAILING || age > STALE;
    !reading.forbidden && age <= SILENT && !reading.failing_since.is_some_and(fails)
}

fn log_failure(log: &LogLimiter, failed: &Failed) {
    if log.failed("switch", "") {
        let fix = "grant `create` on `rolebindings`, `delete` on the one of the switch and `bind` on its Role, as the chart does with cure.mode";
        tracing::warn!(%failed, fix, "the switch of the policy that withholds tokens cannot be set");
    } else {
        tracing::debug!(%failed, "the switch cannot be set");
    }
}

fn log_uncontrolled(log: &LogLimiter, names: &Names) {
    if log.failed("switch", "granted otherwise") {
        let account = &names.service_account;
        let fix = "remove the binding that gives this ServiceAccount `permit` on `cures` (apiGroup tokenexposure.io), for example one to cluster-admin";
        tracing::warn!(
            account,
            fix,
            "no token is withheld: something other than the switch grants its permission, so the policy could not be turned off"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_watched_until_it_is_denied_or_fails_or_is_silent() {
        let reading = Reading {
            confirmed_seconds: Some(100.0),
            ..Reading::default()
        };
        let failing = Reading {
            failing_since: Some(101.0),
            ..reading
        };
        let forbidden = Reading {
            forbidden: true,
            ..reading
        };
        for (reading, now, expected) in [
            (reading, 100.0, true),
            // A watch begins again, and says so.
            (reading, 100.0 + f64::from(WATCH_SECONDS), true),
            (reading, 100.5 + SILENT, false),
            (failing, 103.0, true),
            (failing, 104.5, false),
            (forbidden, 100.0, false),
        ] {
            assert_eq!(is_watched(&reading, now), expected, "{reading:?} at {now}");
        }
        // One that fails after a silence is not waited for.
        let failing = Reading {
            failing_since: Some(110.9),
            ..reading
        };
        assert!(!is_watched(&failing, 111.0));
    }
}
