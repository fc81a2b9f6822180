//! Splits one value, which may arrive in parts, into the elements of its lists. What lies outside of them is passed over,
//! but never an account's name.

use memchr::memmem;

use super::{ACCOUNT, MARKS, OWN_KIND, may_have_event, split::Piece, whole};
use crate::text::quotes::Quotes;

/// How large one value may be, in bytes. An event at level RequestResponse has an object of at most 3 MiB twice.
pub(super) const MAX_VALUE: usize = 16 << 20;
/// How many objects and lists may be open at a time.
const MAX_OPEN: usize = 256;
/// How much of what lies outside of elements is looked through at a time, in bytes.
const MAX_OUTSIDE: usize = 64 << 10;

/// The lists whose elements are values of their own: of an EventList, of CloudWatch, Azure, Loki, Elasticsearch and
/// OpenTelemetry.
pub(super) const LISTS: [&str; 16] = [
    "items",
    "logEvents",
    "events",
    "records",
    "hits",
    "result",
    "values",
    "results",
    "entries",
    "rows",
    "tables",
    "streams",
    "responses",
    "resourceLogs",
    "scopeLogs",
    "logRecords",
];
/// The objects in which such lists are, besides the whole and the elements of another one: of Loki and Elasticsearch.
const AROUND: [&str; 2] = ["data", "hits"];

/// What an open object or list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A list whose elements are values of their own.
    List,
    /// An object in which such lists are.
    Around,
    /// Whatever else, and all that is in there: its lists are its own, as those in the body of a request.
    Inner,
}

/// Splits one value into the elements of its lists.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they change independently of each other"
)]
pub(super) struct Elements {
    /// The open objects and lists, with their first character.
    open: Vec<(u8, Kind)>,
    /// The bytes of the innermost element, or of the whole while there is no list.
    value: Vec<u8>,
    /// How many objects and lists were open where the element began.
    depth: usize,
    /// Whether an element is being read.
    within: bool,
    /// The last text, which may be the name of the next list.
    text: Vec<u8>,
    quotes: Quotes,
    /// The last character that is no space, outside of text.
    last: u8,
    /// What lies outside of all elements, and was not looked through yet.
    outside: Vec<u8>,
    has_list: bool,
    has_begun: bool,
    /// Whether what is being read is too large, and was reported: the rest of it is passed over.
    is_lost: bool,
    /// Whether a value without lists is none of ours.
    only_lists: bool,
}

/// Splits one value that has lists; `false` if it has none.
pub(super) fn elements(value: &[u8], found: &mut impl FnMut(Piece<'_>)) -> bool {
    let mut elements = Elements {
        only_lists: true,
        ..Elements::default()
    };
    if !elements.feed(value, found) || elements.is_open() {
        found(Piece::Broken);
        return true;
    }
    if elements.has_list {
        elements.end(found);
    }
    elements.has_list
}

impl Elements {
    /// Whether a value has begun and not ended.
    pub(super) const fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    pub(super) const fn ends_in_text(&self) -> bool {
        !matches!(self.quotes, Quotes::Outside)
    }

    fn is_in_list(&self) -> bool {
        matches!(self.open.last(), Some((_, Kind::List)))
    }

    /// Whether a line cannot belong to this value, or is an event by itself: then the end of this one is lost.
    pub(super) fn is_interrupted_by(&self, line: &[u8]) -> bool {
        if self.ends_in_text() {
            return false;
        }
        let Some(first @ (b'{' | b'[')) = line.first() else {
            return false;
        };
        let is_event = || {
            line.starts_with(OWN_KIND)
                || (line.ends_with(b"}")
                    && MARKS.iter().any(|mark| memmem::find(line, mark).is_some())
                    && whole::first(line) == Some(line.len()))
        };
        !self.may_begin(*first) || (!self.is_in_list() && is_event())
    }

    /// Whether a text, an object or a list may begin here.
    fn may_begin(&self, byte: u8) -> bool {
        match (self.open.last(), self.last) {
            (None, _) => byte != b'"',
            (Some((b'{', _)), b':') | (Some((b'[', _)), b'[' | b',') => true,
            (Some((b'{', _)), b'{' | b',') => byte == b'"',
            _ => false,
        }
    }

    /// Reads a part; `false` if it is no JSON.
    pub(super) fn feed(&mut self, mut bytes: &[u8], found: &mut impl FnMut(Piece<'_>)) -> bool {
        while !bytes.is_empty() {
            if self.ends_in_text() {
                let count = self.text_until_end(bytes);
                self.keep(&bytes[..count], found);
                if !self.ends_in_text() && self.within && self.open.len() == self.depth {
                    self.emit(found);
                }
                bytes = &bytes[count..];
                continue;
            }
            let next = bytes
                .iter()
                .position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'));
            let between = &bytes[..next.unwrap_or(bytes.len())];
            if let Some(last) = between.trim_ascii_end().last() {
                self.last = *last;
            }
            self.keep(between, found);
            let Some(next) = next else { return true };
            if !self.mark(bytes[next], found) {
                return false;
            }
            self.last = bytes[next];
            bytes = &bytes[next + 1..];
        }
        true
    }

    /// Reads text up to its end; returns how many bytes it has here.
    fn text_until_end(&mut self, bytes: &[u8]) -> usize {
        let count = self.quotes.read(bytes);
        // Only names of lists matter, which are short.
        let end = count - usize::from(!self.ends_in_text());
        if self.text.len() + end <= 16 {
            self.text.extend_from_slice(&bytes[..end]);
        } else {
            self.text = vec![b'?'; 17];
        }
        count
    }

    /// Reads a character that opens or closes something.
    fn mark(&mut self, byte: u8, found: &mut impl FnMut(Piece<'_>)) -> bool {
        if matches!(byte, b'}' | b']') {
            return self.close(byte, found);
        }
        if !self.may_begin(byte) || self.open.len() >= MAX_OPEN {
            return false;
        }
        if byte == b'"' {
            self.begin_in_list();
            self.quotes = Quotes::Within;
            self.text.clear();
            self.keep(b"\"", found);
            return true;
        }
        // Another value behind the first one.
        if self.open.is_empty() && self.has_begun {
            self.end(found);
        }
        let kind = self.kind(byte);
        if kind == Kind::List {
            self.has_list = true;
            self.within = false;
            let before = std::mem::take(&mut self.value);
            self.pass(&before, found);
        } else {
            self.begin_in_list();
        }
        self.open.push((byte, kind));
        self.has_begun = true;
        self.keep(&[byte], found);
        true
    }

    fn close(&mut self, byte: u8, found: &mut impl FnMut(Piece<'_>)) -> bool {
        let kind = match (self.open.last(), byte) {
            (Some((b'{', kind)), b'}') | (Some((b'[', kind)), b']') => *kind,
            _ => return false,
        };
        self.keep(&[byte], found);
        self.open.pop();
        let is_element = self.within && self.open.len() == self.depth;
        let is_whole = !self.has_list && self.open.is_empty() && !self.only_lists;
        if kind != Kind::List && (is_element || is_whole) {
            self.emit(found);
        }
        true
    }

    /// An element begins, if this is a list of values.
    fn begin_in_list(&mut self) {
        if !self.within && self.is_in_list() {
            self.within = true;
            self.depth = self.open.len();
            self.value.clear();
            self.is_lost = false;
        }
    }

    /// What begins here: by its name and what is around it.
    fn kind(&self, byte: u8) -> Kind {
        let is_named = |names: &[&str]| names.iter().any(|name| name.as_bytes() == self.text);
        match (self.open.last(), byte) {
            (None, b'[') => Kind::List,
            (None | Some((_, Kind::List)), b'{') => Kind::Around,
            // Lists within an event are its own, whether it stands alone or in a list; what is lost may be one.
            (Some((_, Kind::Around)), b'[')
                if is_named(&LISTS) && !self.is_lost && !is_event(&self.value) =>
            {
                Kind::List
            }
            (Some((_, Kind::Around)), b'{') if is_named(&AROUND) => Kind::Around,
            _ => Kind::Inner,
        }
    }

    fn keep(&mut self, bytes: &[u8], found: &mut impl FnMut(Piece<'_>)) {
        if (self.has_list && !self.within) || (self.has_begun && self.open.is_empty()) {
            return self.pass(bytes, found);
        }
        if self.is_lost {
            return;
        }
        self.value.extend_from_slice(bytes);
        if self.value.len() > MAX_VALUE {
            found(Piece::Broken);
            self.value.clear();
            self.is_lost = true;
        }
    }

    /// Passes over what lies outside of all elements.
    fn pass(&mut self, bytes: &[u8], found: &mut impl FnMut(Piece<'_>)) {
        self.outside.extend_from_slice(bytes);
        if self.outside.len() > MAX_OUTSIDE {
            self.look_through(found);
        }
    }

    /// What lies outside of all elements may be an event.
    fn look_through(&mut self, found: &mut impl FnMut(Piece<'_>)) {
        if may_have_event(&self.outside) {
            found(Piece::Broken);
            self.outside.clear();
        }
        let looked = self.outside.len().saturating_sub(ACCOUNT.len() - 1);
        self.outside.drain(..looked);
    }

    fn emit(&mut self, found: &mut impl FnMut(Piece<'_>)) {
        self.within = false;
        if !self.is_lost {
            found(Piece::Value(&self.value));
        }
        self.is_lost = false;
        self.value.clear();
    }

    /// The value has ended; another one may follow.
    pub(super) fn end(&mut self, found: &mut impl FnMut(Piece<'_>)) {
        self.look_through(found);
        *self = Self {
            only_lists: self.only_lists,
            has_list: self.has_list && self.only_lists,
            ..Self::default()
        };
    }
}

/// Whether the begin of a value is that of an event.
fn is_event(value: &[u8]) -> bool {
    memmem::find(value, b"\"auditID\"").is_some() || memmem::find(value, b"\"AuditId\"").is_some()
}
