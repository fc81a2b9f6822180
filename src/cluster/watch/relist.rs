//! Reads all objects of a kind: at the start, and whenever a watch cannot go on from what is known.

use futures::StreamExt;
use tokio::time::timeout;

use super::{ANSWER, Event, Failure, Kind, SILENCE, STREAM_SECONDS, Watch, list};
use crate::index::{Index, Indexed};

impl<K: Kind + Clone + Send + Sync + std::fmt::Debug> Watch<K>
where
    Index: Indexed<K>,
{
    /// Reads all objects, and returns their version: as a stream of protobuf, in pages of protobuf, as a stream of
    /// JSON, in pages of JSON, whatever the API server has first.
    pub(super) async fn list(&mut self) -> Result<String, Failure> {
        // One bad answer of a proxy is forgiven.
        self.protobuf = true;
        let mut streams = self.streams;
        loop {
            let result = if streams {
                self.stream().await
            } else {
                self.pages().await
            };
            match result {
                Err(failure) if self.refuses_protobuf(&failure) => {}
                // With the alpha of Kubernetes 1.30, an API server that cannot stream a list answers 504.
                Err(failure) if streams && matches!(failure.code(), Some(422 | 504)) => {
                    streams = false;
                    self.streams &= failure.code() == Some(504);
                }
                result => return result,
            }
        }
    }

    /// Reads all objects as a stream of events, and returns the version of its end. Without a version in the
    /// request, the API server sends what etcd has, not an older state of its cache.
    async fn stream(&mut self) -> Result<String, Failure> {
        let params = self.params(STREAM_SECONDS, true);
        let mut events = self.events(&params, "").await?;
        self.load(Index::begin::<K>);
        loop {
            let Ok(event) = timeout(SILENCE, events.next()).await else {
                return Err(Failure::Silent(SILENCE));
            };
            match event.ok_or(Failure::Incomplete)?? {
                Event::Changed(object) => self.load(|index| object.apply_to(index)),
                Event::Deleted(object) => self.load(|index| object.delete_from(index)),
                Event::Bookmark {
                    version,
                    ends_list: true,
                } => {
                    if version.is_empty() {
                        return Err(Failure::NoVersion);
                    }
                    self.load(Index::commit::<K>);
                    return Ok(version);
                }
                Event::Bookmark { .. } => {}
                Event::Failed(status) => return Err(kube::Error::Api(status).into()),
            }
        }
    }

    /// Reads all objects in pages, and returns their version.
    async fn pages(&mut self) -> Result<String, Failure> {
        self.load(Index::begin::<K>);
        let params = list::params(K::INPUT, &self.selection);
        let paging = list::Paging {
            connection: &self.connection,
            timeout: ANSWER,
            protobuf: self.protobuf,
        };
        let version = list::pages(&self.api, &self.feed.index, &params, paging, &|_, _| {}).await;
        // Whatever was read may have changed answers.
        self.load(|index| {
            if version.is_ok() {
                index.commit::<K>();
            }
        });
        version?.ok_or(Failure::NoVersion)
    }
}
