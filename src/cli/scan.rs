//! `token-exposure scan`.

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use parking_lot::RwLock;

use super::{
    CANNOT, LogFormat,
    cluster::{self, ClusterArgs},
    complain,
};
use crate::{
    index::Index,
    model::{Exposure, ReportScope, Verdict},
    output::{
        objects,
        table::{self, Detail},
    },
    source::{self, files, list},
};

/// What to scan, and how to tell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
  0  nothing at or above --fail-on
  1  findings at or above it
  2  something could not be read or decided

Examples:
  token-exposure scan -A                   the current cluster
  token-exposure scan deploy/              a folder of manifests
  helm template . | token-exposure scan -  what a chart renders")]
pub(super) struct Args {
    /// Files, folders or - for standard input; without any, the live cluster is scanned
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The namespace to scan; for files, that of objects which name none [default: the context's]
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// Scan all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Which ServiceAccounts are shown
    #[arg(long, value_enum, default_value_t)]
    report_scope: Scope,
    /// The least bad verdict that makes the exit code 1
    #[arg(long, value_name = "VERDICT", value_enum, default_value_t)]
    fail_on: FailOn,
    /// An audience that the API server accepts (repeatable): every other is somebody else's
    #[arg(long, value_name = "AUDIENCE")]
    api_audience: Vec<String>,
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For a person.
    #[default]
    Table,
    /// For a person with a wide screen.
    Wide,
    /// A v1 List of TokenExposureReports.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Which ServiceAccounts are told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Scope {
    /// Those with a finding.
    #[default]
    Findings,
    /// All that exist, or that a pod or template names.
    All,
}

impl From<Scope> for ReportScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Findings => Self::Findings,
            Scope::All => Self::All,
        }
    }
}

/// The least bad verdict that makes the exit code 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    #[default]
    Unneeded,
    Review,
    Unknown,
    Never,
}

impl FailOn {
    fn includes(self, verdict: Verdict) -> bool {
        match self {
            Self::Unneeded => verdict <= Verdict::Unneeded,
            Self::Review => verdict <= Verdict::Review,
            Self::Unknown => verdict <= Verdict::Unknown,
            Self::Never => false,
        }
    }
}

/// Scans, prints, and says by the exit code how it went.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    super::start_logging(LogFormat::Text, "warn");
    let (index, complete) = if args.paths.is_empty() {
        live(&args).await?
    } else {
        from_files(&args)
    };
    let exposures: Vec<Exposure> = {
        let index = index.read();
        let subjects = index.accounts().filter(|(_, known)| known.is_subject());
        subjects.map(|(account, _)| index.assess(account)).collect()
    };
    note_widened_baseline(&exposures);
    let failed = exposures
        .iter()
        .any(|exposure| args.fail_on.includes(exposure.verdict));
    print(&args, &exposures)?;
    Ok(match (complete, failed) {
        (false, _) => ExitCode::from(CANNOT),
        (true, true) => ExitCode::from(1),
        (true, false) => ExitCode::SUCCESS,
    })
}

/// Says which bindings give everybody more than Kubernetes does: no permission told is among that.
fn note_widened_baseline(exposures: &[Exposure]) {
    const SHOWN: usize = 3;
    let widened = exposures
        .iter()
        .flat_map(|exposure| &exposure.permissions.widened);
    let names: BTreeSet<_> = widened
        .map(|grant| {
            let (kind, role) = (grant.binding_kind(), &grant.role_ref);
            format!("{kind} {} ({role})", grant.binding)
        })
        .collect();
    let shown: Vec<_> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    if !shown.is_empty() {
        complain(&table::visible(&format!(
            "note: every identity here has more than Kubernetes itself gives, by {}{more}: permissions are told beyond that",
            shown.join(", ")
        )));
    }
}

/// Lists the live cluster; whether all of it could be.
async fn live(args: &Args) -> anyhow::Result<(Arc<RwLock<Index>>, bool)> {
    let legacy_tokens = args.cluster.legacy_tokens;
    let cluster = args.cluster.connect().await?;
    let index = Arc::new(RwLock::new(Index::new(&source::kinds(legacy_tokens))));
    let namespace = match (&args.namespace, args.all_namespaces) {
        (_, true) => None,
        (Some(namespace), false) => Some(namespace.as_str()),
        (None, false) => Some(cluster.namespace.as_str()),
    };
    let errors = list::list_all(&cluster.client, &index, namespace, legacy_tokens).await;
    // What fails for one kind fails for all, mostly: it is told once.
    if let Some(error) = errors.iter().find(|error| error.is_fatal()) {
        anyhow::bail!("the cluster cannot be read: {error}");
    }
    for error in &errors {
        complain(&format!("error: {error}"));
    }
    cluster.learn(&index, &args.api_audience).await;
    Ok((index, errors.is_empty()))
}

/// Reads files; whether all of them could be.
fn from_files(args: &Args) -> (Arc<RwLock<Index>>, bool) {
    let mut index = Index::new(&[]);
    index.set_audiences(cluster::given(&args.api_audience));
    let outcome = files::load(
        &args.paths,
        args.namespace.as_deref().unwrap_or("default"),
        &mut index,
    );
    for problem in &outcome.problems {
        complain(&format!("error: {}", table::visible(&problem.to_string())));
    }
    for warning in &outcome.warnings {
        complain(&format!(
            "warning: {}",
            table::visible(&warning.to_string())
        ));
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

fn print(args: &Args, exposures: &[Exposure]) -> io::Result<()> {
    let scope = ReportScope::from(args.report_scope);
    let mut shown: Vec<&Exposure> = exposures
        .iter()
        .filter(|exposure| scope.includes(exposure.verdict))
        .collect();
    let mut out = io::BufWriter::new(io::stdout().lock());
    match args.output {
        Format::Json => objects::write_json(&mut out, &shown)?,
        Format::Yaml => objects::write_yaml(&mut out, &shown)?,
        Format::Table | Format::Wide => {
            let detail = if args.output == Format::Wide {
                Detail::Wide
            } else {
                Detail::Normal
            };
            shown.sort_by_key(|exposure| (exposure.verdict, &exposure.account));
            table::write(&mut out, &shown, exposures, detail, terminal_width())?;
        }
    }
    out.flush()
}

/// The width of the terminal; `None` when the output goes elsewhere.
fn terminal_width() -> Option<u16> {
    io::stdout()
        .is_terminal()
        .then(|| comfy_table::Table::new().width())
        .flatten()
}
