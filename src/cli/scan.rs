//! `token-exposure scan`.

use std::{collections::BTreeSet, process::ExitCode};

use super::{
    CANNOT, LogFormat, complain,
    input::{InputArgs, Namespaces, Wanted},
    output::OutputArgs,
};
use crate::{
    model::{Exposure, ReportScope, Verdict},
    output::table,
    source::LabelSelector,
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
    #[command(flatten)]
    input: InputArgs,
    /// The namespace to scan; for files, that of objects which name none [default: the context's]
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// Scan all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Judge only pods with these labels, as in app=web,tier!=db
    #[arg(
        short = 'l',
        long,
        value_name = "LABELS",
        default_value = "",
        hide_default_value = true
    )]
    selector: LabelSelector,
    #[command(flatten)]
    output: OutputArgs,
    /// Which ServiceAccounts are shown
    #[arg(long, value_enum, default_value_t)]
    report_scope: Scope,
    /// The least bad verdict that makes the exit code 1
    #[arg(long, value_name = "VERDICT", value_enum, default_value_t)]
    fail_on: FailOn,
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
    let namespaces = match (&args.namespace, args.all_namespaces) {
        (_, true) => Namespaces::All,
        (Some(namespace), false) => Namespaces::One(namespace),
        (None, false) => Namespaces::Current,
    };
    let wanted = Wanted {
        namespaces,
        pods: &args.selector,
    };
    let outputs = args.output.destinations()?;
    let (index, complete) = args.input.read(wanted).await?;
    let exposures: Vec<Exposure> = {
        let index = index.read();
        let subjects = index.accounts().filter(|(_, known)| known.is_subject());
        let assessed = subjects.map(|(account, _)| index.assess(account));
        // Where pods are selected, accounts without any of them are nobody's question.
        let asked =
            |exposure: &Exposure| args.selector.selects_all() || !exposure.workloads.is_empty();
        assessed.filter(asked).collect()
    };
    note_widened_baseline(&exposures);
    let failed = exposures
        .iter()
        .any(|exposure| args.fail_on.includes(exposure.verdict));
    let scope = ReportScope::from(args.report_scope);
    let mut shown: Vec<&Exposure> = exposures
        .iter()
        .filter(|exposure| scope.includes(exposure.verdict))
        .collect();
    shown.sort_by_key(|exposure| (exposure.verdict, &exposure.account));
    for output in &outputs {
        output.write(&shown, &exposures)?;
    }
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
