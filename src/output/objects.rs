//! JSON and YAML: a `v1` List of the very objects that the controller writes.

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

impl From<&[Exposure]> for List {
    fn from(exposures: &[Exposure]) -> Self {
        Self {
            api_version: "v1",
            kind: "List",
            items: exposures.iter().map(TokenExposureReport::from).collect(),
        }
    }
}

/// Writes JSON.
///
/// # Errors
/// When the output cannot be written.
pub fn write_json(out: &mut impl io::Write, exposures: &[Exposure]) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &List::from(exposures))?;
    writeln!(out)
}

/// Writes YAML.
///
/// # Errors
/// When the output cannot be written.
pub fn write_yaml(out: &mut impl io::Write, exposures: &[Exposure]) -> io::Result<()> {
    // Through JSON's value, so that strings like `no` are known to be strings.
    let list = serde_json::to_value(List::from(exposures))?;
    serde_yaml::to_writer(out, &list).map_err(io::Error::other)
}
