//! Writes patches into manifests. The changed file is parsed again before it replaces the old one: it must
//! contain what the old one did, plus the patches, and nothing else.

mod merge;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::Value;

use self::merge::Edit;
use crate::{
    files::{
        manifest::{Manifest, manifests},
        outline::Node,
        places::{Documents, Form, Place, Places, listed, part},
    },
    model::{ServiceAccountRef, Workload, patch::Patch},
};

/// The result of one patch.
#[derive(Debug, PartialEq, Eq)]
pub struct Patched {
    /// The patched object.
    pub target: Workload,
    /// The files in which it was changed.
    pub files: Vec<PathBuf>,
    /// Why it was not changed, or not everywhere.
    pub failures: Vec<String>,
}

/// Writes patches, each with the account of its finding, into the manifests. A file in which a patch would change
/// anything else is not changed.
#[must_use]
pub fn patch(places: &Places, patches: &[(&ServiceAccountRef, &Patch)]) -> Vec<Patched> {
    let mut outcomes: Vec<_> = patches
        .iter()
        .map(|(_, patch)| Patched {
            target: patch.target.clone(),
            files: Vec::new(),
            failures: Vec::new(),
        })
        .collect();
    let mut by_file: BTreeMap<&Path, Vec<(usize, &Place)>> = BTreeMap::new();
    for (number, (account, patch)) in patches.iter().enumerate() {
        let mut known = places.of(account, &patch.target);
        let written = known.clone();
        let mut written = written
            .filter(|place| place.form == Form::Manifest)
            .peekable();
        if places.has_differently(account, &patch.target) {
            let failure = in_several(known);
            outcomes[number].failures.push(failure);
        } else if written.peek().is_none() {
            let failure = why_not(known.next_back());
            outcomes[number].failures.push(failure);
        } else {
            for place in written {
                let changes = by_file.entry(&place.file).or_default();
                changes.push((number, place));
            }
        }
    }
    for (file, mut changes) in by_file {
        changes.sort_by_key(|(_, place)| place.line);
        let wanted: Vec<_> = changes
            .iter()
            .map(|(number, place)| Change {
                place,
                target: &patches[*number].1.target,
                patch: patches[*number].1.patch.tree(),
            })
            .collect();
        let result = patch_file(file, &wanted);
        for (index, (number, _)) in changes.iter().enumerate() {
            let outcome = &mut outcomes[*number];
            let failure = match &result {
                Ok(changed) => changed.failures.get(&index),
                Err(why) => Some(why),
            };
            match failure {
                Some(why) => {
                    let why = format!("{}: {why}", file.display());
                    outcome.failures.push(why);
                }
                None => outcome.files.push(file.to_owned()),
            }
        }
    }
    outcomes
}

/// Why none of several differing manifests of an object is changed: the patch may be wrong for some.
fn in_several<'a>(places: impl Iterator<Item = &'a Place>) -> String {
    format!(
        "is defined several times, differently ({}): scan these files separately",
        listed(places)
    )
}

/// Why an object is not changed where it is.
fn why_not(place: Option<&Place>) -> String {
    let Some(place) = place else {
        return "is not in the scanned files: patch it in the cluster".to_owned();
    };
    match place.form {
        Form::Manifest | Form::Source => format!(
            "is rendered from {}: change that file, or add the patch that `-o patch` prints to the kustomization",
            place.file.display()
        ),
        Form::Copy => format!(
            "is in {place} as a copy from a cluster, by its `uid` or `ownerReferences`: patch it in the cluster"
        ),
        Form::Part => format!("is a part of another object in {place}: change it there"),
        Form::Guess => format!(
            "is of a kind that is not known, in {place}: check there what its operator makes of the field, then change it by hand"
        ),
    }
}

/// A text after changes.
struct Changed {
    text: String,
    /// Why some changes could not be made, by their index.
    failures: BTreeMap<usize, String>,
}

/// A change of one object.
struct Change<'a> {
    place: &'a Place,
    target: &'a Workload,
    patch: Value,
}

/// Whether an object is still the one that was judged, as far as its kind and name are plain texts.
fn is_of(target: &Workload, text: &str, object: &Node) -> bool {
    let kind = object.entry("kind").map(|(_, kind)| kind);
    let kind = kind.and_then(|kind| text.get(kind.start..kind.end));
    let kind = kind.map(|kind| kind.trim_matches(['"', '\'']));
    let name = part(object, "/metadata/name").and_then(Node::text);
    let (wanted, _) = target.kind.split_once('.').unwrap_or((&target.kind, ""));
    kind.is_none_or(|kind| kind == wanted || kind.starts_with(['*', '&', '!']))
        && name.is_none_or(|name| *name == *target.name)
}

/// Patches one file.
fn patch_file(file: &Path, changes: &[Change<'_>]) -> Result<Changed, String> {
    if changes.iter().any(|change| change.place.is_large) {
        return Err("is too large to be changed: split it".to_owned());
    }
    let cannot = |error: io::Error| format!("cannot be changed: {error}");
    let text = fs::read_to_string(file).map_err(cannot)?;
    let new = patched(&text, changes);
    if new.text != text {
        write(file, &new.text).map_err(cannot)?;
    }
    Ok(new)
}

/// Replaces a file by renaming a new one, so that it is never half-written. Owner and permissions stay. The new one has a
/// name that no other file has, and no link: whoever wrote the folder does not choose what is overwritten.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let real = file.canonicalize()?;
    let known = fs::metadata(&real)?;
    if known.permissions().readonly() {
        return Err(io::Error::other("it is read-only"));
    }
    let mut beside = tempfile::Builder::new();
    let beside = beside.prefix(".token-exposure.");
    let folder = real.parent().unwrap_or_else(|| Path::new("."));
    let mut new = beside.tempfile_in(folder)?;
    new.write_all(text.as_bytes())?;
    give(new.as_file(), &known)?;
    new.as_file().set_permissions(known.permissions())?;
    new.persist(&real)?;
    Ok(())
}

/// Gives a file the owner of another one.
#[cfg(unix)]
fn give(file: &fs::File, like: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    fchown(file, Some(like.uid()), Some(like.gid()))
}

/// Other systems take the owner from the folder.
#[cfg(not(unix))]
fn give(_: &fs::File, _: &fs::Metadata) -> io::Result<()> {
    Ok(())
}

/// A text after changes. A change that fails does not prevent the others.
fn patched(text: &str, changes: &[Change<'_>]) -> Changed {
    const AFFECTS_OTHERS: &str =
        "the change would also affect other parts of the file, for example through an alias";
    /// The largest number of changes that are tried one by one.
    const MAX_SINGLE: usize = 200;
    let all: Vec<usize> = (0..changes.len()).collect();
    if let Some(new) = attempt(text, changes, &all) {
        return new;
    }
    let mut failures = BTreeMap::new();
    let mut alone = all.clone();
    alone.retain(|number| {
        let tried = (all.len() <= MAX_SINGLE).then(|| attempt(text, changes, &[*number]));
        let why = match tried.flatten() {
            Some(mut new) => new.failures.remove(number),
            None => Some(AFFECTS_OTHERS.to_owned()),
        };
        let succeeds = why.is_none();
        failures.extend(why.map(|why| (*number, why)));
        succeeds
    });
    let new = attempt(text, changes, &alone).unwrap_or_else(|| Changed {
        text: text.to_owned(),
        failures: alone
            .iter()
            .map(|number| (*number, AFFECTS_OTHERS.to_owned()))
            .collect(),
    });
    failures.extend(new.failures);
    Changed {
        text: new.text,
        failures,
    }
}

/// A text after some of the changes, parsed again; `None` if it contains anything else.
fn attempt(text: &str, changes: &[Change<'_>], wanted: &[usize]) -> Option<Changed> {
    let mut edits: Vec<Edit> = Vec::new();
    let mut failures = BTreeMap::new();
    let mut merges: BTreeMap<usize, Vec<(&[usize], &Value)>> = BTreeMap::new();
    let mut documents = Documents::of(text);
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    for number in wanted {
        let change = &changes[*number];
        let (place, patch) = (change.place, &change.patch);
        let object = documents
            .at(place.line)
            .and_then(|(start, root)| Some((start, root.item(&place.items)?)));
        let own = object
            .filter(|(start, object)| is_of(change.target, &text[*start..], object))
            .ok_or_else(|| "the file was changed since it was read: scan it again".to_owned())
            .and_then(|(start, object)| merge::edits(text, start, newline, object, patch));
        match own {
            Ok(own) => {
                edits.extend(own);
                let merges = merges.entry(place.line).or_default();
                merges.push((&place.items, patch));
            }
            Err(why) => drop(failures.insert(*number, why)),
        }
    }
    let new = merge::apply(text, edits);
    contains_exactly(text, &merges, &new).then_some(Changed {
        text: new,
        failures,
    })
}

/// Whether `new` contains exactly what `text` does after the patches, which are listed by the first line of
/// their document. Of each text, only one document is in memory at a time.
fn contains_exactly(
    text: &str,
    patches: &BTreeMap<usize, Vec<(&[usize], &Value)>>,
    new: &str,
) -> bool {
    let mut found = values(new);
    let as_expected = |(line, mut expected): (usize, Value)| {
        for (items, patch) in patches.get(&line).into_iter().flatten() {
            match item(&mut expected, items) {
                Some(object) => merge::apply_to(object, patch),
                None => return false,
            }
        }
        found.next().is_some_and(|(_, found)| found == expected)
    };
    values(text).all(as_expected) && found.next().is_none()
}

/// The values of the documents of a text with their first lines, without those that cannot be parsed.
fn values(text: &str) -> impl Iterator<Item = (usize, Value)> {
    let manifests = manifests(text).filter_map(Result::ok);
    manifests.filter_map(|manifest: Manifest<'_>| Some((manifest.line, manifest.read().ok()?)))
}

/// The object at these indices in nested lists of objects.
fn item<'a>(value: &'a mut Value, indices: &[usize]) -> Option<&'a mut Value> {
    indices.iter().try_fold(value, |value, index| {
        value.get_mut("items")?.get_mut(*index)
    })
}
