//! Tokens in texts that are printed: somebody pastes one where a file name is expected.

use std::borrow::Cow;

/// How a JSON object begins in base64: every header of a JSON Web Token does.
const BEGINNING: &str = "eyJ";
/// How many characters a header has at least: `{"alg":"none"}` has 19.
const SHORTEST: usize = 16;
/// What is printed instead.
const INSTEAD: &str = "(a token, not shown)";

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
    while let Some(begin) = rest[done..].find(BEGINNING).map(|at| done + at) {
        let token = &rest[begin..];
        let is_part =
            |character: char| character.is_ascii_alphanumeric() || "-_=.".contains(character);
        let end = token
            .find(|character| !is_part(character))
            .unwrap_or(token.len());
        if end < SHORTEST {
            done = begin + BEGINNING.len();
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

#[cfg(test)]
mod tests {
    use super::*;

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
