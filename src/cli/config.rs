//! The file of `--config`, and what changes of itself while the controller runs: the file, and the day.

use std::{path::PathBuf, time::Duration};

use tokio::sync::Notify;

use super::{
    cluster::{self, Cluster},
    today,
};
use crate::{
    cluster::watch::Feed,
    config,
    index::SharedIndex,
    model::{ApiAudiences, Config},
};

/// How often the file and the day are looked at.
const PERIOD: Duration = Duration::from_secs(2);

/// The file, and the flags that say the same.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// An audience that the API server accepts; no other is (repeatable)
    #[arg(long, value_name = "AUDIENCE")]
    api_audience: Vec<String>,
    /// Exemptions, known consumers, baseline and audiences, as YAML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Tell which Secrets hold tokens that never expire; needs the right to list Secrets, and who may
    /// list them may read them
    #[arg(long)]
    pub(super) legacy_tokens: bool,
}

impl ConfigArgs {
    /// Reads the file; an empty configuration where none is named.
    pub(super) fn read(&self) -> Result<Config, config::Faults> {
        let config = self.config.as_deref().map(config::read).transpose()?;
        Ok(config.unwrap_or_default())
    }

    /// The audiences that the user names.
    pub(super) fn audiences(&self, config: &Config) -> Option<ApiAudiences> {
        cluster::given(&self.api_audience, &config.api_audiences)
    }

    /// Reads the file again whenever it changes, and tells the index the day; rings where pods must be
    /// read anew. A file with faults changes nothing, and is told of.
    pub(super) async fn follow(
        &self,
        cluster: &Cluster,
        index: &SharedIndex,
        feed: &Feed,
        reread: &Notify,
    ) {
        let mut last = Ok(index.read().config().clone());
        loop {
            tokio::time::sleep(PERIOD).await;
            feed.write(|index| index.set_today(today()));
            let read = self.read();
            if read == last {
                continue;
            }
            match &read {
                Ok(config) => {
                    tracing::info!("the configuration was read again");
                    let anew = !config.reads_pods_as(index.read().config());
                    cluster.learn(index, self.audiences(config)).await;
                    feed.write(|index| index.set_config(config.clone()));
                    if anew {
                        reread.notify_one();
                    }
                }
                Err(faults) => tracing::error!(%faults, "the configuration is left as it was"),
            }
            last = read;
        }
    }
}
