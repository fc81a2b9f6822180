//! Tokens in texts that are printed: somebody pastes one where a file name is expected.

use std::borrow::Cow;

/// How a JSON object begins in base64, as every header of a JSON Web Token does, and the same in base64 once more, as
/// Secrets have it.
const BEGINNINGS: [&str; 2] = ["eyJ", "ZXlK"];
/// How many characters a header has at least: `{"alg":"none"}` has 19.
const SHORTEST: usize = 16;
/// What is printed instead.
pub(crate) const INSTEAD: &str = "(a token, not shown)";

/// Whether a text contains what looks like a JSON Web Token, or its beginning.
#[must_use]
pub fn looks_like_token(text: &str) -> bool {
    matches!(redacted(text), Cow::Owned(_))
}

/// A text in which what looks like a JSON Web Token is left out.
#[must_use]
pub fn redacted(text: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut rest = text;
    let mut done = 0;
    let find = |text: &str| BEGINNINGS.iter().filter_map(|known| text.find(known)).min();
    while let Some(begin) = find(&rest[done..]).map(|at| done + at) {
        let token = &rest[begin..];
        let is_part =
            |character: char| character.is_ascii_alphanumeric() || "-_=.".contains(character);
        let end = token
            .find(|character| !is_part(character))
            .unwrap_or(token.len());
        if end < SHORTEST {
            done = begin + BEGINNINGS[0].len();
            continue;
        }
        shown.push_str(&rest[..begin]);
        shown.push_str(INSTEAD);
        rest = &token[end..];
        done = 0;
    }
    if shown.is_empty() {
        return Cow::Borrowed(text);
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// How often a text is decoded in search of a token.
const MAX_DECODINGS: usize = 8;

/// A part of a request, such as its path: it ends where a token begins, since parts of one may stand behind other
/// characters. One that hides a token by percent-encoding is left out as a whole.
#[must_use]
pub fn redacted_part(text: &str) -> Cow<'_, str> {
    if let Cow::Owned(shown) = redacted(text) {
        let before = shown.split(INSTEAD).next().unwrap_or_default();
        return Cow::Owned(format!("{before}{INSTEAD}"));
    }
    let mut decoded = Cow::Borrowed(text);
    for _ in 0..MAX_DECODINGS {
        match percent_decoded(&decoded) {
            None => return Cow::Borrowed(text),
            Some(next) if looks_like_token(&next) => return Cow::Borrowed(INSTEAD),
            Some(next) => decoded = Cow::Owned(next),
        }
    }
    // Nobody encodes this often without a reason to hide something.
    Cow::Borrowed(INSTEAD)
}

/// The text without one layer of percent-encoding; `None` if it has none.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    // Nearly every text: it is not copied.
    if !text.contains('%') {
        return None;
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    let mut is_encoded = false;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    while let [first, tail @ ..] = rest {
        let byte = match (first, tail) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)),
            _ => None,
        };
        let byte = byte.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        is_encoded |= byte.is_some();
        rest = if byte.is_some() { &tail[2..] } else { tail };
        decoded.push(byte.unwrap_or(*first));
    }
    is_encoded.then(|| String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_request_ends_where_a_token_begins() {
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";
        let encoded = |text: &str| text.replace('%', "%25").replace("eyJ", "%65%79J");
        for (text, shown) in [
            (format!("/login/{token}"), "/login/(a token, not shown)"),
            (
                format!("/x/{}", token.replace('.', "/")),
                "/x/(a token, not shown)",
            ),
            (
                format!("/x%3Ftoken={token}"),
                "/x%3Ftoken=(a token, not shown)",
            ),
            (format!("/x/{}", encoded(token)), INSTEAD),
            (encoded(&encoded(&format!("/x/{token}"))), INSTEAD),
            (
                format!("/{}41", "%25".to_owned() + &"25".repeat(20)),
                INSTEAD,
            ),
            (
                "/api/%6detrics/100%/%zz".to_owned(),
                "/api/%6detrics/100%/%zz",
            ),
            (String::new(), ""),
        ] {
            assert_eq!(redacted_part(&text), shown, "{text}");
        }
    }

    #[test]
    fn a_token_is_left_out_wherever_it_stands() {
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";
        for (text, shown) in [
            (token.to_owned(), "(a token, not shown)".to_owned()),
            (
                format!("cannot read ./{token}: no"),
                "cannot read ./(a token, not shown): no".to_owned(),
            ),
            (
                format!("{token}, {token}"),
                "(a token, not shown), (a token, not shown)".to_owned(),
            ),
            (token[..30].to_owned(), "(a token, not shown)".to_owned()),
            (
                "/login/ZXlKaGJHY2lPaUpTVXpJMU5pSXN".to_owned(),
                "/login/(a token, not shown)".to_owned(),
            ),
        ] {
            assert_eq!(redacted(&text), shown);
            assert!(looks_like_token(&text));
        }
        for text in ["", "eyJ", "eyJob.yaml and eyJ", "deploy/eyJ/x", "grüße"] {
            assert_eq!(redacted(text), text);
            assert!(!looks_like_token(text));
        }
    }
}
