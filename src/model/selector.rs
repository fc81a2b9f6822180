//! Label selectors: as kubectl accepts them (`app=web,tier!=db,env in (a,b),!legacy`), and as a ClusterRole
//! has them in its `aggregationRule`.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// Requirements on labels, all of which must hold; without any, every object is selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(pub Vec<Requirement>);

/// One requirement on the labels of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// The label is present.
    Exists(String),
    /// The label is absent.
    DoesNotExist(String),
    /// The label is present with one of these values.
    In(String, BTreeSet<String>),
    /// The label is absent, or has another value.
    NotIn(String, BTreeSet<String>),
    /// An operator that Kubernetes does not know: no object is selected.
    UnknownOperator,
}

impl LabelSelector {
    /// Whether it selects an object, given the value of each of its labels.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::DoesNotExist(key) => label(key).is_none(),
            Requirement::In(key, values) => label(key).is_some_and(|value| values.contains(value)),
            Requirement::NotIn(key, values) => {
                label(key).is_none_or(|value| !values.contains(value))
            }
            Requirement::UnknownOperator => false,
        })
    }

    /// Whether it selects every object.
    #[must_use]
    pub const fn selects_all(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for LabelSelector {
    /// As the API server accepts it in `labelSelector`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requirements: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&requirements.join(","))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &BTreeSet<String>| {
            let values: Vec<_> = values.iter().map(String::as_str).collect();
            values.join(",")
        };
        match self {
            Self::Exists(key) => f.write_str(key),
            Self::DoesNotExist(key) => write!(f, "!{key}"),
            Self::In(key, values) if values.len() == 1 => write!(f, "{key}={}", list(values)),
            Self::In(key, values) => write!(f, "{key} in ({})", list(values)),
            Self::NotIn(key, values) if values.len() == 1 => write!(f, "{key}!={}", list(values)),
            Self::NotIn(key, values) => write!(f, "{key} notin ({})", list(values)),
            Self::UnknownOperator => Ok(()),
        }
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
                .collect::<Result<Vec<_>, _>>()?,
        ))
    }
}

/// The requirements: commas within parentheses do not separate them.
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

fn requirement(text: &str) -> Result<Requirement, String> {
    if let Some(key) = text.strip_prefix('!') {
        return Ok(Requirement::DoesNotExist(label_key(key, text)?));
    }
    if let Some((key, values)) = set(text, " notin ") {
        return Ok(Requirement::NotIn(
            label_key(key, text)?,
            list(values, text)?,
        ));
    }
    if let Some((key, values)) = set(text, " in ") {
        return Ok(Requirement::In(label_key(key, text)?, list(values, text)?));
    }
    for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some((key, value)) = text.split_once(operator) {
            let key = label_key(key, text)?;
            let value = [label_value(value, text)?].into();
            return Ok(if equal {
                Requirement::In(key, value)
            } else {
                Requirement::NotIn(key, value)
            });
        }
    }
    Ok(Requirement::Exists(label_key(text, text)?))
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
        .map(|value| label_value(value.trim(), text))
        .collect()
}

/// The key of a label.
fn label_key(key: &str, text: &str) -> Result<String, String> {
    let key = key.trim();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if key.is_empty() || !key.bytes().all(allowed) {
        return Err(format!(
            "`{text}` is not a valid selector: use `key=value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`, `key` or `!key`"
        ));
    }
    Ok(key.to_owned())
}

/// The value of a label, which may be empty.
fn label_value(value: &str, text: &str) -> Result<String, String> {
    let value = value.trim();
    if value.is_empty() {
        return Ok(String::new());
    }
    label_key(value, text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_selector_is_parsed_as_kubectl_parses_it() {
        for (text, spelled) in [
            ("", ""),
            ("app=web", "app=web"),
            ("app==web, tier != db", "app=web,tier!=db"),
            ("env in (a, b),x/y", "env in (a,b),x/y"),
            ("env notin(b, a)", "env notin (a,b)"),
            ("!legacy,empty=", "!legacy,empty="),
        ] {
            let selector: LabelSelector = text.parse().unwrap();
            assert_eq!(selector.to_string(), spelled, "{text}");
        }
    }

    #[test]
    fn an_invalid_selector_is_rejected_with_the_valid_forms() {
        for text in ["=web", "a b", "env in (a", "a=b=c", "!", "a in b"] {
            let error = text.parse::<LabelSelector>().unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn labels_match_a_selector() {
        let labels = BTreeMap::from([("app", "web"), ("env", "a")]);
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
            assert_eq!(
                selector.matches(|key| labels.get(key).copied()),
                matches,
                "{text}"
            );
        }
    }
}
