//! Kinds of requests and bindings, each kept once, with a number.

use std::{borrow::Cow, collections::HashMap};

use crate::{
    model::{Rule, usage::Action},
    rbac::{
        cover::{Atom, covers},
        defaults::{default_rules, is_default_account_rule},
    },
    token::redact::percent_decoded,
};

/// How many kinds of requests, and how many bindings, are told apart; the others are counted only.
const MAX_NAMES: usize = 1 << 16;
/// How long one of these may be, in bytes: paths and methods are of any length.
const MAX_LENGTH: usize = 2048;
/// How long all of them together are, in bytes.
const MAX_BYTES: usize = 8 << 20;

/// Names with numbers, each once.
#[derive(Clone, Debug)]
pub(super) struct Numbers<T> {
    pub(super) by_key: HashMap<Box<str>, u32>,
    pub(super) all: Vec<T>,
    /// How many bytes the keys have.
    bytes: usize,
    /// Whether a key got no number.
    lacks_some: bool,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self {
            by_key: HashMap::new(),
            all: Vec::new(),
            bytes: 0,
            lacks_some: false,
        }
    }
}

impl<T> Numbers<T> {
    /// The number of a key; `None` where there are too many, or it is too long.
    pub(super) fn of(&mut self, key: &str, value: impl FnOnce() -> T) -> Option<u32> {
        if let Some(number) = self.by_key.get(key) {
            return Some(*number);
        }
        let is_long = key.len() > MAX_LENGTH || self.bytes + key.len() > MAX_BYTES;
        if self.all.len() >= MAX_NAMES || is_long {
            self.lacks_some = true;
            return None;
        }
        self.bytes += key.len();
        let number = u32::try_from(self.all.len()).ok()?;
        self.by_key.insert(key.into(), number);
        self.all.push(value());
        Some(number)
    }

    /// Whether a key got no number.
    pub(super) const fn lacks_some(&self) -> bool {
        self.lacks_some
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.all.get(usize::try_from(number).ok()?)
    }
}

/// The path that the authorizer saw: it is decoded once. One with other characters than texts have stays as it is.
pub(super) fn authorized_path(url: &str) -> Cow<'_, str> {
    let decoded = percent_decoded(url).filter(|decoded| !decoded.contains(char::is_control));
    decoded.map_or(Cow::Borrowed(url), Cow::Owned)
}

/// An action, and whether the default permissions allow it.
#[derive(Clone, Debug)]
pub(super) struct KnownAction {
    pub(super) action: Action,
    pub(super) is_default: bool,
}

pub(super) fn action_key(action: &Action) -> String {
    let (resource, subresource) = action
        .resource
        .split_once('/')
        .unwrap_or((&action.resource, ""));
    let denied = if action.is_denied { "denied" } else { "" };
    let parts = [
        &*action.verb,
        &*action.group,
        resource,
        subresource,
        &*action.namespace,
        &*action.url,
        denied,
    ];
    parts.iter().flat_map(|part| [part, "\0"]).collect()
}

/// Whether the default permissions of every authenticated user and of every account allow an action.
#[must_use]
pub fn is_default(action: &Action) -> bool {
    let list = |word: &str| Box::from([Box::from(word)]);
    let url = &*action.url;
    let rule = Rule {
        verbs: list(&action.verb),
        api_groups: if url.is_empty() {
            list(&action.group)
        } else {
            Box::default()
        },
        resources: if url.is_empty() {
            list(&action.resource)
        } else {
            Box::default()
        },
        non_resource_urls: if url.is_empty() {
            Box::default()
        } else {
            list(url)
        },
        ..Rule::default()
    };
    let atom = if url.is_empty() {
        Atom::Resource {
            verb: &action.verb,
            group: &action.group,
            resource: &action.resource,
            name: None,
        }
    } else {
        Atom::Url {
            verb: &action.verb,
            url,
        }
    };
    default_rules().iter().any(|known| covers(known, &atom)) || is_default_account_rule(&rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_length_are_bounded() {
        let mut names = Numbers::default();
        assert_eq!(names.of(&"u".repeat(20_000), || ()), None);
        let long = |number: usize| format!("{number:02000}");
        let kept = (0..10_000).filter(|number| names.of(&long(*number), || ()).is_some());
        assert_eq!(kept.count(), MAX_BYTES / 2000);
        assert_eq!(names.of(&long(0), || ()), Some(0));
        assert_eq!(names.of(&long(9_999), || ()), None);
    }
}
