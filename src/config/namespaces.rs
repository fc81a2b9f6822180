//! Which namespaces of a cluster are judged.

use serde_saphyr::Spanned;

use super::{Entries, fault, read_each};
use crate::{
    model::{LabelSelector, Selection, selection},
    text::Malformed,
};

/// The keys that select namespaces.
pub(super) struct Keys {
    pub(super) names: Entries<String>,
    pub(super) excluded: Entries<String>,
    pub(super) selector: Option<Spanned<String>>,
}

impl Keys {
    /// What they select; what cannot be read is added to `faults`.
    pub(super) fn read(self, faults: &mut Vec<Malformed>) -> Selection {
        let labels = self.selector.as_ref().map(labels).transpose();
        Selection {
            names: read_each(self.names, faults, |entry| {
                selection::name(&entry.value).map_err(|why| {
                    fault(
                        entry,
                        &format!("`namespaces` has an entry that is no name: {why}"),
                    )
                })
            })
            .into_iter()
            .collect(),
            except: read_each(self.excluded, faults, |entry| {
                selection::pattern(&entry.value)
                    .map_err(|why| fault(entry, &format!("an entry of `excludeNamespaces` {why}")))
            }),
            labels: labels.map_or_else(
                |found| {
                    faults.push(found);
                    LabelSelector::default()
                },
                Option::unwrap_or_default,
            ),
        }
    }
}

fn labels(written: &Spanned<String>) -> Result<LabelSelector, Malformed> {
    if written.value.trim().is_empty() {
        let message = "`namespaceSelector` is empty: use labels such as `team=a`, or remove the key to select all";
        return Err(fault(written, message));
    }
    let parsed = written.value.parse();
    parsed.map_err(|why: String| fault(written, &format!("`namespaceSelector`: {why}")))
}
