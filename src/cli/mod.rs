//! The command line: what was typed, and what it means.

mod cluster;
mod completions;
mod config;
mod controller;
mod crd;
mod explain;
mod input;
mod inspect;
mod man;
mod output;
mod progress;
mod scan;

use std::{io, path::Path, process::ExitCode};

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::output::table::visible;

/// The exit code when something could not be run or decided.
const CANNOT: u8 = 2;

/// Reports pods that carry a Kubernetes API token which no RBAC rule lets anyone use.
#[derive(Debug, Parser)]
#[command(
    name = "token-exposure",
    version,
    about,
    max_term_width = 100,
    disable_help_flag = true,
    after_help = "\
Examples:
  token-exposure scan -A                     judge the current cluster
  token-exposure scan deploy/ -o patch       what switches unneeded tokens off in manifests
  token-exposure explain shop/mail           why an account has its verdict"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print help
    // One help, which fits a screen.
    #[arg(short, long, global = true, display_order = 100, action = ArgAction::HelpShort)]
    help: Option<bool>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch a cluster, write TokenExposureReports and serve metrics
    Controller(controller::Args),
    /// Judge a cluster or files once
    Scan(scan::Args),
    /// Say why an account has its verdict: tokens, bindings, rules, and what to do
    Explain(explain::Args),
    /// Say what a token is: whose, bound to what, for whom, and for how long
    Inspect(inspect::Args),
    /// Print the CustomResourceDefinition of TokenExposureReport
    #[command(after_help = "\
Examples:
  token-exposure crd | kubectl apply --server-side -f -")]
    Crd,
    /// Print the completion script of a shell
    Completions(completions::Args),
    /// Print a manual page
    Man(man::Args),
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    /// For a person.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Parses the command line, runs it, and tells how it went: 0 clean, 1 findings, 2 could not run or
/// decide. A reader who has seen enough is no error.
#[must_use]
pub fn main() -> ExitCode {
    if called_as("kubectl_complete-token_exposure") {
        completions::for_kubectl();
        return ExitCode::SUCCESS;
    }
    let matches = command().try_get_matches();
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output, and are no error.
            let code = u8::from(error.use_stderr()) * CANNOT;
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => Err(error.into()),
    };
    result.unwrap_or_else(|error| {
        if is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        complain(&format!("error: {error:#}"));
        ExitCode::from(CANNOT)
    })
}

/// The command line, under the name that it was called by: as a plugin of kubectl, the program is
/// named `kubectl-token_exposure`.
fn command() -> clap::Command {
    if called_as("kubectl-token_exposure") {
        Cli::command().bin_name("kubectl token-exposure")
    } else {
        Cli::command()
    }
}

/// Whether the program was called by this name, which a link may give it.
fn called_as(name: &str) -> bool {
    let called = std::env::args_os().next().unwrap_or_default();
    Path::new(&called)
        .file_stem()
        .is_some_and(|program| program == name)
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Controller(args) => Box::pin(controller::run(args)).await,
        Command::Scan(args) => scan::run(args).await,
        Command::Explain(args) => explain::run(args).await,
        Command::Inspect(args) => inspect::run(&args).await,
        Command::Crd => crd::run(),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}

/// Sends logs to standard error; `RUST_LOG` says how much of them. What the client library says of
/// each failed request is left out by default: we say it once, with the fix.
fn start_logging(format: LogFormat, default: &str) {
    let default = || EnvFilter::new(format!("{default},kube_client=off,kube_runtime=off"));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| default());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false);
    match format {
        LogFormat::Text => logs
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
            .init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}

/// The day, in UTC.
fn today() -> jiff::civil::Date {
    jiff::Timestamp::now()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date()
}

/// Says something on standard error, made visible; nobody may be reading.
fn complain(message: &str) {
    use io::Write;
    for line in message.lines() {
        let _ = writeln!(io::stderr(), "{}", visible(line));
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
