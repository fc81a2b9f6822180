//! Watches objects into the index, and streams the accounts whose answer may have changed.
//!
//! `kube::runtime::watcher` hides bookmarks and resource versions, begins a streamed list with whatever an
//! API server has in its cache, and waits as long as a watch may last until it notices that one is dead. Here
//! each watch lasts a minute at most, or less where that is asked for, and before the next one the API server is asked
//! whether its history still contains what is known.

mod entering;
mod failure;
mod feed;
mod relist;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use kube::{
    Api,
    api::{ListParams, WatchParams},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

use self::failure::{Denial, Failure};
pub use self::feed::Feed;
use super::{
    OptIns, each_kind, list,
    object::{Object, field_selector},
    protobuf::{self, Event},
};
use crate::{
    client::{Backoff, Connection, uptime, within},
    facts::{Kind, Reports, Summaries, Wire},
    index::{Index, Indexed},
    model::Selection,
};

/// How much later a watch may end until the API server is taken for silent.
const GRACE: Duration = Duration::from_secs(5);
/// How long a streamed list may last, in seconds. 150,000 pods take 40 s.
const STREAM_SECONDS: u32 = 600;
/// How long the API server may send nothing within a streamed list.
const SILENCE: Duration = Duration::from_mins(1);
/// How long the API server may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// The first pause after a failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after failures, and the shortest time from one request to the next.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A watch that lasted this long, or half of its time, has worked: the next pause is the first.
const STEADY: Duration = Duration::from_secs(30);

/// How objects are watched.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What is watched beside [`KINDS`](super::KINDS).
    pub opt_ins: OptIns,
    /// How long one watch lasts, in seconds: the API server ends it, and the next one goes on from there. One that dies
    /// without an error is noticed some seconds later.
    pub watch_seconds: u32,
    /// How long the API server must deny a kind until it counts as denied: an API server that starts denies
    /// everything until it has read its own RBAC objects.
    pub forbidden_after: Duration,
}

/// Watches every kind of [`kinds`](super::kinds), and our own reports and summaries, until it is dropped.
pub async fn watch_all(connection: &Connection, feed: &Feed, options: Options) {
    futures::future::join3(
        each_kind!(options.opt_ins, watch(connection, feed, options)),
        watch::<Reports>(connection, feed, options),
        watch::<Summaries>(connection, feed, options),
    )
    .await;
}

async fn watch<K: Kind + Clone + Send + Sync + std::fmt::Debug>(
    connection: &Connection,
    feed: &Feed,
    options: Options,
) where
    Index: Indexed<K>,
{
    let mut watch = Watch::<K> {
        connection: connection.clone(),
        api: Api::all(connection.client.clone()),
        feed: feed.clone(),
        selection: feed.index.read().config().namespaces.clone(),
        streams: true,
        protobuf: true,
        version: None,
        history: feed.histories.subscribe(),
        is_checked: false,
        received: false,
        seconds: options.watch_seconds,
        denial: Denial::new(options.forbidden_after),
    };
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let steady = STEADY.min(Duration::from_secs(options.watch_seconds.into()) / 2);
    loop {
        connection.throttle.passed().await;
        let began = Instant::now();
        watch.received = false;
        let follows = watch.version.is_some();
        let result = watch.step().await;
        if watch.received || (follows && began.elapsed() >= steady) {
            backoff.reset();
        }
        let pause = match result {
            // All objects were read: the watch goes on from there.
            Ok(()) if watch.is_checked => Duration::ZERO,
            // An API server that ends each watch at once is not asked without a pause.
            Ok(()) => FIRST_PAUSE.saturating_sub(began.elapsed()),
            Err(failure) if watch.refuses_protobuf(&failure) => Duration::ZERO,
            Err(failure) => watch.failed(&failure, backoff.next_pause()),
        };
        sleep(pause).await;
    }
}

/// The watch of one kind.
#[expect(clippy::struct_excessive_bools, reason = "they are independent")]
struct Watch<K: Kind> {
    connection: Connection,
    api: Api<Object<K>>,
    feed: Feed,
    selection: Selection,
    /// Whether the API server streams lists, as WatchList (KEP-3157) says: a feature gate can disable it in any
    /// version.
    streams: bool,
    /// Whether to ask for protobuf, if the kind is read so.
    protobuf: bool,
    /// Up to where its history is known; `None` before all objects were read, and when they must be read again.
    version: Option<String>,
    /// Changes when another kind finds that the history is another one.
    history: watch::Receiver<u64>,
    /// Whether `version` is known to be in the history of the API server.
    is_checked: bool,
    /// Whether news arrived: an event of a watch, or a whole list. A part of a list is none: each attempt may end there.
    received: bool,
    /// How long one watch lasts, in seconds.
    seconds: u32,
    denial: Denial,
}

impl<K: Kind + Clone + Send + Sync + std::fmt::Debug> Watch<K>
where
    Index: Indexed<K>,
{
    /// Reads all objects, or goes on from where the last watch ended.
    async fn step(&mut self) -> Result<(), Failure> {
        if self.history.has_changed().unwrap_or_default() {
            self.version = None;
        }
        let Some(version) = self.version.clone() else {
            self.await_selection().await;
            self.history.mark_unchanged();
            self.version = Some(self.list().await?);
            self.is_checked = true;
            self.received = true;
            self.confirm();
            return Ok(());
        };
        if !std::mem::take(&mut self.is_checked) {
            self.check(&version).await?;
        }
        self.enter().await?;
        self.follow(&version).await
    }

    /// Whether a request failed only because it asked for protobuf; the next one asks for JSON.
    fn refuses_protobuf(&mut self, failure: &Failure) -> bool {
        let is_refused = self.protobuf && failure.refuses_protobuf();
        if is_refused {
            self.protobuf = false;
            protobuf::log_refusal(K::INPUT, failure);
            self.feed
                .write(|index| index.read(K::INPUT, |reading| reading.errors += 1));
        }
        is_refused
    }

    /// Begins a watch.
    async fn events(
        &self,
        params: &WatchParams,
        version: &str,
    ) -> Result<BoxStream<'static, kube::Result<Event<K>>>, Failure> {
        let Some(decode) = K::Wire::DECODE.filter(|_| self.protobuf) else {
            let events = within(ANSWER, self.api.watch(params, version)).await?;
            return Ok(events.map_ok(Event::from).boxed());
        };
        let request = kube::core::Request::new(self.api.resource_url()).watch(params, version);
        let request = request.map_err(kube::Error::BuildRequest)?;
        let events = protobuf::watch(&self.connection.client, request, decode);
        Ok(within(ANSWER, events).await?)
    }

    /// Asks the API server for its newest version, and fails if that is older than what is known: then it has
    /// another history, for example because etcd was restored, and a watch would wait for events that never come.
    /// The versions of one kind are comparable (KEP-5504).
    async fn check(&mut self, known: &str) -> Result<(), Failure> {
        let one = ListParams::default().limit(1);
        let newest = within(ANSWER, self.api.list_metadata(&one)).await?.metadata;
        let newest = newest.resource_version.unwrap_or_default();
        if is_older(&newest, known) {
            return Err(Failure::WentBack {
                known: known.to_owned(),
                newest,
            });
        }
        Ok(())
    }

    /// Watches from a version on, until the API server ends the watch.
    async fn follow(&mut self, version: &str) -> Result<(), Failure> {
        let lasts = Duration::from_secs(self.seconds.into()) + GRACE;
        let deadline = Instant::now() + lasts;
        let params = self.params(self.seconds, false);
        let mut events = self.events(&params, version).await?;
        self.confirm();
        loop {
            let event = tokio::select! {
                event = timeout_at(deadline, events.next()) => event,
                () = self.feed.entering(K::INPUT) => return Ok(()),
                // All objects are read again.
                _ = self.history.changed() => {
                    self.version = None;
                    return Ok(());
                }
            };
            let Ok(event) = event else {
                return Err(Failure::Silent(lasts));
            };
            let Some(event) = event else { return Ok(()) };
            match event? {
                Event::Changed(object) => {
                    self.advance(object.version())?;
                    self.receive(|index| object.apply_to(index));
                }
                Event::Deleted(object) => {
                    self.advance(object.version())?;
                    self.receive(|index| object.delete_from(index));
                }
                Event::Bookmark { version, .. } => {
                    self.advance(&version)?;
                    self.confirm();
                }
                Event::Failed(status) => return Err(kube::Error::Api(status).into()),
            }
        }
    }

    fn params(&self, seconds: u32, send_initial_events: bool) -> WatchParams {
        WatchParams {
            timeout: Some(seconds),
            field_selector: field_selector(K::INPUT, &self.selection),
            send_initial_events,
            ..WatchParams::default()
        }
    }

    /// Notes a version that the API server sent. Versions of one watch grow; one that does not means that the
    /// events are out of order.
    fn advance(&mut self, version: &str) -> Result<(), Failure> {
        if version.is_empty() {
            return Err(Failure::NoVersion);
        }
        let known = self.version.get_or_insert_default();
        if is_older(version, known) {
            return Err(Failure::WentBack {
                known: known.clone(),
                newest: version.to_owned(),
            });
        }
        version.clone_into(known);
        Ok(())
    }

    /// Changes the index by an event of a watch.
    fn receive(&mut self, change: impl FnOnce(&mut Index)) {
        self.note(change, Some(uptime()), Some(SystemTime::now()));
    }

    /// Changes the index by an object of a list that is not complete yet.
    fn load(&mut self, change: impl FnOnce(&mut Index)) {
        self.note(change, None, Some(SystemTime::now()));
    }

    /// Notes that the API server has just confirmed what is known.
    fn confirm(&mut self) {
        self.note(|_| {}, Some(uptime()), None);
    }

    fn note(
        &mut self,
        change: impl FnOnce(&mut Index),
        confirmed: Option<Duration>,
        received: Option<SystemTime>,
    ) {
        self.received |= received.is_some() && confirmed.is_some();
        if confirmed.is_some() {
            self.denial.passed(K::INPUT, &self.feed);
        }
        let version = self.version.as_deref().filter(|_| confirmed.is_some());
        let version = version.and_then(|version| version.parse().ok());
        let since_1970 = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.feed.write(|index| {
            index.read(K::INPUT, |reading| {
                if let Some(confirmed) = confirmed {
                    reading.confirmed_seconds = Some(confirmed.as_secs_f64());
                    reading.version = version;
                    reading.failing_since = None;
                }
                if let Some(received) = received {
                    reading.last_event_seconds = since_1970(received).as_secs_f64();
                }
            });
            change(index);
        });
    }

    /// Notes a failure, logs it, and returns how long to wait.
    fn failed(&mut self, failure: &Failure, pause: Duration) -> Duration {
        if failure.needs_a_list() {
            self.version = None;
        }
        let outcome = self.denial.failed(K::INPUT, failure, &self.feed);
        if outcome.is_denied {
            // Only a complete list clears it: what was known before is old.
            self.version = None;
        }
        let went_back = matches!(failure, Failure::WentBack { .. });
        // Unless another kind has found it already: then this one is to be read again anyway.
        if went_back && !self.history.has_changed().unwrap_or_default() {
            self.feed.write(Index::distrust);
            self.feed.histories.send_modify(|histories| *histories += 1);
        }
        self.feed.write(|index| {
            index.read(K::INPUT, |reading| {
                reading.errors += 1;
                let now = uptime().as_secs_f64();
                reading.failing_since.get_or_insert(now);
                reading.regressions += u64::from(went_back);
                reading.forbidden |= outcome.is_denied;
            });
        });
        outcome.wait_at_most.map_or(pause, |most| pause.min(most))
    }
}

/// Whether a resource version is older than another; those that are no numbers cannot be compared.
fn is_older(version: &str, than: &str) -> bool {
    matches!((version.parse::<u128>(), than.parse::<u128>()), (Ok(version), Ok(than)) if version < than)
}
