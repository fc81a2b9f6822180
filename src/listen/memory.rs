//! What was learnt, in a ConfigMap: it survives a restart, and replicas share it. Each replica adds what it learnt to
//! what is there, so that the order does not matter. It is written when it differs, at most once a minute, with times to
//! ten minutes.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Write},
    time::Duration,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use k8s_openapi::{ByteString, api::core::v1::ConfigMap};
use kube::{Api, api::PostParams};
use tokio::sync::Notify;

use crate::{
    client::{Backoff, Connection, Failed, within},
    cluster::watch::Feed,
    index::Index,
    log::LogLimiter,
    usage::Kept,
};

/// The name of the ConfigMap, in the namespace of the controller.
pub const NAME: &str = "token-exposure-use";
/// The key in it.
const KEY: &str = "use.json.gz";
/// How large the value may be, in bytes: a ConfigMap has at most 1 MiB.
pub const MAX_BYTES: usize = 700 << 10;
/// How large it may be decompressed.
const MAX_PLAIN: u64 = 32 << 20;
/// How often it is compared with what was learnt.
const PERIOD: Duration = Duration::from_mins(1);
/// How coarse its times are, in seconds.
const GRAIN: i64 = 600;
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The pauses after a failure at the start.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// What fails, as the log limiter remembers it.
const MEMORY: &str = "what audit events say";

/// The ConfigMap.
pub struct Memory {
    maps: Api<ConfigMap>,
    log: LogLimiter,
    /// As it was read or written last.
    known: Option<ConfigMap>,
    /// The hash of what was learnt then.
    hash: Option<u64>,
    /// Whether other replicas write it too.
    is_shared: bool,
}

impl Memory {
    /// The memory of the replicas in a namespace.
    #[must_use]
    pub fn new(connection: &Connection, namespace: &str, is_shared: bool, log: LogLimiter) -> Self {
        Self {
            maps: Api::namespaced(connection.client.clone(), namespace),
            log,
            known: None,
            hash: None,
            is_shared,
        }
    }

    /// Adds what an earlier run kept. An API server that fails is asked again: without an answer, reports would change
    /// that have no reason to. One that denies it, or has no such object, leaves us with nothing.
    pub async fn restore(&mut self, feed: &Feed) {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        while let Err(failed) = self.read(feed).await {
            self.log_failure("read", &failed);
            if failed.code() == Some(403) {
                return;
            }
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }

    /// Keeps what was learnt until it is dropped. Once `leads` says that this replica writes reports from now on, it
    /// first learns what the others kept, and then visits all accounts.
    pub async fn keep(&mut self, feed: &Feed, leads: &Notify) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {
                    feed.write(Index::tidy_usage);
                    self.round(feed, GRAIN).await;
                }
                () = leads.notified() => {
                    if let Err(failed) = self.read_news(feed).await {
                        self.log_failure("read", &failed);
                    }
                    feed.write(Index::revisit);
                }
            }
        }
    }

    /// Keeps what was learnt, to the second.
    pub async fn end(&mut self, feed: &Feed) {
        // A write that was under way may be in conflict with this one.
        while self.round(feed, 1).await {}
    }

    /// Writes what was learnt, if it differs; whether another write was faster.
    async fn round(&mut self, feed: &Feed, grain: i64) -> bool {
        if self.is_shared
            && let Err(failed) = self.read_news(feed).await
        {
            self.log_failure("read", &failed);
            return false;
        }
        let Some(kept) = feed.index().read().kept(grain) else {
            return false;
        };
        let known = self.hash;
        let encoded = tokio::task::spawn_blocking(move || encoded(kept, known)).await;
        let (bytes, hash) = match encoded {
            Ok(Ok(Some(encoded))) => encoded,
            Ok(Ok(None)) | Err(_) => return false,
            Ok(Err(error)) => {
                tracing::error!(%error, "what was learnt from audit events cannot be written");
                return false;
            }
        };
        match self.write(bytes).await {
            Ok(()) => {
                self.hash = Some(hash);
                if self.log.recovered(MEMORY).is_some() {
                    tracing::info!(
                        name = NAME,
                        "what was learnt from audit events is kept again"
                    );
                }
            }
            // Another replica was faster: what it wrote is added, and written with ours the next time.
            Err(failed) if failed.code() == Some(409) => match self.read(feed).await {
                Ok(()) => return true,
                Err(failed) => self.log_failure("read", &failed),
            },
            Err(failed) => {
                if failed.code() == Some(404) {
                    self.known = None;
                }
                self.log_failure("write", &failed);
            }
        }
        false
    }

    /// Reads it if another replica wrote it.
    async fn read_news(&mut self, feed: &Feed) -> Result<(), Failed> {
        let live = within(TIMEOUT, self.maps.get_metadata_opt(NAME)).await?;
        let version = |map: &ConfigMap| map.metadata.resource_version.clone();
        let live = live.and_then(|live| live.metadata.resource_version);
        if live.is_some() && live != self.known.as_ref().and_then(version) {
            self.read(feed).await?;
        }
        Ok(())
    }

    async fn read(&mut self, feed: &Feed) -> Result<(), Failed> {
        let map = within(TIMEOUT, self.maps.get_opt(NAME)).await?;
        let value = map
            .as_ref()
            .and_then(|map| map.binary_data.as_ref()?.get(KEY));
        if let Some(value) = value {
            let read = decoded(&value.0).and_then(|(kept, hash)| {
                let mut restored = Ok(());
                feed.write(|index| restored = index.restore(kept));
                restored.map_err(io::Error::other)?;
                Ok(hash)
            });
            match read {
                Ok(hash) => self.hash = Some(hash),
                Err(error) => {
                    tracing::warn!(%error, name = NAME, "what an earlier run learnt from audit events cannot be read; it is written anew");
                    self.hash = None;
                }
            }
        }
        self.known = map.map(|map| ConfigMap {
            binary_data: None,
            ..map
        });
        Ok(())
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Failed> {
        let params = PostParams::default();
        let is_new = self.known.is_none();
        let mut map = self.known.clone().unwrap_or_default();
        map.metadata.name = Some(NAME.to_owned());
        map.metadata.managed_fields = None;
        map.binary_data = Some(BTreeMap::from([(KEY.to_owned(), ByteString(bytes))]));
        let written = if is_new {
            within(TIMEOUT, self.maps.create(&params, &map)).await?
        } else {
            within(TIMEOUT, self.maps.replace(NAME, &params, &map)).await?
        };
        self.known = Some(ConfigMap {
            binary_data: None,
            ..written
        });
        Ok(())
    }

    fn log_failure(&self, what: &str, failed: &Failed) {
        let fix = if matches!(failed.code(), Some(403 | 404)) {
            "create the ConfigMap token-exposure-use in the namespace of the controller, and grant `get` and `update` on it, as the chart does with audit.enabled"
        } else {
            ""
        };
        if self.log.failed(MEMORY, what) {
            tracing::warn!(%failed, fix, name = NAME, "cannot {what} what was learnt from audit events: a restart forgets it");
        } else {
            tracing::debug!(%failed, "cannot {what} what was learnt from audit events");
        }
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

fn hash(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// What is kept, compressed, with the hash of the text; `None` if it has the hash that is known.
fn encoded(mut kept: Kept, known: Option<u64>) -> io::Result<Option<(Vec<u8>, u64)>> {
    let mut text = serde_json::to_vec(&kept)?;
    let hash = hash(&text);
    if Some(hash) == known {
        return Ok(None);
    }
    loop {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&text)?;
        let bytes = encoder.finish()?;
        if bytes.len() <= MAX_BYTES || !kept.forget() {
            return Ok(Some((bytes, hash)));
        }
        text = serde_json::to_vec(&kept)?;
    }
}

fn decoded(bytes: &[u8]) -> io::Result<(Kept, u64)> {
    let mut text = Vec::new();
    let mut plain = GzDecoder::new(bytes).take(MAX_PLAIN + 1);
    plain.read_to_end(&mut text)?;
    if text.len() as u64 > MAX_PLAIN {
        return Err(io::Error::other("is larger than it can be"));
    }
    Ok((serde_json::from_slice(&text)?, hash(&text)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    /// What is kept of accounts that used their tokens, one each second.
    fn kept(accounts: u32) -> Kept {
        let entry = |number: u32| {
            let name = format!("account-{number}-{:x}", u64::from(number) * 0x9e37_79b9);
            let uid = format!(
                "{:032x}",
                u128::from(number) * 0x9e37_79b9_7f4a_7c15_f39c_c060
            );
            let times = (number + 1, number + 1, 0);
            (
                name,
                serde_json::json!({ "pods": { uid: ["alone", times] } }),
            )
        };
        let accounts: serde_json::Map<_, _> = (0..accounts).map(entry).collect();
        let value = serde_json::json!({ "version": 1, "accounts": { "shop": accounts } });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_kept_is_written_only_if_it_differs() {
        let (bytes, hash) = encoded(kept(10), None).unwrap().unwrap();
        let (read, known) = decoded(&bytes).unwrap();
        assert_eq!((read, known), (kept(10), hash));
        assert_eq!(encoded(kept(10), Some(hash)).unwrap(), None);
        assert!(encoded(kept(11), Some(hash)).unwrap().is_some());
    }

    #[test]
    fn what_does_not_fit_is_forgotten_and_the_oldest_first() {
        let (bytes, hash) = encoded(kept(30_000), None).unwrap().unwrap();
        assert!(bytes.len() <= MAX_BYTES);
        let (mut read, _) = decoded(&bytes).unwrap();
        let text = serde_json::to_value(&read).unwrap();
        let accounts = text["accounts"]["shop"].as_object().unwrap();
        assert!(
            (10_000..30_000).contains(&accounts.len()),
            "{}",
            accounts.len()
        );
        assert!(
            accounts
                .keys()
                .any(|name| name.starts_with("account-29999-"))
        );
        assert!(text["forgotten"].as_i64().unwrap() > 1);
        assert_eq!(encoded(kept(30_000), Some(hash)).unwrap(), None);
        while read.forget() {}
    }

    #[test]
    fn nonsense_is_an_error() {
        let compressed = |text: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        for bytes in [
            &b"no gzip"[..],
            &compressed(b"no JSON"),
            &compressed(b"[]")[..9],
        ] {
            assert!(decoded(bytes).is_err());
        }
        let bomb = compressed(&vec![b' '; usize::try_from(MAX_PLAIN).unwrap() + 10]);
        assert!(decoded(&bomb).is_err());
    }
}
