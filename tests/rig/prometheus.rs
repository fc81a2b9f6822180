//! A real Prometheus that scrapes the controller, and promtool.

use std::{
    fmt::Write,
    fs,
    net::TcpListener,
    process::{Child, Command, Output, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{await_that, get, run};

/// The alert rules of the chart.
pub const ALERTS: &str = "deploy/chart/files/alerts.yaml";

/// A running Prometheus; it is killed when this value is dropped.
pub struct Prometheus {
    process: Child,
    address: String,
    _dir: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes an address every second, as the chart's monitors do, and evaluates the
    /// chart's rules.
    pub fn scraping(target: &str) -> Self {
        Self::start(&[target], &fs::read_to_string(ALERTS).unwrap(), "")
    }

    /// Starts one that scrapes several replicas, evaluates these rules, and contains the samples of an
    /// OpenMetrics text.
    pub fn start(replicas: &[&str], rules: &str, history: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        if !history.is_empty() {
            let text = write("history", history);
            let (text, blocks) = (text.to_str().unwrap(), dir.path().to_str().unwrap());
            let written = promtool(
                &["tsdb", "create-blocks-from", "openmetrics", text, blocks],
                "",
            );
            assert!(
                written.status.success(),
                "{}",
                String::from_utf8_lossy(&written.stderr)
            );
        }
        // The labels that the monitors' targets have.
        let target = |(number, address)| {
            let labels =
                json!({ "namespace": "token-exposure", "pod": format!("replica-{number}") });
            json!({ "targets": [address], "labels": labels })
        };
        let config = json!({
            "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
            "rule_files": [write("rules.yml", rules)],
            "scrape_configs": [{
                "job_name": "token-exposure",
                "honor_labels": true,
                "static_configs": (1..).zip(replicas).map(target).collect::<Vec<_>>(),
            }],
        });
        let file = write("prometheus.yml", &config.to_string());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let address = port.unwrap().to_string();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--log.level=warn"])
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is installed: `make test` does that");
        let prometheus = Self {
            process,
            address,
            _dir: dir,
        };
        await_that("Prometheus is ready", || {
            get(&prometheus.address, "/-/ready").is_some_and(|(code, _)| code == 200)
        });
        prometheus
    }

    /// A response of its API.
    pub fn api(&self, path: &str) -> Value {
        let (code, body) = get(&self.address, &format!("/api/v1/{path}")).unwrap();
        assert_eq!(code, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The firing alerts with this name.
    pub fn firing(&self, alert: &str) -> Vec<Value> {
        let alerts = self.api("alerts")["data"]["alerts"].take();
        let mut alerts = alerts.as_array().unwrap().clone();
        alerts.retain(|one| one["state"] == "firing" && one["labels"]["alertname"] == alert);
        alerts
    }

    /// The values of the samples that an expression evaluates to.
    pub fn samples(&self, expression: &str) -> Vec<f64> {
        let mut query = String::new();
        for byte in expression.bytes() {
            write!(query, "%{byte:02X}").unwrap();
        }
        let answer = self.api(&format!("query?query={query}"));
        let result = answer["data"]["result"].as_array().unwrap().iter();
        result
            .map(|sample| sample["value"][1].as_str().unwrap().parse().unwrap())
            .collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs promtool.
pub fn promtool(args: &[&str], stdin: &str) -> Output {
    run(Command::new("promtool").args(args), stdin)
}
