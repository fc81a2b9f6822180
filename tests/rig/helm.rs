//! The pinned helm, and the chart as it renders it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use serde::Deserialize;
use serde_json::Value;

use super::{ControlPlane, built, run};

/// The chart.
pub const CHART: &str = "deploy/chart";
/// The namespace and the release of the tests, the same as in `deploy/install.yaml`.
pub const RELEASE: &str = "token-exposure";

/// The directory of helm and of the CustomResourceDefinitions of the Prometheus operator.
pub fn tools() -> PathBuf {
    static TOOLS: OnceLock<PathBuf> = OnceLock::new();
    TOOLS.get_or_init(|| built("tests/tools/build.sh")).clone()
}

/// Runs helm without a cluster, unless the environment of the command names one.
fn command(args: &[&str]) -> Command {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("helm");
    let mut command = Command::new(tools().join("helm"));
    command.args(args);
    for part in ["CACHE", "CONFIG", "DATA"] {
        command.env(format!("HELM_{part}_HOME"), &home);
    }
    command.env_remove("KUBECONFIG");
    // It exits too soon to need garbage collection.
    command.env("GOGC", "off");
    command
}

/// Runs helm without a cluster.
pub fn helm(args: &[&str]) -> Output {
    run(&mut command(args), "")
}

/// The chart rendered in the namespace `token-exposure`, or the error.
pub fn render(args: &[&str]) -> Result<String, String> {
    let output = helm(&[&["template", RELEASE, CHART, "-n", RELEASE], args].concat());
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

/// The objects of a rendered chart.
pub fn objects(manifests: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(manifests)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|object| !object.is_null())
        .collect()
}

/// The arguments that a rendered chart gives the controller, without the subcommand.
pub fn controller_args(objects: &[Value]) -> Vec<String> {
    let deployment = objects
        .iter()
        .find(|object| object["kind"] == "Deployment")
        .unwrap();
    let args = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let args = args.as_array().unwrap().iter();
    let mut args: Vec<_> = args.map(|arg| arg.as_str().unwrap().to_owned()).collect();
    assert_eq!(args.remove(0), "controller");
    args
}

/// The values files in `deploy/chart/ci`: each sets other options.
pub fn values_files() -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(CHART).join("ci")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

impl ControlPlane {
    /// Runs helm as an administrator, in the namespace `token-exposure`.
    pub fn try_helm(&self, args: &[&str]) -> Output {
        let mut helm = command(args);
        helm.args(["-n", RELEASE])
            .env("KUBECONFIG", self.kubeconfig());
        run(&mut helm, "")
    }

    /// Runs helm as an administrator; returns its output, or panics with its error.
    pub fn helm(&self, args: &[&str]) -> String {
        let output = self.try_helm(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "helm {args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Installs or upgrades the chart with these values.
    pub fn release(&self, values: &str) -> String {
        let over = ["--take-ownership", "--force-conflicts", "--set", values];
        self.helm(&[&["upgrade", "--install", RELEASE, CHART], &over[..]].concat())
    }

    /// Creates the namespace that `deploy/` ships, which enforces the `restricted` standard.
    pub fn own_namespace(&self) {
        self.kubectl(&["apply", "-f", "deploy/namespace.yaml"]);
    }
}
