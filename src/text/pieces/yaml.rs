//! Pieces of YAML: documents, and the items of those that are large lists.

use std::io::{self, BufRead};

use super::{Format, MAX_PIECE, Malformed, Piece, line, not_utf8, too_large};
use crate::text::yaml::{Bounds, LARGE_LIST, ListLine, ListLines, may_have_alias};

pub(super) fn pieces(
    mut reader: impl BufRead,
    found: &mut impl FnMut(Piece<'_>),
) -> io::Result<()> {
    let mut document = Document::default();
    let mut bytes = Vec::new();
    let mut lines = 0;
    loop {
        line(&mut reader, &mut bytes)?;
        if bytes.is_empty() {
            document.end(found);
            return Ok(());
        }
        if let Ok(line) = str::from_utf8(&bytes) {
            if document.bounds.end_before(line) {
                document.end(found);
                document = Document::after(lines);
                document.bounds.end_before(line);
            }
            document.push(line, lines, found);
            if Bounds::end_with(line) {
                document.end(found);
                document = Document::after(lines + 1);
            }
        } else {
            document.fail(not_utf8(lines), found);
        }
        lines += usize::from(bytes.ends_with(b"\n"));
    }
}

/// The document that is being read.
#[derive(Default)]
struct Document {
    /// The lines before it.
    before: usize,
    bounds: Bounds,
    /// Its text; of a list that is handed over item by item, its last item.
    text: String,
    /// The lines before `text`.
    begins: usize,
    /// Whether nothing more of it is read.
    is_over: bool,
    lines: ListLines,
    form: Form,
}

/// What the document is, as far as it was read.
enum Form {
    /// Maybe a list, whose items begin here, each with the lines before it.
    Open(Vec<(usize, usize)>),
    /// No list as kubectl prints it.
    Whole,
    /// A list that is handed over item by item, and whether `text` is an item.
    List { in_item: bool },
}

impl Default for Form {
    fn default() -> Self {
        Self::Open(Vec::new())
    }
}

impl Document {
    fn after(lines: usize) -> Self {
        Self {
            before: lines,
            begins: lines,
            ..Self::default()
        }
    }

    /// Adds a line, which so many lines of the text precede.
    fn push(&mut self, line: &str, before: usize, found: &mut impl FnMut(Piece<'_>)) {
        if self.is_over {
            return;
        }
        let kind = if matches!(self.form, Form::Whole) {
            None
        } else {
            self.lines.next(line)
        };
        match (&mut self.form, kind) {
            (Form::Open(_), None) => self.form = Form::Whole,
            (Form::Open(items), Some(ListLine::Item)) => items.push((self.text.len(), before)),
            (Form::List { .. }, None) => {
                let message =
                    "this list has another form than kubectl prints; the rest of it is not read";
                return self.fail(Malformed::at(before + 1, 0, message), found);
            }
            (Form::List { .. }, Some(kind @ (ListLine::Item | ListLine::Head))) => {
                self.emit_item(found);
                self.begins = before;
                self.form = Form::List {
                    in_item: kind == ListLine::Item,
                };
            }
            _ => {}
        }
        if self.text.len() + line.len() > MAX_PIECE {
            return self.fail(too_large(self.begins), found);
        }
        self.text.push_str(line);
        if self.text.len() > LARGE_LIST {
            self.split(found);
        }
    }

    /// Hands over the items of a large list from here on, if it is one; none of them may refer to another by an alias.
    fn split(&mut self, found: &mut impl FnMut(Piece<'_>)) {
        let Form::Open(items) = &mut self.form else {
            return;
        };
        let [(first, _), .., (last, begins)] = items[..] else {
            return;
        };
        if may_have_alias(&self.text) {
            self.form = Form::Whole;
            return;
        }
        let items = std::mem::take(items);
        let head = self.text[..first].trim_end();
        let head = head.strip_suffix("items:").unwrap_or(head);
        found(Piece::List { text: head });
        for pair in items.windows(2) {
            let [(begin, before), (end, _)] = *pair else {
                continue;
            };
            found(Piece::Item {
                before,
                format: Format::Yaml,
                text: &self.text[begin..end],
                head: None,
            });
        }
        self.text.drain(..last);
        self.begins = begins;
        self.form = Form::List { in_item: true };
    }

    fn emit_item(&mut self, found: &mut impl FnMut(Piece<'_>)) {
        if let Form::List { in_item: true } = self.form {
            found(Piece::Item {
                before: self.begins,
                format: Format::Yaml,
                text: &self.text,
                head: None,
            });
        }
        self.text.clear();
    }

    fn end(&mut self, found: &mut impl FnMut(Piece<'_>)) {
        if self.is_over {
            return;
        }
        match self.form {
            Form::List { .. } => self.emit_item(found),
            Form::Open(_) | Form::Whole if self.text.is_empty() => {}
            Form::Open(_) | Form::Whole => found(Piece::Document {
                before: self.before,
                text: &self.text,
            }),
        }
    }

    /// Nothing more of the document is read.
    fn fail(&mut self, malformed: Malformed, found: &mut impl FnMut(Piece<'_>)) {
        if !self.is_over {
            found(Piece::Malformed(malformed));
        }
        self.is_over = true;
        self.text.clear();
    }
}
