//! The input of a command: the live cluster, or files.

mod folders;
mod messages;

use std::{cell::Cell, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::RwLock;

use super::{
    cluster::{Cluster, ClusterArgs},
    config::ConfigArgs,
    evidence::EvidenceArgs,
    namespaces::NamespaceArgs,
    print_message,
    progress::Progress,
    today,
};
use crate::{
    client::within,
    cluster::{self, list, servers},
    config::ConfigFile,
    files::{self, places::Places},
    index::{Index, SharedIndex, Standing},
    model::{ApiAudiences, Config, InputKind, LabelSelector, Selection},
    output::{Message, Severity},
    render,
    text::folders::select,
    token::redact::redacted,
    usage::Lease,
};

/// The flags that select the input.
#[derive(Debug, clap::Args)]
pub(super) struct InputArgs {
    /// Files, folders, or - for standard input [default: the current cluster]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Read pods from the files, the rest from the current cluster
    #[arg(long, requires = "paths")]
    with_cluster: bool,
    #[command(flatten)]
    render: RenderArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    pub(super) evidence: EvidenceArgs,
}

/// The flags that render folders.
#[derive(Debug, clap::Args)]
struct RenderArgs {
    /// Render with kustomize or kubectl, and charts with helm
    #[arg(long, requires = "paths")]
    render: bool,
    /// With --render: a file with values for charts; repeatable
    #[arg(long, value_name = "FILE", requires = "render")]
    values: Vec<PathBuf>,
    /// With --render: a value for charts; repeatable
    #[arg(long, value_name = "NAME=VALUE", requires = "render")]
    set: Vec<String>,
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
    /// The files and lines of the objects.
    pub(super) places: Places,
    /// Errors, warnings and notes about the input.
    pub(super) messages: Vec<Message>,
    /// Whether RBAC objects come from files, and only from them.
    pub(super) has_rbac_of_files: bool,
    /// Whether RBAC objects may be among what could not be read.
    pub(super) lacks_rbac: bool,
    /// Whether there are folders that must be rendered, and were not.
    pub(super) has_unrendered: bool,
}

/// What there is to say about a cluster that was read.
#[derive(Default)]
struct Live {
    messages: Vec<Message>,
    /// The Leases of its API servers, where evidence of use depends on them.
    leases: Option<Vec<Lease>>,
}

/// How long the API server may be silent until the user is told who is waited for.
const SILENCE: Duration = Duration::from_secs(5);
/// How many messages about the input are kept.
const MAX_MESSAGES: usize = 1_000;

impl Input {
    /// What was read, with as many messages as people read, the errors first. None has a token.
    fn new(index: SharedIndex, places: Places, mut messages: Vec<Message>) -> Self {
        let omitted = messages.len().saturating_sub(MAX_MESSAGES);
        if omitted > 0 {
            messages.sort_by_key(|message| message.severity);
            messages.truncate(MAX_MESSAGES);
            messages.push(Message::note(format!(
                "{omitted} more messages about the input are not shown"
            )));
        }
        for message in &mut messages {
            message.text = redacted(&message.text).into_owned();
        }
        Self {
            index,
            places,
            messages,
            has_rbac_of_files: false,
            lacks_rbac: false,
            has_unrendered: false,
        }
    }

    /// Whether the accounts of this namespace were read.
    pub(super) fn covers(&self, namespace: &str) -> bool {
        self.index.read().standing(namespace) == Standing::Selected
    }

    /// Whether everything could be read.
    pub(super) fn is_complete(&self) -> bool {
        let mut messages = self.messages.iter();
        messages.all(|message| message.severity != Severity::Error)
    }

    /// Prints the errors, warnings and notes about the input.
    pub(super) fn print_messages(&self) {
        for message in &self.messages {
            print_message(&message.visible());
        }
    }
}

/// Which namespaces to read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Namespaces<'a> {
    /// Those that the user selects, by default that of the context; in files, all, and the one that the user names for
    /// objects without one.
    Selected {
        flags: &'a NamespaceArgs,
        /// Whether no name selects.
        all: bool,
    },
    /// This one; in files, all, and this one for objects without one.
    One(&'a str),
    /// All.
    All,
}

impl Namespaces<'_> {
    /// The namespaces of a cluster that are judged.
    fn selection(self, config: Selection, current: &str) -> Selection {
        match self {
            Self::Selected { flags, all } => flags.over_in(config, all, current),
            Self::One(namespace) => Selection::only([namespace]),
            Self::All => Selection::default(),
        }
    }

    /// What there is to say about those that are not, or not by the controller, given what the configuration selects.
    fn left_out(self, index: &Index, configured: &Selection) -> Option<Message> {
        match self {
            Self::Selected { flags, .. } => flags.left_out(index, false).map(Message::note),
            Self::One(namespace) => {
                let key = configured.leaves_out_name(namespace)?.key();
                Some(Message::note(format!(
                    "`{key}` of the configuration leaves out namespace {namespace}: the controller writes no report for its ServiceAccounts"
                )))
            }
            Self::All => None,
        }
    }
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
        let kinds = cluster::kinds(self.config.opt_ins());
        let default_namespace = self.default_namespace(wanted)?;
        let ConfigFile {
            mut config,
            warnings,
        } = self.config.file()?;
        let audiences = self.config.audiences(&config);
        let mut messages: Vec<_> = warnings.iter().map(Message::warning).collect();
        let index = Arc::new(RwLock::new(Index::new(&[])));
        if !self.has_files() {
            let live = self.live(&index, config, audiences, wanted, &kinds);
            let live = live.await?;
            messages.extend(live.messages);
            messages.extend(self.evidence(live.leases, &index)?);
            return Ok(Input::new(index, Places::default(), messages));
        }
        messages.extend(self.without_effect(&config.namespaces));
        // They select namespaces of a cluster: all that the files have is judged.
        config.namespaces = Selection::default();
        let mut leases = None;
        if self.with_cluster {
            let mut kinds = kinds;
            kinds.retain(|kind| *kind != InputKind::Pod);
            let everywhere = Wanted {
                namespaces: Namespaces::All,
                ..wanted
            };
            let live = self.live(&index, config, audiences, everywhere, &kinds);
            let live = live.await?;
            messages.extend(live.messages);
            leases = live.leases;
        } else {
            let mut index = index.write();
            index.set_audiences(audiences.unwrap_or_default());
            index.set_config(config);
            index.set_today(today());
            index.set_all_pods(wanted.pods.selects_all());
            index.expect_usage(self.evidence.is_given());
        }
        let outcome = self.files(&index, wanted, default_namespace).await;
        messages.extend(self.file_messages(&outcome));
        messages.extend(self.evidence(leases, &index)?);
        let has_unrendered = !outcome.unrendered.is_empty();
        let mut input = Input::new(index, outcome.places, messages);
        input.has_unrendered = has_unrendered;
        input.has_rbac_of_files = outcome.has_rbac && !self.with_cluster;
        input.lacks_rbac = outcome.lacks_rbac || has_unrendered;
        Ok(input)
    }

    /// Reads the evidence of use into the index, and returns what there is to say about it.
    fn evidence(
        &self,
        leases: Option<Vec<Lease>>,
        index: &SharedIndex,
    ) -> anyhow::Result<Vec<Message>> {
        let Some(evidence) = self.evidence.read(leases)? else {
            return Ok(Vec::new());
        };
        evidence.join(index);
        Ok(evidence.messages)
    }

    /// What may be given instead of a cluster.
    fn otherwise(&self) -> &'static str {
        if self.has_files() {
            ", or remove `--with-cluster`"
        } else {
            ", or paths of files to scan"
        }
    }

    /// Lists kinds of the live cluster.
    async fn live(
        &self,
        index: &SharedIndex,
        mut config: Config,
        audiences: Option<ApiAudiences>,
        wanted: Wanted<'_>,
        kinds: &[InputKind],
    ) -> anyhow::Result<Live> {
        let namespaces = wanted.namespaces;
        let cluster = self.cluster.connect(self.otherwise()).await?;
        let configured = config.namespaces.clone();
        config.namespaces = namespaces.selection(config.namespaces, &cluster.namespace);
        let mut empty = Index::new(kinds);
        empty.set_config(config);
        empty.set_today(today());
        empty.set_all_pods(wanted.pods.selects_all() && kinds.contains(&InputKind::Pod));
        empty.expect_usage(self.evidence.is_given());
        *index.write() = empty;
        let progress = Progress::of("objects");
        let wanted = list::Wanted {
            kinds,
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
        // Whoever is denied something sees that RBAC is enforced.
        let warning = cluster.learn(index, audiences, !errors.is_empty()).await;
        let errors = list::messages(&errors).into_iter().map(Message::error);
        let mut messages: Vec<_> = errors.chain(warning.map(Message::warning)).collect();
        messages.extend(namespaces.left_out(&index.read(), &configured));
        let leases = self.leases(&cluster, &mut messages).await;
        Ok(Live { messages, leases })
    }

    /// The Leases of the API servers, where evidence of use depends on them.
    async fn leases(&self, cluster: &Cluster, messages: &mut Vec<Message>) -> Option<Vec<Lease>> {
        if !self.evidence.is_given() {
            return None;
        }
        let found = within(cluster.timeout, servers::leases(&cluster.connection.client)).await;
        found
            .map_err(|cause| messages.push(Message::error(format!(
                "cannot list leases in namespace kube-system: {cause}: grant `list` on `leases` (apiGroup coordination.k8s.io) there, since they name the API servers whose logs are needed"
            ))))
            .ok()
    }

    /// The namespace of objects in files that name none.
    fn default_namespace<'a>(&self, wanted: Wanted<'a>) -> anyhow::Result<Option<&'a str>> {
        match wanted.namespaces {
            Namespaces::Selected { flags, .. } if self.has_files() => flags.of_files(),
            Namespaces::One(namespace) => Ok(Some(namespace)),
            Namespaces::Selected { .. } | Namespaces::All => Ok(None),
        }
    }

    /// Reads files, and what folders are rendered to.
    async fn files(
        &self,
        index: &SharedIndex,
        wanted: Wanted<'_>,
        default_namespace: Option<&str>,
    ) -> files::Outcome {
        let progress = Progress::of("files");
        let wanted = files::Wanted {
            namespace: default_namespace,
            pods: wanted.pods,
            progress: &|read, more| progress.advance(read, more),
        };
        let paths = folders::instead_of_files(&self.paths);
        if !self.render.render {
            let mut outcome = files::load(&self.paths, &wanted, &mut index.write());
            if outcome.objects == 0 && outcome.unrendered.is_empty() {
                outcome.unrendered = select(&paths).folders;
            }
            return outcome;
        }
        let selection = select(&paths);
        let options = render::Options {
            namespace: default_namespace.unwrap_or("default").to_owned(),
            values: self.render.values.clone(),
            set: self.render.set.clone(),
        };
        let made = render::render(&selection.folders, &options, wanted.progress).await;
        let mut index = index.write();
        let mut outcome = files::load_rendered(selection, &made.rendered, &wanted, &mut index);
        outcome.problems.extend(made.problems);
        outcome.warnings.extend(made.warnings);
        outcome
    }
}
