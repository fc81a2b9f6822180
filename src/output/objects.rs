//! JSON and YAML: a `v1` List of the same objects that the controller writes.

use std::io;

use serde::Serialize;

use crate::{api::TokenExposureReport, model::Exposure};

/// A `v1` List.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<TokenExposureReport>,
}

impl From<&[&Exposure]> for List {
    fn from(exposures: &[&Exposure]) -> Self {
        let mut items: Vec<_> = exposures
            .iter()
            .copied()
            .map(TokenExposureReport::exact)
            .collect();
        // The API server lists objects in this order: by their key in etcd.
        items.sort_by_cached_key(|report| {
            let metadata = &report.metadata;
            [metadata.namespace.as_deref(), metadata.name.as_deref()]
                .map(Option::unwrap_or_default)
                .join("/")
        });
        Self {
            api_version: "v1",
            kind: "List",
            items,
        }
    }
}

/// Writes JSON.
///
/// # Errors
/// When the output cannot be written.
pub fn write_json(out: &mut impl io::Write, exposures: &[&Exposure]) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &List::from(exposures))?;
    writeln!(out)
}

/// Writes YAML; strings that a parser could read as another type are quoted.
///
/// # Errors
/// When the output cannot be written.
pub fn write_yaml(out: &mut impl io::Write, exposures: &[&Exposure]) -> io::Result<()> {
    let text = serde_saphyr::to_string(&List::from(exposures)).map_err(io::Error::other)?;
    out.write_all(text.as_bytes())
}
