//! Pieces of JSON: values one after the other, and the items of those that are lists.

use std::{
    io::{self, BufRead},
    ops::Range,
};

use memchr::memchr_iter;
use serde::de::IgnoredAny;

use super::{Format, MAX_PIECE, Malformed, Piece, not_utf8, too_large};
use crate::text::{quotes::Quotes, strip_position};

pub(super) fn pieces(
    mut reader: impl BufRead,
    found: &mut impl FnMut(Piece<'_>),
) -> io::Result<()> {
    let mut scanner = Scanner::default();
    loop {
        let part = reader.fill_buf()?;
        let size = part.len();
        if size == 0 {
            scanner.end(found);
            return Ok(());
        }
        if !scanner.feed(part, found) {
            return Ok(());
        }
        reader.consume(size);
    }
}

/// Said of an error after which nothing is read.
const REST: &str = "the rest of the file is not read";

/// Finds where values and items begin and end. Whether they are valid is up to the parser that reads them.
#[derive(Debug, Default)]
struct Scanner {
    quotes: Quotes,
    /// How many objects and lists are open.
    depth: usize,
    /// The number of open objects and lists directly within the list whose items are pieces.
    list: Option<usize>,
    /// The value that is being read; of a list, its fields other than `items`.
    value: Text,
    /// The item that is being read.
    item: Text,
    /// What was seen of the item's head.
    head: HeadOf,
    /// Whether the list has an item.
    has_items: bool,
    /// Whether the value has a list whose items are pieces.
    is_list: bool,
    /// The lines that are read.
    lines: usize,
}

/// The fields of an item that say what it is, as positions in its bytes.
#[derive(Debug, Default)]
struct HeadOf {
    kind: Range<usize>,
    api_version: Range<usize>,
    /// Whether the text that is being read is one of the two, and which.
    reading: Option<Field>,
    /// Whether the item may be a list itself.
    has_items: bool,
}

#[derive(Clone, Copy, Debug)]
enum Field {
    Kind,
    ApiVersion,
}

impl HeadOf {
    /// A text begins after these bytes of the item.
    fn begin(&mut self, bytes: &[u8]) {
        self.reading = [(Field::Kind, "kind"), (Field::ApiVersion, "apiVersion")]
            .into_iter()
            .find_map(|(field, key)| ends_with_key(bytes, key).then_some(field));
        match self.reading {
            Some(Field::Kind) => self.kind = bytes.len() + 1..0,
            Some(Field::ApiVersion) => self.api_version = bytes.len() + 1..0,
            None => {}
        }
    }

    /// A text ends before the last of so many bytes of the item.
    fn end(&mut self, bytes: usize) {
        match self.reading.take() {
            Some(Field::Kind) => self.kind.end = bytes - 1,
            Some(Field::ApiVersion) => self.api_version.end = bytes - 1,
            None => {}
        }
    }

    /// API version and kind of an item that is no list; `None` where only a parser can tell.
    fn of<'a>(&self, item: &'a [u8]) -> Option<(&'a str, &'a str)> {
        let text = |range: &Range<usize>| {
            let text = str::from_utf8(item.get(range.clone())?).ok()?;
            (!text.is_empty() && !text.contains('\\')).then_some(text)
        };
        let head = (text(&self.api_version)?, text(&self.kind)?);
        (!self.has_items).then_some(head)
    }
}

/// A part of the text, up to a limit.
#[derive(Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    is_too_large: bool,
    /// The lines before it.
    before: usize,
}

impl Text {
    fn push(&mut self, bytes: &[u8]) {
        self.is_too_large |= self.bytes.len() + bytes.len() > MAX_PIECE;
        if self.is_too_large {
            self.bytes.clear();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn begin(&mut self, before: usize) {
        self.bytes.clear();
        self.is_too_large = false;
        self.before = before;
    }

    /// What was read, without the space around it, and the lines before that.
    fn read(&self) -> Result<(usize, &str), Malformed> {
        if self.is_too_large {
            return Err(too_large(self.before));
        }
        let text = str::from_utf8(&self.bytes).map_err(|_| not_utf8(self.before))?;
        let begin = text.trim_start();
        let space = &text[..text.len() - begin.len()];
        Ok((self.before + newlines(space.as_bytes()), begin.trim_end()))
    }
}

/// Whether JSON ends with this key, and its value follows.
fn ends_with_key(json: &[u8], key: &str) -> bool {
    let before = || {
        let name = json.trim_ascii_end().strip_suffix(b":")?;
        let name = name.trim_ascii_end().strip_suffix(b"\"")?;
        name.strip_suffix(key.as_bytes())
    };
    before().is_some_and(|before| before.ends_with(b"\""))
}

fn newlines(bytes: &[u8]) -> usize {
    memchr_iter(b'\n', bytes).count()
}

impl Scanner {
    /// Reads a part of the text; `false` if the rest of it cannot be read.
    fn feed(&mut self, bytes: &[u8], found: &mut impl FnMut(Piece<'_>)) -> bool {
        // What is read, and what of it is kept: the less often, the faster.
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() {
            if self.quotes != Quotes::Outside {
                at += self.quotes.read(&bytes[at..]);
                if self.quotes == Quotes::Outside && self.head.reading.is_some() {
                    self.keep(&bytes[kept..at]);
                    kept = at;
                    self.head.end(self.item.bytes.len());
                }
                continue;
            }
            at += self.outside(&bytes[at..]);
            let Some(&mark) = bytes.get(at) else { break };
            if self.is_deep() {
                self.pass(mark);
            } else {
                self.keep(&bytes[kept..at]);
                kept = at + 1;
                if !self.mark(mark, found) {
                    return false;
                }
            }
            at += 1;
        }
        self.keep(&bytes[kept..]);
        true
    }

    /// Whether the next mark is that of a field of a field, and says nothing about where pieces begin and end.
    fn is_deep(&self) -> bool {
        self.depth > self.list.unwrap_or(0) + 1
    }

    /// Reads a mark where that is so.
    fn pass(&mut self, mark: u8) {
        match mark {
            b'"' => self.quotes = Quotes::Within,
            b'{' | b'[' => self.depth += 1,
            _ => self.depth -= 1,
        }
    }

    /// How many bytes to the next mark.
    fn outside(&self, bytes: &[u8]) -> usize {
        let is_mark = |byte: &u8| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']');
        let next = if self.depth == 0 {
            bytes
                .iter()
                .position(|byte| !byte.is_ascii_whitespace() && *byte != b'-')
        } else if self.list == Some(self.depth) {
            bytes.iter().position(|byte| is_mark(byte) || *byte == b',')
        } else {
            bytes.iter().position(is_mark)
        };
        next.unwrap_or(bytes.len())
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.depth == 0 {
            // Space, and markers of documents.
        } else if self.list.is_some() {
            self.item.push(bytes);
        } else {
            self.value.push(bytes);
        }
        self.lines += newlines(bytes);
    }

    /// Reads a mark; `false` if the rest of the text cannot be read.
    fn mark(&mut self, mark: u8, found: &mut impl FnMut(Piece<'_>)) -> bool {
        match mark {
            b'{' | b'[' if self.depth == 0 => {
                self.value.begin(self.lines);
                self.is_list = false;
                self.depth = 1;
                if mark == b'[' {
                    self.begin_list(found);
                } else {
                    self.keep(b"{");
                }
            }
            _ if self.depth == 0 => {
                self.malformed("this is no object", found);
                return false;
            }
            b'"' => {
                if self.is_in_item() {
                    self.head.begin(&self.item.bytes);
                }
                self.keep(b"\"");
                self.quotes = Quotes::Within;
            }
            b'[' if self.depth == 1
                && self.list.is_none()
                && ends_with_key(&self.value.bytes, "items") =>
            {
                self.depth = 2;
                self.begin_list(found);
            }
            b'{' | b'[' => {
                self.head.has_items |=
                    self.is_in_item() && ends_with_key(&self.item.bytes, "items");
                self.depth += 1;
                self.keep(&[mark]);
            }
            b',' => {
                self.has_items = true;
                self.emit_item(found);
            }
            b']' if self.list == Some(self.depth) => {
                self.emit_last_item(found);
                self.list = None;
                self.depth -= 1;
            }
            _ if self.list == Some(self.depth) => {
                self.emit_last_item(found);
                self.malformed("the list ends with a brace", found);
                return false;
            }
            _ => {
                self.keep(&[mark]);
                self.depth -= 1;
                return self.depth > 0 || self.emit_value(found);
            }
        }
        true
    }

    /// Whether the next mark is that of a field of an item itself.
    fn is_in_item(&self) -> bool {
        self.list.is_some_and(|list| self.depth == list + 1)
    }

    fn begin_list(&mut self, found: &mut impl FnMut(Piece<'_>)) {
        self.list = Some(self.depth);
        (self.is_list, self.has_items) = (true, false);
        self.item.begin(self.lines);
        self.value.push(b"null");
        let mut head = self.value.bytes.clone();
        if self.depth == 2 {
            head.push(b'}');
        }
        if let Ok(text) = str::from_utf8(&head) {
            found(Piece::List { text });
        }
    }

    fn emit_item(&mut self, found: &mut impl FnMut(Piece<'_>)) {
        found(match self.item.read() {
            Ok((before, text)) => Piece::Item {
                before,
                format: Format::Json,
                text,
                head: self.head.of(&self.item.bytes),
            },
            Err(malformed) => Piece::Malformed(malformed),
        });
        self.item.begin(self.lines);
        self.head = HeadOf::default();
    }

    /// Hands over the last item, unless the list is empty.
    fn emit_last_item(&mut self, found: &mut impl FnMut(Piece<'_>)) {
        let is_empty = !self.has_items && self.item.bytes.trim_ascii().is_empty();
        if !is_empty || self.item.is_too_large {
            self.emit_item(found);
        }
    }

    /// Hands over a value that is no list; `false` if the rest of the text cannot be read.
    fn emit_value(&mut self, found: &mut impl FnMut(Piece<'_>)) -> bool {
        // A list was handed over item by item: its other fields are parsed for errors only.
        let malformed = match self.value.read() {
            Ok((before, text)) if !self.is_list => {
                found(Piece::Document { before, text });
                return true;
            }
            Ok((before, text)) => match serde_json::from_str::<IgnoredAny>(text) {
                Ok(_) => return true,
                // The position is that within the fields.
                Err(error) => {
                    Malformed::at(before + 1, 0, format!("{}; {REST}", strip_position(&error)))
                }
            },
            Err(malformed) => malformed,
        };
        found(Piece::Malformed(malformed));
        false
    }

    /// The text has ended.
    fn end(&self, found: &mut impl FnMut(Piece<'_>)) {
        if self.depth > 0 {
            self.malformed("the text ends within an object", found);
        }
    }

    /// The rest of the text cannot be read from here on.
    fn malformed(&self, why: &str, found: &mut impl FnMut(Piece<'_>)) {
        let malformed = Malformed::at(self.lines + 1, 0, format!("{why}; {REST}"));
        found(Piece::Malformed(malformed));
    }
}
