//! What there is to say about all accounts of a scan together.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::{
        Exposure, Grant, Note, ReportScope, Subject, Verdict,
        note::{AccountNote, NoteType, and_more},
    },
    output::{Message, unused_defaults_title},
    text::shell::quoted,
};

/// How many bindings a message names.
const SHOWN: usize = 3;

/// The first of these names, and how many more there are.
fn first(names: &BTreeSet<String>) -> String {
    let shown: Vec<_> = names.iter().take(SHOWN).map(String::as_str).collect();
    shown.join(", ") + &and_more(names.len().saturating_sub(SHOWN))
}

/// A warning that everybody is granted everything: then RBAC protects nothing.
pub(super) fn everything_for_everybody(everything: &[Grant]) -> Option<Message> {
    let reach = everything.iter().map(|grant| match grant.via {
        Subject::Unauthenticated => "everybody who reaches the API server, without credentials,",
        Subject::Authenticated => "every user and every pod with a token",
        _ => "every pod with a token",
    });
    let widest = reach.clone().find(|reach| reach.starts_with("everybody"));
    let widest = widest.or_else(|| reach.clone().find(|reach| reach.starts_with("every user")));
    let widest = widest.or_else(|| reach.clone().next())?;
    let names = everything
        .iter()
        .map(|grant| format!("{grant} to {}", grant.via));
    Some(Message::warning(format!(
        "EVERYTHING IS GRANTED TO EVERYBODY by {}: {widest} has full control of the cluster, whatever else is said here; delete this first",
        first(&names.collect())
    )))
}

/// A note with the bindings that grant every authenticated user more than Kubernetes does: such permissions are not
/// listed for an account.
pub(super) fn widened_defaults(exposures: &[Exposure], everything: &[Grant]) -> Option<Message> {
    let widened = exposures
        .iter()
        .flat_map(|exposure| &exposure.permissions.widened_defaults);
    let is_told = |grant: &&Grant| {
        let mut bindings = everything.iter().map(|told| &told.binding);
        !bindings.any(|binding| *binding == grant.binding)
    };
    let names: BTreeSet<_> = widened.filter(is_told).map(Grant::to_string).collect();
    (!names.is_empty()).then(|| {
        Message::note(format!(
            "every authenticated user is granted more than the default permissions of Kubernetes, by {}: only permissions beyond these are listed",
            first(&names)
        ))
    })
}

/// A note that accounts which are not shown have notes, with the commands that show them.
pub(super) fn hidden_notes(
    exposures: &[Exposure],
    scope: ReportScope,
    has_files: bool,
) -> Option<Message> {
    let hidden = exposures.iter();
    let hidden = hidden.filter(|exposure| !scope.includes(exposure.verdict));
    let types = |exposure: &Exposure| -> BTreeSet<NoteType> {
        let types = exposure.notes.iter().map(AccountNote::type_);
        // Those are counted in a message of their own.
        types
            .filter(|type_| *type_ != NoteType::UnusedDefault)
            .collect()
    };
    let noted = hidden.map(|exposure| (types(exposure), exposure));
    let noted: Vec<_> = noted.filter(|(types, _)| !types.is_empty()).collect();
    let mut counts: BTreeMap<NoteType, usize> = BTreeMap::new();
    for type_ in noted.iter().flat_map(|(types, _)| types) {
        *counts.entry(*type_).or_default() += 1;
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(type_, count)| format!("{count} {}", type_.name()))
        .collect();
    let (_, example) = noted.iter().min_by_key(|(types, _)| types.first())?;
    let path = if has_files { " PATH" } else { "" };
    let account = format!("{}{path}", quoted(&example.account.to_string()));
    let counts = counts.join(", ");
    Some(Message::note(match noted.len() {
        1 => format!(
            "1 ServiceAccount that is not shown has notes ({counts}): `token-exposure explain {account}` shows them"
        ),
        count => format!(
            "{count} ServiceAccounts that are not shown have notes ({counts}): `--report-scope all` shows them, `token-exposure explain {account}` the first"
        ),
    }))
}

/// A note that `default` accounts mount tokens without need, with the flag that prints the patch.
pub(super) fn unused_defaults(exposures: &[Exposure]) -> Option<Message> {
    let unused = || {
        exposures
            .iter()
            .filter(|exposure| exposure.is_unused_default())
    };
    unused().next()?;
    let title = unused_defaults_title(unused());
    Some(Message::note(format!(
        "{title}: `--harden-defaults` adds one patch for all"
    )))
}

/// A note that accounts with a finding are not in files which have RBAC objects: those of these accounts may be elsewhere,
/// too.
pub(super) fn absent_accounts(exposures: &[Exposure]) -> Option<Message> {
    let unneeded = exposures
        .iter()
        .filter(|exposure| exposure.verdict == Verdict::Unneeded);
    let names = noted(unneeded, |note| *note == Note::AssumedServiceAccount);
    let names: BTreeSet<_> = names.map(|(account, _)| account).collect();
    (!names.is_empty()).then(|| {
        Message::note(format!(
            "not in the input, and judged by its RBAC objects all the same: ServiceAccount {}; if their permissions are elsewhere, add those files or use `--with-cluster`",
            first(&names)
        ))
    })
}

/// A note that workloads of kinds that are not known were recognised by their shape.
pub(super) fn guessed_workloads(exposures: &[Exposure]) -> Option<Message> {
    let found = exposures
        .iter()
        .filter(|exposure| exposure.verdict.is_finding());
    let names = noted(found, |note| matches!(note, Note::FoundByShape(_)));
    let names: BTreeSet<_> = names.map(|(_, workload)| workload).collect();
    (!names.is_empty()).then(|| {
        Message::note(format!(
            "the kind is not known, and the pods are recognised by their shape: {}; what its operator makes of it may differ",
            first(&names)
        ))
    })
}

/// The accounts, and the workloads, that have such a note.
fn noted<'a>(
    exposures: impl Iterator<Item = &'a Exposure>,
    is_such: impl Fn(&Note) -> bool,
) -> impl Iterator<Item = (String, String)> {
    let workloads = exposures.flat_map(|exposure| {
        let workloads = exposure.workloads.iter();
        workloads.map(move |workload| (&exposure.account, workload))
    });
    let noted = workloads.filter(move |(_, workload)| workload.notes.iter().any(&is_such));
    noted.map(|(account, workload)| (account.to_string(), workload.workload.to_string()))
}
