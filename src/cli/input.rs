//! What is judged: the live cluster, or files.

use std::{path::PathBuf, sync::Arc};

use parking_lot::RwLock;

use super::{cluster::ClusterArgs, complain, config::ConfigArgs, progress::Progress, today};
use crate::{
    cluster::{self, list},
    config::ConfigFile,
    files::{self, places::Places},
    index::{Index, SharedIndex},
    model::{ApiAudiences, Config, InputKind, LabelSelector},
    output::table::visible,
};

/// What is judged.
#[derive(Debug, clap::Args)]
pub(super) struct InputArgs {
    /// Files, folders or - for standard input; without any, the live cluster is read
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Pods from the files, all else from the current cluster
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

/// What was read.
pub(super) struct Input {
    pub(super) index: SharedIndex,
    /// Whether nothing was missing.
    pub(super) complete: bool,
    /// Where the objects of files are written.
    pub(super) places: Places,
    /// What is wrong with the input, and what it lacks.
    notes: Vec<String>,
}

/// How many notes on the input are said.
const MOST_NOTES: usize = 1_000;

impl Input {
    /// Says what is wrong with the input, and what it lacks.
    pub(super) fn tell(&self) {
        for note in self.notes.iter().take(MOST_NOTES) {
            complain(&visible(note));
        }
        if let Some(more) = self
            .notes
            .len()
            .checked_sub(MOST_NOTES)
            .filter(|more| *more > 0)
        {
            complain(&format!("note: {more} more of these are not shown"));
        }
    }

    /// What could not be read.
    pub(super) fn problems(&self) -> Vec<&str> {
        let problems = self.notes.iter();
        problems
            .filter_map(|note| note.strip_prefix("error: "))
            .collect()
    }
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
    /// Whether standard input is read, which can be read only once.
    pub(super) fn has_stdin(&self) -> bool {
        self.paths.iter().any(|path| path.as_os_str() == "-")
    }

    /// Reads all of it.
    pub(super) async fn read(&self, wanted: Wanted<'_>) -> anyhow::Result<Input> {
        let kinds = cluster::kinds(self.config.legacy_tokens);
        let ConfigFile { config, warnings } = self.config.file()?;
        let audiences = self.config.audiences(&config);
        let mut notes: Vec<_> = warnings
            .iter()
            .map(|warning| format!("warning: {warning}"))
            .collect();
        let index = Arc::new(RwLock::new(Index::new(&[])));
        if self.paths.is_empty() {
            let errors = self.live(&index, config, audiences, wanted, &kinds).await?;
            let complete = errors.is_empty();
            notes.extend(errors);
            return Ok(Input {
                index,
                complete,
                places: Places::default(),
                notes,
            });
        }
        let errors = if self.with_cluster {
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
            Vec::new()
        };
        let outcome = self.files(&mut index.write(), wanted);
        let complete = errors.is_empty() && outcome.problems.is_empty();
        notes.extend(errors);
        notes.extend(self.told(&outcome));
        Ok(Input {
            index,
            complete,
            places: outcome.places,
            notes,
        })
    }

    /// Lists kinds of the live cluster; what of them could not be.
    async fn live(
        &self,
        index: &SharedIndex,
        config: Config,
        audiences: Option<ApiAudiences>,
        wanted: Wanted<'_>,
        kinds: &[InputKind],
    ) -> anyhow::Result<Vec<String>> {
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
        cluster.learn(index, audiences).await;
        let told = errors.iter().map(|error| format!("error: {error}"));
        Ok(told.collect())
    }

    /// Reads files.
    fn files(&self, index: &mut Index, wanted: Wanted<'_>) -> files::Outcome {
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
        files::load(&self.paths, &wanted, index)
    }

    /// What is wrong with files, and what they lack.
    fn told(&self, outcome: &files::Outcome) -> Vec<String> {
        let problems = outcome.problems.iter();
        let problems = problems.map(|problem| format!("error: {problem}"));
        let warnings = outcome.warnings.iter();
        let warnings = warnings.map(|warning| format!("warning: {warning}"));
        let lacking = if outcome.objects == 0 && outcome.problems.is_empty() {
            Some("note: no Kubernetes object that matters here was found")
        } else if outcome.objects > 0 && !outcome.has_rbac && !self.with_cluster {
            Some(
                "note: the input has no RBAC object: what a cluster may grant besides is not known",
            )
        } else {
            None
        };
        problems
            .chain(warnings)
            .chain(lacking.map(str::to_owned))
            .collect()
    }
}
