//! Splits a stream into JSON values without reading it whole: lines, values over several lines, and the elements of
//! lists such as `items` of an EventList, whatever their size.

use memchr::memchr;

use crate::text::quotes::Quotes;

/// How large one value may be, in bytes. An event at level RequestResponse has an object of at most 3 MiB twice.
const MAX_VALUE: usize = 16 << 20;

/// The lists whose elements are values of their own: of an EventList, of CloudWatch, Azure, Loki and Elasticsearch.
const LISTS: [&[u8]; 10] = [
    b"items",
    b"logEvents",
    b"events",
    b"records",
    b"hits",
    b"result",
    b"values",
    b"results",
    b"entries",
    b"rows",
];

/// What was found in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A line that looks like one value.
    Line(&'a [u8]),
    /// The last line, without an end: it may be cut.
    LastLine(&'a [u8]),
    /// An element of a list, or a value over several lines.
    Value(&'a [u8]),
    /// Something that is no JSON, or larger than any event.
    Broken,
}

/// Splits lines; hands values over several lines to [`Elements`].
#[derive(Default)]
pub(super) struct Splitter {
    /// The begin of a line whose end has not arrived.
    rest: Vec<u8>,
    /// A value over several lines.
    elements: Option<Elements>,
    /// How many lines have begun.
    line: usize,
}

impl Splitter {
    /// Reads a part of a stream.
    pub(super) fn feed(&mut self, mut bytes: &[u8], found: &mut impl FnMut(Piece<'_>, usize)) {
        if !self.rest.is_empty() {
            let Some(end) = memchr(b'\n', bytes) else {
                return self.keep(bytes, found);
            };
            let mut line = std::mem::take(&mut self.rest);
            line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.one_line(&line, found);
            line.clear();
            self.rest = line;
        }
        while let Some(end) = memchr(b'\n', bytes) {
            self.one_line(&bytes[..end], found);
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes, found);
    }

    /// The stream has ended.
    pub(super) fn end(&mut self, found: &mut impl FnMut(Piece<'_>, usize)) {
        let line = std::mem::take(&mut self.rest);
        if !line.is_empty() {
            self.one_line(&line, &mut |piece, number| match piece {
                Piece::Line(line) => found(Piece::LastLine(line), number),
                piece => found(piece, number),
            });
        }
        if self
            .elements
            .take()
            .is_some_and(|elements| !elements.is_done())
        {
            found(Piece::Broken, self.line);
        }
    }

    /// Keeps the begin of a line; one that is too long for a single value is split at once.
    fn keep(&mut self, bytes: &[u8], found: &mut impl FnMut(Piece<'_>, usize)) {
        self.rest.extend_from_slice(bytes);
        if self.rest.len() > MAX_VALUE {
            let begin = std::mem::take(&mut self.rest);
            let number = self.line + 1;
            let elements = self.elements.get_or_insert_default();
            if !elements.feed(&begin, &mut |piece| found(piece, number)) {
                found(Piece::Broken, number);
                self.elements = None;
            }
        }
    }

    fn one_line(&mut self, line: &[u8], found: &mut impl FnMut(Piece<'_>, usize)) {
        self.line += 1;
        let number = self.line;
        let line = line.trim_ascii_start();
        if let Some(elements) = &mut self.elements {
            let is_new = line.starts_with(br#"{"kind":"Event""#) && !elements.is_in_list();
            if !is_new {
                let goes_on = elements.feed(line, &mut |piece| found(piece, number));
                // Text cannot go on in the next line.
                let goes_on = goes_on && !elements.ends_in_text();
                if !goes_on {
                    found(Piece::Broken, number);
                }
                if !goes_on || elements.is_done() {
                    self.elements = None;
                }
                return;
            }
            found(Piece::Broken, number);
            self.elements = None;
        }
        let line = line.trim_ascii_end();
        match (line.first(), line.last()) {
            (None, _) => {}
            // The first line of a value over several lines.
            (Some(b'{' | b'['), Some(b'{' | b'[' | b',')) => {
                let mut elements = Elements::default();
                if elements.feed(line, &mut |piece| found(piece, number)) {
                    self.elements = Some(elements);
                } else {
                    found(Piece::Broken, number);
                }
            }
            _ => found(Piece::Line(line), number),
        }
    }
}

/// Splits one line that is a list of events.
pub(super) fn elements(line: &[u8], found: &mut impl FnMut(Piece<'_>)) -> bool {
    let mut elements = Elements::default();
    elements.feed(line, found) && elements.is_done() && elements.has_list
}

/// Splits one value into the elements of its lists.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they change independently of each other"
)]
struct Elements {
    /// The open objects and lists: their first character, and whether their elements are values of their own.
    open: Vec<(u8, bool)>,
    /// The bytes of the innermost element, or of the whole while there is no list.
    value: Vec<u8>,
    /// How many objects and lists were open where the element began.
    depth: usize,
    /// Whether an element is being read.
    within: bool,
    /// The last text, which may be the name of the next list.
    text: Vec<u8>,
    quotes: Quotes,
    has_list: bool,
    has_begun: bool,
    /// Whether what is being read is too large, and was reported: the rest of it is passed over.
    is_lost: bool,
}

impl Elements {
    fn is_done(&self) -> bool {
        self.has_begun && self.open.is_empty()
    }

    fn is_in_list(&self) -> bool {
        self.open.last().is_some_and(|(_, is_list)| *is_list)
    }

    const fn ends_in_text(&self) -> bool {
        !matches!(self.quotes, Quotes::Outside)
    }

    /// Reads a part; `false` if it is no JSON.
    fn feed(&mut self, mut bytes: &[u8], found: &mut impl FnMut(Piece<'_>)) -> bool {
        while !bytes.is_empty() {
            if self.ends_in_text() {
                let count = self.text_until_end(bytes);
                self.keep(&bytes[..count], found);
                bytes = &bytes[count..];
                continue;
            }
            let next = bytes
                .iter()
                .position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'));
            let Some(next) = next else {
                self.keep(bytes, found);
                return true;
            };
            self.keep(&bytes[..next], found);
            if !self.mark(bytes[next], found) {
                return false;
            }
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
        match byte {
            b'"' => {
                if self.open.is_empty() {
                    return false;
                }
                self.quotes = Quotes::Within;
                self.text.clear();
                self.keep(b"\"", found);
            }
            b'{' | b'[' => {
                if self.is_done() {
                    return false;
                }
                let is_list = byte == b'[' && self.is_list();
                if is_list {
                    self.has_list = true;
                    self.within = false;
                    self.value.clear();
                }
                if !is_list {
                    self.begin_in_list();
                }
                self.open.push((byte, is_list));
                self.has_begun = true;
                if !is_list {
                    self.keep(&[byte], found);
                }
            }
            _ => {
                let Some((begin, is_list)) = self.open.pop() else {
                    return false;
                };
                if (begin, byte) != (b'{', b'}') && (begin, byte) != (b'[', b']') {
                    return false;
                }
                self.keep(&[byte], found);
                let is_element = self.within && self.open.len() == self.depth;
                let is_whole = !self.has_list && self.open.is_empty();
                if !is_list && (is_element || is_whole) {
                    self.emit(found);
                }
            }
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

    /// Whether a list that begins here has elements of its own: by its name, or as the whole value.
    fn is_list(&self) -> bool {
        match self.open.last() {
            None => true,
            // Lists within an event are its own, whether it stands alone or in a list; what is lost may be one.
            Some((b'{', _)) => {
                LISTS.contains(&&*self.text) && !self.is_lost && !is_event(&self.value)
            }
            Some(_) => false,
        }
    }

    fn keep(&mut self, bytes: &[u8], found: &mut impl FnMut(Piece<'_>)) {
        if self.is_lost || (self.has_list && !self.within) {
            return;
        }
        self.value.extend_from_slice(bytes);
        if self.value.len() > MAX_VALUE {
            found(Piece::Broken);
            self.value.clear();
            self.is_lost = true;
        }
    }

    fn emit(&mut self, found: &mut impl FnMut(Piece<'_>)) {
        self.within = false;
        if !self.is_lost {
            found(Piece::Value(&self.value));
        }
        self.is_lost = false;
        self.value.clear();
    }
}

/// Whether the begin of a value is that of an event.
fn is_event(value: &[u8]) -> bool {
    memchr::memmem::find(value, b"\"auditID\"").is_some()
        || memchr::memmem::find(value, b"\"AuditId\"").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of a stream, however it is cut.
    fn pieces(text: &str) -> Vec<String> {
        let of = |size: usize| {
            let mut splitter = Splitter::default();
            let mut all = Vec::new();
            let mut found = |piece: Piece<'_>, line: usize| {
                all.push(match piece {
                    Piece::Line(text) | Piece::LastLine(text) => {
                        format!("{line} line {}", String::from_utf8_lossy(text))
                    }
                    Piece::Value(text) => {
                        format!(
                            "{line} value {}",
                            String::from_utf8_lossy(text)
                                .split_whitespace()
                                .collect::<String>()
                        )
                    }
                    Piece::Broken => format!("{line} broken"),
                });
            };
            text.as_bytes()
                .chunks(size)
                .for_each(|part| splitter.feed(part, &mut found));
            splitter.end(&mut found);
            all
        };
        let whole = of(text.len().max(1));
        for size in 1..20 {
            assert_eq!(of(size), whole, "in parts of {size}: {text}");
        }
        whole
    }

    #[test]
    fn lines_and_values_over_several_lines_are_split() {
        assert_eq!(
            pieces("{\"a\":1}\n\n{\"b\":2}\r\nx"),
            ["1 line {\"a\":1}", "3 line {\"b\":2}", "4 line x"]
        );
        assert_eq!(
            pieces("{\n  \"a\": \"}\\\"{\"\n}\n{\"b\":2}\n"),
            ["3 value {\"a\":\"}\\\"{\"}", "4 line {\"b\":2}"]
        );
        assert_eq!(
            pieces("[\n {\"a\":[1]},\n {\"b\":2}\n]\n"),
            ["2 value {\"a\":[1]}", "3 value {\"b\":2}"]
        );
        let list =
            "{\"kind\":\n\"EventList\",\"items\":[\n{\"auditID\":\"1\",\"items\":[1]},{\"b\":{}}]}";
        assert_eq!(
            pieces(&list.replacen('\n', "", 1)),
            [
                "2 value {\"auditID\":\"1\",\"items\":[1]}",
                "2 value {\"b\":{}}"
            ]
        );
    }

    #[test]
    fn lists_in_lists_are_split_to_their_elements() {
        let loki = "{\"data\":{\n\"result\":[{\"stream\":{},\"values\":[[\"1\",\"{x}\"],[\"2\",\"y\"]]}]}}";
        assert_eq!(
            pieces(loki),
            ["2 value [\"1\",\"{x}\"]", "2 value [\"2\",\"y\"]"]
        );
    }

    #[test]
    fn what_is_no_json_is_broken_and_what_follows_is_read() {
        let event = "{\"kind\":\"Event\",\"a\":1}";
        assert_eq!(
            pieces(&format!("{{\"a\":{{\n{event}\n")),
            ["2 broken".to_owned(), format!("2 line {event}")]
        );
        assert_eq!(
            pieces(&format!("{{\"a\",\n]\n{event}")),
            ["2 broken".to_owned(), format!("3 line {event}")]
        );
        assert_eq!(pieces("{\n\"a\": 1,\n"), ["2 broken"]);
    }

    #[test]
    fn an_event_that_is_too_large_is_broken_and_its_lists_are_its_own() {
        let head =
            r#"{"kind":"Event","auditID":"1","user":{"username":"u"},"responseObject":{"items":["#;
        let item = format!(r#"{{"data":"{}"}},"#, "y".repeat(1 << 20));
        let large = format!("{head}{}{{}}]}},\"z\":1}}\n", item.repeat(17));
        let mut splitter = Splitter::default();
        let mut all = Vec::new();
        let mut found = |piece: Piece<'_>, line: usize| {
            let text = match piece {
                Piece::Broken => "broken".to_owned(),
                Piece::Line(text) => String::from_utf8_lossy(text).into_owned(),
                Piece::Value(_) | Piece::LastLine(_) => "another piece".to_owned(),
            };
            all.push((line, text));
        };
        let text = format!("{large}{{\"a\":1}}\n");
        for part in text.as_bytes().chunks(256 << 10) {
            splitter.feed(part, &mut found);
        }
        splitter.end(&mut found);
        let expected = [(1, "broken".to_owned()), (2, "{\"a\":1}".to_owned())];
        assert!(all == expected, "{} pieces", all.len());
    }

    #[test]
    fn a_line_of_a_list_is_split_too() {
        let mut all = Vec::new();
        let line = br#"{"kind":"EventList","metadata":{},"items":[{"a":1},{"b":"\\"}]}"#;
        let is_list = elements(line, &mut |piece| all.push(format!("{piece:?}")));
        assert!(is_list);
        assert_eq!(all.len(), 2);
        assert!(!elements(br#"{"a":[1,2]}"#, &mut |_| {}));
        assert!(!elements(br#"{"items":[{"a":1}"#, &mut |_| {}));
    }
}
