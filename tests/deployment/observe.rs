//! Metrics, alerts and dashboard, with promtool and a real Prometheus.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::Path,
    sync::OnceLock,
};

use serde_json::{Value, json};
use token_exposure::model::Verdict;

use crate::rig::{
    ControlPlane, Controller,
    audit::{Certificates, batch, discovery},
    await_that, fresh_section,
    helm::{objects, render},
    prometheus::{ALERTS, Prometheus, promtool},
};

const README: &str = "deploy/chart/README.md";
const DASHBOARD: &str = "deploy/chart/files/dashboard.json";
/// Cases in which each alert fires, and in which it does not.
const ALERT_CASES: [&str; 2] = ["tests/alerts.yaml", "tests/alerts_of_days.yaml"];
const RUNBOOKS: &str = "deploy/runbooks";

/// A cluster in which every metric has a series: findings, an exemption that ends soon, a change of
/// verdict, and denied writes until their [permissions are restored](restore_permissions). Tests share it.
fn observed() -> (&'static ControlPlane, &'static Controller) {
    static OBSERVED: OnceLock<(ControlPlane, Controller)> = OnceLock::new();
    let (plane, controller) = OBSERVED.get_or_init(observe);
    (plane, controller)
}

fn observe() -> (ControlPlane, Controller) {
    let plane = ControlPlane::start(&[]);
    plane.namespace("shop");
    let day = jiff::Timestamp::now()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    let soon = day.checked_add(jiff::Span::new().days(5)).unwrap();
    plane.kubectl(&["-n", "shop", "create", "serviceaccount", "kept"]);
    let until = format!("tokenexposure.io/exempt-until={soon}");
    let exempt = [
        "annotate",
        "serviceaccount",
        "kept",
        "tokenexposure.io/exempt=why",
        &until,
    ];
    plane.kubectl(&[&["-n", "shop"], &exempt[..]].concat());
    let run = |name: &str, account: &str| {
        let overrides = format!(r#"--overrides={{"spec":{{"serviceAccountName":"{account}"}}}}"#);
        plane.kubectl(&["-n", "shop", "run", name, "--image=nginx", &overrides]);
    };
    run("web", "default");
    run("kept", "kept");
    let (kubeconfig, log) = (plane.own_kubeconfig(), plane.file("controller.log"));
    let certificates = Certificates::new();
    let listen = certificates.controller_flags("127.0.0.1:0");
    let args = ["--kubeconfig", kubeconfig.to_str().unwrap(), "--events"];
    let args: Vec<&str> = args
        .into_iter()
        .chain(listen.iter().map(String::as_str))
        .collect();
    let controller = Controller::start_detached(&args, log);
    controller.await_ready();
    plane.await_report("shop", "default", Some(("Unneeded", "NoPermissions")));
    let events = batch(&[discovery("shop", "default", "1")]);
    let sent = certificates.post(&controller.audit_address(), Some("client"), None, events);
    assert_eq!(sent, Some(200));
    plane.await_report("shop", "kept", Some(("Exempted", "Exemption")));
    plane.kubectl(&["delete", "clusterrolebinding", "token-exposure"]);
    plane.kubectl(&["-n", "shop", "create", "serviceaccount", "late"]);
    run("late", "late");
    let errors = r#"token_exposure_report_errors_total{cause="forbidden"}"#;
    await_that("writes are denied", || controller.metric(errors) >= 1.0);
    (plane, controller)
}

/// Restores the controller's permissions.
fn restore_permissions(plane: &ControlPlane) {
    plane.kubectl(&["apply", "--server-side", "-f", "deploy/install.yaml"]);
}

/// A family of metrics in a scrape.
#[derive(Default)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// The families of an exposition text.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some((name, help)) = line
            .strip_prefix("# HELP ")
            .and_then(|rest| rest.split_once(' '))
        {
            name.clone_into(&mut current);
            help.clone_into(&mut families.entry(current.clone()).or_default().help);
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            kind.clone_into(&mut families.get_mut(name).unwrap().kind);
        } else {
            let family = families.get_mut(&current).unwrap();
            let labels = line
                .split_once('{')
                .map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
            let names = labels
                .split(',')
                .filter_map(|label| label.split_once("=\""));
            family.labels.extend(names.map(|(name, _)| name.to_owned()));
        }
    }
    families
}

#[test]
fn the_metrics_of_the_readme_are_written_from_a_scrape_that_promtool_accepts() {
    let (_plane, controller) = observed();
    let (_, text) = controller.get("/metrics").unwrap();
    let checked = promtool(&["check", "metrics"], &text);
    let said = String::from_utf8(checked.stderr).unwrap();
    assert_eq!((checked.status.success(), &*said), (true, ""));

    let mut table = "| metric | type | labels | what it tells |\n|---|---|---|---|\n".to_owned();
    for (
        name,
        Family {
            kind,
            help,
            mut labels,
        },
    ) in families(&text)
    {
        labels.remove("le");
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(
            table,
            "| `{name}` | {kind} | {} | {help} |",
            labels.join(", ")
        )
        .unwrap();
    }
    fresh_section(README, "metrics", &table);
}

fn alerts() -> Vec<Value> {
    let alerts: Value = serde_yaml::from_str(&fs::read_to_string(ALERTS).unwrap()).unwrap();
    alerts["groups"][0]["rules"].as_array().unwrap().clone()
}

fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(DASHBOARD).unwrap()).unwrap();
    dashboard["panels"].as_array().unwrap().clone()
}

/// The expressions of the dashboard with the titles of their panels; variables are filled in.
fn queries() -> Vec<(String, String)> {
    let of = |panel: &Value| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        let filled = move |target: Value| {
            let expression = target["expr"].as_str().unwrap();
            let filled = expression
                .replace("$namespace", ".*")
                .replace("$__rate_interval", "1m");
            (title.clone(), filled)
        };
        targets.into_iter().map(filled)
    };
    panels().iter().flat_map(of).collect()
}

#[test]
fn each_panel_and_each_alert_has_samples_in_a_real_prometheus() {
    let (plane, controller) = observed();
    let prometheus = Prometheus::scraping(controller.address());
    await_that("writes are denied again", || {
        prometheus
            .samples("increase(token_exposure_report_errors_total[1m])")
            .iter()
            .any(|more| *more > 0.0)
    });
    restore_permissions(plane);
    plane.await_report("shop", "late", Some(("Unneeded", "NoPermissions")));
    let count = "rate(token_exposure_event_to_report_seconds_count[1m]) > 0";
    await_that("Prometheus has the writes", || {
        !prometheus.samples(count).is_empty()
    });

    for (title, query) in queries() {
        let samples = prometheus.samples(&query);
        assert!(
            samples.iter().any(|sample| sample.is_finite()),
            "{title}: {query}: {samples:?}"
        );
    }
    assert!(
        prometheus
            .samples(r#"token_exposure_finding_pods{namespace="shop"}"#)
            .len()
            == 2,
        "the labels of the program are kept, and an exempted account is no finding"
    );

    // Every rule is evaluated without an error; two are pending, as they should be.
    let waiting = [
        "TokenExposureReportWritesFailing",
        "TokenExposureExemptionEnds",
    ];
    let rules = || {
        prometheus.api("rules")["data"]["groups"][0]["rules"]
            .as_array()
            .unwrap()
            .clone()
    };
    await_that("the rules are evaluated", || {
        rules().iter().all(|rule| rule["health"] != "unknown")
    });
    let names: Vec<_> = alerts()
        .iter()
        .map(|alert| alert["alert"].clone())
        .collect();
    assert_eq!(
        rules()
            .iter()
            .map(|rule| rule["name"].clone())
            .collect::<Vec<_>>(),
        names
    );
    for rule in rules() {
        assert_eq!(rule["health"], "ok", "{rule}");
        // Denied writes waited a moment ago.
        if rule["name"] == "TokenExposureWritesDelayed" {
            continue;
        }
        let expected = if waiting.contains(&rule["name"].as_str().unwrap()) {
            "pending"
        } else {
            "inactive"
        };
        assert_eq!(rule["state"], expected, "{rule}");
    }

    queries_use_existing_series(controller);
}

/// A scrape has every label and value that alerts and panels use: `or vector(0)` would hide a missing one.
fn queries_use_existing_series(controller: &Controller) {
    let (_, text) = controller.get("/metrics").unwrap();
    let families = families(&text);
    let mut labels: BTreeSet<_> = families
        .values()
        .flat_map(|family| family.labels.clone())
        .collect();
    // The Prometheus operator adds the pod of the replica.
    labels.insert("pod".to_owned());
    let verdicts = Verdict::ALL.map(Verdict::name);
    let of_alerts = alerts()
        .into_iter()
        .map(|alert| alert["expr"].as_str().unwrap().to_owned());
    for expression in of_alerts.chain(queries().into_iter().map(|(_, query)| query)) {
        let is_label = |name: &str| {
            assert!(labels.contains(name), "{name} of {expression}");
        };
        let part_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
        for word in expression.split(|letter| !part_of_word(letter)) {
            let family = word.trim_end_matches("_bucket");
            let known = !word.starts_with("token_exposure_") || families.contains_key(family);
            assert!(known, "{word} of {expression}");
        }
        for (_, rest) in expression
            .match_indices("by (")
            .map(|(at, by)| expression.split_at(at + by.len()))
        {
            rest.split_once(')')
                .unwrap()
                .0
                .split(", ")
                .for_each(is_label);
        }
        for (at, _) in expression.match_indices('{') {
            let selector = expression[at + 1..].split_once('}').unwrap().0;
            for matcher in selector
                .split(", ")
                .flat_map(|matchers| matchers.split(','))
            {
                let (label, value) = matcher.split_once(['=', '~']).unwrap();
                let label = label.trim_end_matches('!');
                is_label(label);
                let value = value.trim_start_matches('~').trim_matches('"');
                let known =
                    label != "verdict" || value.split('|').all(|one| verdicts.contains(&one));
                assert!(known, "{value} of {expression}");
            }
        }
    }
}

#[test]
fn each_alert_fires_when_it_should_and_is_silent_otherwise() {
    for args in [
        ["check", "rules", ALERTS],
        ["test", "rules", ALERT_CASES[0]],
        ["test", "rules", ALERT_CASES[1]],
    ] {
        let output = promtool(&args, "");
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let cases = ALERT_CASES.iter().flat_map(|file| {
        let file: Value = serde_yaml::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let tests = file["tests"].as_array().unwrap().clone();
        tests.into_iter().flat_map(|mut test| {
            let cases = test["alert_rule_test"].take();
            cases.as_array().unwrap().clone()
        })
    });
    let cases: Vec<Value> = cases.collect();
    for alert in alerts() {
        let of_it = cases
            .iter()
            .filter(|case| case["alertname"] == alert["alert"]);
        let fires: BTreeSet<_> = of_it.map(|case| case["exp_alerts"].is_array()).collect();
        assert_eq!(fires, [false, true].into(), "{}", alert["alert"]);
    }
}

#[test]
fn each_alert_has_a_runbook_and_links_to_it() {
    let headings = ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation"];
    let mut wanted = BTreeSet::new();
    let rendered = render(&["--set", "metrics.prometheusRule.enabled=true,metrics.prometheusRule.runbookUrl=https://wiki.example.org/"]).unwrap();
    let rule = objects(&rendered)
        .into_iter()
        .find(|object| object["kind"] == "PrometheusRule")
        .unwrap();
    let rules = rule["spec"]["groups"][0]["rules"]
        .as_array()
        .unwrap()
        .clone();
    for (alert, rule) in alerts().into_iter().zip(rules) {
        let name = alert["alert"].as_str().unwrap();
        let file = format!("{name}.md");
        let text = fs::read_to_string(Path::new(RUNBOOKS).join(&file))
            .unwrap_or_else(|_| panic!("{name} has no runbook"));
        let found: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
        assert_eq!(found, [&[&*format!("# {name}")], &headings[..]].concat());
        let mut expected = alert.clone();
        expected["annotations"]["runbook_url"] = format!("https://wiki.example.org/{file}").into();
        assert_eq!(rule, expected, "the chart ships the tested rule");
        wanted.insert(file);
    }
    let there = fs::read_dir(RUNBOOKS)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.collect::<BTreeSet<_>>(), wanted);
}

#[test]
fn the_chart_ships_the_dashboard_and_each_panel_has_a_description() {
    let rendered = render(&["--set", "metrics.dashboards.enabled=true"]).unwrap();
    let map = objects(&rendered)
        .into_iter()
        .find(|object| object["kind"] == "ConfigMap")
        .unwrap();
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let data: Value =
        serde_json::from_str(map["data"]["token-exposure.json"].as_str().unwrap()).unwrap();
    assert_eq!(data["panels"], json!(panels()));
    let rows = panels().into_iter().filter(|panel| panel["type"] == "row");
    assert!(panels().len() - rows.count() <= 20);
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels() {
        assert!(ids.insert(panel["id"].as_i64()), "{panel}");
        let at = |field: &str| panel["gridPos"][field].as_i64().unwrap();
        for cell in (at("x")..at("x") + at("w"))
            .flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(
                cell.0 < 24 && cells.insert(cell),
                "two panels at {cell:?}: {panel}"
            );
        }
        if !["row", "text"].contains(&panel["type"].as_str().unwrap()) {
            assert!(
                panel["description"]
                    .as_str()
                    .is_some_and(|text| text.ends_with('.')),
                "{panel}"
            );
            assert_eq!(panel["datasource"]["uid"], "${datasource}");
            assert!(
                panel["fieldConfig"]["defaults"]["unit"].is_string(),
                "{panel}"
            );
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
        }
    }
}
