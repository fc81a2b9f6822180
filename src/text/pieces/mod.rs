//! Reads a large text piece by piece: its documents, and the items of lists. One piece is in memory at a time, so that
//! a dump of a cluster may have any size.

mod json;
mod yaml;

use std::io::{self, BufRead, Read};

use super::Malformed;

/// How large one piece may be, in bytes. An API server has no object of more than some MiB.
pub(crate) const MAX_PIECE: usize = 64 << 20;

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A document, after this many lines.
    Document { before: usize, text: &'a str },
    /// A list begins: its fields before `items`, as a document.
    List { text: &'a str },
    /// An item of the last list, after this many lines, and its API version and kind where they were seen. In YAML it
    /// is a list with one item.
    Item {
        before: usize,
        format: Format,
        text: &'a str,
        head: Option<(&'a str, &'a str)>,
    },
    /// Something that cannot be read.
    Malformed(Malformed),
}

/// The language of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
}

/// Hands over the pieces of a text, in order.
///
/// # Errors
/// When it cannot be read to its end.
pub(crate) fn pieces(
    mut reader: impl BufRead,
    found: &mut impl FnMut(Piece<'_>),
) -> io::Result<()> {
    if reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    let begin = reader.fill_buf()?.trim_ascii_start();
    if matches!(begin.first(), Some(b'{' | b'[')) {
        json::pieces(reader, found)
    } else {
        yaml::pieces(reader, found)
    }
}

/// Reads a line with its end into an empty buffer: at most so much of it that it is too large for a piece.
fn line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<()> {
    line.clear();
    let limit = u64::try_from(MAX_PIECE).unwrap_or(u64::MAX);
    reader.by_ref().take(limit + 1).read_until(b'\n', line)?;
    Ok(())
}

fn too_large(before: usize) -> Malformed {
    let message = format!(
        "is larger than {} MiB, and no list of objects: it is not read",
        MAX_PIECE >> 20
    );
    Malformed::at(before + 1, 0, message)
}

fn not_utf8(before: usize) -> Malformed {
    Malformed::at(before + 1, 0, super::NOT_UTF8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of a text, however it arrives.
    fn of(text: &str) -> Vec<String> {
        let read = |size: usize| {
            let mut all = Vec::new();
            let reader = io::BufReader::with_capacity(size, text.as_bytes());
            let result = pieces(reader, &mut |piece| {
                all.push(match piece {
                    Piece::Document { before, text } => format!("{before} {text}"),
                    Piece::List { text } => format!("list {text}"),
                    Piece::Item {
                        before, text, head, ..
                    } => {
                        let head = head.map(|(version, kind)| format!("{version}/{kind} "));
                        format!("{before} item {}{text}", head.unwrap_or_default())
                    }
                    Piece::Malformed(malformed) => malformed.place(&malformed.message),
                });
            });
            assert!(result.is_ok());
            all
        };
        let whole = read(1 << 20);
        for size in [16, 17, 31, 64] {
            assert_eq!(read(size), whole, "in parts of {size}: {text}");
        }
        whole
    }

    #[test]
    fn documents_and_items_of_json_are_pieces() {
        assert_eq!(
            of("{\"a\": [1, \"}\\\"\"]}\n{\"b\":\n 2}\n"),
            ["0 {\"a\": [1, \"}\\\"\"]}", "1 {\"b\":\n 2}"]
        );
        assert_eq!(
            of(
                "{\"kind\":\"PodList\",\n \"items\" : [\n {\"items\": [1, 2]},\n\n {}, 3\n ],\n \"metadata\": {}}"
            ),
            [
                "list {\"kind\":\"PodList\",\n \"items\" : null}",
                "2 item {\"items\": [1, 2]}",
                "4 item {}",
                "4 item 3"
            ]
        );
        assert_eq!(
            of("[]\n---\n[{}, []]"),
            ["list null", "list null", "2 item {}", "2 item []"]
        );
        assert_eq!(
            of(
                r#"[{"apiVersion": "v1", "x": {"kind": "X"}, "kind" : "A"}, {"apiVersion": "v1", "kind": "B", "items": []}]"#
            )[1..],
            [
                r#"0 item v1/A {"apiVersion": "v1", "x": {"kind": "X"}, "kind" : "A"}"#,
                r#"0 item {"apiVersion": "v1", "kind": "B", "items": []}"#
            ]
        );
        assert_eq!(of("{\"items\": \"[\", \"text\": \"items\"}").len(), 1);
    }

    #[test]
    fn json_that_is_cut_or_wrong_is_malformed_and_items_before_it_are_read() {
        for (text, error) in [
            ("{\"items\": [{\"a\":\n1}, {\"b\"", ":2"),
            ("{\"items\": [{}], \"a\" 1}", ":1"),
            ("{\"items\": [{}}", ":1"),
            ("{\"items\": [{}]\n} x", ":2"),
        ] {
            let all = of(text);
            assert!(all[1].contains("item {"), "{all:?}");
            let last = all.last().map(String::as_str).unwrap_or_default();
            assert!(last.contains(&format!("read{error}")), "{all:?}");
        }
        let all = of("{\"items\": [{\"a\": 1},, {}]}");
        assert_eq!(
            all,
            [
                "list {\"items\": null}",
                "0 item {\"a\": 1}",
                "0 item ",
                "0 item {}"
            ]
        );
    }

    #[test]
    fn documents_of_yaml_are_pieces() {
        assert_eq!(
            of("# a\nkind: A\n---\nkind: B\n...\n---\n# end\n"),
            [
                "0 # a\nkind: A\n",
                "2 ---\nkind: B\n...\n",
                "5 ---\n# end\n"
            ]
        );
    }

    #[test]
    fn items_of_a_large_list_of_yaml_are_pieces() {
        let item = |name: &str| {
            format!(
                "- kind: Pod\n  name: {name}\n  text: {}\n",
                "x".repeat(1 << 19)
            )
        };
        let items = ["a", "b", "c", "d"].map(item);
        let all = of(&format!(
            "kind: A\n---\napiVersion: v1\nitems:\n{}kind: List\n---\nkind: B\n",
            items.concat()
        ));
        let expected = [
            "0 kind: A\n".to_owned(),
            "list ---\napiVersion: v1\n".to_owned(),
            format!("4 item {}", items[0]),
            format!("7 item {}", items[1]),
            format!("10 item {}", items[2]),
            format!("13 item {}", items[3]),
            "17 ---\nkind: B\n".to_owned(),
        ];
        assert!(
            all == expected,
            "{:?}",
            all.iter()
                .map(|piece| &piece[..piece.len().min(40)])
                .collect::<Vec<_>>()
        );
        let broken = of(&format!(
            "items:\n{}items:\n{}---\nkind: B\n",
            items.concat(),
            items[0]
        ));
        assert!(
            broken.iter().any(|piece| piece.contains("another form")),
            "a form that is not kubectl's"
        );
        assert_eq!(broken.last().map(String::as_str), Some("17 ---\nkind: B\n"));
    }

    #[test]
    fn a_piece_that_is_too_large_is_named_and_the_next_is_read() {
        let long = "x".repeat(MAX_PIECE + 1);
        let all = of_large(&format!(
            "{{\"items\": [{{\"a\": \"{long}\"}},\n{{\"b\": 1}}]}}"
        ));
        assert!(all[1].contains("larger than 64 MiB"), "{:?}", &all[1][..40]);
        assert_eq!(all[2], "1 item {\"b\": 1}");
        let all = of_large(&format!("a: {long}\n---\nb: 1\n"));
        assert!(all[0].contains("larger than 64 MiB"), "{:?}", &all[0][..40]);
        assert_eq!(all[1], "1 ---\nb: 1\n");
    }

    fn of_large(text: &str) -> Vec<String> {
        let mut all = Vec::new();
        let result = pieces(text.as_bytes(), &mut |piece| {
            all.push(match piece {
                Piece::Item { before, text, .. } => format!("{before} item {text}"),
                Piece::Document { before, text } => format!("{before} {text}"),
                Piece::List { text } => text.to_owned(),
                Piece::Malformed(malformed) => malformed.message,
            });
        });
        assert!(result.is_ok());
        all
    }
}
