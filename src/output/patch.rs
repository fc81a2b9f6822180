//! Patches that disable the tokens: YAML for kustomize, each with its `kubectl patch` command.

use std::io;

use super::{Scan, notes, table::visible};
use crate::{
    baseline::Change,
    model::{Exposure, Note, Verdict, patch::Patch},
    text::shell::quoted,
};

/// Writes the patches of findings. Those that a person must review first are commented out.
///
/// # Errors
/// When the output cannot be written.
pub fn write(out: &mut impl io::Write, scan: &Scan<'_>) -> io::Result<()> {
    for message in scan.messages {
        writeln!(out, "# {}", message.visible())?;
    }
    for fixed in scan.fixed() {
        writeln!(out, "# fixed since the baseline: {}", visible(&fixed))?;
    }
    for exposure in scan.shown.iter().chain(scan.defaults) {
        let Some(remediation) = &exposure.remediation else {
            continue;
        };
        let (account, message) = (&exposure.account, visible(&exposure.message));
        let account_name = visible(&account.to_string());
        let change = scan.worst_change(exposure).map(Change::name);
        let change = change.map_or(String::new(), |change| format!(" ({change})"));
        writeln!(
            out,
            "# {account_name}, {}{change}: {message}",
            exposure.verdict
        )?;
        for note in notes(exposure) {
            writeln!(out, "# note: {}", visible(&note))?;
        }
        if remediation.patches.is_empty() {
            writeln!(out, "# {}\n", visible(&remediation.summary))?;
        }
        for patch in &remediation.patches {
            let check = guess(exposure, patch).or_else(|| other_copies(scan, exposure, patch));
            if let Some(check) = &check {
                writeln!(out, "# check first: {}", visible(check))?;
            }
            writeln!(out, "# {}", command(&account.namespace, patch))?;
            let Some(document) = patch.for_kustomize(&account.namespace) else {
                writeln!(
                    out,
                    "# in a kustomization: an entry of `patches` with this object as its `target`\n"
                )?;
                continue;
            };
            let yaml = serde_saphyr::to_string(&document).map_err(io::Error::other)?;
            let is_review = exposure.verdict.is_finding() && exposure.verdict != Verdict::Unneeded;
            let must_look = is_review || check.is_some();
            let comment = if must_look { "# " } else { "" };
            writeln!(out, "{comment}---")?;
            for line in yaml.lines() {
                writeln!(out, "{comment}{line}")?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

/// What is only guessed of the object that a patch changes.
fn guess(exposure: &Exposure, patch: &Patch) -> Option<String> {
    let workloads = exposure.workloads.iter();
    let mut patched = workloads.filter(|workload| workload.workload == patch.target);
    let mut notes = patched.next()?.notes.iter();
    let guess = notes.find(|note| matches!(note, Note::FoundByShape(_)));
    guess.map(ToString::to_string)
}

/// That the input also has the object in another form, for which the patch may be wrong.
fn other_copies(scan: &Scan<'_>, exposure: &Exposure, patch: &Patch) -> Option<String> {
    let places = (scan.differing)(&exposure.account, &patch.target);
    (!places.is_empty()).then(|| {
        format!(
            "{} is defined several times, differently ({places}); the patch is for that of {}",
            patch.target, exposure.account
        )
    })
}

/// The command that applies a patch to the live object, or what to do if that cannot be patched.
pub(super) fn command(namespace: &str, patch: &Patch) -> String {
    visible(&if patch.is_live() {
        command_for(&quoted(namespace), patch)
    } else {
        let (target, json) = (&patch.target, &patch.patch);
        format!(
            "{target} cannot be patched in the cluster: merge this patch into its manifest and recreate it: {json}"
        )
    })
}

/// The command for a namespace that is a word of a shell.
pub(super) fn command_for(namespace: &str, patch: &Patch) -> String {
    let (kind, name) = (patch.resource(), &*patch.target.name);
    let how = format!(
        "--type={} --patch {}",
        patch.kind(),
        quoted(&patch.patch.to_string())
    );
    let is_flag = [&*kind, name].iter().any(|word| word.starts_with('-'));
    let object = format!("{} {}", quoted(&kind), quoted(name));
    if is_flag {
        format!("kubectl -n {namespace} patch {how} -- {object}")
    } else {
        format!("kubectl -n {namespace} patch {object} {how}")
    }
}
