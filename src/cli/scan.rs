//! `token-exposure scan`.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::bail;

use super::{
    CANNOT, LogFormat, complain,
    input::{Input, InputArgs, Namespaces, Wanted},
    output::{Found, OutputArgs},
};
use crate::{
    edit,
    model::{Exposure, LabelSelector, ReportScope, Verdict},
    output::table::{self, visible},
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
    /// The namespace to scan; in files, that of objects without one
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// Scan all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only pods with these labels, as in app=web,tier!=db
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
    #[arg(long, value_name = "SCOPE", value_enum, default_value_t)]
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
    let outputs = args.output.destinations()?;
    if args.output.writes() && args.input.has_stdin() {
        bail!("standard input cannot be changed: give files, or leave --write out");
    }
    let mut input = args.input.read(args.wanted()).await?;
    input.tell();
    let mut all = args.judge(&input);
    note_widened_baseline(&all);
    let fails = |verdict| args.fail_on.includes(verdict);
    let scope = ReportScope::from(args.report_scope);
    let mut changed = true;
    {
        let shown = all.iter();
        let shown = shown.filter(|exposure| scope.includes(exposure.verdict));
        let mut shown: Vec<&Exposure> = shown.collect();
        shown.sort_by_key(|exposure| (exposure.verdict, &exposure.account));
        let found = Found {
            all: &all,
            shown: &shown,
            index: &input.index.read(),
            places: &input.places,
            fails: &fails,
            problems: &input.problems(),
        };
        for output in &outputs {
            output.write(&found)?;
        }
        if args.output.writes() {
            changed = change_files(&found)?;
        }
    }
    if args.output.writes() {
        input = args.input.read(args.wanted()).await?;
        all = args.judge(&input);
        writeln!(io::stdout(), "{}", table::counts(&all))?;
    }
    let failed = all.iter().any(|exposure| fails(exposure.verdict));
    Ok(match (input.complete && changed, failed) {
        (false, _) => ExitCode::from(CANNOT),
        (true, true) => ExitCode::from(1),
        (true, false) => ExitCode::SUCCESS,
    })
}

impl Args {
    /// What is read.
    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            namespaces: match (&self.namespace, self.all_namespaces) {
                (_, true) => Namespaces::All,
                (Some(namespace), false) => Namespaces::One(namespace),
                (None, false) => Namespaces::Current,
            },
            pods: &self.selector,
        }
    }

    /// The answers for all accounts of the input. Where pods are selected, accounts without any of them
    /// are nobody's question.
    fn judge(&self, input: &Input) -> Vec<Exposure> {
        let index = input.index.read();
        let subjects = index
            .accounts()
            .filter(|(_, known)| known.exists_or_has_pods());
        let assessed = subjects.map(|(account, _)| index.assess(account));
        let asked =
            |exposure: &Exposure| self.selector.selects_all() || !exposure.workloads.is_empty();
        assessed.filter(asked).collect()
    }
}

/// Switches off in the files what is unneeded, and says where; whether all of it could be. What a person
/// must look at first is left as it is.
fn change_files(found: &Found<'_>) -> io::Result<bool> {
    let unneeded = found.shown.iter();
    let unneeded = unneeded.filter(|exposure| exposure.verdict == Verdict::Unneeded);
    let mut patches = Vec::new();
    for (exposure, remediation) in
        unneeded.filter_map(|exposure| Some((exposure, exposure.remediation.as_ref()?)))
    {
        if remediation.patches.is_empty() {
            let (account, summary) = (&exposure.account, &remediation.summary);
            complain(&visible(&format!("note: {account}: {summary}")));
        }
        let own = remediation.patches.iter();
        patches.extend(own.map(|patch| (&*exposure.account.namespace, patch)));
    }
    let changed = edit::patch(&found.places, &patches);
    let mut out = io::stdout().lock();
    for ((namespace, _), patched) in patches.iter().zip(&changed) {
        let target = visible(&format!("{} in namespace {namespace}", patched.target));
        for file in &patched.files {
            let file = visible(&file.display().to_string());
            writeln!(out, "{file}: {target}: token switched off")?;
        }
        for failure in &patched.failures {
            complain(&format!("error: {target}: {}", visible(failure)));
        }
    }
    Ok(changed.iter().all(|patched| patched.failures.is_empty()))
}

/// Says which bindings give everybody more than Kubernetes does: no permission told is among that.
fn note_widened_baseline(exposures: &[Exposure]) {
    const SHOWN: usize = 3;
    let widened = exposures
        .iter()
        .flat_map(|exposure| &exposure.permissions.widened_defaults);
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
        complain(&visible(&format!(
            "note: every identity here has more than Kubernetes itself gives, by {}{more}: permissions are told beyond that",
            shown.join(", ")
        )));
    }
}
