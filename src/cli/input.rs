//! What is judged: the live cluster, or files.

use std::{path::PathBuf, sync::Arc};

use parking_lot::RwLock;

use super::{
    cluster::{self, ClusterArgs},
    complain,
};
use crate::{
    index::{Index, SharedIndex},
    output::table::visible,
    source::{self, files, list},
};

/// What is judged.
#[derive(Debug, clap::Args)]
pub(super) struct InputArgs {
    /// Files, folders or - for standard input; without any, the live cluster is read
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// An audience that the API server accepts (repeatable): every other is somebody else's
    #[arg(long, value_name = "AUDIENCE")]
    api_audience: Vec<String>,
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
    pub(super) async fn read(
        &self,
        namespaces: Namespaces<'_>,
    ) -> anyhow::Result<(SharedIndex, bool)> {
        if self.paths.is_empty() {
            self.live(namespaces).await
        } else {
            Ok(self.files(namespaces))
        }
    }

    /// Lists the live cluster; whether all of it could be.
    async fn live(&self, namespaces: Namespaces<'_>) -> anyhow::Result<(SharedIndex, bool)> {
        let legacy_tokens = self.cluster.legacy_tokens;
        let cluster = self.cluster.connect().await?;
        let index = Arc::new(RwLock::new(Index::new(&source::kinds(legacy_tokens))));
        let namespace = match namespaces {
            Namespaces::All => None,
            Namespaces::One(namespace) => Some(namespace),
            Namespaces::Current => Some(cluster.namespace.as_str()),
        };
        let errors = list::list_all(&cluster.client, &index, namespace, legacy_tokens).await;
        // What fails for one kind fails for all, mostly: it is told once.
        if let Some(error) = errors.iter().find(|error| error.is_fatal()) {
            anyhow::bail!("the cluster cannot be read: {error}");
        }
        for error in &errors {
            complain(&format!("error: {error}"));
        }
        cluster.learn(&index, &self.api_audience).await;
        Ok((index, errors.is_empty()))
    }

    /// Reads files; whether all of them could be.
    fn files(&self, namespaces: Namespaces<'_>) -> (SharedIndex, bool) {
        let mut index = Index::new(&[]);
        index.set_audiences(cluster::given(&self.api_audience));
        let default_namespace = match namespaces {
            Namespaces::One(namespace) => namespace,
            Namespaces::Current | Namespaces::All => "default",
        };
        let outcome = files::load(&self.paths, default_namespace, &mut index);
        for problem in &outcome.problems {
            complain(&format!("error: {}", visible(&problem.to_string())));
        }
        for warning in &outcome.warnings {
            complain(&format!("warning: {}", visible(&warning.to_string())));
        }
        if outcome.objects == 0 && outcome.problems.is_empty() {
            complain("note: no Kubernetes object that matters here was found");
        } else if outcome.objects > 0 && !outcome.has_rbac {
            complain(
                "note: the input has no RBAC object: what a cluster may grant besides is not known",
            );
        }
        (Arc::new(RwLock::new(index)), outcome.problems.is_empty())
    }
}
