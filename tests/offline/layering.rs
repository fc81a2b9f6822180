//! Imports go downwards only, and never between the three rims; the core has no input or output.

use std::{collections::BTreeSet, fs, path::Path};

use walkdir::WalkDir;

/// Which rooms each room may import; `lib.rs` draws it.
const ALLOWED: [(&str, &[&str]); 12] = [
    ("model", &[]),
    ("rbac", &["model"]),
    ("token", &["model"]),
    ("api", &["model"]),
    ("facts", &["api", "model"]),
    ("assess", &["rbac", "token", "model"]),
    ("index", &["facts", "assess", "rbac", "token", "model"]),
    ("source", &["index", "facts", "rbac", "token", "model"]),
    ("controller", &["index", "facts", "api", "model"]),
    ("output", &["api", "model"]),
    (
        "cli",
        &[
            "source",
            "controller",
            "output",
            "index",
            "api",
            "token",
            "model",
        ],
    ),
    ("main", &["cli"]),
];

/// What the core must not know: clients, tasks, logs, clocks, files.
const CORE: [&str; 6] = ["model", "rbac", "token", "facts", "assess", "index"];
const FOREIGN: [&str; 9] = [
    "kube::",
    "tokio",
    "futures",
    "tracing",
    "std::fs",
    "std::net",
    "std::io",
    "std::process",
    "std::time",
];

fn sources() -> impl Iterator<Item = (String, String)> {
    let files = WalkDir::new("src").into_iter().map(Result::unwrap);
    files
        .filter(|file| {
            file.path()
                .extension()
                .is_some_and(|extension| extension == "rs")
        })
        .map(|file| {
            let room = file
                .path()
                .components()
                .nth(1)
                .unwrap()
                .as_os_str()
                .to_str()
                .unwrap();
            (room.trim_end_matches(".rs").to_owned(), code(file.path()))
        })
}

/// A file without its tests and comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The rooms that a file names: `crate::room`, and those in `use crate::{…}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            None => drop(rooms.insert(word(after))),
            Some(group) => {
                let mut depth = 0;
                let mut begins = true;
                for (place, character) in group.char_indices() {
                    match character {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => begins = true,
                        _ if begins && character.is_alphabetic() => {
                            rooms.insert(word(&group[place..]));
                            begins = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    rooms
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|character| character.is_alphanumeric() || *character == '_')
        .collect()
}

#[test]
fn imports_go_downwards_only() {
    for (room, code) in sources().filter(|(room, _)| room != "lib") {
        let allowed = ALLOWED.iter().find(|(name, _)| *name == room);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("room `{room}` is not in the drawing"));
        for import in imports(&code) {
            assert!(
                import == room || allowed.contains(&&*import),
                "`{room}` must not import `{import}`"
            );
        }
    }
}

#[test]
fn the_core_has_no_input_or_output() {
    for (room, code) in sources().filter(|(room, _)| CORE.contains(&&**room)) {
        for foreign in FOREIGN {
            assert!(
                !code.contains(foreign),
                "`{room}` must not know `{foreign}`"
            );
        }
        assert!(!code.contains("async "), "`{room}` must not wait");
    }
}

/// Tests left out, with comments and blank lines.
#[test]
fn no_file_has_more_than_500_lines() {
    for file in WalkDir::new("src").into_iter().map(Result::unwrap) {
        let Ok(text) = fs::read_to_string(file.path()) else {
            continue;
        };
        let is_code = file
            .path()
            .extension()
            .is_some_and(|extension| extension == "rs");
        let own = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        let lines = own.lines().count();
        let is_test = file.path().ends_with("tests.rs");
        assert!(
            !is_code || is_test || lines <= 500,
            "{}: {lines}",
            file.path().display()
        );
    }
}

#[test]
fn grouped_imports_are_seen() {
    let code = "use crate::{\n    a::{b, c},\n    d,\n};\nfn f() { crate::e::g() }";
    assert_eq!(imports(code), ["a", "d", "e"].map(str::to_owned).into());
}
