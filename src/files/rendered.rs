//! Where is a rendered object written?

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    manifest::{Manifest, manifests},
    places::{Form, Place},
};
use crate::{model::Name, text::folders::Rendered};

/// The folders that were rendered.
#[derive(Default)]
pub(super) struct Renderings<'a> {
    all: Vec<&'a Rendered>,
    /// Whether the last of them is being read.
    is_reading: bool,
    /// The objects of each source.
    sources: BTreeMap<PathBuf, Vec<Written>>,
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
        account: Option<Name>,
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
            account,
            form: Form::Source,
            is_large: false,
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
