//! Where in the files are the objects? For what is told with file and line, and for what is changed.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

use super::{
    edit::{self, Edit},
    manifest::{Manifest, manifests},
    outline::{Node, outline},
};
use crate::model::{
    ObjectKey,
    exposure::Patch,
    pod::{Workload, pod_spec_path},
};

/// Where the objects of the input are written.
#[derive(Debug, Default)]
pub struct Places(BTreeMap<ObjectKey, Vec<Place>>);

/// Where one object is written.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) file: Arc<Path>,
    /// The line that its document begins in, counted from 1.
    pub(super) line: usize,
    /// Its places in the lists of objects that it is in.
    pub(super) items: Box<[usize]>,
    pub(super) kind: Box<str>,
    /// Whether a change of it would last: not what a workload made, nor the dump of a live pod.
    pub(super) lasts: bool,
}

/// In which file and line objects are written.
#[derive(Debug, Default)]
pub struct Lines(BTreeMap<ObjectKey, (PathBuf, usize)>);

impl Lines {
    /// The file and the line of an object; `None` where it is in no file.
    #[must_use]
    pub fn of(&self, namespace: &str, workload: &Workload) -> Option<(&Path, usize)> {
        let found = self.0.get(&workload_key(&namespace.into(), workload))?;
        Some((&found.0, found.1))
    }
}

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

/// The key of a workload, or of its template: no pod can have such a name.
pub(super) fn workload_key(namespace: &Arc<str>, workload: &Workload) -> ObjectKey {
    ObjectKey::new(namespace.clone(), workload.to_string())
}

impl Places {
    /// An object is written here. Of places that nobody would change, the last is enough.
    pub(super) fn note(&mut self, key: ObjectKey, place: Place) {
        let places = self.0.entry(key).or_default();
        places.retain(|known| known.lasts);
        places.push(place);
    }

    /// The file and the line that these objects have the spec of their pods in, or begin in where they
    /// have none; the last of several counts. The files are read again, each once.
    #[must_use]
    pub fn lines<'a>(&self, wanted: impl IntoIterator<Item = (&'a str, &'a Workload)>) -> Lines {
        let mut by_file: BTreeMap<&Path, Vec<_>> = BTreeMap::new();
        for (namespace, workload) in wanted {
            let key = workload_key(&namespace.into(), workload);
            if let Some(place) = self.0.get(&key).and_then(|places| places.last()) {
                by_file.entry(&place.file).or_default().push((place, key));
            }
        }
        let mut lines = Lines::default();
        for (file, mut wanted) in by_file {
            wanted.sort_by_key(|(place, _)| place.line);
            let text = fs::read_to_string(file).unwrap_or_default();
            let mut documents = Documents::of(&text);
            for (place, key) in wanted {
                let found = documents.at(place.line);
                let line = found.and_then(|(start, root)| {
                    let spec = spec(root, place)?;
                    Some(place.line + text[start..start + spec].matches('\n').count())
                });
                let line = line.unwrap_or(place.line);
                lines.0.insert(key, (file.to_owned(), line));
            }
        }
        lines
    }

    /// Changes the manifests of objects as patches say; the namespace of each stands beside it. A file
    /// that would not say just that afterwards is left as it is.
    #[must_use]
    pub fn patch(&self, patches: &[(&str, &Patch)]) -> Vec<Patched> {
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
            let key = workload_key(&(*namespace).into(), &patch.target);
            let places = self.0.get(&key).into_iter().flatten();
            let lasting: Vec<_> = places.filter(|place| place.lasts).collect();
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
            for (number, _) in changes {
                match &result {
                    Ok(true) => outcomes[number].files.push(file.to_owned()),
                    // It said so already.
                    Ok(false) => {}
                    Err(why) => outcomes[number]
                        .failures
                        .push(format!("{}: {why}", file.display())),
                }
            }
        }
        outcomes
    }
}

/// Where in the document the line of an object's pod spec begins.
fn spec(root: &Node, place: &Place) -> Option<usize> {
    let mut node = root.item(&place.items)?;
    let mut start = node.start;
    let path = if *place.kind == *"ServiceAccount" {
        &[]
    } else {
        pod_spec_path(&place.kind)
    };
    for name in path {
        let (key, value) = node.entry(name)?;
        (start, node) = (key.start, value);
    }
    Some(start)
}

/// The documents of a text by the lines that they begin in. The last one that was looked into is kept:
/// who asks in their order has each of them parsed once.
struct Documents<'a> {
    text: &'a str,
    /// Where each line begins.
    starts: Vec<usize>,
    last: Option<(usize, Option<Node>)>,
}

impl<'a> Documents<'a> {
    fn of(text: &'a str) -> Self {
        let breaks = text.match_indices('\n').map(|(place, _)| place + 1);
        Self {
            text,
            starts: [0].into_iter().chain(breaks).collect(),
            last: None,
        }
    }

    /// Where the document of a line begins, and its outline; lines are counted from 1.
    fn at(&mut self, line: usize) -> Option<(usize, &Node)> {
        let start = *self.starts.get(line.saturating_sub(1))?;
        if self.last.as_ref().is_none_or(|(known, _)| *known != line) {
            self.last = Some((line, outline(&self.text[start..])));
        }
        let (_, root) = self.last.as_ref()?;
        Some((start, root.as_ref()?))
    }
}

/// Changes a file; whether there was anything to change.
fn patch_file(file: &Path, changes: &[(&Place, &Value)]) -> Result<bool, String> {
    let cannot = |error: io::Error| format!("cannot be changed: {error}");
    let text = fs::read_to_string(file).map_err(cannot)?;
    let new = patched(&text, changes)?;
    if new == text {
        return Ok(false);
    }
    // Written beside it first: a file is never half there.
    let real = file.canonicalize().map_err(cannot)?;
    let mut beside = real.clone().into_os_string();
    beside.push(".token-exposure");
    let beside = PathBuf::from(beside);
    let written = fs::write(&beside, &new)
        .and_then(|()| fs::set_permissions(&beside, fs::metadata(&real)?.permissions()))
        .and_then(|()| fs::rename(&beside, &real));
    if written.is_err() {
        // What could not be written may not be there at all.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(cannot)?;
    Ok(true)
}

/// A text after changes, which is read again to see that it says just that.
fn patched(text: &str, changes: &[(&Place, &Value)]) -> Result<String, String> {
    const GONE: &str = "it is not there any more";
    let mut edits: Vec<Edit> = Vec::new();
    let mut expected = values(text)?;
    let mut documents = Documents::of(text);
    for (place, patch) in changes {
        let (start, root) = documents.at(place.line).ok_or(GONE)?;
        let object = root.item(&place.items).ok_or(GONE)?;
        edits.extend(edit::edits(text, start, object, patch)?);
        let document = expected.binary_search_by_key(&place.line, |(line, _)| *line);
        let (_, document) = &mut expected[document.map_err(|_| GONE)?];
        edit::merge(item(document, &place.items), patch, "");
    }
    let new = edit::apply(text, edits);
    let same = |(one, other): (&(usize, Value), &(usize, Value))| one.1 == other.1;
    let found = values(&new)?;
    if found.len() == expected.len() && found.iter().zip(&expected).all(same) {
        Ok(new)
    } else {
        Err("it is written in a way that such a change would reach other parts too".to_owned())
    }
}

/// What the documents of a text say, with the lines that they begin in.
fn values(text: &str) -> Result<Vec<(usize, Value)>, String> {
    let value = |manifest: &Manifest<'_>| Ok((manifest.line, manifest.read::<Value>()?));
    manifests(text)
        .map(|manifest| manifest.map_err(|malformed| malformed.message))
        .map(|manifest| value(&manifest?))
        .collect()
}

/// The object at these places in lists of objects.
fn item<'a>(mut value: &'a mut Value, items: &[usize]) -> &'a mut Value {
    for place in items {
        value = &mut value["items"][*place];
    }
    value
}
