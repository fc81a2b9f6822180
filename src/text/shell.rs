//! Words of commands that messages tell people to run.

use std::borrow::Cow;

/// One word of a shell command, quoted if needed: names in files may contain any character.
pub(crate) fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn characters_that_a_shell_interprets_are_quoted() {
        for (word, expected) in [
            ("shop", "shop"),
            ("a;curl x|sh", "'a;curl x|sh'"),
            ("it's $(id)", r"'it'\''s $(id)'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
