//! YAML as kubectl reads it, with only one object in memory at a time.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Options, Spanned, options::MergeKeyPolicy};

use super::merges::{MERGE, Ordered};

/// The size in bytes from which a list is parsed item by item.
pub(crate) const LARGE_LIST: usize = 1 << 20;
/// How many nodes the aliases of a document may expand to.
const MAX_ALIAS_NODES: usize = 250_000;

/// The documents of a YAML text, with the number of lines before each. A line that begins with a marker
/// always begins another document (`c-forbidden` of the specification); directives belong to the document
/// after them.
pub(crate) fn documents(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let (mut rest, mut before) = (text, 0);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (mut end, mut lines, mut bounds) = (0, 0, Bounds::default());
        for line in rest.split_inclusive('\n') {
            if bounds.end_before(line) {
                break;
            }
            end += line.len();
            lines += 1;
            if Bounds::end_with(line) {
                break;
            }
        }
        let (document, after) = rest.split_at(end);
        let begin = before;
        (rest, before) = (after, before + lines);
        Some((begin, document))
    })
}

/// Where a document ends, found line by line.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    has_content: bool,
}

impl Bounds {
    /// Whether the document ends before a line.
    pub(crate) fn end_before(&mut self, line: &str) -> bool {
        let is_start = is_marker(line, "---");
        if is_start && self.has_content {
            return true;
        }
        let trimmed = line.trim_start();
        self.has_content |= is_start || !(trimmed.is_empty() || trimmed.starts_with(['#', '%']));
        false
    }

    /// Whether it ends with a line.
    pub(crate) fn end_with(line: &str) -> bool {
        is_marker(line, "...")
    }
}

/// Whether a line begins with the marker of a document's start or end.
fn is_marker(line: &str, marker: &str) -> bool {
    let rest = line.trim_start_matches('\u{feff}').strip_prefix(marker);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// The value of a document, with its position.
pub(crate) type Parsed = Result<Spanned<Value>, serde_saphyr::Error>;

/// The value of the first document; `None` where there is none, or it is no YAML.
pub(crate) fn first(text: &str) -> Option<Value> {
    let parsed = parse(text).into_iter().next()?;
    Some(parsed.ok()?.value)
}

/// Parses a document; text that the parser splits further returns several values.
pub(crate) fn parse(document: &str) -> Vec<Parsed> {
    // A text has fewer events and scalars than bytes, and at most half as many nodes; aliases have their own
    // limit.
    let most = document.len() + 1024;
    // kubectl replaces the bytes of binary values that are no text.
    let options = |keeps_binary: bool| {
        serde_saphyr::options! {
            merge_keys: MergeKeyPolicy::AsOrdinary,
            ignore_binary_tag_for_string: keeps_binary,
            duplicate_keys: DuplicateKeyPolicy::LastWins,
            legacy_octal_numbers: true,
            emit_comments: false,
            // JSON has no such numbers: `.inf` is an error in a number field, and text in a text field.
            non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::AsString,
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_ALIAS_NODES },
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
    // Each of several concatenated files may have a byte-order mark.
    let document = document.trim_start_matches('\u{feff}');
    let document = if document.contains("\n\u{feff}") {
        Cow::Owned(document.replace("\n\u{feff}", "\n"))
    } else {
        Cow::Borrowed(document)
    };
    if document.contains(MERGE) {
        let expanded = |parsed: Spanned<Ordered>| {
            Spanned::new(parsed.value.expanded(), parsed.referenced, parsed.defined)
        };
        let values = values::<Spanned<Ordered>>(&document, options).into_iter();
        return values.map(|parsed| parsed.map(expanded)).collect();
    }
    values(&document, options)
}

/// The values in a text, given the options with and without binary values.
fn values<T: DeserializeOwned>(
    text: &str,
    options: impl Fn(bool) -> Options,
) -> Vec<Result<T, serde_saphyr::Error>> {
    // Parsing a string is faster, but only the reader continues after an error.
    if let Ok(values) = serde_saphyr::from_multiple_with_options(text, options(false)) {
        return values.into_iter().map(Ok).collect();
    }
    let options = options(text.contains("!!binary"));
    serde_saphyr::read_with_options(&mut text.as_bytes(), options).collect()
}

/// A list of objects, split into items before it is parsed.
#[derive(Debug)]
pub(crate) struct List<'a> {
    /// Its fields other than `items`.
    pub(crate) head: Value,
    /// Its items, each a list with one item, with the number of lines before it in the document.
    pub(crate) items: Vec<(usize, &'a str)>,
}

/// Splits a large document with `items` in block style, as `kubectl get -o yaml` writes them. `None` if the document
/// has another form, or if an item may refer to another by an alias.
pub(crate) fn list(document: &str) -> Option<List<'_>> {
    if document.len() < LARGE_LIST || may_have_alias(document) {
        return None;
    }
    let mut head = String::new();
    let mut items: Vec<(usize, usize, usize)> = Vec::new();
    let (mut lines, mut offset) = (ListLines::default(), 0);
    for (number, line) in document.split_inclusive('\n').enumerate() {
        let (begin, end) = (offset, offset + line.len());
        offset = end;
        match lines.next(line)? {
            ListLine::Head => head.push_str(line),
            ListLine::Items => {}
            ListLine::Item => items.push((number, begin, end)),
            ListLine::InItem => {
                if let Some((.., last)) = items.last_mut() {
                    *last = end;
                }
            }
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

/// What a line of a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListLine {
    /// A field of the list other than `items`.
    Head,
    /// The key `items`.
    Items,
    /// The first line of an item.
    Item,
    /// Another line of the last item, or a line between items.
    InItem,
}

/// Finds the items of a list line by line: an item ends before the next dash in the column of the first.
#[derive(Debug, Default)]
pub(crate) struct ListLines {
    /// The column of the dashes, once the items have begun.
    column: Option<usize>,
    within: bool,
}

impl ListLines {
    /// What the next line is; `None` if the document has another form.
    pub(crate) fn next(&mut self, line: &str) -> Option<ListLine> {
        let content = line.trim();
        let indent = line.len() - line.trim_start_matches(' ').len();
        let is_item = content == "-" || content.starts_with("- ");
        let is_deeper = self.column.is_some_and(|column| indent > column);
        if line.trim_end() == "items:" {
            if self.within || self.column.is_some() {
                return None;
            }
            self.within = true;
            Some(ListLine::Items)
        } else if !self.within {
            Some(ListLine::Head)
        } else if content.is_empty() || content.starts_with('#') || is_deeper {
            Some(ListLine::InItem)
        } else if is_item && self.column.is_none_or(|column| indent == column) {
            self.column = Some(indent);
            Some(ListLine::Item)
        } else if indent == 0 && self.column.is_some() {
            self.within = false;
            Some(ListLine::Head)
        } else {
            None
        }
    }
}

/// Whether the text may contain an alias: an asterisk followed by a name.
pub(crate) fn may_have_alias(document: &str) -> bool {
    document.match_indices(" *").any(|(offset, _)| {
        let next = document.as_bytes().get(offset + 2);
        next.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    })
}
