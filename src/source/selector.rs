//! Label selectors as kubectl takes them: `app=web,tier!=db,env in (a,b),!legacy`.

use std::{collections::BTreeSet, str::FromStr};

use kube::core::{Expression, Selector, SelectorExt};

use crate::facts::words::Labels;

/// Which pods are judged, by their labels; all where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(pub Selector);

impl LabelSelector {
    /// Whether it selects an object with these labels.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.selects_all() || self.0.matches(&labels.to_map())
    }

    /// Whether it selects whatever there is.
    #[must_use]
    pub fn selects_all(&self) -> bool {
        self.0.selects_all()
    }
}

impl FromStr for LabelSelector {
    type Err = String;

    /// Mirrors `labels.Parse` (apimachinery/pkg/labels/selector.go), without `<` and `>`.
    fn from_str(text: &str) -> Result<Self, String> {
        let requirements = split(text)
            .into_iter()
            .filter(|requirement| !requirement.is_empty());
        Ok(Self(
            requirements
                .map(requirement)
                .collect::<Result<Vec<_>, _>>()?
                .into_iter()
                .collect(),
        ))
    }
}

/// The requirements: commas within parentheses do not part them.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let parts = text.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts.map(str::trim).collect()
}

fn requirement(text: &str) -> Result<Expression, String> {
    if let Some(key) = text.strip_prefix('!') {
        return Ok(Expression::DoesNotExist(word(key, text)?));
    }
    if let Some((key, values)) = set(text, " notin ") {
        return Ok(Expression::NotIn(word(key, text)?, list(values, text)?));
    }
    if let Some((key, values)) = set(text, " in ") {
        return Ok(Expression::In(word(key, text)?, list(values, text)?));
    }
    for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some((key, value)) = text.split_once(operator) {
            let key = word(key, text)?;
            let value = value_of(value, text)?;
            return Ok(if equal {
                Expression::Equal(key, value)
            } else {
                Expression::NotEqual(key, value)
            });
        }
    }
    Ok(Expression::Exists(word(text, text)?))
}

/// `key in (values)`, with or without a space before the parenthesis.
fn set<'a>(text: &'a str, operator: &str) -> Option<(&'a str, &'a str)> {
    let (head, values) = text.split_once('(')?;
    let head = head.trim_end();
    let key = head.strip_suffix(operator.trim_end())?;
    Some((key, values))
}

fn list(values: &str, text: &str) -> Result<BTreeSet<String>, String> {
    let values = values
        .strip_suffix(')')
        .ok_or_else(|| format!("`{text}` lacks a closing parenthesis"))?;
    values
        .split(',')
        .map(|value| value_of(value.trim(), text))
        .collect()
}

/// The key of a label.
fn word(key: &str, text: &str) -> Result<String, String> {
    let key = key.trim();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if key.is_empty() || !key.bytes().all(allowed) {
        return Err(format!(
            "`{text}` is no requirement: write `key=value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`, `key` or `!key`"
        ));
    }
    Ok(key.to_owned())
}

/// The value of a label, which may be empty.
fn value_of(value: &str, text: &str) -> Result<String, String> {
    let value = value.trim();
    if value.is_empty() {
        return Ok(String::new());
    }
    word(value, text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_read_as_kubectl_reads_it() {
        for (text, spelled) in [
            ("", ""),
            ("app=web", "app=web"),
            ("app==web, tier != db", "app=web,tier!=db"),
            ("env in (a, b),x/y", "env in (a,b),x/y"),
            ("env notin(a)", "env notin (a)"),
            ("!legacy,empty=", "!legacy,empty="),
        ] {
            let selector: LabelSelector = text.parse().unwrap();
            assert_eq!(selector.0.to_string(), spelled, "{text}");
        }
    }

    #[test]
    fn what_is_no_requirement_is_told_with_what_would_be() {
        for text in ["=web", "a b", "env in (a", "a=b=c", "!", "a in b"] {
            let error = text.parse::<LabelSelector>().unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn labels_match_or_do_not() {
        let labels = Labels::from([("app", "web"), ("env", "a")]);
        for (text, matches) in [
            ("", true),
            ("app=web", true),
            ("app=db", false),
            ("env in (a,b),!legacy", true),
            ("env notin (a)", false),
            ("tier!=db", true),
            ("tier", false),
        ] {
            let selector: LabelSelector = text.parse().unwrap();
            assert_eq!(selector.matches(&labels), matches, "{text}");
        }
    }
}
