//! Watches objects into the index, and streams the accounts whose answer may have changed.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{Stream, StreamExt, stream};
use kube::{
    Api, Client,
    core::Status,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::Notify;

use super::{
    answered, each_kind, explain, missing_rule,
    object::{Object, field_selector},
};
use crate::{
    facts::{Kind, Namespaces, Reports},
    index::{Index, Indexed, SharedIndex},
    log::LogLimiter,
    model::{InputKind, ServiceAccountRef},
};

/// How many objects a page has where the API server cannot stream: two pages are in memory at once.
const PAGE_SIZE: u32 = 100;
/// How long one watch request lasts, in seconds: by then a connection that died silently is noticed,
/// and the initial list must have been streamed. 150,000 pods take 40 s.
const fn watch_seconds(kind: InputKind) -> u32 {
    match kind {
        InputKind::Pod => 290,
        InputKind::ServiceAccount
        | InputKind::Namespace
        | InputKind::Role
        | InputKind::ClusterRole
        | InputKind::RoleBinding
        | InputKind::ClusterRoleBinding
        | InputKind::Secret
        | InputKind::CsiDriver
        | InputKind::TokenExposureReport => 60,
    }
}

/// How long to wait before a denied request is sent again.
const DENIED_PAUSE: Duration = Duration::from_secs(10);

/// Where watches write: the index, and a notification for the reader of [`dirty`](Self::dirty).
#[derive(Clone, Debug)]
pub struct Feed {
    index: SharedIndex,
    changed: Arc<Notify>,
    log: LogLimiter,
}

impl Feed {
    /// A feed into an index.
    #[must_use]
    pub fn new(index: SharedIndex, log: LogLimiter) -> Self {
        Self {
            index,
            changed: Arc::default(),
            log,
        }
    }

    /// The accounts whose answer may have changed, as they change. They wait in the index, each once,
    /// so that no queue grows.
    pub fn dirty(&self) -> impl Stream<Item = ServiceAccountRef> + use<> {
        let feed = self.clone();
        stream::unfold(feed, |feed| async {
            loop {
                let dirty = feed.index.write().take_dirty();
                if !dirty.is_empty() {
                    return Some((stream::iter(dirty), feed));
                }
                feed.changed.notified().await;
            }
        })
        .flatten()
    }

    /// Changes the index, and notifies the reader of [`dirty`](Self::dirty).
    pub fn write(&self, change: impl FnOnce(&mut Index)) {
        change(&mut self.index.write());
        self.changed.notify_one();
    }
}

/// How the API server sends the objects that exist when a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitialList {
    /// As a stream of events: WatchList (KEP-3157).
    Streamed,
    /// In pages.
    Paged,
}

impl InitialList {
    fn config(self, kind: InputKind) -> watcher::Config {
        let mut config = watcher::Config::default().timeout(watch_seconds(kind));
        if let Some(fields) = field_selector(kind) {
            config = config.fields(fields);
        }
        match self {
            Self::Streamed => config.streaming_lists(),
            Self::Paged => config.page_size(PAGE_SIZE),
        }
    }
}

/// Watches every kind of [`kinds`](super::kinds), and our own reports, until it is dropped.
pub async fn watch_all(
    client: &Client,
    feed: &Feed,
    initial_list: InitialList,
    legacy_tokens: bool,
) {
    let client = || client.clone();
    let feed = || feed.clone();
    futures::future::join3(
        each_kind!(legacy_tokens, watch(client(), feed(), initial_list)),
        watch::<Namespaces>(client(), feed(), initial_list),
        watch::<Reports>(client(), feed(), initial_list),
    )
    .await;
}

async fn watch<K: Kind + Clone + Send + Sync + std::fmt::Debug>(
    client: Client,
    feed: Feed,
    mut initial_list: InitialList,
) where
    Index: Indexed<K>,
{
    let kind = K::INPUT;
    loop {
        let mut events = pin!(
            watcher(
                Api::<Object<K>>::all(client.clone()),
                initial_list.config(kind)
            )
            .default_backoff()
        );
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    // A list that only begins has not succeeded yet.
                    if !matches!(event, Event::Init)
                        && let Some(failures) = feed.log.recovered(kind.plural())
                    {
                        tracing::info!(kind = kind.name(), failures, "watching again");
                    }
                    feed.write(|index| handle::<K>(index, event));
                }
                Err(error) => {
                    let denied = status(&error).is_some_and(Status::is_forbidden);
                    feed.write(|index| {
                        index.read(kind, |reading| {
                            reading.errors += 1;
                            // Only a complete list clears it: what was known before is old.
                            reading.forbidden |= denied;
                        });
                    });
                    log::<K>(&error, &feed.log);
                    if initial_list == InitialList::Streamed
                        && status(&error).is_some_and(|status| status.code == 422)
                    {
                        initial_list = InitialList::Paged;
                        break;
                    }
                    if denied {
                        // Starts again: permissions that are back show in a complete list.
                        tokio::time::sleep(DENIED_PAUSE).await;
                        break;
                    }
                }
            }
        }
    }
}

fn handle<K: Kind + Clone>(index: &mut Index, event: Event<Object<K>>)
where
    Index: Indexed<K>,
{
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |elapsed| elapsed.as_secs_f64());
    index.read(K::INPUT, |reading| reading.last_event_seconds = now);
    match event {
        Event::Init => index.begin::<K>(),
        Event::InitApply(object) | Event::Apply(object) => {
            object.apply_to(index);
        }
        Event::InitDone => index.commit::<K>(),
        Event::Delete(object) => object.delete_from(index),
    }
}

/// The status that the API server answered with.
fn status(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    }
}

/// Logs a watch that failed, with the fix where it was denied.
fn log<K: Kind>(error: &watcher::Error, log: &LogLimiter) {
    let kind = K::INPUT;
    let cause = match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => explain(cause),
        watcher::Error::WatchError(status) => answered(status),
        watcher::Error::NoResourceVersion => error.to_string(),
    };
    // 410: the watch fell behind, and the watcher lists again by itself.
    let is_expired = status(error).is_some_and(|status| status.code == 410);
    if is_expired || !log.failed(kind.plural(), "") {
        tracing::debug!(kind = kind.name(), %cause, "watch failed");
    } else if status(error).is_some_and(Status::is_forbidden) {
        tracing::warn!(kind = kind.name(), %cause, fix = missing_rule(kind), "watch denied: verdicts that depend on it are Unknown");
    } else {
        tracing::warn!(kind = kind.name(), %cause, "watch failed; retrying");
    }
}
