//! `token-exposure man`.

use std::{io::Write, process::ExitCode};

use anyhow::Context;
use clap::{Arg, CommandFactory};
use clap_mangen::Man;

use super::{Cli, stdout};

/// The arguments of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  token-exposure man > token-exposure.1
  token-exposure man scan | man -l -         read the page of one command")]
pub(super) struct Args {
    /// The command to describe [default: the whole program]
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

/// The program and its version, at the foot of each page.
const SOURCE: &str = concat!("token-exposure ", env!("CARGO_PKG_VERSION"));

/// An option with its text, also where the help, which must fit a screen, leaves it out.
fn with_text(arg: Arg) -> Arg {
    match arg.get_help().cloned() {
        Some(help) if arg.get_long_help().is_none() => arg.long_help(help),
        _ => arg,
    }
}

/// Prints a manual page.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut program = Cli::command();
    program.build();
    let command = match &args.command {
        None => program,
        Some(name) => {
            let names = program.get_subcommands().map(clap::Command::get_name);
            let names: Vec<_> = names.map(str::to_owned).collect();
            let found = program.find_subcommand(name).cloned();
            found.with_context(|| {
                format!("`{name}` is not a command: use one of {}", names.join(", "))
            })?
        }
    };
    let command = command.mut_args(with_text);
    let mut page = Vec::new();
    Man::new(command).source(SOURCE).render(&mut page)?;
    let mut out = stdout();
    out.write_all(&page)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
