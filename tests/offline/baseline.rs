//! `scan --baseline`: only what is new or worse counts, and every format marks what is old, new and fixed.

use std::{fs, path::Path};

use serde_json::Value;

use crate::rig::scan_in;

/// A Deployment of an account.
fn deployment(name: &str, account: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{template: {{spec: {{serviceAccountName: {account}, containers: [{{name: c}}]}}}}}}\n"
    )
}

fn pod(name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{containers: [{{name: c}}]}}\n"
    )
}

/// Binds a role to an account: the role is missing, so this is `Review`.
fn binding(account: &str) -> String {
    format!(
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {account}, namespace: shop}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: empty}}\n\
         subjects: [{{kind: ServiceAccount, name: {account}}}]\n\
         ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: empty}}\nrules: []\n"
    )
}

/// A folder with a baseline, `base.json`, of this input.
fn with_baseline(input: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in.yaml"), input).unwrap();
    let args = [
        "in.yaml",
        "--fail-on",
        "never",
        "--write-baseline",
        "base.json",
    ];
    let (code, _, error) = scan_in(dir.path(), &args);
    assert_eq!(code, 0, "{error}");
    dir
}

/// Scans another input beside the baseline: the exit code, and the counts since.
fn compared(dir: &Path, input: &str, args: &[&str]) -> (i32, String) {
    fs::write(dir.join("in.yaml"), input).unwrap();
    let args = [&["in.yaml", "--baseline", "base.json"], args].concat();
    let (code, table, error) = scan_in(dir, &args);
    let (_, since) = table
        .rsplit_once("; since the baseline: ")
        .unwrap_or_else(|| panic!("{table}{error}"));
    (code, since.trim().to_owned())
}

#[test]
fn only_what_is_new_or_worse_since_the_baseline_fails() {
    let before = deployment("web", "web") + &deployment("db", "db") + &binding("db");
    let dir = with_baseline(&before);
    let same = deployment("web", "web");
    for (input, args, code, since) in [
        (before.clone(), &[][..], 0, "0 new, 2 old"),
        (before.clone(), &["--fail-on", "unknown"], 0, "0 new, 2 old"),
        // A workload under an account that is flagged already is a finding.
        (
            before.clone() + &deployment("job", "web"),
            &[],
            1,
            "1 new, 2 old",
        ),
        (
            before.clone() + &deployment("job", "web"),
            &["--fail-on", "never"],
            0,
            "1 new, 2 old",
        ),
        // From Review to Unneeded; and back, which is milder.
        (
            same.clone() + &deployment("db", "db"),
            &[],
            1,
            "0 new, 1 worse, 1 old",
        ),
        (
            same.clone() + &binding("web") + &deployment("db", "db") + &binding("db"),
            &["--fail-on=review"],
            0,
            "0 new, 2 old",
        ),
        // Something milder is new, but not at the threshold.
        (
            before.clone() + &deployment("x", "x") + &binding("x"),
            &[],
            0,
            "1 new, 2 old",
        ),
        (
            before.clone() + &deployment("x", "x") + &binding("x"),
            &["--fail-on=review"],
            1,
            "1 new, 2 old",
        ),
        (same, &[], 0, "0 new, 1 old, 1 fixed"),
        (String::new(), &[], 0, "0 new, 2 fixed"),
    ] {
        assert_eq!(
            compared(dir.path(), &input, args),
            (code, since.to_owned()),
            "{input}"
        );
    }
}

#[test]
fn what_moves_or_is_renamed_by_a_pipeline_is_not_new() {
    let dir = with_baseline(&(deployment("web", "web") + &pod("run-1") + &pod("fixed")));
    for (input, code, since) in [
        // Another order and other lines.
        (
            format!(
                "# moved\n\n{}{}{}",
                pod("fixed"),
                pod("run-1"),
                deployment("web", "web")
            ),
            0,
            "0 new, 3 old",
        ),
        (
            deployment("web", "web") + &pod("run-2") + &pod("fixed"),
            0,
            "0 new, 3 old",
        ),
        // One pod more is one more.
        (
            deployment("web", "web") + &pod("run-1") + &pod("run-2") + &pod("fixed"),
            1,
            "1 new, 3 old",
        ),
        // Names as `generateName` makes them.
        (
            deployment("web", "web") + &pod("run-x4v7q") + &pod("fixed"),
            0,
            "0 new, 3 old",
        ),
        (
            deployment("web", "web") + &pod("run-2024.11-v1.2.3") + &pod("fixed"),
            0,
            "0 new, 3 old",
        ),
        // A pod with another name is another, also where one is gone.
        (
            deployment("web", "web") + &pod("run-1") + &pod("other"),
            1,
            "1 new, 2 old, 1 fixed",
        ),
        (
            deployment("web", "web") + &pod("walk-1") + &pod("fixed"),
            1,
            "1 new, 2 old, 1 fixed",
        ),
        // A Deployment with another name is another.
        (
            deployment("site", "web") + &pod("run-1") + &pod("fixed"),
            1,
            "1 new, 2 old, 1 fixed",
        ),
    ] {
        assert_eq!(
            compared(dir.path(), &input, &[]),
            (code, since.to_owned()),
            "{input}"
        );
    }
    // Another file.
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::rename(dir.path().join("in.yaml"), dir.path().join("sub/else.yml")).unwrap();
    let (_, table, _) = scan_in(dir.path(), &["sub", "--baseline", "base.json"]);
    assert!(
        table.contains("; since the baseline: 1 new, 2 old, 1 fixed"),
        "{table}"
    );
}

#[test]
fn any_list_of_reports_is_a_baseline() {
    let input = deployment("web", "web") + &deployment("db", "db") + &binding("db");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in.yaml"), &input).unwrap();
    for (format, change) in [
        ("json", None),
        ("yaml", None),
        // A release that has no reasons of workloads, and verdicts and reasons of a later one.
        (
            "json",
            Some(("\n            \"reason\": \"NoPermissions\",", "")),
        ),
        (
            "json",
            Some((
                "\"reason\": \"LatentBinding\"",
                "\"reason\": \"Marvellous\"",
            )),
        ),
    ] {
        let out = format!("{format}=base.json");
        scan_in(
            dir.path(),
            &["in.yaml", "-o", &out, "--report-scope", "all"],
        );
        let mut text = fs::read_to_string(dir.path().join("base.json")).unwrap();
        if let Some((from, to)) = change {
            assert!(text.contains(from), "{text}");
            text = text.replace(from, to);
        }
        fs::write(dir.path().join("base.json"), &text).unwrap();
        let since = match change {
            Some((_, "")) | None => "0 new, 2 old",
            Some(_) => "1 new, 1 old",
        };
        assert_eq!(
            compared(dir.path(), &input, &[]),
            (0, since.to_owned()),
            "{text}"
        );
    }
}

/// What `--write` has mended is new when it returns.
#[test]
fn a_baseline_of_a_mended_input_lacks_what_was_mended() {
    let dir = tempfile::tempdir().unwrap();
    let pod = "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c}]}\n";
    fs::write(dir.path().join("p.yaml"), pod).unwrap();
    let write = [
        "p.yaml",
        "-o",
        "patch",
        "--write",
        "--write-baseline",
        "b.json",
    ];
    let (code, _, error) = scan_in(dir.path(), &write);
    assert_eq!(code, 0, "{error}");
    fs::write(dir.path().join("p.yaml"), pod).unwrap();
    let (code, out, error) = scan_in(dir.path(), &["p.yaml", "--baseline", "b.json"]);
    assert_eq!(code, 1, "{out}{error}");
}

#[test]
fn what_is_no_baseline_is_an_error_with_the_fix() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in.yaml"), pod("web")).unwrap();
    for (content, says) in [
        (
            Some("{\"kind\": \"Baseline\", \"schemaVersion\": 2, \"findings\": []}"),
            "has schema version 2, and this release reads version 1: write it again with `--write-baseline`",
        ),
        (
            Some("{\"kind\": \"Pod\"}"),
            "is neither a file of `--write-baseline` nor a list of reports",
        ),
        (
            Some("{\"items\": [{\"metadata\": {}}]}"),
            "is neither a file of `--write-baseline` nor a list of reports",
        ),
        (Some("{\"items\": []}"), "it has no `kind`"),
        (Some("[]"), "expected an object"),
        (
            Some("{\"kind\": \"Baseline\", \"schemaVersion\": 1, \"findings\": [1]}"),
            "expected a finding",
        ),
        (
            Some(
                "{\"kind\": \"List\", \"items\": [{\"kind\": \"Deployment\", \"metadata\": {\"name\": \"x\"}}]}",
            ),
            "it has objects of kind \"Deployment\"",
        ),
        (
            Some("{\"kind\": \"DeploymentList\", \"items\": []}"),
            "its kind is \"DeploymentList\"",
        ),
        (
            Some("a: ["),
            "is neither a file of `--write-baseline` nor a list of reports",
        ),
        (None, "`--write-baseline` makes a baseline"),
    ] {
        let file = dir.path().join("base.json");
        match content {
            Some(content) => fs::write(&file, content).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let (code, _, error) = scan_in(dir.path(), &["in.yaml", "--baseline", "base.json"]);
        assert_eq!(code, 2, "{error}");
        assert!(
            error.starts_with("error: base.json (of --baseline) ") && error.contains(says),
            "{error}"
        );
    }
}

#[test]
fn a_list_without_reports_is_a_baseline() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("none.yaml"), "").unwrap();
    let (code, list, _) = scan_in(dir.path(), &["none.yaml", "-o", "json"]);
    assert_eq!(code, 0);
    let of_kubectl = "{\"apiVersion\": \"v1\", \"items\": [], \"kind\": \"List\", \"metadata\": {\"resourceVersion\": \"\"}}";
    let raw =
        "{\"kind\": \"TokenExposureReportList\", \"items\": [{\"metadata\": {\"name\": \"x\"}}]}";
    for baseline in [&*list, of_kubectl, raw] {
        fs::write(dir.path().join("base.json"), baseline).unwrap();
        assert_eq!(
            compared(dir.path(), &pod("web"), &[]),
            (1, "1 new".to_owned())
        );
    }
}

/// What could not be read is neither fixed nor forgotten.
#[test]
fn a_part_of_the_input_makes_no_baseline_and_fixes_nothing() {
    let dir = with_baseline(&(deployment("web", "web") + &deployment("db", "db")));
    fs::write(dir.path().join("broken.yaml"), "a: [").unwrap();
    fs::write(dir.path().join("in.yaml"), deployment("web", "web")).unwrap();
    let args = [
        ".",
        "--baseline",
        "base.json",
        "--write-baseline",
        "new.json",
    ];
    let (code, table, error) = scan_in(dir.path(), &args);
    assert_eq!(code, 2);
    assert!(
        table.contains("; since the baseline: 0 new, 1 old\n"),
        "{table}"
    );
    assert!(
        error.contains("what is fixed since the baseline is not known"),
        "{error}"
    );
    assert!(error.contains("error: new.json is not written"), "{error}");
    assert!(!dir.path().join("new.json").exists());
}

/// A new, an old and a fixed finding in each format: a function that prints one.
fn new_old_and_fixed() -> impl Fn(&str) -> String {
    let dir = with_baseline(&(deployment("web", "web") + &deployment("db", "db")));
    let input = deployment("web", "web") + &deployment("new", "web");
    fs::write(dir.path().join("in.yaml"), input).unwrap();
    move |format: &str| {
        let args = ["in.yaml", "--baseline", "base.json", "-o", format];
        let (code, out, error) = scan_in(dir.path(), &args);
        assert_eq!(code, 1, "{error}");
        out
    }
}

/// The fixed one.
const FIXED: &str = "Deployment/db of ServiceAccount shop/db (Unneeded NoPermissions)";

#[test]
fn formats_for_people_mark_what_is_new_old_and_fixed() {
    let (printed, fixed) = (new_old_and_fixed(), FIXED);
    for format in ["table", "wide"] {
        let table = printed(format);
        assert!(
            table.contains("BASELINE") && table.contains("  new       Deployment/new"),
            "{table}"
        );
        assert!(
            table.contains(&format!("fixed since the baseline: {fixed}\n")),
            "{table}"
        );
    }
    let markdown = printed("markdown");
    assert!(
        markdown.contains("| shop/web | **new** **Unneeded** NoPermissions |"),
        "{markdown}"
    );
    assert!(
        markdown.contains("**Fixed since the baseline:**\n\n* Deployment/db of"),
        "{markdown}"
    );
    let patch = printed("patch");
    assert!(patch.contains("# shop/web, Unneeded (new): "), "{patch}");
    assert!(
        patch.contains(&format!("# fixed since the baseline: {fixed}\n")),
        "{patch}"
    );
    let junit = printed("junit");
    assert!(
        junit.contains(&format!(
            "<testcase name=\"fixed: {fixed}\" classname=\"baseline\"/>"
        )),
        "{junit}"
    );
    assert!(junit.contains("failures=\"1\""), "{junit}");
    let html = printed("html");
    assert!(
        html.contains("\"baseline\":\"new\"") && html.contains(&format!("\"fixed\":[\"{fixed}\"]")),
        "{html}"
    );
}

#[test]
fn formats_for_programs_mark_what_is_new_old_and_fixed() {
    let (printed, fixed) = (new_old_and_fixed(), FIXED);
    let sarif: Value = serde_json::from_str(&printed("sarif")).unwrap();
    let run = &sarif["runs"][0];
    let results = run["results"].as_array().unwrap();
    let states: Vec<_> = results
        .iter()
        .map(|result| {
            let name = &result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"];
            (
                name.as_str().unwrap(),
                result["baselineState"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        states,
        [
            ("shop/Deployment/new", "new"),
            ("shop/Deployment/web", "unchanged")
        ]
    );
    let notes = run["invocations"][0]["toolExecutionNotifications"].to_string();
    assert!(
        notes.contains(&format!("fixed since the baseline: {fixed}")),
        "{notes}"
    );

    for format in ["json", "yaml"] {
        let list: Value = serde_yaml::from_str(&printed(format)).unwrap();
        let items = list["items"].as_array().unwrap();
        let annotations: Vec<_> = items
            .iter()
            .map(|item| {
                let annotation = |key: &str| {
                    item["metadata"]["annotations"][format!("tokenexposure.io/{key}")].as_str()
                };
                (
                    item["metadata"]["name"].as_str().unwrap(),
                    annotation("baseline"),
                    annotation("baseline-new"),
                    annotation("baseline-fixed"),
                )
            })
            .collect();
        assert_eq!(
            annotations,
            [
                ("db", Some("fixed"), None, Some("Deployment/db")),
                ("web", Some("new"), Some("Deployment/new"), None),
            ]
        );
        // Nothing of the account that is fixed is left.
        assert_eq!(items[0]["status"]["verdict"], "NoToken");
        assert_eq!(list["metadata"], Value::Null, "a List takes no annotations");
    }
}
