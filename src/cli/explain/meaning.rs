//! What do verdicts, reasons and notes mean?

use anyhow::anyhow;
use clap::builder::PossibleValue;

use crate::model::{Reason, Verdict, note::NoteType, verdict::meanings};

/// The meaning of a verdict, a reason or the type of a note, and what to do about a reason.
pub(super) fn meaning(name: &str) -> anyhow::Result<String> {
    let plain = |name: &str| name.replace('-', "").to_ascii_lowercase();
    let all = all();
    let found = all.iter().find(|(known, _)| plain(known) == plain(name));
    let (name, meaning) = found.ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
        anyhow!(
            "`{name}` is not a verdict, a reason or the type of a note: use one of {}",
            names.join(", ")
        )
    })?;
    let advice = Reason::ALL.iter().find(|reason| reason.name() == name);
    let advice = advice.map_or_else(String::new, |reason| {
        format!("\nWhat to do: {}", reason.advice())
    });
    Ok(format!("{name}: {meaning}{advice}"))
}

/// All names, for completion.
pub(super) fn names() -> Vec<PossibleValue> {
    let verdicts = Verdict::ALL.iter().map(|verdict| verdict.name());
    let reasons = Reason::ALL.iter().map(|reason| reason.name());
    let notes = NoteType::ALL.iter().map(|type_| type_.name());
    let names = verdicts.chain(reasons).chain(notes);
    names.map(PossibleValue::new).collect()
}

fn all() -> Vec<(String, String)> {
    let notes = NoteType::ALL.iter();
    let notes = notes.map(|type_| (type_.name().to_owned(), note(*type_).to_owned()));
    let named = [meanings::<Verdict>(), meanings::<Reason>()].concat();
    named.into_iter().chain(notes).collect()
}

/// What a note of this type says, as the table of README.md has it.
const fn note(type_: NoteType) -> &'static str {
    match type_ {
        NoteType::PermissionsWithoutToken => {
            "a note: the ServiceAccount is granted permissions, and no pod of it has a token, or all lose theirs when they are recreated: often somebody disabled a token that was needed"
        }
        NoteType::NearlyNamedBy => {
            "a note: bindings name a ServiceAccount that does not exist and may mean this one: one letter away, in another namespace, or as a User or Group whose name is not quite its username"
        }
        NoteType::GrantedElsewhereOnly => {
            "a note: only RoleBindings of other namespaces grant the ServiceAccount anything"
        }
        NoteType::SharedPermissions => {
            "a note: the permissions of the ServiceAccount reach several workloads; where audit logs or the name of the binding tell which one needs them, `explain` prints a ServiceAccount without a token for each of the others"
        }
        NoteType::NamedBy => {
            "a note: objects of custom kinds name the ServiceAccount, and which pods they create is not known"
        }
        NoteType::UnusedDefault => {
            "a note: a `default` ServiceAccount mounts its token and no pod uses it: `scan --harden-defaults` adds one patch for all of them"
        }
    }
}
