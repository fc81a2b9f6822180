//! What there is to say about files that were read.

use super::InputArgs;
use crate::{
    files,
    model::{LeftOut, Selection, note::and_more},
    output::Message,
    text::folders::Folder,
};

impl InputArgs {
    /// Warnings about what was asked for and has no effect on files.
    pub(super) fn without_effect(&self, configured: &Selection) -> Vec<Message> {
        let keys = configured.conditions().map(LeftOut::key);
        let keys: Vec<_> = keys.map(|key| format!("`{key}`")).collect();
        let keys = (!keys.is_empty()).then(|| {
            let keys = keys.join(", ");
            Message::note(format!(
                "what the configuration says of namespaces ({keys}) is for clusters: all that the files have is judged"
            ))
        });
        let flags = self.cluster.given().chain(self.config.lists());
        let flags = flags.filter(|_| !self.with_cluster).map(|flag| {
            format!("{flag} has no effect on files, as no cluster is read: add `--with-cluster`, or remove it")
        });
        keys.into_iter()
            .chain(flags.map(Message::warning))
            .collect()
    }

    /// Errors, warnings and notes about the files.
    pub(super) fn file_messages(&self, outcome: &files::Outcome) -> Vec<Message> {
        let problems = outcome.problems.iter();
        let mut problems: Vec<_> = problems.map(ToString::to_string).collect();
        // Several items in one line may have the same one.
        problems.dedup();
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
        let problems = problems.into_iter().map(Message::error);
        problems
            .chain(warnings)
            .chain(unrendered(&outcome.unrendered, outcome.objects == 0))
            .chain(note.map(Message::note))
            .collect()
    }
}

/// One line about the folders that were not rendered, with the command to run: an error where they are `all` that there is,
/// as nothing was judged.
fn unrendered(folders: &[Folder], all: bool) -> Option<Message> {
    const SHOWN: usize = 10;
    let first = folders.first()?;
    let shown = folders.iter().take(SHOWN);
    let shown: Vec<_> = shown
        .map(|folder| folder.path.display().to_string())
        .collect();
    let more = and_more(folders.len().saturating_sub(SHOWN));
    let message = if all {
        Message::error
    } else {
        Message::warning
    };
    Some(message(format!(
        "not scanned, because kustomize or helm must render them first: {}{more}: run this again with `--render`, or `{} | token-exposure scan -`",
        shown.join(", "),
        first.command()
    )))
}
