//! Imports only go downwards, and never between the three rims; the core has no input or output.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use walkdir::WalkDir;

/// A row of the table of rooms in `src/lib.rs`.
struct Room {
    name: String,
    imports: BTreeSet<String>,
    is_planned: bool,
}

/// The table of rooms, from the lowest to the highest.
fn rooms() -> Vec<Room> {
    let text = fs::read_to_string("src/lib.rs").unwrap();
    let table = text
        .split("| room | question it answers | imports |")
        .nth(1);
    let rows = table.unwrap().lines().skip(2);
    rows.map_while(|line| line.strip_prefix("//! | "))
        .map(|row| {
            let cells: Vec<_> = row.split('|').collect();
            let words = |cell: &str| -> Vec<String> {
                cell.split('`')
                    .skip(1)
                    .step_by(2)
                    .map(str::to_owned)
                    .collect()
            };
            Room {
                name: words(cells[0]).remove(0),
                imports: words(cells[2]).into_iter().collect(),
                is_planned: cells[0].contains("planned"),
            }
        })
        .collect()
}

/// What the core must not use: clients, tasks, logs, clocks, files.
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

/// The rooms that a file imports: `crate::room`, and those in `use crate::{…}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    // The binary uses the name of the library.
    let code = code.replace("token_exposure::", "crate::");
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
fn each_room_imports_exactly_what_the_table_says() {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (room, code) in sources().filter(|(room, _)| room != "lib") {
        let mut imports = imports(&code);
        imports.remove(&room);
        found.entry(room).or_default().extend(imports);
    }
    let (planned, built): (Vec<_>, Vec<_>) = rooms().into_iter().partition(|room| room.is_planned);
    for room in planned {
        let name = room.name;
        assert!(
            !found.contains_key(&name),
            "`{name}` exists, but the table calls it planned"
        );
    }
    let drawn: BTreeMap<_, _> = built
        .into_iter()
        .map(|room| (room.name, room.imports))
        .collect();
    assert_eq!(found, drawn);
}

#[test]
fn no_room_imports_one_below_it_in_the_table() {
    let mut above: BTreeSet<String> = BTreeSet::new();
    for room in rooms().into_iter().filter(|room| !room.is_planned) {
        let upward: Vec<_> = room.imports.difference(&above).collect();
        assert!(upward.is_empty(), "`{}` imports {upward:?}", room.name);
        above.insert(room.name);
    }
    assert!(above.len() > 10, "the table was not found");
}

#[test]
fn the_core_has_no_input_or_output() {
    for (room, code) in sources().filter(|(room, _)| CORE.contains(&&**room)) {
        for foreign in FOREIGN {
            assert!(!code.contains(foreign), "`{room}` must not use `{foreign}`");
        }
        assert!(!code.contains("async "), "`{room}` must not be async");
    }
}

/// The lines of a file up to its tests, with comments and blank lines.
fn own_lines() -> impl Iterator<Item = (PathBuf, Vec<String>)> {
    let files = WalkDir::new("src").into_iter().map(Result::unwrap);
    files
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|path| !path.ends_with("tests.rs"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let own = text.split("#[cfg(test)]\nmod tests {").next();
            let lines = own.unwrap_or_default().lines().map(str::to_owned);
            (path, lines.collect())
        })
}

#[test]
fn no_file_has_more_than_400_lines() {
    for (path, lines) in own_lines() {
        assert!(lines.len() <= 400, "{}: {}", path.display(), lines.len());
    }
}

/// A function ends at the first closing brace in the column of its first line.
#[test]
fn no_function_has_more_than_60_lines() {
    let mut functions = 0;
    for (path, lines) in own_lines() {
        let starts = lines.iter().enumerate().filter(|(_, line)| {
            let words = line.split('(').next().unwrap_or_default();
            words.split_whitespace().any(|word| word == "fn")
                && !line.trim_start().starts_with("//")
        });
        for (start, line) in starts {
            let column = line.len() - line.trim_start().len();
            let closing = format!("{}}}", " ".repeat(column));
            let length = lines[start..].iter().position(|line| *line == closing);
            let length = length.map_or(1, |last| last + 1);
            assert!(length <= 60, "{}:{}: {length}", path.display(), start + 1);
            functions += 1;
        }
    }
    assert!(functions > 300, "only {functions} functions were found");
}

#[test]
fn grouped_imports_are_found() {
    let code = "use crate::{\n    a::{b, c},\n    d,\n};\nfn f() { crate::e::g() }";
    assert_eq!(imports(code), ["a", "d", "e"].map(str::to_owned).into());
}
