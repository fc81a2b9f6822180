//! Which folders do the files of kustomizations and charts stand for?

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::text::folders::stands_for_folder;

/// The paths, with the folder of each kustomization or chart that is named by its file: the folder is what can be rendered.
pub(super) fn instead_of_files(paths: &[PathBuf]) -> Vec<PathBuf> {
    let folder = |path: &Path| match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let named: BTreeSet<_> = paths
        .iter()
        .filter(|path| stands_for_folder(path))
        .map(|path| folder(path))
        .collect();
    let others = paths
        .iter()
        .filter(|path| !path.is_file() || !named.contains(&folder(path)));
    others.cloned().chain(named.iter().cloned()).collect()
}
