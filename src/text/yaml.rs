//! YAML as kubectl reads it, and no more of it in memory at a time than one object needs.

use std::borrow::Cow;

use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

/// From how many bytes on a document is read item by item, if it is a list.
const LARGE: usize = 1 << 20;
/// How many nodes aliases may stand for in a document.
const MOST_REPLAYED: usize = 250_000;

/// The documents of a YAML text, with the number of lines before each. Whatever a document holds, a line
/// that begins with its marker begins another (`c-forbidden` of the specification); directives belong to
/// the one that they stand before.
pub(crate) fn documents(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let (mut rest, mut before) = (text, 0);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (mut end, mut lines, mut has_content) = (0, 0, false);
        for line in rest.split_inclusive('\n') {
            let is_start = is_marker(line, "---");
            if is_start && has_content {
                break;
            }
            let trimmed = line.trim_start();
            has_content |= is_start || !(trimmed.is_empty() || trimmed.starts_with(['#', '%']));
            end += line.len();
            lines += 1;
            if is_marker(line, "...") {
                break;
            }
        }
        let (document, after) = rest.split_at(end);
        let begin = before;
        (rest, before) = (after, before + lines);
        Some((begin, document))
    })
}

/// Whether a line begins with the marker of a document's start or end.
fn is_marker(line: &str, marker: &str) -> bool {
    let behind = line.trim_start_matches('\u{feff}').strip_prefix(marker);
    behind.is_some_and(|behind| behind.is_empty() || behind.starts_with([' ', '\t', '\r', '\n']))
}

/// What a document says, with its place.
pub(crate) type Parsed = Result<Spanned<Value>, serde_saphyr::Error>;

/// Parses a document; a text that holds several for some reason gives several.
pub(crate) fn parse(document: &str) -> Vec<Parsed> {
    // Real text has fewer of anything than bytes, and half as many nodes at most; what aliases multiply
    // has a limit of its own.
    let most = document.len() + 1024;
    let options = || {
        serde_saphyr::options! {
            duplicate_keys: DuplicateKeyPolicy::LastWins,
            legacy_octal_numbers: true,
            emit_comments: false,
            // JSON has no such numbers: where one is meant, this is an error, and where text is, it is text.
            non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::AsString,
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MOST_REPLAYED },
            with_snippet: false,
            budget: serde_saphyr::budget! {
                max_reader_input_bytes: None,
                max_documents: most,
                max_nodes: most / 2,
                enforce_alias_anchor_ratio: false,
                max_events: 4 * most,
                max_total_scalar_bytes: 4 * most,
                max_depth: 256,
            },
        }
    };
    // Files that were put behind one another may each have a byte-order mark.
    let document = document.trim_start_matches('\u{feff}');
    let document = if document.contains("\n\u{feff}") {
        Cow::Owned(document.replace("\n\u{feff}", "\n"))
    } else {
        Cow::Borrowed(document)
    };
    // A text is parsed in less time than a reader, which alone goes on behind an error.
    match serde_saphyr::from_multiple_with_options(&document, options()) {
        Ok(values) => values.into_iter().map(Ok).collect(),
        Err(_) => serde_saphyr::read_with_options(&mut document.as_bytes(), options()).collect(),
    }
}

/// A list of objects, taken apart before it is parsed.
#[derive(Debug)]
pub(crate) struct List<'a> {
    /// What it says besides its items.
    pub(crate) head: Value,
    /// Its items, each a list of one, with the number of lines of the document before it.
    pub(crate) items: Vec<(usize, &'a str)>,
}

/// Takes a large document apart that has its `items` on lines of their own, as `kubectl get -o yaml`
/// writes them: an item ends where another dash stands in the column of the first. `None` where it is
/// written otherwise, or where an item may refer to another by an alias.
pub(crate) fn list(document: &str) -> Option<List<'_>> {
    if document.len() < LARGE || may_have_alias(document) {
        return None;
    }
    let mut head = String::new();
    let mut items: Vec<(usize, usize, usize)> = Vec::new();
    // The column of the dashes, once the items have begun.
    let (mut column, mut within, mut offset) = (None, false, 0);
    for (number, line) in document.split_inclusive('\n').enumerate() {
        let (begin, end) = (offset, offset + line.len());
        offset = end;
        let content = line.trim();
        let indent = line.len() - line.trim_start_matches(' ').len();
        let is_item = content == "-" || content.starts_with("- ");
        if line.trim_end() == "items:" {
            if within || column.is_some() {
                return None;
            }
            within = true;
        } else if !within {
            head.push_str(line);
        } else if content.is_empty()
            || content.starts_with('#')
            || column.is_some_and(|column| indent > column)
        {
            if let Some((.., last)) = items.last_mut() {
                *last = end;
            }
        } else if is_item && column.is_none_or(|column| indent == column) {
            column = Some(indent);
            items.push((number, begin, end));
        } else if indent == 0 && column.is_some() {
            within = false;
            head.push_str(line);
        } else {
            return None;
        }
    }
    let head = match &mut parse(&head)[..] {
        [Ok(head)] if head.value.is_object() => head.value.take(),
        _ => return None,
    };
    let items: Vec<_> = items
        .into_iter()
        .map(|(number, begin, end)| (number, &document[begin..end]))
        .collect();
    (items.len() > 1).then_some(List { head, items })
}

/// Whether something looks like an alias: an asterisk with a name behind it.
fn may_have_alias(document: &str) -> bool {
    document.match_indices(" *").any(|(place, _)| {
        let behind = document.as_bytes().get(place + 2);
        behind.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    })
}
