//! Which folders are rendered before they are applied? Kustomizations and charts: their files are parts, which mean nothing
//! alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    paths::{Problem, find, real},
    shell::quoted,
    yaml,
};

/// The files that make a folder a kustomization.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", KUSTOMIZATION];
/// The one of them that has no ending.
pub(super) const KUSTOMIZATION: &str = "Kustomization";
/// The file that makes a folder a chart.
const CHART: &str = "Chart.yaml";
/// The fields of a kustomization that name files and folders.
const REFERENCES: [&str; 17] = [
    "resources",
    "bases",
    "components",
    "crds",
    "configurations",
    "generators",
    "transformers",
    "validators",
    "patches",
    "patchesStrategicMerge",
    "patchesJson6902",
    "replacements",
    "configMapGenerator",
    "secretGenerator",
    "helmCharts",
    "helmChartInflationGenerator",
    "openapi",
];

/// What paths select.
#[derive(Debug, Default)]
pub struct Selection {
    /// The files to read as they are.
    pub files: Vec<Selected>,
    /// The folders to render, in order.
    pub folders: Vec<Folder>,
    /// What is neither read nor rendered, and why.
    pub skipped: Vec<Problem>,
}

/// A file that is read as it is.
#[derive(Debug)]
pub struct Selected {
    /// The file, or why there is none.
    pub path: Result<PathBuf, Problem>,
    /// Whether the user named the file, not only its folder.
    pub explicit: bool,
    /// Whether the kustomization in its folder does not name it.
    pub unlisted: bool,
}

/// A folder that is rendered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Folder {
    /// The folder.
    pub path: PathBuf,
    /// What renders it.
    pub form: Form,
}

/// What renders a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// `kustomize build`, or `kubectl kustomize`.
    Kustomization,
    /// `helm template`, as a release of the chart's name.
    Chart(String),
}

/// What a folder is rendered to.
#[derive(Debug)]
pub struct Rendered {
    /// What rendered it, for messages.
    pub place: String,
    /// The manifests.
    pub text: String,
    /// From which line on, counted from 1, the manifests come from which file; sorted.
    pub sources: Vec<(usize, PathBuf)>,
    /// The file that says how it is rendered.
    pub root: PathBuf,
}

impl Rendered {
    /// The file that a person would edit to change what is in a line.
    pub(crate) fn source(&self, line: usize) -> &Path {
        let after = self.sources.partition_point(|(first, _)| *first <= line);
        let source = after.checked_sub(1).map(|place| &self.sources[place].1);
        source.unwrap_or(&self.root)
    }
}

impl Folder {
    /// The command that renders it, for people.
    #[must_use]
    pub fn command(&self) -> String {
        let path = self.path.to_string_lossy();
        let path = quoted(&path);
        match &self.form {
            Form::Kustomization => format!("kubectl kustomize {path}"),
            Form::Chart(name) => format!("helm template {name} {path}"),
        }
    }
}

/// Selects the files that paths name, and the folders that must be rendered: those that no other kustomization or chart of
/// the input is made of. A file that is named by itself is read as it is.
#[must_use]
pub fn select(paths: &[PathBuf]) -> Selection {
    let mut named = Vec::new();
    let mut walked = Vec::new();
    for path in paths {
        let is_named = path == Path::new("-") || (path.exists() && !path.is_dir());
        let explicit = !path.is_dir();
        let files = if is_named { &mut named } else { &mut walked };
        let found = find(path).into_iter();
        files.extend(found.map(|path| Selected {
            path,
            explicit,
            unlisted: false,
        }));
    }
    let mut folders = Folders::of(walked.iter().filter_map(|file| file.path.as_ref().ok()));
    walked.retain(|file| !matches!(&file.path, Ok(path) if folders.has_part(path)));
    for file in &mut walked {
        file.unlisted = matches!(&file.path, Ok(path) if folders.is_beside(path));
    }
    named.extend(walked);
    Selection {
        files: named,
        folders: folders.roots(),
        skipped: folders.skipped,
    }
}

/// The kustomizations and charts of the input.
#[derive(Default)]
struct Folders {
    /// By their real path.
    kustomizations: BTreeMap<PathBuf, Kustomization>,
    /// The outermost charts, by the path as the user wrote it.
    charts: BTreeMap<PathBuf, Value>,
    skipped: Vec<Problem>,
}

/// A kustomization.
struct Kustomization {
    /// The folder as the user wrote it.
    path: PathBuf,
    /// The real paths of what it is made of.
    parts: BTreeSet<PathBuf>,
    is_component: bool,
}

/// Whether a file is an object of Flux, whose kind is also called Kustomization.
fn is_of_flux(file: &Path) -> bool {
    let api_version = parsed(file)["apiVersion"].as_str().map(str::to_owned);
    api_version.is_some_and(|version| version.starts_with("kustomize.toolkit.fluxcd.io/"))
}

/// Whether a file makes its folder a kustomization.
fn makes_kustomization(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default();
    KUSTOMIZATIONS.iter().any(|known| name == *known) && !is_of_flux(file)
}

/// Whether a file makes its folder one that is rendered as a whole.
pub(crate) fn stands_for_folder(file: &Path) -> bool {
    file.is_file() && (file.ends_with(CHART) || makes_kustomization(file))
}

impl Folders {
    fn of<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Self {
        let mut folders = Self::default();
        let (mut kustomizations, mut charts) = (Vec::new(), BTreeSet::new());
        for file in files {
            let folder = file.parent().unwrap_or_else(|| Path::new(""));
            if file.ends_with(CHART) {
                charts.insert(folder.to_owned());
            } else if makes_kustomization(file) {
                kustomizations.push(file);
            }
        }
        let is_outermost =
            |chart: &&PathBuf| !chart.ancestors().skip(1).any(|path| charts.contains(path));
        let outermost = charts.iter().filter(is_outermost);
        folders.charts = outermost
            .map(|chart| (chart.clone(), parsed(&chart.join(CHART))))
            .collect();
        for file in kustomizations {
            if !folders.is_in_chart(file) {
                let kustomization = Kustomization::read(file);
                folders
                    .kustomizations
                    .insert(real(&kustomization.path), kustomization);
            }
        }
        folders
    }

    fn is_in_chart(&self, file: &Path) -> bool {
        file.ancestors().any(|path| self.charts.contains_key(path))
    }

    /// Whether a file belongs to a kustomization or to a chart.
    fn has_part(&self, file: &Path) -> bool {
        if self.is_in_chart(file) {
            return true;
        }
        if self.kustomizations.is_empty() {
            return false;
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let file = real(file);
        let mut all = self.kustomizations.values();
        KUSTOMIZATIONS.contains(&&*name) || all.any(|folder| folder.parts.contains(&file))
    }

    /// Whether the folder of a file is a kustomization.
    fn is_beside(&self, file: &Path) -> bool {
        let folder = file.parent().filter(|_| !self.kustomizations.is_empty());
        folder.is_some_and(|folder| self.kustomizations.contains_key(&real(folder)))
    }

    /// The folders that no other is made of.
    fn roots(&mut self) -> Vec<Folder> {
        let mut roots: Vec<_> = self.kustomization_roots().into_iter().collect();
        let parts = self
            .kustomizations
            .values()
            .flat_map(|folder| &folder.parts);
        let mut parts: BTreeSet<PathBuf> = parts.cloned().collect();
        parts.extend(
            self.charts
                .iter()
                .flat_map(|(path, chart)| dependencies(path, chart)),
        );
        for (path, chart) in &self.charts {
            let folder = real(path);
            let is_part = folder.ancestors().any(|path| parts.contains(path));
            if is_part || chart["type"] == "library" {
                continue;
            }
            let name = chart["name"].as_str().filter(|name| is_release(name));
            roots.push(Folder {
                path: path.clone(),
                form: Form::Chart(name.unwrap_or("release").to_owned()),
            });
        }
        roots.sort();
        roots
    }

    /// Those that others are not made of; of several that are made of each other, the first.
    fn kustomization_roots(&mut self) -> Vec<Folder> {
        let mut reached = BTreeSet::new();
        let mut roots = Vec::new();
        let all = self.kustomizations.values();
        let used: BTreeSet<_> = all.flat_map(|folder| &folder.parts).collect();
        let (first, rest): (Vec<_>, Vec<_>) = self
            .kustomizations
            .keys()
            .partition(|path| !used.contains(path));
        for path in first.into_iter().chain(rest) {
            let folder = &self.kustomizations[path];
            if reached.contains(path) {
                continue;
            }
            if folder.is_component {
                self.skipped.push(Problem {
                    place: folder.path.display().to_string(),
                    message:
                        "is a Component that no kustomization of the input uses: it is not rendered"
                            .to_owned(),
                });
            } else {
                roots.push(Folder {
                    path: folder.path.clone(),
                    form: Form::Kustomization,
                });
            }
            let mut next = vec![path];
            while let Some(path) = next.pop() {
                if let Some((path, folder)) = self.kustomizations.get_key_value(path)
                    && reached.insert(path.clone())
                {
                    next.extend(&folder.parts);
                }
            }
        }
        roots
    }
}

impl Kustomization {
    fn read(file: &Path) -> Self {
        let folder = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let content = parsed(file);
        let mut parts = BTreeSet::new();
        for key in REFERENCES {
            add_parts(&content[key], folder, &mut parts);
        }
        // Charts that are rendered by the kustomization.
        if !content["helmCharts"].is_null() || !content["helmChartInflationGenerator"].is_null() {
            let home = content["helmGlobals"]["chartHome"].as_str();
            parts.extend(folder.join(home.unwrap_or("charts")).canonicalize());
        }
        Self {
            path: folder.to_owned(),
            parts,
            is_component: content["kind"] == "Component",
        }
    }
}

/// Adds the files and folders that a value names, also as `key=path`.
fn add_parts(value: &Value, folder: &Path, parts: &mut BTreeSet<PathBuf>) {
    match value {
        Value::String(text) if !text.contains('\n') => {
            let path = text.split_once('=').map_or(&**text, |(_, path)| path);
            for path in [text, path] {
                if !path.is_empty() {
                    parts.extend(folder.join(path).canonicalize());
                }
            }
        }
        Value::Array(values) => values
            .iter()
            .for_each(|value| add_parts(value, folder, parts)),
        Value::Object(fields) => fields
            .values()
            .for_each(|value| add_parts(value, folder, parts)),
        _ => {}
    }
}

/// Whether Helm takes a name for that of a release.
fn is_release(name: &str) -> bool {
    const MAX_BYTES: usize = 53;
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let ends = [label.bytes().next(), label.bytes().next_back()];
        ends.iter().all(|end| end.is_some_and(is_word))
            && label.bytes().all(|byte| is_word(byte) || byte == b'-')
    };
    name.len() <= MAX_BYTES && name.split('.').all(is_label)
}

/// The charts beside a chart that it is made of.
fn dependencies(path: &Path, chart: &Value) -> Vec<PathBuf> {
    let dependencies = chart["dependencies"].as_array().into_iter().flatten();
    let repositories = dependencies.filter_map(|one| one["repository"].as_str());
    let beside = repositories.filter_map(|repository| repository.strip_prefix("file://"));
    beside
        .filter_map(|folder| path.join(folder).canonicalize().ok())
        .collect()
}

/// The content of a file; null where it cannot be read, as its own program will say.
fn parsed(file: &Path) -> Value {
    let text = super::open(file).and_then(super::read).unwrap_or_default();
    yaml::first(&text).unwrap_or_default()
}
