//! Which folders do the files of kustomizations and charts stand for?

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::text::folders::is_of_flux;

/// The paths, with the folder of each kustomization or chart that is named by its file: the folder is what can be rendered.
pub(super) fn instead_of_files(paths: &[PathBuf]) -> Vec<PathBuf> {
    const FILES: [&str; 4] = [
        "kustomization.yaml",
        "kustomization.yml",
        "Kustomization",
        "Chart.yaml",
    ];
    let folder = |path: &Path| match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let is_part = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default();
        FILES.iter().any(|file| name == *file) && path.is_file() && !is_of_flux(path)
    };
    let named: BTreeSet<_> = paths
        .iter()
        .filter(is_part)
        .map(|path| folder(path))
        .collect();
    let others = paths
        .iter()
        .filter(|path| !path.is_file() || !named.contains(&folder(path)));
    others.cloned().chain(named.iter().cloned()).collect()
}
