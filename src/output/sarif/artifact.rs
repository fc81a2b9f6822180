//! How are files named?

use std::{
    collections::BTreeSet,
    env,
    path::{Component, Path, PathBuf},
};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

/// The characters that are percent-encoded in a path (RFC 3986: all but `pchar` and `/`).
const NOT_IN_PATHS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The folder that files are named from. Code scanning takes the root of the repository for it, wherever the scan runs.
pub(super) struct Root {
    /// The current folder, without links.
    current: PathBuf,
    /// The repository that it lies in, else the one that all files lie in, else the current folder.
    root: PathBuf,
}

impl Root {
    /// That of these files, seen from the current folder.
    pub(super) fn here<'a>(files: impl Iterator<Item = &'a Path>) -> Self {
        let current = env::current_dir().unwrap_or_default();
        Self::of(current.canonicalize().unwrap_or(current), files)
    }

    fn of<'a>(current: PathBuf, files: impl Iterator<Item = &'a Path>) -> Self {
        let own = repository(&current);
        let mut root = Self {
            root: current.clone(),
            current,
        };
        let root_of_files = || root.only_repository(files);
        if let Some(repository) = own.or_else(root_of_files) {
            root.root = repository;
        }
        root
    }

    /// The one repository that all files lie in.
    fn only_repository<'a>(&self, files: impl Iterator<Item = &'a Path>) -> Option<PathBuf> {
        let folders = files.filter_map(|file| Some(self.whole(file).parent()?.to_owned()));
        let folders: BTreeSet<_> = folders.collect();
        let mut repositories: Vec<_> = folders.iter().map(|folder| repository(folder)).collect();
        repositories.dedup();
        match &mut repositories[..] {
            [one] => one.take(),
            _ => None,
        }
    }

    /// A file as a URI: relative in the root, absolute elsewhere.
    pub(super) fn artifact(&self, file: &Path) -> Value {
        let whole = self.whole(file);
        if let Ok(relative) = whole.strip_prefix(&self.root) {
            return json!({ "uri": encoded(relative), "uriBaseId": "%SRCROOT%" });
        }
        let path = encoded(&whole);
        let root = if path.starts_with('/') { "" } else { "/" };
        json!({ "uri": format!("file://{root}{path}") })
    }

    /// The path of a file from the root of the file system. Its folder may be a link, and the file itself keeps its name.
    fn whole(&self, file: &Path) -> PathBuf {
        let whole = self.current.join(file);
        let folder = whole.parent().and_then(|folder| folder.canonicalize().ok());
        if let (Some(folder), Some(name)) = (folder, whole.file_name()) {
            return folder.join(name);
        }
        let mut plain = PathBuf::new();
        for part in whole.components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => {
                    plain.pop();
                }
                part => plain.push(part),
            }
        }
        plain
    }
}

/// The nearest parent of a folder with a `.git`, which is a file in a worktree.
fn repository(folder: &Path) -> Option<PathBuf> {
    let mut folders = folder.ancestors();
    folders
        .find(|folder| folder.join(".git").exists())
        .map(Path::to_owned)
}

fn encoded(path: &Path) -> String {
    let path = path.to_string_lossy();
    let path = if cfg!(windows) {
        let path = path.strip_prefix(r"\\?\").unwrap_or(&path);
        path.replace('\\', "/").into()
    } else {
        path
    };
    utf8_percent_encode(&path, NOT_IN_PATHS).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_are_named_from_the_root_of_the_repository() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().canonicalize().unwrap();
        let repository = outside.join("repository");
        for folder in ["svc/deploy", "cron", ".git"] {
            fs::create_dir_all(repository.join(folder)).unwrap();
        }
        let absolute = |path: &str| format!("file://{}/{path}", outside.display());
        let inside = |path: &str| format!("{}/{path}", repository.display());
        let root = |current: &Path, files: &[&str]| {
            Root::of(current.to_owned(), files.iter().map(Path::new))
        };
        let svc = root(&repository.join("svc"), &["deploy/x.yaml"]);
        let none = root(&outside, &["x.yaml", "repository/svc/x.yaml"]);
        let above = root(
            &outside,
            &["repository/svc/x.yaml", "repository/cron/x.yaml"],
        );
        for (root, file, uri) in [
            (
                &svc,
                "deploy/a b#1.yaml",
                "svc/deploy/a%20b%231.yaml".to_owned(),
            ),
            (&svc, "./deploy/é.yaml", "svc/deploy/%C3%A9.yaml".to_owned()),
            (&svc, "../cron/job.yaml", "cron/job.yaml".to_owned()),
            (&svc, "../gone/job.yaml", "gone/job.yaml".to_owned()),
            (&svc, &inside("svc/x.yaml"), "svc/x.yaml".to_owned()),
            (&svc, "../../x.yaml", absolute("x.yaml")),
            (&above, "repository/svc/x.yaml", "svc/x.yaml".to_owned()),
            (
                &none,
                "repository/svc/x.yaml",
                "repository/svc/x.yaml".to_owned(),
            ),
            (&none, "./deploy/x.yaml", "deploy/x.yaml".to_owned()),
            (
                &none,
                "/nowhere/x.yaml",
                "file:///nowhere/x.yaml".to_owned(),
            ),
        ] {
            let found = root.artifact(Path::new(file));
            assert_eq!(found["uri"], uri, "{file}");
            assert_eq!(
                found["uriBaseId"] == "%SRCROOT%",
                !uri.starts_with("file:"),
                "{file}"
            );
        }
    }
}
