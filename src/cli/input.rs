//! What is judged: the live cluster, or files.

use std::{path::PathBuf, sync::Arc};

use parking_lot::RwLock;

use super::{cluster::ClusterArgs, complain, config::ConfigArgs, progress::Progress, today};
use crate::{
    index::{Index, SharedIndex},
    model::{ApiAudiences, Config, InputKind},
    output::table::visible,
    source::{self, LabelSelector, files, list},
};

/// What is judged.
#[derive(Debug, clap::Args)]
pub(super) struct InputArgs {
    /// Files, folders or - for standard input; without any, the live cluster is read
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Take RBAC and ServiceAccounts from the current cluster, and the pods from the files: the answer
    /// before a merge
    #[arg(long, requires = "paths")]
    with_cluster: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) namespaces: Namespaces<'a>,
    /// Which pods and templates.
    pub(super) pods: &'a LabelSelector,
}

/// Which namespaces are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Namespaces<'a> {
    /// That of the context; in files, all, and `default` for what names none.
    Current,
    /// One; in files, all, and this one for what names none.
    One(&'a str),
    /// All.
    All,
}

impl InputArgs {
    /// Reads all of it; whether nothing was missing.
    pub(super) async fn read(&self, wanted: Wanted<'_>) -> anyhow::Result<(SharedIndex, bool)> {
        let kinds = source::kinds(self.cluster.legacy_tokens);
        let config = self.config.read()?;
        let audiences = self.config.audiences(&config);
        let index = Arc::new(RwLock::new(Index::new(&[])));
        if self.paths.is_empty() {
            let complete = self.live(&index, config, audiences, wanted, &kinds).await?;
            return Ok((index, complete));
        }
        let complete = if self.with_cluster {
            let mut kinds = kinds;
            kinds.retain(|kind| *kind != InputKind::Pod);
            let everywhere = Wanted {
                namespaces: Namespaces::All,
                ..wanted
            };
            self.live(&index, config, audiences, everywhere, &kinds)
                .await?
        } else {
            let mut index = index.write();
            index.set_audiences(audiences.unwrap_or_default());
            index.set_config(config);
            index.set_today(today());
            true
        };
        let all_read = self.files(&mut index.write(), wanted);
        Ok((index, complete && all_read))
    }

    /// Lists kinds of the live cluster; whether all of them could be.
    async fn live(
        &self,
        index: &SharedIndex,
        config: Config,
        audiences: Option<ApiAudiences>,
        wanted: Wanted<'_>,
        kinds: &[InputKind],
    ) -> anyhow::Result<bool> {
        let cluster = self.cluster.connect().await?;
        let mut empty = Index::new(kinds);
        empty.set_config(config);
        empty.set_today(today());
        *index.write() = empty;
        let namespace = match wanted.namespaces {
            Namespaces::All => None,
            Namespaces::One(namespace) => Some(namespace),
            Namespaces::Current => Some(cluster.namespace.as_str()),
        };
        let progress = Progress::of("objects");
        let wanted = list::Wanted {
            kinds,
            namespace,
            pods: wanted.pods,
        };
        let errors = list::list_all(&cluster.client, index, &wanted, &|read, more| {
            progress.advance(read, more);
        })
        .await;
        drop(progress);
        // What fails for one kind fails for all, mostly: it is told once.
        if let Some(error) = errors.iter().find(|error| error.is_fatal()) {
            anyhow::bail!("the cluster cannot be read: {error}");
        }
        for error in &errors {
            complain(&format!("error: {error}"));
        }
        cluster.learn(index, audiences).await;
        Ok(errors.is_empty())
    }

    /// Reads files; whether all of them could be.
    fn files(&self, index: &mut Index, wanted: Wanted<'_>) -> bool {
        let default_namespace = match wanted.namespaces {
            Namespaces::One(namespace) => namespace,
            Namespaces::Current | Namespaces::All => "default",
        };
        let progress = Progress::of("files");
        let wanted = files::Wanted {
            namespace: default_namespace,
            pods: wanted.pods,
            progress: &|read, more| progress.advance(read, more),
        };
        let outcome = files::load(&self.paths, &wanted, index);
        drop(progress);
        for problem in &outcome.problems {
            complain(&format!("error: {}", visible(&problem.to_string())));
        }
        for warning in &outcome.warnings {
            complain(&format!("warning: {}", visible(&warning.to_string())));
        }
        if outcome.objects == 0 && outcome.problems.is_empty() {
            complain("note: no Kubernetes object that matters here was found");
        } else if outcome.objects > 0 && !outcome.has_rbac && !self.with_cluster {
            complain(
                "note: the input has no RBAC object: what a cluster may grant besides is not known",
            );
        }
        outcome.problems.is_empty()
    }
}
