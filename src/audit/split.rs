//! Splits a stream into JSON values without reading it whole: lines, values over several lines, and the elements of
//! lists such as `items` of an EventList, whatever their size.

use memchr::memchr;

use super::elements::{Elements, MAX_VALUE};

/// What was found in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A line that looks like one value.
    Line(&'a [u8]),
    /// The last line, without an end: it may be cut.
    LastLine(&'a [u8]),
    /// An element of a list, or a value over several lines.
    Value(&'a [u8]),
    /// Something that is no JSON, or larger than any event, or that names an account where no event is looked for.
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
        match self.elements.take() {
            Some(elements) if elements.is_open() => found(Piece::Broken, self.line),
            Some(mut elements) => elements.end(&mut |piece| found(piece, self.line)),
            None => {}
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
        let line = line.trim_ascii();
        if let Some(elements) = self.elements.take() {
            if !elements.is_interrupted_by(line) {
                return self.go_on(elements, line, found);
            }
            found(Piece::Broken, number);
        }
        match (line.first(), line.last()) {
            (None, _) => {}
            // The first line of a value over several lines.
            (Some(b'{' | b'['), Some(b'{' | b'[' | b',')) => {
                self.go_on(Elements::default(), line, found);
            }
            // A list with commas before its elements.
            (_, Some(last)) if *last != b']' && line.starts_with(b"[{") => {
                self.go_on(Elements::default(), line, found);
            }
            _ => found(Piece::Line(line), number),
        }
    }

    /// Reads one more line of a value.
    fn go_on(
        &mut self,
        mut elements: Elements,
        line: &[u8],
        found: &mut impl FnMut(Piece<'_>, usize),
    ) {
        let number = self.line;
        let mut found = |piece: Piece<'_>| found(piece, number);
        // Text cannot go on in the next line.
        if !elements.feed(line, &mut found) || elements.ends_in_text() {
            found(Piece::Broken);
        } else if elements.is_open() {
            self.elements = Some(elements);
        } else {
            elements.end(&mut found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::elements::elements, *};

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
    fn a_cut_line_swallows_no_other_line() {
        let next = r#"{"log":"{\"auditID\":\"1\"}","a":[{"b":1}]}"#;
        for cut in [
            r#"{"log":"{\"kind\":\"Event\","#,
            r#"{"log":{"kind":"Event","#,
            r#"{"log":{"auditID":"1","user":{"groups":["a","#,
            r#"{"log":{"auditID":"1","objects":[{"a":1},"#,
            r#"{"a":[1,"#,
            r#"{"a":{"#,
        ] {
            let found = pieces(&format!("{cut}\n{next}\n{next}\n"));
            let has = |what: &str| found.iter().filter(|piece| piece.contains(what)).count();
            let last = format!("3 line {next}");
            assert_eq!((has("broken"), has(&last)), (1, 1), "{cut}: {found:?}");
            assert_eq!(has("2 line"), 1, "{cut}: {found:?}");
        }
        // A list goes on, also with the comma before its elements.
        let elements = ["2 value {\"a\":1}", "3 value {\"b\":[{}]}"];
        assert_eq!(pieces("[\n{\"a\":1},\n{\"b\":[{}]}\n]\n"), elements);
        assert_eq!(
            pieces("[{\"a\":1}\n,{\"b\":[{}]}\n]\n"),
            ["1 value {\"a\":1}", "2 value {\"b\":[{}]}"]
        );
    }

    #[test]
    fn values_behind_each_other_are_split() {
        assert_eq!(
            pieces("{\n\"a\":1\n}{\n\"b\":2\n}{\n\"items\":[{},{}]\n}"),
            [
                "3 value {\"a\":1}",
                "5 value {\"b\":2}",
                "6 value {}",
                "6 value {}"
            ]
        );
    }

    #[test]
    fn only_known_lists_are_opened_and_texts_in_them_are_elements() {
        for whole in [
            r#"{"protoPayload":{"response":{"items":[{}]}}}"#,
            r#"{"log":{"responseObject":{"items":[{}]},"auditID":"1"}}"#,
            r#"{"attributes":[{"value":{"arrayValue":{"values":[{}]}}}]}"#,
        ] {
            let pretty = whole.replacen('{', "{\n", 1);
            assert_eq!(pieces(&pretty), [format!("2 value {whole}")]);
            let in_list = format!("[\n{whole}]");
            assert_eq!(pieces(&in_list), [format!("2 value {whole}")]);
        }
        assert_eq!(
            pieces("{\n\"events\":[\"{a}\",1,\n\"b\"]}"),
            ["2 value \"{a}\"", "3 value \"b\""]
        );
    }

    #[test]
    fn an_account_that_is_named_outside_of_elements_is_broken() {
        let account = "\"system:serviceaccount:a:b\"";
        for (text, expected) in [
            (format!("{{\n\"message\":{account},\"events\":[]}}"), 1),
            (format!("{{\n\"events\":[],\"message\":{account}}}"), 1),
            (format!("{{\n\"events\":[[{account}]]}}"), 0),
            (format!("{{\n\"events\":[]}}{account}"), 1),
            (format!("{{\n\"a\":1}} {}", account.replace('"', "")), 1),
            (
                format!(
                    "{{\n\"events\":[],\"a\":[{}],\"message\":{account}}}",
                    "1,".repeat(100_000)
                ),
                1,
            ),
        ] {
            let mut broken = 0;
            let mut splitter = Splitter::default();
            let mut found = |piece: Piece<'_>, _| broken += u32::from(piece == Piece::Broken);
            splitter.feed(text.as_bytes(), &mut found);
            splitter.end(&mut found);
            let begin = &text[..text.len().min(60)];
            assert_eq!(broken, expected, "{begin}");
        }
    }

    #[test]
    fn brackets_take_no_room_without_bound() {
        let mut elements = Elements::default();
        assert!(!elements.feed(&[b'['; 1000], &mut |_| {}));
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
        let mut broken = Vec::new();
        elements(br#"{"items":[{"a":1}"#, &mut |piece| {
            broken.push(piece == Piece::Broken);
        });
        assert_eq!(broken, [false, true]);
    }
}
