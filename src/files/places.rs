//! In which file and line is each object? For findings with positions, and for patches of files.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    outline::{Content, Node, outline},
    pointer,
};
use crate::model::{Name, ObjectKey, workload::Workload};

/// The positions of the input's objects.
#[derive(Debug, Default)]
pub struct Places(BTreeMap<ObjectKey, Vec<Place>>);

/// The position of one object.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) file: Arc<Path>,
    /// The first line of its document, counted from 1.
    pub(crate) line: usize,
    /// Its index in each list that contains it, outermost first.
    pub(crate) items: Box<[usize]>,
    /// The JSON pointer of its pod spec; empty for a ServiceAccount.
    pub(crate) pod_spec: Box<str>,
    /// Whether a change to it would last: not for an object that a workload created, nor for the dump of a
    /// live pod.
    pub(crate) lasts: bool,
    /// Whether its manifest is rendered from this one.
    pub(crate) is_rendered: bool,
    /// Whether its file is too large to be held in memory: then `line` is its own, and nothing more precise is looked
    /// for.
    pub(crate) is_large: bool,
}

/// The file and line of objects.
#[derive(Debug, Default)]
pub struct Lines(BTreeMap<ObjectKey, (PathBuf, usize)>);

impl Lines {
    /// The file and line of an object; `None` if it is not in a file.
    #[must_use]
    pub fn of(&self, namespace: &str, workload: &Workload) -> Option<(&Path, usize)> {
        let found = self.0.get(&workload_key(&namespace.into(), workload))?;
        Some((&found.0, found.1))
    }
}

/// The key of a workload or its template; it contains a `/`, so no pod has the same name.
pub(crate) fn workload_key(namespace: &Name, workload: &Workload) -> ObjectKey {
    ObjectKey::new(namespace.clone(), workload.to_string())
}

impl Places {
    /// Adds the position of an object. Of those where a change would not last, only the latest is kept.
    pub(super) fn note(&mut self, key: ObjectKey, place: Place) {
        // Nearly all have one position.
        let places = self.0.entry(key).or_insert_with(|| Vec::with_capacity(1));
        places.retain(|known| known.lasts);
        places.push(place);
    }

    /// The positions of an object where a change to it would last.
    pub(crate) fn lasting(&self, namespace: &str, target: &Workload) -> Vec<&Place> {
        let places = self.0.get(&workload_key(&namespace.into(), target));
        let places = places.into_iter().flatten();
        places.filter(|place| place.lasts).collect()
    }

    /// The file that an object is rendered from, if it is.
    pub(crate) fn rendered_from(&self, namespace: &str, target: &Workload) -> Option<&Path> {
        let places = self.0.get(&workload_key(&namespace.into(), target))?;
        let rendered = places.iter().find(|place| place.is_rendered)?;
        Some(&rendered.file)
    }

    /// The file of an object, and the first line of its document; of several positions, the last counts.
    #[must_use]
    pub fn document_of(&self, namespace: &str, workload: &Workload) -> Option<(&Path, usize)> {
        let places = self.0.get(&workload_key(&namespace.into(), workload))?;
        let place = places.last()?;
        Some((&place.file, place.line))
    }

    /// The file and line of the pod spec of each object, or of the object itself if it has none; the last of
    /// several positions counts. Each file is read again, once.
    #[must_use]
    pub fn lines<'a>(&self, wanted: impl IntoIterator<Item = (&'a str, &'a Workload)>) -> Lines {
        let mut by_file: BTreeMap<&Path, Vec<_>> = BTreeMap::new();
        let mut lines = Lines::default();
        for (namespace, workload) in wanted {
            let key = workload_key(&namespace.into(), workload);
            match self.0.get(&key).and_then(|places| places.last()) {
                Some(place) if place.is_large => {
                    lines.0.insert(key, (place.file.to_path_buf(), place.line));
                }
                Some(place) => by_file.entry(&place.file).or_default().push((place, key)),
                None => {}
            }
        }
        for (file, mut wanted) in by_file {
            wanted.sort_by_key(|(place, _)| place.line);
            let text = fs::read_to_string(file).unwrap_or_default();
            let mut documents = Documents::of(&text);
            for (place, key) in wanted {
                let found = documents.at(place.line);
                let spec = found.and_then(|(start, root)| Some(start + spec(root, place)?));
                let line = spec.map_or(place.line, |spec| documents.line_of(spec));
                lines.0.insert(key, (file.to_owned(), line));
            }
        }
        lines
    }
}

/// The offset of an object's pod spec in its document.
fn spec(root: &Node, place: &Place) -> Option<usize> {
    let object = root.item(&place.items)?;
    let mut steps = pointer::steps(&place.pod_spec);
    let found = steps.try_fold((object.start, object), |(_, node), step| child(node, &step))?;
    Some(found.0)
}

/// The part of an object at a JSON pointer.
pub(crate) fn part<'a>(object: &'a Node, pointer: &str) -> Option<&'a Node> {
    pointer::steps(pointer).try_fold(object, |node, step| Some(child(node, &step)?.1))
}

/// A part of a node by its field or index, and its offset: that of the key of a field.
fn child<'a>(node: &'a Node, step: &str) -> Option<(usize, &'a Node)> {
    if let Content::List(_, items) = &node.content {
        let item = items.get(step.parse::<usize>().ok()?)?;
        return Some((item.start, item));
    }
    let (key, value) = node.entry(step)?;
    Some((key.start, value))
}

/// The documents of a text by their first lines. The last parsed one is kept: callers that ask in order have
/// each document parsed once.
pub(crate) struct Documents<'a> {
    text: &'a str,
    /// The offset of each line.
    starts: Vec<usize>,
    last: Option<(usize, Option<Node>)>,
}

impl<'a> Documents<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let breaks = text.match_indices('\n').map(|(offset, _)| offset + 1);
        Self {
            text,
            starts: [0].into_iter().chain(breaks).collect(),
            last: None,
        }
    }

    /// The line of an offset, counted from 1.
    fn line_of(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// The offset of the document that begins in a line, and its outline; lines are counted from 1.
    pub(crate) fn at(&mut self, line: usize) -> Option<(usize, &Node)> {
        let start = *self.starts.get(line.saturating_sub(1))?;
        if self.last.as_ref().is_none_or(|(known, _)| *known != line) {
            self.last = Some((line, outline(&self.text[start..])));
        }
        let (_, root) = self.last.as_ref()?;
        Some((start, root.as_ref()?))
    }
}
