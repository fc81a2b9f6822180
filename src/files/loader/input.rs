//! Reads files, standard input and what folders were rendered to, whole or piece by piece.

use std::{
    io::{self, BufRead},
    path::Path,
};

use super::Loader;
use crate::{
    files::manifest::{Head, Manifest, manifests_after, parsed},
    text::{
        self, Malformed, Text,
        folders::{Rendered, Selected},
        parallel::in_order,
        pieces::{Piece, pieces},
    },
};

/// How large a file may be that is parsed beside others, in bytes: parsed, it is several times as large.
const BESIDE: u64 = 1 << 20;

/// A file as far as it can be read without the index.
enum Ahead {
    Parsed(Vec<Result<Manifest<'static>, Malformed>>),
    /// JSON, which is parsed object by object.
    Text(String),
    /// Nothing: standard input, pipes, what is large, and errors have to be their turn.
    Nothing,
}

impl Ahead {
    fn of(file: &Selected) -> Self {
        let known = file.path.as_ref().ok().and_then(|path| {
            let known = path.metadata().ok()?;
            (known.is_file() && known.len() <= BESIDE).then_some(path)
        });
        let text = known.map(|path| text::open(path).and_then(text::begin));
        match text {
            Some(Ok(Text::Whole(text))) => match parsed(&text) {
                Some(manifests) => Self::Parsed(manifests),
                None => Self::Text(text),
            },
            _ => Self::Nothing,
        }
    }
}

impl<'a> Loader<'a> {
    /// Reads what a folder was rendered to.
    pub(in crate::files) fn rendered(&mut self, rendered: &'a Rendered) {
        self.explicit = false;
        self.unlisted = false;
        self.renderings.begin(rendered);
        self.copies.begin(&rendered.place);
        self.manifests(&rendered.place, &rendered.text);
        self.renderings.end();
    }
}

impl Loader<'_> {
    /// Reads files, one after the other into the index; they are parsed side by side.
    pub(in crate::files) fn files(&mut self, files: &[Selected]) {
        let progress = self.wanted.progress;
        in_order(files, Ahead::of, |file, ahead| {
            self.explicit = file.explicit;
            self.unlisted = file.unlisted;
            match &file.path {
                Ok(path) => self.read_ahead(path, ahead),
                Err(problem) => self.outcome.problems.push(problem.clone()),
            }
            progress(1, 0);
        });
    }

    fn read_ahead(&mut self, path: &Path, ahead: Ahead) {
        if path == Path::new("-") {
            self.copies.begin("standard input");
            let text = text::begin(io::stdin().lock());
            return self.text("standard input", text);
        }
        let place = path.display().to_string();
        self.file = Some(path.into());
        self.copies.begin(&place);
        match ahead {
            Ahead::Parsed(manifests) => {
                for manifest in manifests {
                    self.manifest_or_error(&place, manifest);
                }
            }
            Ahead::Text(text) => self.manifests(&place, &text),
            Ahead::Nothing => self.text(&place, text::open(path).and_then(text::begin)),
        }
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
            self.outcome.lacks_rbac = true;
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
            Piece::Malformed(malformed) => {
                self.outcome.lacks_rbac = true;
                self.malformed(place, malformed);
            }
        });
        self.is_large = false;
        if std::mem::take(&mut self.without_kind) > 0 {
            self.outcome.lacks_rbac = true;
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
