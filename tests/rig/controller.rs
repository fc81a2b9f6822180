//! A controller process, its log and its metrics.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{PATIENCE, await_that, get, holds_within, program_path, signal};

/// The subcommand, on a free port.
const LISTEN: [&str; 3] = ["controller", "--bind-address", "127.0.0.1:0"];

/// A running controller; it is killed when this value is dropped.
pub struct Controller {
    process: Child,
    /// Of one that ends with the tests: it runs until this closes.
    _stdin: Option<ChildStdin>,
    address: String,
    log: PathBuf,
    _dir: Option<TempDir>,
}

impl Controller {
    /// Starts one, and waits until it listens.
    pub fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[])
    }

    /// Starts one of another program.
    pub fn start_program(program: &Path, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut command = Command::new(program);
        command.args(LISTEN).args(args);
        Self::run(command, log, Some(dir))
    }

    /// Starts one with additional environment variables.
    pub fn start_with(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut command = Command::new(program_path());
        command.args(LISTEN).args(args);
        command.envs(environment.iter().copied());
        Self::run(command, log, Some(dir))
    }

    /// Starts one that is never dropped: it ends with this process.
    pub fn start_detached(args: &[&str], log: PathBuf) -> Self {
        let mut command = Command::new("sh");
        let script = r#""$@" & cat >/dev/null; kill $!"#;
        command.args(["-c", script, "sh"]).arg(program_path());
        command.args(LISTEN).args(args).stdin(Stdio::piped());
        Self::run(command, log, None)
    }

    /// Starts one as in a pod: the files of a directory stand where the kubelet mounts token, namespace and CA. `None`
    /// where a process may not mount.
    pub fn start_in_pod(files: &Path, host: &str, port: &str) -> Option<Self> {
        let place = "/run/secrets/kubernetes.io/serviceaccount";
        let mount =
            format!("mount -t tmpfs none /run && mkdir -p {place} && mount --bind \"$0\" {place}");
        let pod = |then: &str| {
            let mut pod = Command::new("unshare");
            pod.args(["--mount", "sh", "-c", &format!("{mount} && {then}")]);
            pod.arg(files);
            pod
        };
        let may = pod("true").output();
        may.ok().filter(|output| output.status.success())?;
        let mut command = pod("exec \"$@\"");
        command.arg(program_path()).args(LISTEN);
        command.envs([
            ("KUBERNETES_SERVICE_HOST", host),
            ("KUBERNETES_SERVICE_PORT", port),
        ]);
        command.env_remove("KUBECONFIG");
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        Some(Self::run(command, log, Some(dir)))
    }

    fn run(mut command: Command, log: PathBuf, dir: Option<TempDir>) -> Self {
        command.stderr(fs::File::create(&log).unwrap());
        let mut process = command.spawn().unwrap();
        let mut controller = Self {
            _stdin: process.stdin.take(),
            process,
            address: String::new(),
            log,
            _dir: dir,
        };
        await_that("the controller listens", || {
            let log = controller.log();
            assert!(
                controller.process.try_wait().unwrap().is_none(),
                "the controller exited: {log}"
            );
            let address = log
                .split("address=")
                .nth(1)
                .and_then(|rest| rest.split_whitespace().next());
            address
                .unwrap_or_default()
                .clone_into(&mut controller.address);
            address.is_some()
        });
        controller
    }

    /// Waits until it is ready: it has read the cluster.
    pub fn await_ready(&self) {
        self.await_ready_within(PATIENCE);
    }

    /// The same, of a large cluster.
    pub fn await_ready_within(&self, time: Duration) {
        let is_ready = || self.get("/readyz").is_some_and(|(code, _)| code == 200);
        let was_ready = holds_within(time, Duration::from_millis(50), is_ready);
        assert!(was_ready, "the controller is not ready: {}", self.log());
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The address that receives audit events.
    pub fn audit_address(&self) -> String {
        let log = self.log();
        let after = log.split("audit=").nth(1).unwrap();
        after.split_whitespace().next().unwrap().to_owned()
    }

    /// Status and body of a path; `None` without an answer.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        get(&self.address, path)
    }

    /// Its metrics.
    fn metrics(&self) -> String {
        self.get("/metrics")
            .expect("the controller serves metrics")
            .1
    }

    /// The value of a series, spelled as in the exposition text; 0 if it is missing.
    pub fn metric(&self, series: &str) -> f64 {
        value(&self.metrics(), series)
    }

    /// The number of report writes so far.
    pub fn writes(&self) -> f64 {
        report_writes(&self.metrics())
    }

    /// The number of summary writes so far.
    pub fn summary_writes(&self) -> f64 {
        summary_writes(&self.metrics())
    }

    /// Waits until it is idle: no write for a second, and none that waits.
    pub fn settle(&self) {
        self.idle_within(PATIENCE, Duration::from_millis(100));
    }

    /// The same, of a large cluster. Its metrics are long: asking for them all the time would be part of its cost.
    pub fn settle_within(&self, time: Duration) {
        self.idle_within(time, Duration::from_secs(10));
    }

    fn idle_within(&self, time: Duration, pause: Duration) {
        let figures = || {
            let text = self.metrics();
            let waits = value(&text, "token_exposure_pending_writes") > 0.0;
            (report_writes(&text) + summary_writes(&text), waits)
        };
        let ((mut writes, _), mut since) = (figures(), Instant::now());
        let deadline = Instant::now() + time;
        while since.elapsed() < Duration::from_secs(1).max(pause) {
            assert!(
                Instant::now() < deadline,
                "the controller keeps writing: {}",
                self.log()
            );
            std::thread::sleep(pause);
            let (now, waits) = figures();
            if now.to_bits() != writes.to_bits() || waits {
                (writes, since) = (now, Instant::now());
            }
        }
    }

    /// Sends SIGTERM; returns the exit status, the time it took, and the log.
    pub fn terminate(mut self) -> (ExitStatus, Duration, String) {
        let asked = Instant::now();
        signal("TERM", self.pid());
        let status = self.process.wait().unwrap();
        (status, asked.elapsed(), self.log())
    }
}

/// The value of a series in an exposition text; 0 if it is missing.
fn value(text: &str, series: &str) -> f64 {
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

fn report_writes(text: &str) -> f64 {
    let operations = ["apply", "apply_status", "replace_status", "delete"];
    sum(text, "token_exposure_report_writes_total", &operations)
}

fn summary_writes(text: &str) -> f64 {
    let operations = ["apply", "apply_status", "delete"];
    sum(text, "token_exposure_summaries_written_total", &operations)
}

fn sum(text: &str, counter: &str, operations: &[&str]) -> f64 {
    let of = |operation| value(text, &format!("{counter}{{operation=\"{operation}\"}}"));
    operations.iter().map(of).sum()
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
