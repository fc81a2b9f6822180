//! Where watches write, and what they know of each other.

use std::sync::{Arc, atomic::AtomicUsize};

use futures::{Stream, StreamExt, stream};
use tokio::sync::{Notify, watch};

use crate::{
    index::{Index, SharedIndex},
    log::LogLimiter,
    model::{InputKind, Target},
};

/// Where watches write: the index, and a notification for the reader of [`dirty`](Self::dirty).
#[derive(Clone, Debug)]
pub struct Feed {
    pub(super) index: SharedIndex,
    pub(super) changed: Arc<Notify>,
    /// Notifies the watch of pods that a namespace begins to be selected.
    pub(super) entering: Arc<Notify>,
    pub(super) log: LogLimiter,
    /// How many kinds cannot be watched now.
    pub(super) failing: Arc<AtomicUsize>,
    /// How often the history of the API server was found to be another one: then all kinds are read again.
    pub(super) histories: watch::Sender<u64>,
}

impl Feed {
    /// A feed into an index.
    #[must_use]
    pub fn new(index: SharedIndex, log: LogLimiter) -> Self {
        Self {
            index,
            changed: Arc::default(),
            entering: Arc::default(),
            log,
            failing: Arc::default(),
            histories: watch::channel(0).0,
        }
    }

    /// The index.
    #[must_use]
    pub const fn index(&self) -> &SharedIndex {
        &self.index
    }

    /// The accounts whose answer may have changed, as they change, and the namespaces whose summary may have. They wait
    /// in the index, each once, so that no queue grows.
    pub fn dirty(&self) -> impl Stream<Item = Target> + use<> {
        let feed = self.clone();
        stream::unfold(feed, |feed| async {
            loop {
                let dirty = targets(&mut feed.index.write());
                if !dirty.is_empty() {
                    return Some((stream::iter(dirty), feed));
                }
                feed.changed.notified().await;
            }
        })
        .flatten()
    }

    /// Resolves when there is a namespace whose pods must be listed.
    pub(super) async fn entering(&self, kind: InputKind) {
        if kind != InputKind::Pod {
            return std::future::pending().await;
        }
        while !self.index.read().has_entering() {
            self.entering.notified().await;
        }
    }

    /// Changes the index, and notifies the reader of [`dirty`](Self::dirty).
    pub fn write(&self, change: impl FnOnce(&mut Index)) {
        let (has_entering, has_dirty) = {
            let mut index = self.index.write();
            change(&mut index);
            (index.has_entering(), index.has_dirty())
        };
        if has_entering {
            self.entering.notify_one();
        }
        if has_dirty {
            self.changed.notify_one();
        }
    }
}

fn targets(index: &mut Index) -> Vec<Target> {
    let accounts = index.take_dirty().into_iter().map(Target::Report);
    let namespaces = index.take_dirty_namespaces().into_iter();
    accounts.chain(namespaces.map(Target::Summary)).collect()
}
