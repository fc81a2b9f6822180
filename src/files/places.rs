//! In which file and line is each object? For findings with positions, and for patches of files.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    outline::{Content, Node, outline},
    pointer,
};
use crate::{
    facts::wire,
    model::{Name, ObjectKey, ServiceAccountRef, workload::Workload},
};

/// The positions of the input's objects.
#[derive(Debug, Default)]
pub struct Places {
    known: BTreeMap<ObjectKey, Vec<Place>>,
    /// The workloads that the input has differently, with the account of each.
    differing: Differing,
}

/// The accounts of the different forms of workloads; `None` for one with pods of several accounts.
pub(super) type Differing = BTreeMap<ObjectKey, Vec<Option<Name>>>;

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
    /// The account of its pods; `None` if it has none, or several.
    pub(super) account: Option<Name>,
    /// What the position has of it.
    pub(crate) form: Form,
    /// Whether its file is too large to be held in memory: then `line` is its own, and nothing more precise is looked
    /// for.
    pub(crate) is_large: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)?;
        self.items
            .iter()
            .try_for_each(|item| write!(f, " items[{item}]"))
    }
}

/// What a position has of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The object as a person wrote it.
    Manifest,
    /// What its manifest is rendered from.
    Source,
    /// A copy of an object of a cluster, or one that a workload created: a change to it would not last.
    Copy,
    /// A part of another object.
    Part,
    /// An object whose kind is not known; its pod spec was recognised by its shape.
    Guess,
}

impl Form {
    /// That of an object with this metadata: only the API server assigns a uid.
    pub(super) fn of(metadata: &wire::Metadata) -> Self {
        if metadata.uid.is_empty() {
            Self::Manifest
        } else {
            Self::Copy
        }
    }
}

/// Whether what has pods of `name`, or is no workload, has pods of an account.
fn is_of(name: Option<&Name>, account: &ServiceAccountRef) -> bool {
    name.is_none_or(|name| *name == account.name)
}

/// Positions in a sentence.
pub(crate) fn listed<'a>(places: impl IntoIterator<Item = &'a Place>) -> String {
    let places = places.into_iter().map(Place::to_string);
    places.collect::<Vec<_>>().join(", ")
}

/// The file and line of objects, for each account that they are of.
#[derive(Debug, Default)]
pub struct Lines(BTreeMap<(ObjectKey, Name), (PathBuf, usize)>);

impl Lines {
    /// The file and line of an object; `None` if it is not in a file.
    #[must_use]
    pub fn of(&self, account: &ServiceAccountRef, workload: &Workload) -> Option<(&Path, usize)> {
        let key = workload_key(&account.namespace, workload);
        let found = self.0.get(&(key, account.name.clone()))?;
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
        let places = self
            .known
            .entry(key)
            .or_insert_with(|| Vec::with_capacity(1));
        places.retain(|known| matches!(known.form, Form::Manifest | Form::Guess));
        places.push(place);
    }

    /// Notes which workloads the input has differently.
    pub(super) fn differ(&mut self, workloads: Differing) {
        self.differing = workloads;
    }

    /// The positions of an object with pods of an account, in the order in which they were read.
    pub(crate) fn of(
        &self,
        account: &ServiceAccountRef,
        target: &Workload,
    ) -> impl DoubleEndedIterator<Item = &Place> + Clone {
        let places = self.known.get(&workload_key(&account.namespace, target));
        let places = places.into_iter().flatten();
        places.filter(|place| is_of(place.account.as_ref(), account))
    }

    /// Whether the input has a workload with pods of an account several times, and differently.
    pub(crate) fn has_differently(&self, account: &ServiceAccountRef, target: &Workload) -> bool {
        let key = workload_key(&account.namespace, target);
        let forms = self.differing.get(&key).into_iter().flatten();
        forms.filter(|name| is_of(name.as_ref(), account)).count() > 1
    }

    /// Where a workload is that the input has differently; empty for any other.
    #[must_use]
    pub fn differing(&self, account: &ServiceAccountRef, workload: &Workload) -> String {
        let key = workload_key(&account.namespace, workload);
        let is_known = self.differing.contains_key(&key);
        let places = self.known.get(&key).filter(|_| is_known);
        listed(places.into_iter().flatten())
    }

    /// The position of an object that is shown: the last of those with pods of the account; of one whose pods have a
    /// token of the account and run as another, the last.
    fn shown(&self, account: &ServiceAccountRef, workload: &Workload) -> Option<&Place> {
        self.of(account, workload).next_back().or_else(|| {
            let key = workload_key(&account.namespace, workload);
            self.known.get(&key)?.last()
        })
    }

    /// The file of an object, and the first line of its document; of several positions, the last counts.
    #[must_use]
    pub fn document_of(
        &self,
        account: &ServiceAccountRef,
        workload: &Workload,
    ) -> Option<(&Path, usize)> {
        let place = self.shown(account, workload)?;
        Some((&place.file, place.line))
    }

    /// The file and line of the pod spec of each object, or of the object itself if it has none; the last of
    /// several positions counts. Each file is read again, once.
    #[must_use]
    pub fn lines<'a>(
        &self,
        wanted: impl IntoIterator<Item = (&'a ServiceAccountRef, &'a Workload)>,
    ) -> Lines {
        let mut by_file: BTreeMap<&Path, Vec<_>> = BTreeMap::new();
        let mut lines = Lines::default();
        for (account, workload) in wanted {
            let key = workload_key(&account.namespace, workload);
            let key = (key, account.name.clone());
            match self.shown(account, workload) {
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
