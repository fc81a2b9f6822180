//! Is a line without a word that matters whole? What was lost of it may have had one. No line is parsed for that.

use memchr::{memchr, memchr_iter, memmem};
use serde::de::IgnoredAny;
use serde_json::Deserializer;

/// Whether a line has the marks of one whole value, if it is JSON: as many braces that close as open, an even number of
/// quotes, no NUL that a disk left. Text in it may have other numbers: then it must be parsed.
pub(super) fn seems_whole(line: &[u8]) -> bool {
    let count = |byte: u8| memchr_iter(byte, line).count();
    count(b'{') == count(b'}') && count(b'"').is_multiple_of(2) && memchr(0, line).is_none()
}

/// Whether as many brackets close as open: a list may go on in other lines.
pub(super) fn has_whole_lists(line: &[u8]) -> bool {
    memchr_iter(b'[', line).count() == memchr_iter(b']', line).count()
}

/// Whether a line that seems whole is one event of the API server, with a user.
pub(super) fn seems_event(line: &[u8]) -> bool {
    let mut ids = memmem::find_iter(line, b"\"auditID\":\"");
    let is_one = ids.next().is_some() && ids.next().is_none();
    is_one && has_user(line) == Some(true)
}

/// Whether the name of the user ends as it should: before its other fields. `None` without a user.
pub(super) fn has_user(line: &[u8]) -> Option<bool> {
    const USER: &[u8] = b"\"user\":{\"username\":\"";
    let name = &line[memmem::find(line, USER)? + USER.len()..];
    let end = memchr(b'"', name)?;
    // Whose name that is shows only when it is parsed.
    if memchr(b'\\', &name[..end]).is_some() {
        return None;
    }
    let rest = &name[end + 1..];
    let fields: [&[u8]; 4] = [b"}", b",\"uid\":\"", b",\"groups\":[", b",\"extra\":{"];
    Some(end > 0 && fields.iter().any(|field| rest.starts_with(field)))
}

/// Whether a line has a part of an event: not if it is text, JSON behind text, or either behind JSON.
pub(super) fn is_part(line: &[u8]) -> bool {
    let begin = memchr(b'{', line).unwrap_or(line.len());
    let behind = behind(&line[begin..]);
    let is_json = behind.len() < line.len() - begin;
    let text = if is_json { behind } else { line };
    memchr(0, line).is_some() || memmem::find(text, b"\":").is_some() || text.ends_with(b"}")
}

/// What follows the JSON values at the begin of a text.
fn behind(text: &[u8]) -> &[u8] {
    let mut values = Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    let mut end = 0;
    while let Some(Ok(IgnoredAny)) = values.next() {
        end = values.byte_offset();
    }
    &text[end..]
}

/// The length of the first JSON value of a text that begins with one.
pub(super) fn first(text: &[u8]) -> Option<usize> {
    let mut values = Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    Some(values.byte_offset())
}

/// Whether a text begins with other text in brackets, such as a time, and not with a list.
pub(super) fn is_bracketed_text(text: &[u8]) -> bool {
    let inner = text.strip_prefix(b"[").map(<[u8]>::trim_ascii_start);
    inner.is_some_and(|inner| !matches!(inner.first(), None | Some(b'{' | b'[' | b'"' | b']')))
}

/// Where the next JSON object begins in a text, by its first two characters.
pub(super) fn begin(text: &[u8]) -> Option<usize> {
    memchr_iter(b'{', text).find(|begin| {
        let inner = text[begin + 1..].trim_ascii_start();
        inner.starts_with(b"\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"kind":"Event","auditID":"1","user":{"username":"jane"},"annotations":{"reason":"by \"b\""}}"#;

    fn is_whole(line: &str) -> bool {
        seems_whole(line.as_bytes()) && seems_event(line.as_bytes())
    }

    #[test]
    fn whatever_is_missing_in_the_middle_shows() {
        assert!(is_whole(EVENT));
        assert!(!is_whole(&EVENT.replace("jane", "\0\0\0\0")));
        assert!(!is_whole(&EVENT.replace("jane", "")));
        let user = EVENT.find("jane").unwrap_or_default();
        for lost in 1..EVENT.len() - user - 1 {
            let damaged = format!("{}{}", &EVENT[..user], &EVENT[user + lost..]);
            let is_name = lost < "jane".len();
            assert_eq!(is_whole(&damaged), is_name, "{damaged}");
        }
        for cut in 1..EVENT.len() {
            let merged = format!("{}{EVENT}", &EVENT[..cut]);
            let is_noticed = !is_whole(&merged);
            assert!(is_noticed, "{merged}");
        }
    }

    #[test]
    fn the_end_of_an_event_is_a_part_and_text_is_none() {
        for begin in 1..EVENT.len() - 1 {
            let end = &EVENT[begin..];
            assert!(end.starts_with('{') || is_part(end.as_bytes()), "{end}");
        }
        assert!(is_part(b"\0\0\0"));
        for text in [
            "not JSON",
            "2026 stdout F {\"msg\":\"x\"}",
            "I1126 \"Started\" pod=\"a\"",
        ] {
            assert!(!is_part(text.as_bytes()), "{text}");
        }
    }
}
