//! The files around the code are consistent: links resolve, versions agree, actions are pinned, and the
//! krew manifest matches the archives of a release.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use walkdir::WalkDir;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const RUST: &str = env!("CARGO_PKG_RUST_VERSION");
const WORKFLOWS: [&str; 2] = [".github/workflows/ci.yml", ".github/workflows/release.yml"];

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

fn yaml(path: impl AsRef<Path>) -> Value {
    serde_yaml::from_str(&read(path)).unwrap()
}

/// Runs a step of the release; returns its output, or its error.
fn release(args: &[&str]) -> Result<String, String> {
    let output = Command::new(".ci/release")
        .args(args)
        .env("SOURCE_DATE_EPOCH", "0")
        .output()
        .unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

// === Documents ===

fn documents() -> impl Iterator<Item = PathBuf> {
    let ours = |name: &str| !["target", ".git"].contains(&name);
    WalkDir::new(".")
        .into_iter()
        .filter_entry(move |entry| ours(entry.file_name().to_str().unwrap()))
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
}

/// The targets of the links in a document.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|after| after.split(')').next())
}

/// The anchor that GitHub generates for a heading.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    heading
        .chars()
        .filter(|character| character.is_alphanumeric() || " -_".contains(*character))
        .map(|character| if character == ' ' { '-' } else { character })
        .collect()
}

#[test]
fn links_in_documents_resolve() {
    let (mut broken, mut followed) = (Vec::new(), 0);
    for document in documents() {
        let text = read(&document);
        for link in links(&text).filter(|link| !link.contains("://")) {
            let (path, place) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            let has_place = || {
                read(&target)
                    .lines()
                    .any(|line| line.starts_with('#') && anchor(line) == place)
            };
            if !target.exists() || (!place.is_empty() && !has_place()) {
                broken.push(format!("{}: {link}", document.display()));
            }
            followed += 1;
        }
    }
    assert_eq!(broken, [""; 0]);
    assert!(followed > 10, "only {followed} links were found");
}

#[test]
fn the_changelog_has_this_version() {
    let told = [VERSION, "Unreleased"].map(|section| release(&["notes", section]).unwrap());
    assert!(
        told.iter().any(|notes| notes.contains("- ")),
        "CHANGELOG.md has no section `{VERSION}` or `Unreleased`"
    );
}

/// The file, the text before the version, and the version.
const VERSIONS: [(&str, &str, &str); 12] = [
    (
        "action.yml",
        "release to download\n    default: \"",
        VERSION,
    ),
    ("deploy/pull-requests.md", "@COMMIT # v", VERSION),
    ("deploy/pull-requests.md", "rev: v", VERSION),
    ("deploy/chart/Chart.yaml", "\nversion: ", VERSION),
    ("deploy/chart/Chart.yaml", "\nappVersion: ", VERSION),
    ("deploy/install.yaml", "image: \"token-exposure:", VERSION),
    ("README.md", "-t token-exposure:", VERSION),
    ("Dockerfile", "-t token-exposure:", VERSION),
    ("Dockerfile", "FROM rust:", RUST),
    ("README.md", " Rust ", RUST),
    (".github/CONTRIBUTING.md", " Rust ", RUST),
    (WORKFLOWS[0], "image: rust:", RUST),
];

#[test]
fn versions_agree() {
    let mut wrong = String::new();
    for (file, before, version) in VERSIONS {
        let text = read(file);
        let found: Vec<_> = text
            .split(before)
            .skip(1)
            .map(|after| {
                let version = |character: &char| character.is_ascii_digit() || *character == '.';
                let found: String = after.chars().take_while(version).collect();
                found.trim_end_matches('.').to_owned()
            })
            .filter(|found| !found.is_empty())
            .collect();
        if found.is_empty() || found.iter().any(|found| found != version) {
            writeln!(wrong, "{file}: {before}{found:?}, not {version}").unwrap();
        }
    }
    assert_eq!(wrong, "");
}

/// The versions of Kubernetes that CI tries are those in the README, the oldest that the chart allows among them, and
/// what is downloaded to build them is pinned.
#[test]
fn each_version_of_kubernetes_is_tried_pinned_and_documented() {
    let workflow = yaml(WORKFLOWS[0]);
    let tried = workflow["jobs"]["run"]["strategy"]["matrix"]["kubernetes"].clone();
    let tried: BTreeSet<String> = serde_json::from_value(tried).unwrap();
    let newest = read("tests/control-plane/go.mod");
    let newest = newest.split("k8s.io/kubernetes v").nth(1).unwrap();
    let newest = newest.split(' ').next().unwrap();
    let tried = tried.iter().map(String::as_str);
    let tried = tried.map(|version| if version.is_empty() { newest } else { version });
    let tried: BTreeSet<&str> = tried.collect();

    let readme = read("README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| 1."));
    let rows = rows.map(|row| format!("1.{}", row.split(' ').next().unwrap()));
    let rows: BTreeSet<String> = rows.collect();
    assert_eq!(
        rows.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        tried
    );

    let sums = read("tests/control-plane/versions.sum");
    for version in tried.iter().filter(|version| **version != newest) {
        let pin = format!("k8s.io/kubernetes v{version} h1:");
        assert!(sums.contains(&pin), "versions.sum lacks {version}");
    }
    let chart = yaml("deploy/chart/Chart.yaml");
    let oldest = text(&chart, "kubeVersion").trim_start_matches(">=");
    let oldest = oldest.split(".0-").next().unwrap();
    assert!(tried.iter().any(|version| version.starts_with(oldest)));
}

// === Workflows ===

/// The actions that a workflow uses: the value and its comment.
fn used(workflow: &str) -> Vec<(String, String)> {
    let text = read(workflow);
    text.lines()
        .filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix("uses: "))
        .map(|used| {
            let (action, comment) = used.split_once(" # ").unwrap_or((used, ""));
            (action.to_owned(), comment.to_owned())
        })
        .filter(|(action, _)| !action.starts_with("./"))
        .collect()
}

fn is_pinned(action: &str) -> bool {
    action.split_once('@').is_some_and(|(_, pin)| {
        pin.len() == 40 && pin.bytes().all(|byte| b"0123456789abcdef".contains(&byte))
    })
}

#[test]
fn each_action_is_pinned_to_one_commit_with_its_version() {
    let mut pins: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    for workflow in WORKFLOWS.into_iter().chain(["action.yml"]) {
        for (action, comment) in used(workflow) {
            assert!(is_pinned(&action), "{workflow}: {action}");
            assert!(comment.starts_with('v'), "{workflow}: {action} # {comment}");
            let name = action.split('@').next().unwrap().to_owned();
            pins.entry(name).or_default().insert((action, comment));
        }
    }
    assert!(pins.contains_key("actions/checkout"));
    for (name, pins) in pins {
        assert_eq!(pins.len(), 1, "{name}: {pins:?}");
    }
}

#[test]
fn workflows_only_have_the_permissions_that_their_jobs_declare() {
    for workflow in WORKFLOWS {
        let parsed = yaml(workflow);
        assert_eq!(parsed["permissions"], serde_json::json!({}), "{workflow}");
        for (name, job) in parsed["jobs"].as_object().unwrap() {
            assert!(job["permissions"].is_object(), "{workflow}: {name}");
            let image = job["container"]["image"].as_str();
            assert!(
                image.is_none_or(|image| image.contains("@sha256:")),
                "{workflow}: {name}"
            );
        }
    }
}

// === The kubectl plugin ===

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key}"))
}

/// The targets that a release builds.
fn targets() -> BTreeSet<String> {
    let workflow = yaml(WORKFLOWS[1]);
    let builds = ["build", "build-for-people"].into_iter().flat_map(|job| {
        let matrix = &workflow["jobs"][job]["strategy"]["matrix"]["include"];
        matrix.as_array().unwrap()
    });
    builds
        .map(|build| text(build, "target").to_owned())
        .collect()
}

#[test]
fn the_krew_manifest_matches_the_archives_of_a_release() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let missing = release(&["krew", "somebody/something", path]).unwrap_err();
    assert!(missing.contains(".tar.gz is missing"), "{missing}");

    for target in targets() {
        let program = dir.path().join(&target);
        fs::write(&program, &target).unwrap();
        release(&["archive", &target, program.to_str().unwrap(), path]).unwrap();
    }
    release(&["krew", "somebody/something", path]).unwrap();

    let manifest = yaml(dir.path().join("token-exposure.yaml"));
    assert_eq!(manifest["metadata"]["name"], "token-exposure");
    assert_eq!(manifest["spec"]["version"], format!("v{VERSION}"));
    let mut seen = BTreeSet::new();
    for platform in manifest["spec"]["platforms"].as_array().unwrap() {
        let place = format!("https://github.com/somebody/something/releases/download/v{VERSION}/");
        let archive = text(platform, "uri").strip_prefix(&place).unwrap();
        let target = archive
            .strip_prefix(&format!("token-exposure-v{VERSION}-"))
            .and_then(|rest| rest.strip_suffix(".tar.gz"))
            .unwrap();
        seen.insert(target.to_owned());
        let architecture = match text(&platform["selector"]["matchLabels"], "arch") {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            other => panic!("{other}"),
        };
        assert!(target.starts_with(architecture), "{target}");
        let (system, suffix) = match text(&platform["selector"]["matchLabels"], "os") {
            "linux" => ("-linux-musl", ""),
            "darwin" => ("-apple-darwin", ""),
            "windows" => ("-windows-gnu", ".exe"),
            other => panic!("{other}"),
        };
        assert!(target.ends_with(system), "{target}");
        let packed = format!("token-exposure{suffix}");

        let bytes = fs::read(dir.path().join(archive)).unwrap();
        let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
        let mut hex = String::new();
        for byte in digest.as_ref() {
            write!(hex, "{byte:02x}").unwrap();
        }
        assert_eq!(text(platform, "sha256"), hex, "{archive}");

        let inside = dir.path().join(format!("inside-{target}"));
        fs::create_dir(&inside).unwrap();
        let unpacked = Command::new("tar")
            .arg("xzf")
            .arg(dir.path().join(archive))
            .current_dir(&inside)
            .status();
        assert!(unpacked.unwrap().success());
        let files = platform["files"].as_array().unwrap();
        let from: BTreeSet<_> = files.iter().map(|file| text(file, "from")).collect();
        assert_eq!(from, BTreeSet::from(["LICENSE", &*packed]));
        assert_eq!(read(inside.join("LICENSE")), read("LICENSE"));
        assert_eq!(read(inside.join(&packed)), target);
        let program = files.iter().find(|file| file["from"] == *packed);
        assert_eq!(program.unwrap()["to"], platform["bin"]);
        assert_eq!(platform["bin"], format!("kubectl-token_exposure{suffix}"));
    }
    assert_eq!(seen, targets());
}

#[test]
fn a_tag_that_differs_from_the_version_is_rejected() {
    let refused = release(&["check", "v0.0.0"]).unwrap_err();
    assert!(
        refused.contains(&format!("Cargo.toml has the version {VERSION}")),
        "{refused}"
    );
}

/// The tests that the threat model names exist.
#[test]
fn the_threat_model_names_tests_that_exist() {
    fn code(dir: &Path) -> String {
        let entries = fs::read_dir(dir).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .map(|path| {
                if path.is_dir() {
                    code(&path)
                } else {
                    fs::read_to_string(path).unwrap_or_default()
                }
            })
            .collect()
    }
    let model = fs::read_to_string("deploy/security.md").unwrap();
    let mut named = 0;
    for program in ["cluster", "offline"] {
        let tests = code(&Path::new("tests").join(program));
        let begin = format!("`{program} ");
        let rest = model.split(&begin).skip(1);
        for name in rest.map(|rest| rest.split('`').next().unwrap()) {
            assert!(tests.contains(&format!("fn {name}")), "{program} {name}");
            named += 1;
        }
    }
    assert!(named >= 15, "{named}");
}
