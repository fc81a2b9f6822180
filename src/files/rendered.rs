//! Where is a rendered object written? And which objects do several folders render?

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    manifest::{Manifest, manifests},
    places::Place,
};
use crate::{
    model::{InputKind, ObjectKey},
    text::{Problem, folders::Rendered},
};

/// The folders that were rendered.
#[derive(Default)]
pub(super) struct Renderings<'a> {
    all: Vec<&'a Rendered>,
    /// Whether the last of them is being read.
    is_reading: bool,
    /// The objects of each source.
    sources: BTreeMap<PathBuf, Vec<Written>>,
    /// Which folder rendered an object, and a hash of what is known of it.
    objects: HashMap<(InputKind, ObjectKey), (usize, u64)>,
    /// Pairs of folders that render the same object differently, with one of these.
    conflicts: BTreeMap<(usize, usize), String>,
}

/// An object as a person wrote it.
struct Written {
    kind: String,
    name: String,
    /// The first line of its document.
    line: usize,
    items: Box<[usize]>,
}

impl<'a> Renderings<'a> {
    pub(super) fn begin(&mut self, rendered: &'a Rendered) {
        self.all.push(rendered);
        self.is_reading = true;
    }

    pub(super) fn end(&mut self) {
        self.is_reading = false;
    }

    /// Which of them is being read.
    pub(super) fn current(&self) -> Option<usize> {
        self.is_reading.then(|| self.all.len() - 1)
    }

    /// Where a person would change the object that is being read.
    pub(super) fn place(
        &mut self,
        manifest: &Manifest<'_>,
        kind: &str,
        pod_spec: &str,
    ) -> Option<Place> {
        let rendered = self.all[self.current()?];
        let file = rendered.source(manifest.own_line());
        let written = self.sources.entry(file.to_owned());
        let written = written.or_insert_with(|| Written::all_in(file));
        let name = manifest.name();
        let of_kind = || written.iter().filter(|object| object.kind == kind);
        // A kustomization may add to names, a chart makes them up.
        let exact = of_kind().find(|object| object.name == name);
        let partly = of_kind().filter(|object| name.contains(&object.name));
        let found = exact
            .or_else(|| partly.max_by_key(|object| object.name.len()))
            .or_else(|| of_kind().next());
        Some(Place {
            file: Arc::from(file),
            line: found.map_or(1, |object| object.line),
            items: found.map(|object| object.items.clone()).unwrap_or_default(),
            pod_spec: pod_spec.into(),
            lasts: false,
            is_rendered: true,
            is_large: false,
        })
    }

    /// Notes an object that a folder renders: another that renders the same name differently counts too.
    pub(super) fn note(&mut self, kind: InputKind, key: &ObjectKey, facts: &impl Debug) {
        let Some(folder) = self.current() else { return };
        let mut hasher = DefaultHasher::new();
        format!("{facts:?}").hash(&mut hasher);
        let now = (folder, hasher.finish());
        let before = self.objects.insert((kind, key.clone()), now);
        if let Some((other, hash)) = before
            && other != folder
            && hash != now.1
        {
            let example = format!("{} {key}", kind.name());
            self.conflicts.entry((other, folder)).or_insert(example);
        }
    }

    /// What is to say about objects that several folders render.
    pub(super) fn warnings(&self) -> impl Iterator<Item = Problem> {
        self.conflicts.iter().map(|((one, other), example)| Problem {
            place: self.all[*other].place.clone(),
            message: format!(
                "renders {example} otherwise than `{}` does, and this one counts for both: scan them one by one",
                self.all[*one].place
            ),
        })
    }
}

impl Written {
    /// The objects in a file; of a template, the lines that say a kind.
    fn all_in(file: &Path) -> Vec<Self> {
        let text = fs::read_to_string(file).unwrap_or_default();
        if text.contains("{{") {
            let lines = text.lines().enumerate();
            let kinds = lines.filter_map(|(line, text)| Some((line, text.strip_prefix("kind:")?)));
            let written = kinds.map(|(line, kind)| Self {
                kind: kind.trim().trim_matches(['"', '\'']).to_owned(),
                name: String::new(),
                line: line + 1,
                items: Box::default(),
            });
            return written.collect();
        }
        let mut written = Vec::new();
        for manifest in manifests(&text).flatten() {
            Self::add(manifest, &mut written);
        }
        written
    }

    fn add(mut manifest: Manifest<'_>, written: &mut Vec<Self>) {
        let Ok(head) = manifest.head() else { return };
        if let Some(items) = head.items {
            for item in items {
                Self::add(item, written);
            }
            return;
        }
        written.push(Self {
            kind: head.kind,
            name: manifest.name(),
            line: manifest.line,
            items: manifest.items,
        });
    }
}
