//! The command line: its commands and flags, and how each runs.

mod cluster;
mod completions;
mod config;
mod controller;
mod crd;
mod cure;
mod duration;
mod evidence;
mod explain;
mod input;
mod inspect;
mod listen;
mod logging;
mod man;
mod named;
mod namespaces;
mod output;
mod progress;
mod scan;

use std::{io, path::Path, process::ExitCode};

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    output::table::visible,
    token::redact::{looks_like_token, redacted},
};

/// The exit code when the program could not run, read an input or decide.
const EXIT_ERROR: u8 = 2;

/// Reports pods that carry a Kubernetes API token that no RBAC rule lets anyone use.
#[derive(Debug, Parser)]
#[command(
    name = "token-exposure",
    version,
    about,
    max_term_width = 100,
    disable_help_flag = true,
    after_help = "\
Examples:
  token-exposure scan -A                     scan all namespaces of the current cluster
  token-exposure scan deploy/ -o patch       print patches that disable unneeded tokens
  token-exposure explain shop/mail           explain the verdict on a ServiceAccount"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print help; `token-exposure man COMMAND` has all options
    // Only the short help: it fits on one screen.
    #[arg(short, long, global = true, display_order = 100, action = ArgAction::HelpShort)]
    help: Option<bool>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch a cluster, write TokenExposureReports and serve metrics
    Controller(controller::Args),
    /// Scan a cluster or files once and report unneeded tokens
    Scan(scan::Args),
    /// Explain the verdict on a ServiceAccount: tokens, bindings, rules, and what to do
    Explain(explain::Args),
    /// Show what a token contains: its ServiceAccount, bound object, audience and lifetime
    Inspect(inspect::Args),
    /// Print the CustomResourceDefinitions of reports and summaries
    #[command(after_help = "\
Examples:
  token-exposure crd | kubectl apply --server-side -f -")]
    Crd,
    /// Print the completion script of a shell
    Completions(completions::Args),
    /// Print a manual page
    Man(man::Args),
}

/// Parses and runs the command line. Returns 0 without findings, 1 with findings, and 2 if the program could
/// not run, read an input or decide. A closed standard output is not an error.
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
            // Help and version go to standard output, and are not errors.
            let code = u8::from(error.use_stderr()) * EXIT_ERROR;
            let message = error.render().to_string();
            if looks_like_token(&message) {
                print_message(message.trim_end());
            } else {
                let _ = error.print();
            }
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
        print_message(&format!("error: {error:#}"));
        ExitCode::from(EXIT_ERROR)
    })
}

/// The command line, under the name by which the program was called: `kubectl-token_exposure` as a plugin of
/// kubectl.
fn command() -> clap::Command {
    if called_as("kubectl-token_exposure") {
        Cli::command().bin_name("kubectl token-exposure")
    } else {
        Cli::command()
    }
}

/// Whether the program was called by this name, for example through a link.
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

/// Today's date in UTC.
fn today() -> jiff::civil::Date {
    jiff::Timestamp::now()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date()
}

/// The flags that the user gave.
fn flags_given<const N: usize>(
    flags: [(bool, &'static str); N],
) -> impl Iterator<Item = &'static str> {
    let flags = flags.into_iter();
    flags.filter_map(|(is_given, flag)| is_given.then_some(flag))
}

/// Prints a message on standard error, made safe for terminals and without tokens. A closed standard error is
/// ignored.
fn print_message(message: &str) {
    use io::Write;
    for line in redacted(message).lines() {
        let _ = writeln!(io::stderr(), "{}", visible(line));
    }
}

/// Standard output. Whoever reads it may stop early: the rest is then written nowhere, and the program goes on, since
/// other outputs, changes of files and the exit code do not depend on it.
struct Stdout(io::StdoutLock<'static>);

fn stdout() -> Stdout {
    Stdout(io::stdout().lock())
}

impl io::Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}
