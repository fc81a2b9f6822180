//! `token-exposure completions`.

use std::{io::Write, process::ExitCode};

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, stdout};

/// The arguments of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  token-exposure completions bash > /etc/bash_completion.d/token-exposure
  source <(token-exposure completions zsh)")]
pub(super) struct Args {
    /// The shell to complete commands in
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completion script of a shell.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // Into memory first: the generator panics when standard output is closed.
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut Cli::command(),
        "token-exposure",
        &mut script,
    );
    if args.shell == Shell::Bash {
        script = with_matching_labels(script);
    }
    let mut out = stdout();
    out.write_all(&script)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The script of bash, where the labels of the commands match: those that the generator writes take the hyphen in the name
/// of the program for the space before a command.
fn with_matching_labels(script: Vec<u8>) -> Vec<u8> {
    match String::from_utf8(script) {
        Ok(script) => script
            .replace("token__subcmd__exposure", "token__exposure")
            .into_bytes(),
        Err(error) => error.into_bytes(),
    }
}

/// Completes a command line for kubectl, which runs this program as `kubectl_complete-token_exposure`: prints
/// one candidate a line with its help after a tab, then cobra's `ShellCompDirective`.
pub(super) fn for_kubectl() {
    /// Complete only with the candidates.
    const NO_FILES: &str = ":4";
    /// Complete with file names, as there are no candidates.
    const DEFAULT: &str = ":0";
    let words: Vec<_> = std::env::args_os().collect();
    let last = words.len().saturating_sub(1);
    let folder = std::env::current_dir().ok();
    let mut command = Cli::command();
    let candidates = clap_complete::engine::complete(&mut command, words, last, folder.as_deref());
    let mut candidates = candidates.unwrap_or_default();
    candidates.retain(|candidate| !candidate.is_hide_set());
    let directive = if candidates.is_empty() {
        DEFAULT
    } else {
        NO_FILES
    };
    let line = |candidate: &clap_complete::CompletionCandidate| {
        let value = candidate.get_value().to_string_lossy();
        match candidate.get_help() {
            Some(help) => format!("{value}\t{}\n", help.to_string().replace('\n', " ")),
            None => format!("{value}\n"),
        }
    };
    let mut text: String = candidates.iter().map(line).collect();
    text.push_str(directive);
    // Without a reader, no completion is needed.
    let _ = writeln!(stdout(), "{text}");
}
