//! `token-exposure scan`.

mod messages;

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, anyhow, bail};

use super::{
    EXIT_ERROR,
    input::{Input, InputArgs, Namespaces, Wanted},
    logging,
    namespaces::NamespaceArgs,
    output::{Found, OutputArgs},
    print_message, stdout,
};
use crate::{
    baseline::{self, Baseline, Comparison},
    edit,
    model::{Exposure, LabelSelector, Reason, ReportScope, Verdict},
    output::{
        Message, preview,
        table::{self, visible},
    },
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
  token-exposure scan deploy/ --render     a folder of manifests, kustomizations and charts
  helm template . | token-exposure scan -  the output of a chart")]
pub(super) struct Args {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    namespaces: NamespaceArgs,
    /// Scan all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
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
    /// Add one patch for all `default` ServiceAccounts that mount a token and that no pod uses
    #[arg(long, conflicts_with = "selector")]
    harden_defaults: bool,
    /// Print what the policy that withholds tokens (`cure.mode` of the chart) would do to the next pods, and why
    #[arg(long, conflicts_with_all = ["output", "output_file", "write", "baseline", "harden_defaults"])]
    preview_cure: bool,
    #[command(flatten)]
    baseline: BaselineArgs,
}

/// The flags that compare a scan with an earlier one.
#[derive(Debug, clap::Args)]
struct BaselineArgs {
    /// Fail only for what is new or worse since this earlier `-o json` or `--write-baseline`
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write all findings to this file, for a later `--baseline`
    #[arg(long, value_name = "FILE")]
    write_baseline: Option<PathBuf>,
}

impl BaselineArgs {
    /// Reads the baseline, if there is one.
    fn read(&self) -> anyhow::Result<Option<Baseline>> {
        let Some(path) = &self.baseline else {
            return Ok(None);
        };
        let baseline = Baseline::read(path);
        let baseline =
            baseline.map_err(|why| anyhow!("{} (of --baseline) {why}", path.display()))?;
        Ok(Some(baseline))
    }

    /// Writes a baseline, if one is asked for and the whole input could be read.
    fn write(&self, all: &[Exposure], is_complete: bool) -> anyhow::Result<()> {
        let Some(path) = &self.write_baseline else {
            return Ok(());
        };
        if !is_complete {
            print_message(&format!(
                "error: {} is not written: a baseline of a part of the input would lack findings",
                path.display()
            ));
            return Ok(());
        }
        File::create(path)
            .and_then(|file| {
                let mut out = BufWriter::new(file);
                Baseline::of(all).write(&mut out)?;
                out.flush()
            })
            .with_context(|| format!("{} cannot be written", path.display()))
    }
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

/// Why no file is changed.
const LACKS_RBAC: &str = "error: no file was changed: a role or binding in what could not be read may need a token; mend it, or name the files to scan";

/// Scans, prints the result, and returns the exit code.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    logging::once();
    let outputs = args
        .output
        .destinations(args.baseline.write_baseline.as_deref())?;
    if args.output.changes_files() && args.input.has_stdin() {
        bail!("standard input cannot be changed: use files, or remove `--write`");
    }
    let baseline = args.baseline.read()?;
    let mut input = args.input.read(args.wanted()).await?;
    let mut answer = args.answer(&mut input, baseline.as_ref());
    input.print_messages();
    let fails = |verdict| args.fail_on.includes(verdict);
    let mut changed = true;
    if args.preview_cure {
        preview::write(&mut stdout(), &answer.all)?;
    } else {
        let shown = answer.shown(args.report_scope.into());
        let defaults = answer.defaults();
        let found = Found {
            all: &answer.all,
            shown: &shown,
            defaults: &defaults,
            index: &input.index.read(),
            places: &input.places,
            fails: &fails,
            messages: &input.messages,
            comparison: answer.comparison.as_ref(),
        };
        for output in &outputs {
            output.write(&found)?;
        }
        if args.output.changes_files() {
            changed = !input.lacks_rbac && change_files(&found)?;
        }
    }
    if args.output.changes_files() && input.lacks_rbac {
        print_message(LACKS_RBAC);
    } else if args.output.changes_files() {
        input = args.input.read(args.wanted()).await?;
        answer = args.answer(&mut input, baseline.as_ref());
        writeln!(stdout(), "{}", table::counts(&answer.all))?;
    }
    // What was changed is no finding any more.
    args.baseline.write(&answer.all, input.is_complete())?;
    Ok(
        match (input.is_complete() && changed, answer.fails(&fails)) {
            (false, _) => ExitCode::from(EXIT_ERROR),
            (true, true) => ExitCode::from(1),
            (true, false) => ExitCode::SUCCESS,
        },
    )
}

/// The answer of a scan.
struct Answer {
    /// For each account.
    all: Vec<Exposure>,
    /// Whether unused `default` accounts are patched; they have no row of their own then.
    hardens_defaults: bool,
    /// The findings beside those of the baseline.
    comparison: Option<Comparison>,
}

impl Answer {
    /// The accounts to show: what is new since the baseline first, then the worst.
    fn shown(&self, scope: ReportScope) -> Vec<&Exposure> {
        let shown = self.all.iter();
        let shown = shown.filter(|exposure| {
            let is_patched = self.hardens_defaults && exposure.is_unused_default();
            scope.includes(exposure.verdict) && !is_patched
        });
        let mut shown: Vec<&Exposure> = shown.collect();
        let change = |exposure| {
            let change = self.comparison.as_ref()?.worst(exposure);
            Some(change.is_none_or(|change| !change.counts()))
        };
        shown.sort_by_key(|exposure| (change(exposure), exposure.verdict, &exposure.account));
        shown
    }

    /// The `default` accounts that are patched although they have no finding.
    fn defaults(&self) -> Vec<&Exposure> {
        let all = self.all.iter().filter(|_| self.hardens_defaults);
        all.filter(|exposure| exposure.is_unused_default())
            .collect()
    }

    fn fails(&self, fails: &dyn Fn(Verdict) -> bool) -> bool {
        let comparison = self.comparison.as_ref();
        self.all
            .iter()
            .any(|exposure| baseline::fails(exposure, comparison, fails))
    }
}

impl Args {
    /// Assesses the input, compares the answer with the baseline, and adds what there is to know about both to the
    /// messages.
    fn answer(&self, input: &mut Input, baseline: Option<&Baseline>) -> Answer {
        let mut all = self.assess(input);
        let everything = input.index.read().granting_everything();
        let first = messages::everything_for_everybody(&everything);
        input.messages.splice(..0, first);
        let told = [
            messages::widened_defaults(&all, &everything),
            messages::hidden_notes(&all, self.report_scope.into(), self.input.has_files()),
            messages::unused_defaults(&all).filter(|_| !self.harden_defaults),
            messages::absent_accounts(&all).filter(|_| input.has_rbac_of_files),
            messages::guessed_workloads(&all),
        ];
        input.messages.extend(told.into_iter().flatten());
        if self.harden_defaults {
            all.iter_mut().for_each(Exposure::harden_default);
        }
        let hardens_defaults = self.harden_defaults;
        let Some(baseline) = baseline else {
            return Answer {
                all,
                hardens_defaults,
                comparison: None,
            };
        };
        let is_whole = input.is_complete() && !input.has_unrendered && self.selector.selects_all();
        let covers = |namespace: &str| is_whole && input.covers(namespace);
        let comparison = baseline.compare(&all, &covers);
        if comparison.unsure > 0 {
            input.messages.push(Message::warning(format!(
                "the baseline has only some workloads of {} ServiceAccounts, and the others count as new: make the baseline with `--write-baseline`",
                comparison.unsure
            )));
        }
        if !is_whole {
            input.messages.push(Message::note(
                "only a part of the input was assessed: what is fixed since the baseline is not known",
            ));
        }
        Answer {
            all,
            hardens_defaults,
            comparison: Some(comparison),
        }
    }

    /// What to read.
    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            namespaces: Namespaces::Selected {
                flags: &self.namespaces,
                all: self.all_namespaces,
            },
            pods: &self.selector,
        }
    }

    /// The answers for all accounts of the input. With `--selector`, accounts without a selected pod are left
    /// out.
    fn assess(&self, input: &Input) -> Vec<Exposure> {
        if !self.input.evidence.is_given() {
            input.index.write().forget_pods();
        }
        let index = input.index.read();
        let subjects = index
            .accounts()
            .filter(|(_, known)| known.exists_or_has_pods());
        let assessed = subjects.map(|(account, _)| named_once(index.assess(account)));
        let is_selected =
            |exposure: &Exposure| self.selector.selects_all() || !exposure.workloads.is_empty();
        assessed.filter(is_selected).collect()
    }
}

/// What may not be listed is the same for all accounts: the messages of the scan name it once, with the fix.
fn named_once(mut exposure: Exposure) -> Exposure {
    if exposure.reason == Reason::Forbidden {
        "what the answer depends on may not be listed: see the error about it"
            .clone_into(&mut exposure.message);
    }
    exposure
}

/// Disables unneeded tokens in the files, prints each change, and returns whether all could be made. Findings
/// that a person must review first are not changed.
fn change_files(found: &Found<'_>) -> io::Result<bool> {
    let unneeded = found.shown.iter();
    let unneeded = unneeded.filter(|exposure| exposure.verdict == Verdict::Unneeded);
    let unneeded = unneeded.chain(found.defaults);
    let mut patches = Vec::new();
    for (exposure, remediation) in
        unneeded.filter_map(|exposure| Some((exposure, exposure.remediation.as_ref()?)))
    {
        if remediation.patches.is_empty() {
            let (account, summary) = (&exposure.account, &remediation.summary);
            print_message(&visible(&format!("note: {account}: {summary}")));
        }
        let own = remediation.patches.iter();
        patches.extend(own.map(|patch| (&exposure.account, patch)));
    }
    let changed = edit::patch(found.places, &patches);
    let mut out = stdout();
    for ((account, _), patched) in patches.iter().zip(&changed) {
        let namespace = &account.namespace;
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
