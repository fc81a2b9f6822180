//! What there is to say about files that were read.

use super::InputArgs;
use crate::{files, model::note::and_more, output::Message, text::folders::Folder};

impl InputArgs {
    /// Errors, warnings and notes about the files.
    pub(super) fn file_messages(&self, outcome: &files::Outcome) -> Vec<Message> {
        let problems = outcome.problems.iter();
        let problems = problems.map(|problem| Message::error(problem.to_string()));
        let warnings = outcome.warnings.iter();
        let warnings = warnings.map(|warning| Message::warning(warning.to_string()));
        let note = if !outcome.unrendered.is_empty() && outcome.objects == 0 {
            None
        } else if outcome.objects == 0 && outcome.problems.is_empty() {
            Some("the input contains no pods, pod templates, ServiceAccounts or RBAC objects")
        } else if outcome.objects > 0 && !outcome.has_rbac && !self.with_cluster {
            Some(
                "the input contains no RBAC objects: permissions granted elsewhere in the cluster are not considered; add them or use `--with-cluster`",
            )
        } else {
            None
        };
        problems
            .chain(warnings)
            .chain(unrendered(&outcome.unrendered))
            .chain(note.map(Message::note))
            .collect()
    }
}

/// One line about the folders that were not rendered, with the command to run.
fn unrendered(folders: &[Folder]) -> Option<Message> {
    const SHOWN: usize = 10;
    let first = folders.first()?;
    let shown = folders.iter().take(SHOWN);
    let shown: Vec<_> = shown
        .map(|folder| folder.path.display().to_string())
        .collect();
    let more = and_more(folders.len().saturating_sub(SHOWN));
    Some(Message::warning(format!(
        "not scanned, because kustomize or helm must render them first: {}{more}: run this again with `--render`, or `{} | token-exposure scan -`",
        shown.join(", "),
        first.command()
    )))
}
