//! `token-exposure completions`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;

/// For which shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  token-exposure completions bash > /etc/bash_completion.d/token-exposure
  source <(token-exposure completions zsh)")]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completion script of a shell.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // Into memory first: what generates it does not expect a reader who leaves.
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut Cli::command(),
        "token-exposure",
        &mut script,
    );
    let mut out = io::stdout().lock();
    out.write_all(&script)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
