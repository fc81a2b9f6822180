//! Which files do paths, folders and patterns select?

use std::{
    fmt,
    path::{Component, Path, PathBuf},
};

use walkdir::WalkDir;

use super::folders::KUSTOMIZATION;

/// A problem with an input, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, with line and column if known.
    pub place: String,
    /// The cause, with the fix if there is one.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// The files that a path selects, in order: the file itself, the manifests in a folder, or the matches of a
/// pattern; `-` is standard input.
pub(crate) fn find(path: &Path) -> Vec<Result<PathBuf, Problem>> {
    find_named(path, is_manifest_name, false)
}

/// The same for logs: folders have files of any name, also hidden ones, and what is not read is a problem, as it may be a
/// part of the evidence.
pub(crate) fn find_logs(path: &Path) -> Vec<Result<PathBuf, Problem>> {
    find_named(path, |_| true, true)
}

fn find_named(
    path: &Path,
    is_named: fn(&Path) -> bool,
    needs_all: bool,
) -> Vec<Result<PathBuf, Problem>> {
    let text = path.to_string_lossy();
    if path.exists() || !text.contains(['*', '?', '[']) {
        return walk(path, is_named, needs_all);
    }
    let problem = |message: String| {
        vec![Err(Problem {
            place: text.to_string(),
            message,
        })]
    };
    let matches: Vec<_> = match glob::glob(&text) {
        Ok(matches) => matches.flatten().collect(),
        Err(error) => return problem(format!("is not a valid pattern: {}", error.msg)),
    };
    if matches.is_empty() {
        return problem("matches no file".to_owned());
    }
    let root = real(&fixed_part(path));
    let found = |path: &PathBuf| {
        if is_inside(path, &root) {
            walk(path, is_named, needs_all)
        } else {
            needs_all.then(|| Err(not_read(path))).into_iter().collect()
        }
    };
    let files: Vec<_> = matches.iter().flat_map(found).collect();
    if files.is_empty() {
        return problem(format!(
            "matches no file in {}: pipes, devices and links to other folders are not read unless you name them",
            root.display()
        ));
    }
    files
}

/// The folders of a pattern before the first one that is matched: what matches must lie in there.
fn fixed_part(pattern: &Path) -> PathBuf {
    let is_fixed =
        |part: &Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let fixed: PathBuf = pattern.components().take_while(is_fixed).collect();
    if fixed.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        fixed
    }
}

/// A path without links, if it can be followed.
pub(super) fn real(path: &Path) -> PathBuf {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Whether what was found is a file or a folder, and lies in the folder where it was looked for: whoever writes the
/// scanned files must not choose others.
fn is_inside(path: &Path, root: &Path) -> bool {
    path.canonicalize().is_ok_and(|real| real.starts_with(root))
        && path
            .metadata()
            .is_ok_and(|metadata| metadata.is_file() || metadata.is_dir())
}

/// A file itself, or the files with wanted names in a folder.
fn walk(
    path: &Path,
    is_named: fn(&Path) -> bool,
    needs_all: bool,
) -> Vec<Result<PathBuf, Problem>> {
    if !path.is_dir() {
        return vec![Ok(path.to_owned())];
    }
    let root = real(path);
    let hidden = |name: &std::ffi::OsStr| !needs_all && name.to_string_lossy().starts_with('.');
    let entries = WalkDir::new(path).sort_by_file_name().into_iter();
    let entries = entries.filter_entry(|entry| entry.depth() == 0 || !hidden(entry.file_name()));
    let file = |entry: walkdir::Result<walkdir::DirEntry>| match entry {
        Ok(entry) if needs_all && !is_inside(entry.path(), &root) => {
            Some(Err(not_read(entry.path())))
        }
        Ok(entry) => is_read(entry.path(), &root, is_named).then(|| Ok(entry.into_path())),
        Err(error) => {
            let cause = error
                .io_error()
                .map_or_else(|| error.to_string(), ToString::to_string);
            Some(Err(Problem {
                place: error.path().unwrap_or(path).display().to_string(),
                message: format!("cannot be read: {cause}"),
            }))
        }
    };
    entries.filter_map(file).collect()
}

/// What was found and is not inside.
fn not_read(path: &Path) -> Problem {
    Problem {
        place: path.display().to_string(),
        message: "is not read: it is a pipe, a device or a link out of the folder; name it, or what it links to"
            .to_owned(),
    }
}

/// Whether a file in a folder is read: by its name, and a link only to a file in the folder.
fn is_read(path: &Path, root: &Path, is_named: fn(&Path) -> bool) -> bool {
    is_named(path) && is_inside(path, root) && path.is_file()
}

/// Whether a file is YAML or JSON by its name.
fn is_manifest_name(path: &Path) -> bool {
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .map(str::to_ascii_lowercase);
    matches!(extension.as_deref(), Some("yaml" | "yml" | "json"))
        || path.file_name().is_some_and(|name| name == KUSTOMIZATION)
}
