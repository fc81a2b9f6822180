//! Changes manifests as patches say: a file is changed as a whole or not at all, and says afterwards what
//! it said before and what the patches add, nothing else.

mod merge;

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde_json::Value;

use self::merge::Edit;
use crate::{
    files::{
        manifest::{Manifest, manifests},
        places::{Documents, Place, Places},
    },
    model::{Workload, exposure::Patch},
};

/// What came of patching a manifest.
#[derive(Debug, PartialEq, Eq)]
pub struct Patched {
    /// The object.
    pub target: Workload,
    /// The files that it was changed in.
    pub files: Vec<PathBuf>,
    /// Why it was not, or not everywhere.
    pub failures: Vec<String>,
}

/// Changes the manifests of objects as patches say; the namespace of each stands beside it. A file
/// that would not say just that afterwards is left as it is.
#[must_use]
pub fn patch(places: &Places, patches: &[(&str, &Patch)]) -> Vec<Patched> {
    let mut outcomes: Vec<_> = patches
        .iter()
        .map(|(_, patch)| Patched {
            target: patch.target.clone(),
            files: Vec::new(),
            failures: Vec::new(),
        })
        .collect();
    let mut by_file: BTreeMap<&Path, Vec<(usize, &Place)>> = BTreeMap::new();
    for (number, (namespace, patch)) in patches.iter().enumerate() {
        let lasting = places.lasting(namespace, &patch.target);
        if lasting.is_empty() {
            let failure = "is in no file: it must be patched where it is".to_owned();
            outcomes[number].failures.push(failure);
        }
        for place in lasting {
            let changes = by_file.entry(&place.file).or_default();
            changes.push((number, place));
        }
    }
    for (file, mut changes) in by_file {
        changes.sort_by_key(|(_, place)| place.line);
        let wanted: Vec<_> = changes
            .iter()
            .map(|(number, place)| (*place, &patches[*number].1.patch))
            .collect();
        let result = patch_file(file, &wanted);
        for (place, (number, _)) in changes.iter().enumerate() {
            let outcome = &mut outcomes[*number];
            let failed = match &result {
                Ok(outcome) => outcome.failures.get(&place),
                Err(why) => Some(why),
            };
            match failed {
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

/// What came of changes to a text.
struct Changed {
    text: String,
    /// Why some of them could not be made, by their places.
    failures: BTreeMap<usize, String>,
}

/// Changes a file.
fn patch_file(file: &Path, changes: &[(&Place, &Value)]) -> Result<Changed, String> {
    let cannot = |error: io::Error| format!("cannot be changed: {error}");
    let text = fs::read_to_string(file).map_err(cannot)?;
    let new = patched(&text, changes);
    if new.text != text {
        write(file, &new.text).map_err(cannot)?;
    }
    Ok(new)
}

/// Writes a file beside itself first: it is never half there. Owner and permissions stay.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let real = file.canonicalize()?;
    let known = fs::metadata(&real)?;
    if known.permissions().readonly() {
        return Err(io::Error::other("it is read-only"));
    }
    let mut beside = real.clone().into_os_string();
    beside.push(".token-exposure");
    let beside = PathBuf::from(beside);
    let written = fs::write(&beside, text)
        .and_then(|()| std::os::unix::fs::chown(&beside, Some(known.uid()), Some(known.gid())))
        .and_then(|()| fs::set_permissions(&beside, known.permissions()))
        .and_then(|()| fs::rename(&beside, &real));
    if written.is_err() {
        // What could not be written may not be there at all.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// A text after changes. What cannot be changed alone keeps no other from being changed.
fn patched(text: &str, changes: &[(&Place, &Value)]) -> Changed {
    const REACHES: &str = "it is written in a way that such a change would reach other parts too";
    /// Of more changes than these, none is tried by itself.
    const MOST: usize = 200;
    let all: Vec<usize> = (0..changes.len()).collect();
    if let Some(new) = attempt(text, changes, &all) {
        return new;
    }
    let mut failures = BTreeMap::new();
    let mut alone = all.clone();
    alone.retain(|number| {
        let tried = (all.len() <= MOST).then(|| attempt(text, changes, &[*number]));
        let why = match tried.flatten() {
            Some(mut new) => new.failures.remove(number),
            None => Some(REACHES.to_owned()),
        };
        let succeeds = why.is_none();
        failures.extend(why.map(|why| (*number, why)));
        succeeds
    });
    let new = attempt(text, changes, &alone).unwrap_or_else(|| Changed {
        text: text.to_owned(),
        failures: alone
            .iter()
            .map(|number| (*number, REACHES.to_owned()))
            .collect(),
    });
    failures.extend(new.failures);
    Changed {
        text: new.text,
        failures,
    }
}

/// A text after some of the changes, which is read again; `None` where it does not say just that.
fn attempt(text: &str, changes: &[(&Place, &Value)], wanted: &[usize]) -> Option<Changed> {
    let mut edits: Vec<Edit> = Vec::new();
    let mut failures = BTreeMap::new();
    let mut merges: BTreeMap<usize, Vec<(&[usize], &Value)>> = BTreeMap::new();
    let mut documents = Documents::of(text);
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    for number in wanted {
        let (place, patch) = changes[*number];
        let object = documents
            .at(place.line)
            .and_then(|(start, root)| Some((start, root.item(&place.items)?)));
        let own = object
            .ok_or_else(|| "it is not there any more".to_owned())
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
    says(text, &merges, &new).then_some(Changed {
        text: new,
        failures,
    })
}

/// Whether a text says what another one does after patches, which are given with the lines that their
/// documents begin in. Of each text, one document is in memory at a time.
fn says(text: &str, patches: &BTreeMap<usize, Vec<(&[usize], &Value)>>, new: &str) -> bool {
    let mut found = values(new);
    let as_expected = |(line, mut expected): (usize, Value)| {
        for (items, patch) in patches.get(&line).into_iter().flatten() {
            match item(&mut expected, items) {
                Some(object) => merge::merge(object, patch, ""),
                None => return false,
            }
        }
        found.next().is_some_and(|(_, found)| found == expected)
    };
    values(text).all(as_expected) && found.next().is_none()
}

/// What the documents of a text say, with the lines that they begin in; those that cannot be parsed left
/// out.
fn values(text: &str) -> impl Iterator<Item = (usize, Value)> {
    let manifests = manifests(text).filter_map(Result::ok);
    manifests.filter_map(|manifest: Manifest<'_>| Some((manifest.line, manifest.read().ok()?)))
}

/// The object at these places in lists of objects.
fn item<'a>(value: &'a mut Value, items: &[usize]) -> Option<&'a mut Value> {
    items.iter().try_fold(value, |value, place| {
        value.get_mut("items")?.get_mut(*place)
    })
}
