//! Reads files and folders into the index: every kind that embeds a pod template, the RBAC kinds, lists of
//! them, and dumps of a cluster.

mod cluster_role;
mod copies;
mod custom;
mod loader;
pub(crate) mod manifest;
pub(crate) mod outline;
pub mod places;
pub(crate) mod pointer;
mod rendered;
mod templates;

use std::path::PathBuf;

use self::places::Places;
use crate::{
    index::Index,
    model::LabelSelector,
    text::{
        Problem,
        folders::{Folder, Rendered, Selection, select},
    },
};

/// Reports progress: how many files were just read, and how many were just found.
pub type Progress<'a> = &'a dyn Fn(u64, u64);

/// The result of reading files.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What could not be read; everything else was.
    pub problems: Vec<Problem>,
    /// Objects that the API server would reject, and which grant nothing; workloads that are skipped.
    pub warnings: Vec<Problem>,
    /// How many objects of known kinds were read.
    pub objects: usize,
    /// Whether the input contains an RBAC object.
    pub has_rbac: bool,
    /// Whether an RBAC object could not be read, or a document that may be one: it may grant what nothing else does.
    pub lacks_rbac: bool,
    /// The files and lines of workloads and ServiceAccounts.
    pub places: Places,
    /// The folders that must be rendered, and were not: nothing in them was read.
    pub unrendered: Vec<Folder>,
}

/// What to read from files, and how.
pub struct Wanted<'a> {
    /// The namespace of objects that have none; without it they get `default`, and it is a guess.
    pub namespace: Option<&'a str>,
    /// The pods and templates to read.
    pub pods: &'a LabelSelector,
    /// Called after each file.
    pub progress: Progress<'a>,
}

/// Reads files, folders, patterns of them and `-` (standard input) into an index. If that already contains a
/// cluster, nothing is assumed beyond it.
pub fn load(paths: &[PathBuf], wanted: &Wanted<'_>, index: &mut Index) -> Outcome {
    let mut selection = select(paths);
    let folders = selection.folders.clone();
    // What lies beside a kustomization may depend on what that is made of.
    selection.files.retain(|file| !file.unlisted);
    let mut outcome = load_rendered(selection, &[], wanted, index);
    outcome.unrendered = folders;
    outcome
}

/// The same for files that were selected, and for folders that were rendered.
pub fn load_rendered(
    selection: Selection,
    rendered: &[Rendered],
    wanted: &Wanted<'_>,
    index: &mut Index,
) -> Outcome {
    let mut loader = loader::Loader::new(index, wanted);
    (wanted.progress)(0, selection.files.len() as u64);
    loader.files(&selection.files);
    for rendered in rendered {
        loader.rendered(rendered);
    }
    let mut outcome = loader.finish();
    outcome.warnings.extend(selection.skipped);
    outcome
}
