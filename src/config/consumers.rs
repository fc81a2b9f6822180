//! Entries of `knownConsumers`.

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::fault;
use crate::{
    model::consumer::{ConsumerRule, Consumers, UsedToken},
    text::Malformed,
};

/// The entries again, with their labels and annotations as they are written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spelled {
    known_consumers: Option<Vec<Keys>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Keys {
    labels: Vec<Spanned<String>>,
    annotations: Vec<Spanned<String>>,
    namespace_labels: Vec<Spanned<String>>,
    namespace_annotations: Vec<Spanned<String>>,
    own_token_annotations: Vec<Spanned<String>>,
}

impl Spelled {
    /// The entries that no label or annotation can match.
    pub(super) fn faults(&self) -> Vec<Malformed> {
        let lists = self.known_consumers.iter().flatten().flat_map(|keys| {
            [
                &keys.labels,
                &keys.annotations,
                &keys.namespace_labels,
                &keys.namespace_annotations,
                &keys.own_token_annotations,
            ]
        });
        let impossible = lists.flatten().filter(|entry| !is_key(&entry.value));
        let message = |entry: &Spanned<String>| {
            let message = format!(
                "no label or annotation can have this name: {:?}: write `name`, `name=value` or `prefix*`",
                entry.value
            );
            fault(entry, &message)
        };
        impossible.map(message).collect()
    }
}

/// Whether a label or an annotation may have the name in an entry.
fn is_key(entry: &str) -> bool {
    let name = entry.split('=').next().unwrap_or_default().trim();
    let name = name.strip_suffix('*').unwrap_or(name);
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    name.bytes().all(is_allowed)
}

/// Reads an entry.
pub(super) fn read(entry: &Spanned<ConsumerRule>) -> Result<ConsumerRule, Malformed> {
    let written = &entry.value;
    let name = written.name.trim();
    if name.is_empty() {
        return Err(fault(entry, "the consumer has no `name`: add one"));
    }
    if !written.recognises_something() {
        let message = "the consumer has nothing that its pods are recognised by: add `annotations`, `labels`, `namespaceLabels`, `namespaceAnnotations`, `variables`, `words`, `commands` or `drivers`";
        return Err(fault(entry, message));
    }
    if let Some(message) = of_no_effect(written, name) {
        return Err(fault(entry, &message));
    }
    Ok(ConsumerRule {
        name: name.into(),
        ..written.clone()
    })
}

/// What in an entry can never match, or matches everything.
fn of_no_effect(written: &ConsumerRule, name: &str) -> Option<String> {
    // One with lists describes a system, as some of ours do.
    let is_only_own = written.token == UsedToken::Own && !has_lists(written);
    let mut built_in = Consumers::built_in().all().iter();
    if is_only_own && !built_in.any(|known| &*known.name == name) {
        return Some(format!(
            "`token: own` switches off the built-in entry of this name, and there is none: {name:?}: write the name as src/model/consumers.yaml has it"
        ));
    }
    let texts = [
        ("words", &written.words),
        ("notWords", &written.not_words),
        ("commands", &written.commands),
        ("drivers", &written.drivers),
    ];
    let is_empty = |text: &str| text.trim_matches(['*', '^', ' ', '\t', '\n']).is_empty();
    let mut texts = texts.into_iter();
    let (key, _) = texts.find(|(_, list)| list.iter().any(|text| is_empty(text)))?;
    Some(format!("an entry of `{key}` is empty: remove it"))
}

/// Whether there is a list by which pods are recognised.
fn has_lists(written: &ConsumerRule) -> bool {
    let rule = ConsumerRule {
        token: UsedToken::AutoMounted,
        ..written.clone()
    };
    rule.recognises_something()
}
