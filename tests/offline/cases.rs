//! `scan` on small inputs made after what people reported, if they are available: each has the right answers beside it.
#![allow(clippy::print_stderr, reason = "skipped tests are reported")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::Value;

use crate::rig::scan_files;

#[test]
fn every_reported_case_has_its_right_answer() {
    let cases = PathBuf::from("../shared/cases");
    if !cases.is_dir() {
        eprintln!("skipped: ../shared/cases is not here");
        return;
    }
    let entries = fs::read_dir(cases)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    let mut wrong = Vec::new();
    for folder in &folders {
        let case = folder.file_name().unwrap().to_str().unwrap();
        let (reports, ..) = scan_files(&[&folder.join("in.yaml")], &[]);
        let found: BTreeMap<_, _> = reports.iter().map(answer).collect();
        let expected = fs::read_to_string(folder.join("expected")).unwrap();
        let expected: Vec<_> = expected
            .lines()
            .filter_map(|line| line.split_once(' '))
            .collect();
        assert_ne!(expected, [], "{case}");
        let differs = |(account, answer): &(&str, &str)| {
            let found = found.get(*account).map_or("no report", String::as_str);
            (found != *answer).then(|| format!("{case}: {account} {found}, not {answer}"))
        };
        wrong.extend(expected.iter().filter_map(differs));
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(!folders.is_empty());
}

/// The account of a report, and its verdict and reason.
fn answer(report: &Value) -> (String, String) {
    let word = |part: &str, field: &str| report[part][field].as_str().unwrap().to_owned();
    (
        format!(
            "{}/{}",
            word("metadata", "namespace"),
            word("metadata", "name")
        ),
        format!("{} {}", word("status", "verdict"), word("status", "reason")),
    )
}
