//! Reads files, standard input and what folders were rendered to, whole or piece by piece.

use std::{
    io::{self, BufRead},
    path::{Path, PathBuf},
};

use super::Loader;
use crate::{
    files::manifest::{Head, Manifest, manifests_after},
    text::{
        self, Problem, Text,
        folders::Rendered,
        pieces::{Piece, pieces},
    },
};

impl<'a> Loader<'a> {
    /// Reads what a folder was rendered to.
    pub(in crate::files) fn rendered(&mut self, rendered: &'a Rendered) {
        self.explicit = false;
        self.renderings.begin(rendered);
        self.manifests(&rendered.place, &rendered.text);
        self.renderings.end();
    }
}

impl Loader<'_> {
    /// Reads a file; `explicit` if the user named the file itself, not only its folder.
    pub(in crate::files) fn path(&mut self, path: Result<PathBuf, Problem>, explicit: bool) {
        self.explicit = explicit;
        match path {
            Ok(path) => self.file(&path),
            Err(problem) => self.outcome.problems.push(problem),
        }
    }

    fn file(&mut self, path: &Path) {
        if path == Path::new("-") {
            let text = text::begin(io::stdin().lock());
            return self.text("standard input", text);
        }
        let place = path.display().to_string();
        let text = text::open(path).and_then(text::begin);
        self.file = Some(path.into());
        self.text(&place, text);
        self.file = None;
    }

    fn text(&mut self, place: &str, text: io::Result<Text<'_>>) {
        let result = match text {
            Ok(Text::Whole(text)) => {
                self.manifests(place, &text);
                Ok(())
            }
            Ok(Text::Large(text)) => self.large(place, text),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.problem(place.to_owned(), format!("cannot be read: {error}"));
        }
    }

    /// Reads a text piece by piece.
    fn large(&mut self, place: &str, text: impl BufRead) -> io::Result<()> {
        self.is_large = true;
        let mut list = Head::default();
        let result = pieces(text, &mut |piece| match piece {
            Piece::Document { before, text } => {
                for manifest in manifests_after(before, text) {
                    self.manifest_or_error(place, manifest);
                }
            }
            Piece::List { text } => list = Head::of_list(text),
            Piece::Item {
                before,
                format,
                text,
                head,
            } => self.manifest(
                place,
                Manifest::item(before, format, text, head),
                Some(&list),
            ),
            Piece::Malformed(malformed) => self.malformed(place, malformed),
        });
        self.is_large = false;
        if std::mem::take(&mut self.without_kind) > 0 {
            self.problem(
                place.to_owned(),
                "items without a `kind` were not read: that of their list is written after them. Print them with \
                 `kubectl get -o json`"
                    .to_owned(),
            );
        }
        result
    }
}
