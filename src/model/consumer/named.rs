//! Names of labels, annotations and variables, as entries of systems write them.

use hashbrown::HashSet;
use serde::{Deserialize, Deserializer};

/// The name of a label, an annotation or a variable, written as `name`, `prefix*`, `name=value` or `name=value|value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    name: Box<str>,
    is_prefix: bool,
    values: Box<[Box<str>]>,
}

/// What the value of a label or an annotation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// The system is used.
    Yes,
    /// The system is not used.
    No,
}

/// Values that switch something off.
const OFF: [&str; 8] = ["", "false", "no", "off", "disabled", "none", "0", "f"];

impl Named {
    /// What a label or an annotation says; `None` for another name.
    #[must_use]
    pub fn says(&self, name: &str, value: &str) -> Option<Says> {
        if !self.is_named(name) {
            return None;
        }
        let is = |known: &str| value.trim().eq_ignore_ascii_case(known);
        let is_yes = if self.values.is_empty() {
            !OFF.iter().any(|off| is(off))
        } else {
            self.values.iter().any(|known| is(known))
        };
        Some(if is_yes { Says::Yes } else { Says::No })
    }

    /// Whether it is a variable of this name and value.
    #[must_use]
    pub fn is_variable(&self, name: &str, value: &str) -> bool {
        let mut values = self.values.iter();
        self.is_named(name)
            && (self.values.is_empty()
                || values.any(|known| value.trim().eq_ignore_ascii_case(known)))
    }

    /// Whether it is a variable of this name, and its value counts.
    #[must_use]
    pub fn asks_for_value(&self, name: &str) -> bool {
        self.is_named(name) && !self.values.is_empty()
    }

    /// The variable that a key of a ConfigMap or Secret may become: one of the same name, one of which the key is the
    /// end, and any whose values this is one of.
    #[must_use]
    pub fn variable_of<'a>(&'a self, key: &'a str, value: &str) -> Option<&'a str> {
        if self.is_variable(key, value) {
            return Some(key);
        }
        let beginning = self.name.strip_suffix(key);
        let is_end = !key.is_empty() && beginning.is_some_and(|name| name.ends_with('_'));
        let becomes = (is_end || !self.values.is_empty()) && !self.is_prefix;
        (becomes && self.is_variable(&self.name, value)).then_some(&*self.name)
    }

    /// Whether it is named so.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        if self.is_prefix {
            name.starts_with(&*self.name)
        } else {
            *self.name == *name
        }
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (name, values) = match text.split_once('=') {
            Some((name, values)) => (name, values.split('|').map(Box::from).collect()),
            None => (&*text, Box::default()),
        };
        let name = name.trim();
        let prefix = name.strip_suffix('*');
        if prefix.unwrap_or(name).is_empty() {
            return Err(serde::de::Error::custom(
                "a name is empty: write `name` or `name=value`",
            ));
        }
        Ok(Self {
            name: prefix.unwrap_or(name).into(),
            is_prefix: prefix.is_some(),
            values,
        })
    }
}

/// Names, to be found at once.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    whole: HashSet<Box<str>>,
    prefixes: Vec<Box<str>>,
}

impl<'a> FromIterator<&'a Named> for Names {
    fn from_iter<I: IntoIterator<Item = &'a Named>>(names: I) -> Self {
        let (prefixes, whole): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|named| named.is_prefix);
        let name = |named: &Named| named.name.clone();
        Self {
            whole: whole.into_iter().map(name).collect(),
            prefixes: prefixes.into_iter().map(name).collect(),
        }
    }
}

impl Names {
    pub(super) fn has(&self, name: &str) -> bool {
        let mut prefixes = self.prefixes.iter();
        self.whole.contains(name) || prefixes.any(|prefix| name.starts_with(&**prefix))
    }
}
