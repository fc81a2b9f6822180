//! `scan` on real manifests of public projects, if they are available.
#![allow(clippy::print_stderr, reason = "skipped tests are reported")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use serde_json::{Value, json};

use crate::rig::scan_files;

fn corpus() -> Option<PathBuf> {
    let corpus = PathBuf::from("../shared/corpus");
    if !corpus.is_dir() {
        eprintln!("skipped: ../shared/corpus is not here");
        return None;
    }
    Some(corpus)
}

fn table(corpus: &Path, name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(corpus.join(name)).unwrap();
    text.lines()
        .skip(1)
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

/// The reports for each set of files, by the name of the set.
fn answers(corpus: &Path) -> &'static BTreeMap<String, Vec<Value>> {
    static ANSWERS: OnceLock<BTreeMap<String, Vec<Value>>> = OnceLock::new();
    ANSWERS.get_or_init(|| ask(corpus))
}

fn ask(corpus: &Path) -> BTreeMap<String, Vec<Value>> {
    let answer = |row: Vec<String>| {
        let [set, namespace, files] = &row[..3] else {
            panic!("{row:?}")
        };
        let files = files.split([' ', ';', ',']);
        let files = files.filter(|file| !file.is_empty());
        let files: Vec<_> = files.map(|file| corpus.join(file)).collect();
        let paths: Vec<_> = files.iter().map(PathBuf::as_path).collect();
        let (reports, ..) = scan_files(&paths, &["-n", namespace]);
        (set.clone(), reports)
    };
    table(corpus, "SETS.tsv").into_iter().map(answer).collect()
}

/// `namespace/name` of a report.
fn account(report: &Value) -> String {
    let word = |field: &str| report["metadata"][field].as_str().unwrap();
    format!("{}/{}", word("namespace"), word("name"))
}

#[test]
fn every_verdict_on_the_corpus_is_as_reviewed() {
    let Some(corpus) = corpus() else { return };
    let line = |report: &Value| {
        let status = &report["status"];
        let word = |field: &str| status[field].as_str().unwrap();
        let (account, names) = (account(report), word("workloadNames"));
        let (verdict, reason) = (word("verdict"), word("reason"));
        let consumers = match status["consumers"].as_array() {
            Some(consumers) => format!(" {}", json!(consumers)),
            None => String::new(),
        };
        format!("  {account} {verdict}/{reason} {names}{consumers}")
            .trim_end()
            .to_owned()
    };
    let mut lines = Vec::new();
    for (set, reports) in answers(&corpus) {
        lines.push(set.clone());
        lines.extend(reports.iter().map(line));
    }
    insta::assert_snapshot!("corpus", lines.join("\n"));
}

#[test]
fn verdicts_match_the_analysis_of_the_corpus() {
    let Some(corpus) = corpus() else { return };
    let answers = answers(&corpus);
    let golden = table(&corpus, "GOLDEN.tsv");
    assert!(!golden.is_empty());
    for row in golden {
        let [set, account, _, grants, verdict] = &row[..5] else {
            panic!("{row:?}")
        };
        let reports = &answers[set];
        let report = reports
            .iter()
            .find(|report| self::account(report) == *account);
        let report = report.unwrap_or_else(|| panic!("{set}: no report for {account}"));
        let expected = match verdict.as_str() {
            "unneeded" => "Unneeded",
            "no-token" => "NoToken",
            // The program has another verdict for permissions that are only inherited.
            "needed" if grants.contains("(Group system:serviceaccounts)") => "Review",
            "needed" => "Needed",
            other => panic!("unknown verdict {other}"),
        };
        assert_eq!(
            report["status"]["verdict"], expected,
            "{set}, {account}: {}",
            report["status"]["message"]
        );
    }
}

#[test]
fn every_file_of_the_corpus_is_read_or_gets_a_clear_error() {
    let Some(corpus) = corpus() else { return };
    let (_, _, error) = scan_files(&[&corpus], &[]);
    // One file has a list in place of its pod template's spec, one in place of its annotations.
    let problems: Vec<_> = error
        .lines()
        .filter(|line| line.starts_with("error"))
        .collect();
    let expected = [
        "ServiceAccountTokensUNKNOWN.yaml:1: Deployment myapp-deployment: `spec.template.spec",
        "mysecretname.yaml:1: Secret mysecretname: `metadata.annotations`",
    ];
    assert_eq!(problems.len(), expected.len(), "{error}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.contains(expected), "{error}");
    }
}
