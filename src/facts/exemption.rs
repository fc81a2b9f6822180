//! The exemptions that annotations state, and the labels that the configuration matches.

use jiff::civil::Date;

use super::words::{Annotations, Labels};
use crate::model::{
    Claim, Config,
    exemption::{EXEMPT, EXEMPT_UNTIL, Until},
    pod::WITHHELD_ANNOTATION,
};

/// What all annotations of this program begin with.
const OURS: &str = "tokenexposure.io/";

/// How many characters of a reason are kept.
const MAX_CHARACTERS: usize = 256;

/// The exemption that the annotations of an object state.
///
/// It is not valid beside an annotation of ours that does not exist: that may be the last day, misspelt.
#[must_use]
pub fn claim(annotations: &Annotations) -> Option<Box<Claim>> {
    let reason = annotations.get(EXEMPT);
    let until = annotations.get(EXEMPT_UNTIL);
    let unknown = annotations.iter().find(|(key, _)| is_unknown(key));
    if reason.is_none() && until.is_none() && unknown.is_none() {
        return None;
    }
    let clipped = |text: &str| -> Box<str> { text.trim().chars().take(MAX_CHARACTERS).collect() };
    let until = match (unknown, until) {
        (Some((key, value)), _) => {
            Until::Malformed(clipped(&format!("unknown annotation {key}: {value}")))
        }
        (None, Some(text)) => day(text).map_or_else(|| Until::Malformed(clipped(text)), Until::Day),
        (None, None) => Until::Open,
    };
    Some(Box::new(Claim {
        reason: clipped(reason.unwrap_or_default()),
        until,
    }))
}

/// Whether an annotation is in our name, and none that we read or write on such objects.
fn is_unknown(key: &str) -> bool {
    key.starts_with(OURS) && ![EXEMPT, EXEMPT_UNTIL, WITHHELD_ANNOTATION].contains(&key)
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
