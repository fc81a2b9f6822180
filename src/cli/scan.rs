//! `token-exposure scan`.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::bail;

use super::{
    EXIT_ERROR,
    input::{Input, InputArgs, Namespaces, Wanted},
    logging,
    output::{Found, OutputArgs},
    print_message,
};
use crate::{
    edit,
    model::{Exposure, LabelSelector, ReportScope, Verdict},
    output::table::{self, visible},
};

/// The arguments of `scan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
  0  no finding at or above --fail-on
  1  findings at or above --fail-on
  2  the command could not run, read an input or change a file

Examples:
  token-exposure scan -A                   all namespaces of the current cluster
  token-exposure scan deploy/              a folder of manifests
  helm template . | token-exposure scan -  the output of a chart")]
pub(super) struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// Namespace to scan; in files, the namespace of objects without one
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// Scan all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Scan only pods with these labels, for example app=web,tier!=db
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
    /// Which ServiceAccounts to show
    #[arg(long, value_name = "SCOPE", value_enum, default_value_t)]
    report_scope: Scope,
    /// Exit with code 1 if an account has this verdict or a worse one
    #[arg(long, value_name = "VERDICT", value_enum, default_value_t)]
    fail_on: FailOn,
}

/// Which ServiceAccounts are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Scope {
    /// ServiceAccounts with a finding.
    #[default]
    Findings,
    /// All ServiceAccounts that exist, or that a pod or template uses.
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

/// The mildest verdict for which the exit code is 1.
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

/// Scans, prints the result, and returns the exit code.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    logging::once();
    let outputs = args.output.destinations()?;
    if args.output.changes_files() && args.input.has_stdin() {
        bail!("standard input cannot be changed: use files, or remove `--write`");
    }
    let mut input = args.input.read(args.wanted()).await?;
    input.print_messages();
    let mut all = args.assess(&input);
    print_widened_defaults(&all);
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
        if args.output.changes_files() {
            changed = change_files(&found)?;
        }
    }
    if args.output.changes_files() {
        input = args.input.read(args.wanted()).await?;
        all = args.assess(&input);
        writeln!(io::stdout(), "{}", table::counts(&all))?;
    }
    let failed = all.iter().any(|exposure| fails(exposure.verdict));
    Ok(match (input.complete && changed, failed) {
        (false, _) => ExitCode::from(EXIT_ERROR),
        (true, true) => ExitCode::from(1),
        (true, false) => ExitCode::SUCCESS,
    })
}

impl Args {
    /// What to read.
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

    /// The answers for all accounts of the input. With `--selector`, accounts without a selected pod are left
    /// out.
    fn assess(&self, input: &Input) -> Vec<Exposure> {
        let index = input.index.read();
        let subjects = index
            .accounts()
            .filter(|(_, known)| known.exists_or_has_pods());
        let assessed = subjects.map(|(account, _)| index.assess(account));
        let is_selected =
            |exposure: &Exposure| self.selector.selects_all() || !exposure.workloads.is_empty();
        assessed.filter(is_selected).collect()
    }
}

/// Disables unneeded tokens in the files, prints each change, and returns whether all could be made. Findings
/// that a person must review first are not changed.
fn change_files(found: &Found<'_>) -> io::Result<bool> {
    let unneeded = found.shown.iter();
    let unneeded = unneeded.filter(|exposure| exposure.verdict == Verdict::Unneeded);
    let mut patches = Vec::new();
    for (exposure, remediation) in
        unneeded.filter_map(|exposure| Some((exposure, exposure.remediation.as_ref()?)))
    {
        if remediation.patches.is_empty() {
            let (account, summary) = (&exposure.account, &remediation.summary);
            print_message(&visible(&format!("note: {account}: {summary}")));
        }
        let own = remediation.patches.iter();
        patches.extend(own.map(|patch| (&*exposure.account.namespace, patch)));
    }
    let changed = edit::patch(found.places, &patches);
    let mut out = io::stdout().lock();
    for ((namespace, _), patched) in patches.iter().zip(&changed) {
        let target = visible(&format!("{} in namespace {namespace}", patched.target));
        for file in &patched.files {
            let file = visible(&file.display().to_string());
            writeln!(out, "{file}: {target}: token disabled")?;
        }
        for failure in &patched.failures {
            print_message(&format!("error: {target}: {}", visible(failure)));
        }
    }
    Ok(changed.iter().all(|patched| patched.failures.is_empty()))
}

/// Prints which bindings grant every authenticated user more than Kubernetes does: such permissions are not
/// listed for an account.
fn print_widened_defaults(exposures: &[Exposure]) {
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
        print_message(&visible(&format!(
            "note: every authenticated user is granted more than the default permissions of Kubernetes, by {}{more}: only permissions beyond these are listed",
            shown.join(", ")
        )));
    }
}
