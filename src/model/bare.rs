//! Texts in which the words of known consumers are looked for: without white space, quotes and backslashes.

use std::borrow::Cow;

/// A text without white space, quotes and backslashes, which knows where they were.
#[derive(Debug)]
pub struct Bare<'a> {
    original: &'a str,
    text: Cow<'a, str>,
    /// Where each part that is left begins: here, and in the original. None where all is left.
    parts: Vec<(usize, usize)>,
}

/// How many bytes of a block are read at most.
const MAX_BLOCK: usize = 4096;

fn is_left_out(character: char) -> bool {
    character.is_whitespace() || matches!(character, '"' | '\'' | '\\')
}

impl<'a> Bare<'a> {
    /// Leaves out what does not count.
    #[must_use]
    pub fn new(original: &'a str) -> Self {
        // Characters of more than one byte may be white space.
        let may_be_left_out = |byte: u8| !byte.is_ascii() || is_left_out(byte.into());
        if !original.bytes().any(may_be_left_out) {
            return Self {
                original,
                text: Cow::Borrowed(original),
                parts: Vec::new(),
            };
        }
        let mut text = String::with_capacity(original.len());
        let mut parts = Vec::new();
        let mut end = None;
        for (place, character) in original.char_indices() {
            if is_left_out(character) {
                continue;
            }
            if end != Some(place) {
                parts.push((text.len(), place));
            }
            text.push(character);
            end = Some(place + character.len_utf8());
        }
        Self {
            original,
            text: Cow::Owned(text),
            parts,
        }
    }

    /// What is left.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether what is between two places can be part of a path: white space, quotes and signs that end a path may only
    /// be in brackets, as in `${MOUNT:-kubernetes}`.
    pub(super) fn is_path(&self, begin: usize, end: usize) -> bool {
        let between = self.original.get(self.after(begin)..self.at(end));
        let between = between.unwrap_or_default();
        let mut depth = 0_usize;
        for character in between.chars() {
            match character {
                '{' | '(' => depth += 1,
                '}' | ')' | ',' | '?' | '|' | '&' | '<' | '>' | '=' | '"' | '\'' if depth == 0 => {
                    return false;
                }
                '}' | ')' => depth -= 1,
                ';' | '\n' => return false,
                character if depth == 0 && character.is_whitespace() => return false,
                _ => {}
            }
        }
        depth == 0 && !between.contains("://")
    }

    /// Where the block ends that belongs to the key between two places: what is in brackets after it, else what is
    /// indented deeper than it.
    pub(super) fn block_end(&self, key: usize, begin: usize) -> usize {
        let (key, after) = (self.at(key), self.after(begin));
        let limit = self.original.floor_char_boundary(after + MAX_BLOCK);
        let rest = self.original.get(after..limit).unwrap_or_default();
        let opening = rest.trim_start_matches(|character: char| {
            character.is_whitespace() || "\"'\\:=".contains(character)
        });
        let length = if opening.starts_with(['{', '[']) {
            rest.len() - opening.len() + in_brackets(opening)
        } else {
            let line = self.original[..key].rfind('\n').map_or(0, |end| end + 1);
            let head = self.original[line..key].bytes();
            let indent = head.take_while(|byte| matches!(byte, b' ' | b'-')).count();
            indented(rest, indent)
        };
        self.bare_at(after + length).max(begin)
    }

    /// Where the character before a place ends in the original.
    fn after(&self, place: usize) -> usize {
        let following = self.parts.partition_point(|(bare, _)| *bare < place);
        let part = self.parts[..following].last();
        let (bare, original) = part.copied().unwrap_or_default();
        original + place - bare
    }

    /// Where the character at a place begins in the original.
    fn at(&self, place: usize) -> usize {
        let following = self.parts.partition_point(|(bare, _)| *bare <= place);
        let part = self.parts[..following].last();
        let (bare, original) = part.copied().unwrap_or_default();
        original + place - bare
    }

    /// The place of a character of the original, or of the next one that is left.
    fn bare_at(&self, original: usize) -> usize {
        let following = self.parts.partition_point(|(_, begin)| *begin <= original);
        let next = self.parts.get(following).map(|(bare, _)| *bare);
        let next = next.unwrap_or(self.text.len());
        let part = self.parts[..following].last();
        let (bare, begin) = part.copied().unwrap_or_default();
        (bare + original - begin).min(next)
    }
}

/// How long a text is up to the bracket that closes its first one.
fn in_brackets(text: &str) -> usize {
    let mut depth = 0_usize;
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return place;
        }
    }
    text.len()
}

/// How long a text is that ends before the first line, but for its own first one, that is not indented deeper.
fn indented(text: &str, indent: usize) -> usize {
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().map_or(0, str::len);
    let deeper = lines.take_while(|line| {
        let content = line.trim_start_matches(' ');
        let is_nothing = content.trim().is_empty() || content.starts_with('#');
        is_nothing || line.len() - content.len() > indent
    });
    first + deeper.map(str::len).sum::<usize>()
}
