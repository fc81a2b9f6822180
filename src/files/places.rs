//! Where in the files are the objects? For findings with file and line, and for changes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::outline::{Node, outline};
use crate::model::{
    ObjectKey,
    workload::{Workload, pod_spec_path},
};

/// Where the objects of the input are written.
#[derive(Debug, Default)]
pub struct Places(BTreeMap<ObjectKey, Vec<Place>>);

/// Where one object is written.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) file: Arc<Path>,
    /// The line that its document begins in, counted from 1.
    pub(crate) line: usize,
    /// Its places in the lists of objects that it is in.
    pub(crate) items: Box<[usize]>,
    pub(crate) kind: Box<str>,
    /// Whether a change of it would last: not what a workload made, nor the dump of a live pod.
    pub(crate) lasts: bool,
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

/// The key of a workload, or of its template: no pod can have such a name.
pub(crate) fn workload_key(namespace: &Arc<str>, workload: &Workload) -> ObjectKey {
    ObjectKey::new(namespace.clone(), workload.to_string())
}

impl Places {
    /// An object is written here. Of places that nobody would change, the last is enough.
    pub(super) fn note(&mut self, key: ObjectKey, place: Place) {
        let places = self.0.entry(key).or_default();
        places.retain(|known| known.lasts);
        places.push(place);
    }

    /// The places of an object at which a change of it would last.
    pub(crate) fn lasting(&self, namespace: &str, target: &Workload) -> Vec<&Place> {
        let places = self.0.get(&workload_key(&namespace.into(), target));
        let places = places.into_iter().flatten();
        places.filter(|place| place.lasts).collect()
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
                let spec = found.and_then(|(start, root)| Some(start + spec(root, place)?));
                let line = spec.map_or(place.line, |spec| documents.line_of(spec));
                lines.0.insert(key, (file.to_owned(), line));
            }
        }
        lines
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
pub(crate) struct Documents<'a> {
    text: &'a str,
    /// Where each line begins.
    starts: Vec<usize>,
    last: Option<(usize, Option<Node>)>,
}

impl<'a> Documents<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let breaks = text.match_indices('\n').map(|(place, _)| place + 1);
        Self {
            text,
            starts: [0].into_iter().chain(breaks).collect(),
            last: None,
        }
    }

    /// The line of a place, counted from 1.
    fn line_of(&self, place: usize) -> usize {
        self.starts.partition_point(|start| *start <= place)
    }

    /// Where the document of a line begins, and its outline; lines are counted from 1.
    pub(crate) fn at(&mut self, line: usize) -> Option<(usize, &Node)> {
        let start = *self.starts.get(line.saturating_sub(1))?;
        if self.last.as_ref().is_none_or(|(known, _)| *known != line) {
            self.last = Some((line, outline(&self.text[start..])));
        }
        let (_, root) = self.last.as_ref()?;
        Some((start, root.as_ref()?))
    }
}
