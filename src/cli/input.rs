//! The input of a command: the live cluster, or files.

use std::{cell::Cell, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::RwLock;

use super::{
    cluster::{Cluster, ClusterArgs},
    config::ConfigArgs,
    evidence::EvidenceArgs,
    print_message,
    progress::Progress,
    today,
};
use crate::{
    client::within,
    cluster::{self, list, servers},
    config::ConfigFile,
    files::{self, places::Places},
    index::{Index, SharedIndex},
    model::{ApiAudiences, Config, InputKind, LabelSelector},
    output::table::visible,
    usage::Lease,
};

/// The flags that select the input.
#[derive(Debug, clap::Args)]
pub(super) struct InputArgs {
    /// Files, folders, or - for standard input [default: the current cluster]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Read pods from the files, everything else from the current cluster
    #[arg(long, requires = "paths")]
    with_cluster: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    pub(super) evidence: EvidenceArgs,
}

/// What to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) namespaces: Namespaces<'a>,
    /// The pods and templates to read.
    pub(super) pods: &'a LabelSelector,
}

/// What was read.
pub(super) struct Input {
    pub(super) index: SharedIndex,
    /// Whether everything could be read.
    pub(super) complete: bool,
    /// The files and lines of the objects.
    pub(super) places: Places,
    /// Errors, warnings and notes about the input, each with its prefix.
    messages: Vec<String>,
    /// The Leases of the cluster's API servers, if it was asked for them.
    leases: Option<Vec<Lease>>,
}

/// What was read of a cluster.
#[derive(Default)]
struct Live {
    /// The errors of kinds that could not be listed.
    errors: Vec<String>,
    /// The Leases of its API servers, where evidence of use depends on them.
    leases: Option<Vec<Lease>>,
}

/// How long the API server may be silent until the user is told who is waited for.
const SILENCE: Duration = Duration::from_secs(5);
/// How many messages about the input are printed.
const MAX_MESSAGES: usize = 1_000;

impl Input {
    /// Prints the errors, warnings and notes about the input.
    pub(super) fn print_messages(&self) {
        for message in self.messages.iter().take(MAX_MESSAGES) {
            print_message(&visible(message));
        }
        let omitted = self.messages.len().saturating_sub(MAX_MESSAGES);
        if omitted > 0 {
            print_message(&format!(
                "note: {omitted} more messages about the input are not shown"
            ));
        }
    }

    /// What could not be read.
    pub(super) fn problems(&self) -> Vec<&str> {
        let messages = self.messages.iter();
        messages
            .filter_map(|message| message.strip_prefix("error: "))
            .collect()
    }
}

/// Which namespaces to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Namespaces<'a> {
    /// That of the context; in files, all, and `default` for objects without one.
    Current,
    /// This one; in files, all, and this one for objects without one.
    One(&'a str),
    /// All.
    All,
}

impl InputArgs {
    /// Whether standard input, which can be read only once, is among the inputs.
    pub(super) fn has_stdin(&self) -> bool {
        self.paths.iter().any(|path| path.as_os_str() == "-")
    }

    /// Whether files are read.
    pub(super) fn has_files(&self) -> bool {
        !self.paths.is_empty()
    }

    /// Reads the input, and the evidence of use after it: the logs then reach the present.
    pub(super) async fn read(&self, wanted: Wanted<'_>) -> anyhow::Result<Input> {
        if self.has_stdin() && self.evidence.has_stdin() {
            anyhow::bail!(
                "standard input cannot have both manifests and audit logs: put one of them into a file"
            );
        }
        let mut input = self.objects(wanted).await?;
        if let Some(evidence) = self.evidence.read(input.leases.take())? {
            evidence.join(&input.index);
            input.complete &= evidence.complete;
            input.messages.extend(evidence.messages);
        }
        Ok(input)
    }

    /// Reads the objects.
    async fn objects(&self, wanted: Wanted<'_>) -> anyhow::Result<Input> {
        let kinds = cluster::kinds(self.config.opt_ins());
        let ConfigFile { config, warnings } = self.config.file()?;
        let audiences = self.config.audiences(&config);
        let mut messages: Vec<_> = warnings
            .iter()
            .map(|warning| format!("warning: {warning}"))
            .collect();
        let index = Arc::new(RwLock::new(Index::new(&[])));
        if !self.has_files() {
            let live = self.live(&index, config, audiences, wanted, &kinds).await?;
            let complete = live.errors.is_empty();
            messages.extend(live.errors);
            return Ok(Input {
                index,
                complete,
                places: Places::default(),
                messages,
                leases: live.leases,
            });
        }
        let live = if self.with_cluster {
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
            Live::default()
        };
        let outcome = self.files(&mut index.write(), wanted);
        let complete = live.errors.is_empty() && outcome.problems.is_empty();
        messages.extend(live.errors);
        messages.extend(self.file_messages(&outcome));
        Ok(Input {
            index,
            complete,
            places: outcome.places,
            messages,
            leases: live.leases,
        })
    }

    /// Lists kinds of the live cluster.
    async fn live(
        &self,
        index: &SharedIndex,
        config: Config,
        audiences: Option<ApiAudiences>,
        wanted: Wanted<'_>,
        kinds: &[InputKind],
    ) -> anyhow::Result<Live> {
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
            timeout: cluster.timeout,
        };
        let has_answered = Cell::new(false);
        let note = |read, more| {
            has_answered.set(true);
            progress.advance(read, more);
        };
        let silence = async {
            tokio::time::sleep(SILENCE).await;
            if !has_answered.get() {
                print_message(&format!(
                    "note: waiting for the API server {}",
                    cluster.server()
                ));
            }
            std::future::pending().await
        };
        let errors = tokio::select! {
            errors = list::list_all(&cluster.connection, index, &wanted, &note) => errors,
            never = silence => never,
        };
        drop(progress);
        // An error that concerns all kinds is reported once.
        if let Some(error) = errors.iter().find(|error| error.is_fatal()) {
            anyhow::bail!("the cluster {} cannot be read: {error}", cluster.server());
        }
        cluster.learn(index, audiences).await;
        let messages = list::messages(&errors).into_iter();
        let mut errors: Vec<_> = messages
            .map(|message| format!("error: {message}"))
            .collect();
        let leases = self.leases(&cluster, &mut errors).await;
        Ok(Live { errors, leases })
    }

    /// The Leases of the API servers, where evidence of use depends on them.
    async fn leases(&self, cluster: &Cluster, errors: &mut Vec<String>) -> Option<Vec<Lease>> {
        if !self.evidence.is_given() {
            return None;
        }
        let found = within(cluster.timeout, servers::leases(&cluster.connection.client)).await;
        found
            .map_err(|cause| errors.push(format!(
                "error: cannot list leases in namespace kube-system: {cause}: grant `list` on `leases` (apiGroup coordination.k8s.io) there, since they name the API servers whose logs are needed"
            )))
            .ok()
    }

    /// Reads files.
    fn files(&self, index: &mut Index, wanted: Wanted<'_>) -> files::Outcome {
        let default_namespace = match wanted.namespaces {
            Namespaces::One(namespace) => Some(namespace),
            Namespaces::Current | Namespaces::All => None,
        };
        let progress = Progress::of("files");
        let wanted = files::Wanted {
            namespace: default_namespace,
            pods: wanted.pods,
            progress: &|read, more| progress.advance(read, more),
        };
        files::load(&self.paths, &wanted, index)
    }

    /// Errors, warnings and notes about the files.
    fn file_messages(&self, outcome: &files::Outcome) -> Vec<String> {
        let problems = outcome.problems.iter();
        let problems = problems.map(|problem| format!("error: {problem}"));
        let warnings = outcome.warnings.iter();
        let warnings = warnings.map(|warning| format!("warning: {warning}"));
        let note = if outcome.objects == 0 && outcome.problems.is_empty() {
            Some("note: the input contains no pods, pod templates, ServiceAccounts or RBAC objects")
        } else if outcome.objects > 0 && !outcome.has_rbac && !self.with_cluster {
            Some(
                "note: the input contains no RBAC objects: permissions granted elsewhere in the cluster are not considered; add them or use `--with-cluster`",
            )
        } else {
            None
        };
        problems
            .chain(warnings)
            .chain(note.map(str::to_owned))
            .collect()
    }
}
