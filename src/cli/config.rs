//! The file of `--config`, and how the controller follows its changes and the date.

use std::{path::PathBuf, time::Duration};

use tokio::sync::Notify;

use super::{
    cluster::{self, Cluster},
    controller, flags_given,
    namespaces::NamespaceArgs,
    today,
};
use crate::{
    cluster::{OptIns, watch::Feed},
    config::{self, ConfigFile, Faults},
    model::{ApiAudiences, Config},
};

/// How often the controller reads the file and the date again.
const PERIOD: Duration = Duration::from_secs(2);

/// The configuration file, and the flags that replace or extend it.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// Audience of the API server; all others are external; repeatable
    #[arg(long, value_name = "AUDIENCE")]
    api_audience: Vec<String>,
    /// YAML file: exemptions, consumers, default permissions, …
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Find tokens that never expire; needs to list Secrets, which also allows reading them
    #[arg(long)]
    legacy_tokens: bool,
    /// Recognise systems that ConfigMaps configure; needs to list them
    #[arg(long)]
    config_maps: bool,
}

impl ConfigArgs {
    /// What is read beside the usual kinds.
    pub(super) fn opt_ins(&self) -> OptIns {
        OptIns {
            legacy_tokens: self.legacy_tokens,
            config_maps: self.config_maps,
        }
    }

    /// The flags that have a cluster list more kinds.
    pub(super) fn lists(&self) -> impl Iterator<Item = &'static str> + use<> {
        flags_given([
            (self.legacy_tokens, "--legacy-tokens"),
            (self.config_maps, "--config-maps"),
        ])
    }

    /// Reads the file, and logs its warnings; the configuration is empty without a file.
    pub(super) fn read(&self, namespaces: &NamespaceArgs) -> Result<Config, Faults> {
        let file = self.file_under(namespaces)?;
        log_warnings(&file);
        Ok(file.config)
    }

    /// The file, with the namespaces that flags select.
    fn file_under(&self, namespaces: &NamespaceArgs) -> Result<ConfigFile, Faults> {
        let mut file = self.file()?;
        file.config.namespaces = namespaces.over(file.config.namespaces);
        Ok(file)
    }

    /// Reads the file; the configuration is empty without one.
    pub(super) fn file(&self) -> Result<ConfigFile, Faults> {
        let file = self.config.as_deref().map(config::read).transpose()?;
        Ok(file.unwrap_or_default())
    }

    /// The audiences that the user lists.
    pub(super) fn audiences(&self, config: &Config) -> Option<ApiAudiences> {
        cluster::given(&self.api_audience, &config.api_audiences)
    }

    /// Applies each change of the file and of the date to the index; notifies `reread` when pods must be
    /// read again. A file with errors changes nothing, and the errors are logged.
    pub(super) async fn follow(
        &self,
        cluster: &Cluster,
        feed: &Feed,
        reread: &Notify,
        namespaces: &NamespaceArgs,
    ) {
        let index = feed.index();
        let mut last = Ok(index.read().config().clone());
        let mut is_said = false;
        loop {
            tokio::time::sleep(PERIOD).await;
            feed.write(|index| index.set_today(today()));
            if !is_said && index.read().is_settled() {
                is_said = true;
                if let Some(left_out) = namespaces.left_out(&index.read(), true) {
                    tracing::info!("{left_out}");
                }
            }
            let file = self.file_under(namespaces);
            let config = file.as_ref().map(|file| file.config.clone());
            let config = config.map_err(Clone::clone);
            if config == last {
                continue;
            }
            match &file {
                Ok(file) => {
                    tracing::info!("the configuration was read again");
                    log_warnings(file);
                    let config = &file.config;
                    let rereads = !config.reads_objects_as(index.read().config());
                    controller::warn(cluster.learn(index, self.audiences(config), false).await);
                    feed.write(|index| index.set_config(config.clone()));
                    if rereads {
                        is_said = false;
                        reread.notify_one();
                    }
                }
                Err(faults) => {
                    tracing::error!(%faults, "the configuration file has errors; the previous configuration stays in effect");
                }
            }
            last = config;
        }
    }
}

fn log_warnings(file: &ConfigFile) {
    for warning in &file.warnings {
        tracing::warn!("{warning}");
    }
}
