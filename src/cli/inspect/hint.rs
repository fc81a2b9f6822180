//! What did a user pass instead of a token?

use serde_json::Value;

/// What to do about an input that is no token, but has one; no part of it is repeated.
pub(super) fn of(text: &str) -> Option<&'static str> {
    /// How a header of a token begins.
    const HEADER: &str = "eyJ";
    /// The same in base64 once more.
    const ENCODED: &str = "ZXlK";
    let text = text.trim_start_matches('\u{feff}').trim();
    if let Some(hint) = of_object(text) {
        return Some(hint);
    }
    let is_quoted = text.starts_with(['"', '\'', '`']);
    let bare = text.trim_matches(['"', '\'', '`']);
    if bare.starts_with(ENCODED) {
        return Some(
            "this is a token in base64 once more, as a Secret has it: decode it, as in `… | base64 -d | token-exposure inspect -`",
        );
    }
    if is_quoted && bare.starts_with(HEADER) {
        return Some("the token is in quotes: pass it without them");
    }
    if let Some(at) = bare.to_ascii_lowercase().find("bearer ")
        && bare[at..].contains(HEADER)
    {
        return Some("the token has `Bearer` before it, as in a header: pass the token alone");
    }
    let is_encrypted = bare.starts_with(HEADER) && bare.split('.').count() == 5;
    is_encrypted.then_some(
        "this is an encrypted token (JWE): only whoever it is for can read it, and ServiceAccount tokens are signed, not encrypted",
    )
}

/// The same for an object with a token, as JSON or YAML.
fn of_object(text: &str) -> Option<&'static str> {
    let kind = if let Ok(object) = serde_json::from_str::<Value>(text) {
        object["kind"].as_str()?.to_owned()
    } else {
        let kind = |line: &str| Some(line.strip_prefix("kind:")?.trim().to_owned());
        text.lines().find_map(kind)?
    };
    match &*kind {
        "Secret" => Some(
            "this is a Secret: pass its token, as in `kubectl get secret NAME -o jsonpath='{.data.token}' | base64 -d | token-exposure inspect -`",
        ),
        "TokenRequest" => Some(
            "this is a TokenRequest: pass the token in its `status.token`, as in `kubectl create token NAME | token-exposure inspect -`",
        ),
        "ExecCredential" => Some(
            "this is an ExecCredential: pass the token in its `status.token`, as in `… | jq -r .status.token | token-exposure inspect -`",
        ),
        "Config" => Some(
            "this is a kubeconfig: pass the token of a user in it, as in `kubectl config view --raw -o jsonpath='{.users[0].user.token}' | token-exposure inspect -`",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_token_is_recognised() {
        let token = "eyJhbGciOiJSUzI1NiJ9.e30.c2ln";
        for (text, begins) in [
            (token.to_owned(), None),
            ("nothing".to_owned(), None),
            (format!("\"{token}\"\n"), Some("the token is in quotes")),
            (
                format!("Authorization: Bearer {token}"),
                Some("the token has `Bearer`"),
            ),
            (format!("bearer {token}"), Some("the token has `Bearer`")),
            (
                "ZXlKaGJHY2lPaUpTVXpJMU5pSjk".to_owned(),
                Some("this is a token in base64"),
            ),
            (
                "eyJhbGciOiJSU0EifQ.a.b.c.d".to_owned(),
                Some("this is an encrypted token"),
            ),
            (
                "{\"kind\": \"Secret\"}".to_owned(),
                Some("this is a Secret"),
            ),
            (
                "apiVersion: v1\nkind: Secret\n".to_owned(),
                Some("this is a Secret"),
            ),
            (
                "{\"kind\": \"TokenRequest\"}".to_owned(),
                Some("this is a TokenRequest"),
            ),
            (
                "{\"kind\": \"ExecCredential\"}".to_owned(),
                Some("this is an ExecCredential"),
            ),
            (
                "kind: Config\nusers: []\n".to_owned(),
                Some("this is a kubeconfig"),
            ),
            ("kind: Pod\n".to_owned(), None),
        ] {
            let found = of(&text);
            let is_right = match begins {
                Some(begins) => found.is_some_and(|hint| hint.starts_with(begins)),
                None => found.is_none(),
            };
            assert!(is_right, "{text}: {found:?}");
            assert!(!found.unwrap_or_default().contains(token));
        }
    }
}
