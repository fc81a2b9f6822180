//! The exemptions that annotations state, and the labels that the configuration matches.

use jiff::civil::Date;

use super::words::{Annotations, Labels};
use crate::model::{
    Claim, Config,
    exemption::{EXEMPT, EXEMPT_UNTIL, Until},
};

/// What all annotations of this program begin with.
const OURS: &str = "tokenexposure.io/";

/// How many characters of a reason are kept.
const MAX_CHARACTERS: usize = 256;

/// The exemption that the annotations of an object state.
///
/// It is not valid beside one that seems to be its last day, misspelt.
#[must_use]
pub fn claim(annotations: &Annotations) -> Option<Box<Claim>> {
    let reason = annotations.get(EXEMPT);
    let until = annotations.get(EXEMPT_UNTIL);
    if reason.is_none() && until.is_none() {
        return None;
    }
    let unknown = annotations.iter().find(|(key, _)| is_misspelt(key));
    let clipped = |text: &str| -> Box<str> { text.trim().chars().take(MAX_CHARACTERS).collect() };
    let until = match (unknown, until) {
        (Some((key, _)), _) => Until::Misspelt(clipped(key)),
        (None, Some(text)) => day(text).map_or_else(|| Until::Malformed(clipped(text)), Until::Day),
        (None, None) => Until::Open,
    };
    Some(Box::new(Claim {
        reason: clipped(reason.unwrap_or_default()),
        until,
    }))
}

/// Whether an annotation seems to be the last day of an exemption.
fn is_misspelt(key: &str) -> bool {
    let may_be_day = key.starts_with(EXEMPT) || (key.starts_with(OURS) && key.contains("until"));
    may_be_day && ![EXEMPT, EXEMPT_UNTIL].contains(&key)
}

/// A day like `2027-01-31`, and nothing more.
#[must_use]
pub fn day(text: &str) -> Option<Date> {
    let day: Date = text.trim().parse().ok()?;
    (day.to_string() == text.trim()).then_some(day)
}

/// The labels that exemptions of the configuration match, sorted.
pub(super) fn labels(labels: &Labels, config: &Config) -> Box<[(Box<str>, Box<str>)]> {
    let keys = config.label_keys();
    let mut kept: Vec<(Box<str>, Box<str>)> = keys
        .filter_map(|key| Some((key.into(), labels.get(key)?.into())))
        .collect();
    kept.sort_unstable();
    kept.dedup();
    kept.into()
}
