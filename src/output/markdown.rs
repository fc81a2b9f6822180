//! A table for a pull request, or for `$GITHUB_STEP_SUMMARY`.

use std::io;

use super::table::{counts, visible};
use crate::model::{Exposure, Workload};

/// Writes a heading, the counts and a table: `exposures` are shown, `all` are the assessed accounts,
/// `problems` are the inputs that could not be read.
///
/// # Errors
/// When the output cannot be written.
pub fn write(
    out: &mut impl io::Write,
    exposures: &[&Exposure],
    all: &[Exposure],
    problems: &[&str],
) -> io::Result<()> {
    writeln!(out, "### ServiceAccount tokens\n\n{}", counts(all))?;
    if !problems.is_empty() {
        writeln!(out, "\n**Some input could not be read:**\n")?;
    }
    for problem in problems {
        writeln!(out, "* {}", escaped(problem))?;
    }
    if exposures.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n| ServiceAccount | verdict | workloads | what to do |"
    )?;
    writeln!(out, "|---|---|---|---|")?;
    for exposure in exposures {
        let workloads = exposure.workloads.iter();
        let workloads = workloads.filter(|workload| workload.verdict == exposure.verdict);
        let workloads: Vec<_> = workloads
            .map(|workload| Workload::to_string(&workload.workload))
            .collect();
        writeln!(
            out,
            "| {} | **{}** {} | {} | {} |",
            escaped(&exposure.account.to_string()),
            exposure.verdict,
            exposure.reason,
            escaped(&workloads.join(", ")),
            escaped(&exposure.message)
        )?;
    }
    Ok(())
}

/// Text as a cell shows it, with all markup escaped.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in visible(text).chars() {
        if r"\`*_[]<>|#@!".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
