//! Reads files and folders into the index: every kind that embeds a pod template, the kinds of RBAC,
//! lists of them, and dumps of a cluster.

mod cluster_role;
mod loader;
pub(crate) mod manifest;
pub(crate) mod outline;
pub mod places;
mod templates;

use std::path::PathBuf;

use self::places::Places;
use crate::{
    index::Index,
    model::LabelSelector,
    text::{Problem, paths},
};

/// Reports progress: how many more files were read, and how many more there are to read.
pub type Progress<'a> = &'a dyn Fn(u64, u64);

/// What came of reading files.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What could not be read; the rest was.
    pub problems: Vec<Problem>,
    /// What the API server would refuse, and grants nothing therefore.
    pub warnings: Vec<Problem>,
    /// How many objects were understood.
    pub objects: usize,
    /// Whether the input has any RBAC object.
    pub has_rbac: bool,
    /// Where workloads and ServiceAccounts are written.
    pub places: Places,
}

/// What is read of files, and how.
pub struct Wanted<'a> {
    /// The namespace of objects that name none.
    pub namespace: &'a str,
    /// Which pods and templates.
    pub pods: &'a LabelSelector,
    /// Is told how many files were read.
    pub progress: Progress<'a>,
}

/// Reads files, folders, patterns of them and `-` (standard input) into an index, which may know a cluster already: then
/// nothing else is assumed.
pub fn load(paths: &[PathBuf], wanted: &Wanted<'_>, index: &mut Index) -> Outcome {
    let mut loader = loader::Loader::new(index, wanted);
    let found = paths.iter().map(|path| (paths::find(path), path.is_dir()));
    let found: Vec<_> = found
        .flat_map(|(found, is_dir)| found.into_iter().map(move |path| (path, is_dir)))
        .collect();
    (wanted.progress)(0, found.len() as u64);
    for (path, is_dir) in found {
        loader.path(path, !is_dir);
        (wanted.progress)(1, 0);
    }
    loader.finish()
}
