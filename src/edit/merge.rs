//! Applies patches to the text of manifests and changes nothing else: comments, order and style stay.

use std::ops::Range;

use serde_json::{Map, Value, json};

use crate::files::{
    outline::{Content, Key, Node, Style},
    places,
};

/// A range of a text, and its replacement.
pub(super) type Edit = (Range<usize>, String);

/// The edits that apply a patch to an object of `text`: a JSON merge patch, or a strategic merge patch whose
/// lists are merged by name. The offsets of the outline count from `base`; lines end with `newline`.
///
/// # Errors
/// When the object does not have the field to change, or the change would affect other objects too.
pub(super) fn edits(
    text: &str,
    base: usize,
    newline: &str,
    object: &Node,
    patch: &Value,
) -> Result<Vec<Edit>, String> {
    let mut editor = Editor {
        text: &text[base..],
        newline,
        edits: Vec::new(),
    };
    match operations(patch) {
        None => editor.change(None, object, patch)?,
        Some(operations) => {
            for (place, change) in operations {
                let part = places::part(object, &place);
                let part = part.ok_or_else(|| format!("the object has no `{place}`"))?;
                editor.change(None, part, &change)?;
            }
        }
    }
    let moved = |(range, new): Edit| (range.start + base..range.end + base, new);
    Ok(editor.edits.into_iter().map(moved).collect())
}

/// The text after all edits.
pub(super) fn apply(text: &str, mut edits: Vec<Edit>) -> String {
    // The sort is stable: edits at the same offset keep their order.
    edits.sort_by_key(|(range, _)| range.start);
    let (mut changed, mut copied) = (String::with_capacity(text.len()), 0);
    for (range, new) in edits {
        changed.push_str(text.get(copied..range.start).unwrap_or_default());
        changed.push_str(&new);
        copied = range.end;
    }
    changed + &text[copied..]
}

/// The operations of a JSON patch, each as the pointer of a part and the merge patch for it; `None` for any other patch.
fn operations(patch: &Value) -> Option<Vec<(String, Value)>> {
    let operations = patch.as_array()?.iter();
    let operation = |operation: &Value| {
        let value = &operation["value"];
        let pointer = operation["path"].as_str()?;
        // A value for the end of a list is merged into the list.
        let list = pointer.strip_suffix("/-");
        let (place, field) = list.unwrap_or(pointer).rsplit_once('/')?;
        let value = if list.is_some() {
            json!([value])
        } else {
            value.clone()
        };
        Some((place.to_owned(), json!({ field: value })))
    };
    Some(operations.filter_map(operation).collect())
}

/// Applies a patch to an object; the edits of its text must have the same result.
pub(super) fn apply_to(object: &mut Value, patch: &Value) {
    match operations(patch) {
        None => merge(object, patch, ""),
        Some(operations) => {
            for (place, change) in operations {
                if let Some(part) = object.pointer_mut(&place) {
                    merge(part, &change, "");
                }
            }
        }
    }
}

/// Applies a merge patch to a value.
fn merge(value: &mut Value, patch: &Value, name: &str) {
    match (value, patch) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (name, change) in changes {
                merge(fields.entry(name).or_insert(Value::Null), change, name);
            }
        }
        (Value::Array(items), Value::Array(changes)) => {
            let key = merge_key(name);
            for change in changes {
                match items.iter_mut().find(|item| item[key] == change[key]) {
                    Some(item) => merge(item, change, ""),
                    None => items.push(change.clone()),
                }
            }
        }
        (value, change) => *value = change.clone(),
    }
}

/// Whether a volume has another source than the one that a patch adds: it can have only one.
fn is_other_volume(volume: &Node, added: &Value) -> bool {
    let Content::Mapping(_, entries) = &volume.content else {
        return false;
    };
    added["projected"].is_object()
        && entries
            .iter()
            .any(|(key, _)| !["name", "projected"].contains(&key.name.as_str()))
}

/// The `patchMergeKey` of a list.
fn merge_key(list: &str) -> &'static str {
    match list {
        "volumeMounts" => "mountPath",
        _ => "name",
    }
}

struct Editor<'a> {
    text: &'a str,
    newline: &'a str,
    edits: Vec<Edit>,
}

impl Editor<'_> {
    fn change(&mut self, key: Option<&Key>, node: &Node, patch: &Value) -> Result<(), String> {
        match (patch, &node.content) {
            (Value::Object(fields), Content::Mapping(style, entries)) => {
                let mut missing = Map::new();
                for (name, value) in fields {
                    match node.entry(name) {
                        Some((key, known)) => self.change(Some(key), known, value)?,
                        None => {
                            missing.insert(name.clone(), value.clone());
                        }
                    }
                }
                for (name, value) in &missing {
                    self.insert(key, node, (*style, entries), (name, value));
                }
                Ok(())
            }
            (Value::Array(items), Content::List(style, known)) => {
                let merge_key = merge_key(key.map_or("", |key| &key.name));
                for item in items {
                    let named = |node: &&Node| {
                        let value = node.entry(merge_key).and_then(|(_, value)| value.text());
                        value.is_some() && value == item[merge_key].as_str()
                    };
                    match known.iter().find(named) {
                        Some(node) if is_other_volume(node, item) => {
                            return Err(format!(
                                "it has another volume {}: rename that",
                                item["name"]
                            ));
                        }
                        Some(node) => self.change(None, node, item)?,
                        None => self.append(node, *style, known, item),
                    }
                }
                Ok(())
            }
            (_, Content::Alias) => {
                Err("the field is an alias of another part of the file".to_owned())
            }
            (_, Content::Scalar(text)) => {
                let wanted = patch
                    .as_str()
                    .map_or_else(|| patch.to_string(), str::to_owned);
                if *text != wanted {
                    self.replace(key, node, patch);
                }
                Ok(())
            }
            (_, Content::Mapping(..) | Content::List(..) | Content::LeftOut) => {
                Err("the field is written in a form that is not supported".to_owned())
            }
        }
    }

    /// Replaces a scalar.
    fn replace(&mut self, key: Option<&Key>, node: &Node, value: &Value) {
        let new = value.to_string();
        match key {
            // The value is empty: the new one goes after the colon.
            Some(key) if node.start == node.end => {
                let colon = self.text[key.end..]
                    .find(':')
                    .map_or(0, |offset| offset + 1);
                let offset = key.end + colon;
                self.edits.push((offset..offset, format!(" {new}")));
            }
            _ => self.edits.push((node.start..node.end, new)),
        }
    }

    /// Adds an entry to a mapping.
    fn insert(
        &mut self,
        parent: Option<&Key>,
        node: &Node,
        (style, entries): (Style, &[(Key, Node)]),
        (name, value): (&str, &Value),
    ) {
        let first = entries.first().map(|(key, _)| key);
        // A merge key overrides what stands before it.
        let merges = entries.iter().rev().find(|(key, _)| key.name == "<<");
        let after_merge = merges.map(|(_, value)| value.end);
        let (Style::Block, Some(first)) = (style, first) else {
            let quoted = self.text[node.start..].starts_with("{\"")
                || first.is_some_and(|first| self.text[first.start..].starts_with('"'));
            let name = if quoted {
                format!("\"{name}\"")
            } else {
                name.to_owned()
            };
            let entry = format!("{name}: {value}");
            let (offset, new) = match first {
                Some(_) if let Some(end) = after_merge => (end, format!(", {entry}")),
                Some(first) if self.breaks(node.start, first.start) => {
                    let indent = self.indent(first.start);
                    (node.start + 1, format!("{}{indent}{entry},", self.newline))
                }
                Some(first) => (first.start, format!("{entry}, ")),
                None => (node.start + 1, entry),
            };
            return self.edits.push((offset..offset, new));
        };
        let mut fields = Map::new();
        fields.insert(name.to_owned(), value.clone());
        let lines = self.block(&Value::Object(fields), self.column(first.start));
        let neighbour = node.entry("serviceAccountName").map(|(_, name)| name.end);
        let head = parent.map(|key| key.end);
        let head = head.filter(|head| self.breaks(*head, first.start));
        let after = match after_merge.max(neighbour).or(head) {
            Some(offset) if !value.is_array() => offset,
            _ => node.end,
        };
        self.add_lines(after, &lines);
    }

    /// Adds an item to a list.
    fn append(&mut self, node: &Node, style: Style, items: &[Node], value: &Value) {
        if style == Style::Block {
            let item = Value::Array(vec![value.clone()]);
            let first = items.first().map_or(node.start, |first| first.start);
            let lines = self.block(&item, self.dash_before(first));
            return self.add_lines(node.end, &lines);
        }
        let (offset, new) = match items.last() {
            Some(last) if self.breaks(node.start, last.start) => {
                let indent = self.indent(last.start);
                (last.end, format!(",{}{indent}{value}", self.newline))
            }
            Some(last) => (last.end, format!(", {value}")),
            None => (node.start + 1, value.to_string()),
        };
        self.edits.push((offset..offset, new));
    }

    /// A value in block style.
    fn block(&self, value: &Value, indent: usize) -> String {
        let yaml = serde_saphyr::to_string(value).unwrap_or_default();
        let indent = " ".repeat(indent);
        let lines = yaml.lines();
        let lines = lines.map(|line| format!("{indent}{line}{}", self.newline));
        lines.collect()
    }

    /// Adds lines after the line of the last text before an offset.
    fn add_lines(&mut self, after: usize, lines: &str) {
        let written = self.text[..after].trim_end().len();
        let rest = &self.text[written..];
        let (offset, new) = if let Some(end) = rest.find('\n') {
            (written + end + 1, lines.to_owned())
        } else {
            let new = format!("{}{}", self.newline, lines.trim_end());
            (self.text.len(), new)
        };
        self.edits.push((offset..offset, new));
    }

    /// The column of the dash before an item of a list.
    fn dash_before(&self, item: usize) -> usize {
        let dash = self.text[..item].rfind('-');
        self.column(dash.unwrap_or_default())
    }

    /// The white space before an offset in its line; empty if the line has other text there.
    fn indent(&self, offset: usize) -> &str {
        let before = &self.text[offset - self.column(offset)..offset];
        if before.trim().is_empty() { before } else { "" }
    }

    fn column(&self, offset: usize) -> usize {
        let line = self.text[..offset].rfind('\n').map_or(0, |end| end + 1);
        offset - line
    }

    /// Whether two offsets are on different lines.
    fn breaks(&self, from: usize, to: usize) -> bool {
        self.text[from..to].contains('\n')
    }
}
