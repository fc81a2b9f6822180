//! What tests on the real control plane share: start it, speak to it, run our program against it.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses another part"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on fails"
)]

pub mod helm;
pub mod oracle;
pub mod prometheus;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use token_exposure::{
    index::Index,
    source::{LabelSelector, files},
};

/// Our program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_token-exposure");

/// Our program, or the one that the environment names: measurements want the release build.
pub fn program_path() -> PathBuf {
    std::env::var_os("TOKEN_EXPOSURE").map_or_else(|| PROGRAM.into(), PathBuf::from)
}

/// The kubectl of the control plane's version.
pub fn kubectl() -> PathBuf {
    let bin = Command::new("tests/control-plane/build.sh")
        .output()
        .unwrap();
    PathBuf::from(String::from_utf8(bin.stdout).unwrap().trim()).join("kubectl")
}

/// A control plane of its own; it ends with this value, or with this process.
pub struct ControlPlane {
    dir: TempDir,
    kubectl: PathBuf,
    process: Child,
    /// It runs until this closes.
    stdin: Option<ChildStdin>,
    /// The API server that took the place of the first, if one did.
    api_server: Mutex<Option<Child>>,
}

impl ControlPlane {
    /// Starts one with further flags for kube-apiserver, and installs `deploy/install.yaml`.
    pub fn start(flags: &[&str]) -> Self {
        let plane = Self::bare(flags);
        plane.install();
        plane
    }

    /// Starts one without anything of ours.
    pub fn bare(flags: &[&str]) -> Self {
        Self::bare_in(tempfile::tempdir().unwrap(), flags)
    }

    fn bare_in(dir: TempDir, flags: &[&str]) -> Self {
        let mut process = Command::new("tests/control-plane/start.sh")
            .arg(dir.path())
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tests/control-plane/start.sh starts");
        let stdin = process.stdin.take();
        let mut said = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut said)
            .unwrap();
        assert_eq!(
            said, "ready\n",
            "the control plane cannot be had: see standard error for the reason"
        );
        Self {
            dir,
            kubectl: kubectl(),
            process,
            stdin,
            api_server: Mutex::default(),
        }
    }

    /// Starts one that writes an audit log, with `deploy/install.yaml` installed.
    pub fn audited(flags: &[&str]) -> Self {
        // Of what is answered to requests for Secrets, all is logged.
        let secrets = "{level: RequestResponse, resources: [{resources: [secrets]}]}";
        let rules =
            format!("omitStages: [RequestReceived]\nrules: [{secrets}, {{level: Metadata}}]\n");
        let content = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}");
        let dir = tempfile::tempdir().unwrap();
        let policy = dir.path().join("audit-policy.yaml");
        fs::write(&policy, content).unwrap();
        let audit = [
            format!("--audit-policy-file={}", policy.display()),
            format!(
                "--audit-log-path={}",
                dir.path().join("audit.log").display()
            ),
        ];
        let audit: Vec<&str> = audit.iter().map(String::as_str).collect();
        let plane = Self::bare_in(dir, &[flags, &audit].concat());
        plane.install();
        plane
    }

    /// The requests of our own account, as the API server logged them.
    pub fn own_requests(&self) -> Vec<Value> {
        let own = "system:serviceaccount:token-exposure:token-exposure";
        let mut requests = self.requests();
        requests.retain(|event| event["user"]["username"] == own);
        requests
    }

    /// All requests, as the API server logged them.
    pub fn requests(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.file("audit.log")).unwrap();
        // The API server still writes: its last line may be half there.
        let (whole_lines, _) = log.rsplit_once('\n').unwrap();
        let events = whole_lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        events.collect()
    }

    fn install(&self) {
        self.kubectl(&["apply", "--server-side", "-f", "deploy/install.yaml"]);
    }

    /// A file of the control plane's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.file("kubeconfig")
    }

    /// The process id of one of its programs.
    pub fn pid(&self, program: &str) -> u32 {
        let pids = fs::read_to_string(self.file("pids")).unwrap();
        let line = pids
            .lines()
            .find_map(|line| line.strip_prefix(program)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{program} runs"))
            .parse()
            .unwrap()
    }

    /// Kills the API server and starts it again on the same data: its watch cache forgets what came
    /// before, so that no watch can be resumed.
    pub fn restart_api_server(&self) {
        let mut running = self.api_server.lock().unwrap();
        let pid = running
            .as_ref()
            .map_or_else(|| self.pid("kube-apiserver"), Child::id);
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        let words = command
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty());
        let words: Vec<_> = words
            .map(|word| String::from_utf8(word.to_vec()).unwrap())
            .collect();
        signal("KILL", pid);
        if let Some(mut old) = running.take() {
            old.wait().unwrap();
        }
        let server = fs::read_to_string(self.file("server")).unwrap();
        let address = server.trim().trim_start_matches("https://").to_owned();
        await_that("the port is free", || TcpListener::bind(&address).is_ok());
        let log = fs::File::create(self.file("kube-apiserver-again.log")).unwrap();
        let mut again = Command::new(&words[0]);
        again.args(&words[1..]).stdout(Stdio::null()).stderr(log);
        *running = Some(again.spawn().unwrap());
        let ready = || {
            self.try_kubectl(&["get", "--raw", "/readyz"], "")
                .status
                .success()
        };
        await_that("the API server is ready again", ready);
    }

    /// Runs kubectl as an administrator; its output, or a panic with its error.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let output = self.try_kubectl(args, "");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs kubectl with some standard input.
    pub fn try_kubectl(&self, args: &[&str], stdin: &str) -> Output {
        let mut kubectl = Command::new(&self.kubectl);
        kubectl.args(args).env("KUBECONFIG", self.kubeconfig());
        run(&mut kubectl, stdin)
    }

    /// Applies manifests.
    pub fn apply(&self, manifests: &str) {
        let output = self.try_kubectl(&["apply", "-f", "-"], manifests);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// What `kubectl get … -o json` prints.
    pub fn get(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.kubectl(&[&["get", "-o", "json"], args].concat())).unwrap()
    }

    /// Creates a namespace and waits for its `default` account, without which no pod can be made.
    pub fn namespace(&self, name: &str) {
        self.kubectl(&["create", "namespace", name]);
        let made = || {
            self.try_kubectl(&["-n", name, "get", "serviceaccount", "default"], "")
                .status
                .success()
        };
        await_that("the default account is made", made);
    }

    /// Verdict and reason of an account's report; `None` without one.
    pub fn report(&self, namespace: &str, account: &str) -> Option<(String, String)> {
        let columns = "jsonpath={.status.verdict} {.status.reason}";
        let output = self.try_kubectl(&["-n", namespace, "get", "ter", account, "-o", columns], "");
        let text = String::from_utf8(output.stdout).unwrap();
        let (verdict, reason) = text.split_once(' ').filter(|_| output.status.success())?;
        (!verdict.is_empty()).then(|| (verdict.to_owned(), reason.to_owned()))
    }

    /// Waits until an account's report says this; `None` waits until there is none.
    pub fn await_report(&self, namespace: &str, account: &str, expected: Option<(&str, &str)>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.report(namespace, account);
            let found = found
                .as_ref()
                .map(|(verdict, reason)| (verdict.as_str(), reason.as_str()));
            if found == expected {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{namespace}/{account}: {found:?} instead of {expected:?}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A kubeconfig of our own account, with the rights that `deploy/` ships and no others, and in our
    /// namespace, as a pod is.
    pub fn own_kubeconfig(&self) -> PathBuf {
        let token = self.kubectl(&["create", "token", "-n", "token-exposure", "token-exposure"]);
        let kubeconfig = fs::read_to_string(self.kubeconfig())
            .unwrap()
            .replace("admintoken", token.trim())
            .replace("user: admin}", "user: admin, namespace: token-exposure}");
        let path = self.file("controller.kubeconfig");
        fs::write(&path, kubeconfig).unwrap();
        path
    }

    /// Runs the controller as our own account, and waits until it is ready.
    pub fn controller(&self, args: &[&str]) -> Controller {
        let kubeconfig = self.own_kubeconfig();
        let controller =
            Controller::start(&[&["--kubeconfig", kubeconfig.to_str().unwrap()], args].concat());
        await_that("the controller is ready", || {
            controller
                .get("/readyz")
                .is_some_and(|(code, _)| code == 200)
        });
        controller
    }

    /// A client with an administrator's rights.
    pub async fn client(&self) -> kube::Client {
        let kubeconfig = kube::config::Kubeconfig::read_from(self.kubeconfig()).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .unwrap();
        kube::Client::try_from(config).unwrap()
    }

    /// Runs `scan` as an administrator.
    pub fn scan(&self, args: &[&str]) -> Output {
        let kubeconfig = self.kubeconfig();
        program(
            &[
                &["scan", "--kubeconfig", kubeconfig.to_str().unwrap()],
                args,
            ]
            .concat(),
            "",
        )
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if let Some(mut api_server) = self.api_server.get_mut().unwrap().take() {
            let _ = api_server.kill();
            let _ = api_server.wait();
        }
        drop(self.stdin.take());
        let _ = self.process.wait();
    }
}

/// How long anything that has to come may take: these machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something holds.
pub fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A running controller; it is killed with this value.
pub struct Controller {
    process: Child,
    address: String,
    log: PathBuf,
    _dir: TempDir,
}

impl Controller {
    /// Starts one, and waits until it serves.
    pub fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[])
    }

    /// Starts one with an environment of its own.
    pub fn start_with(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let process = Command::new(program_path())
            .args([&["controller", "--bind-address", "127.0.0.1:0"], args].concat())
            .envs(environment.iter().copied())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut controller = Self {
            process,
            address: String::new(),
            log,
            _dir: dir,
        };
        await_that("the controller serves", || {
            let log = controller.log();
            assert!(
                controller.process.try_wait().unwrap().is_none(),
                "the controller ended: {log}"
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

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where it serves.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Status and body of a path; `None` when nobody answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        get(&self.address, path)
    }

    /// The value of a series, spelled as in the exposition text; 0 where it is not there.
    pub fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.get("/metrics").expect("the controller serves metrics");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Writes of reports so far.
    pub fn writes(&self) -> f64 {
        let of = |operation| {
            self.metric(&format!(
                "token_exposure_report_writes_total{{operation=\"{operation}\"}}"
            ))
        };
        ["apply", "apply_status", "replace_status", "delete"]
            .into_iter()
            .map(of)
            .sum()
    }

    /// Waits until it has nothing to do: nothing written for a second.
    pub fn settle(&self) {
        let (mut writes, mut since) = (self.writes(), Instant::now());
        let deadline = Instant::now() + PATIENCE;
        while since.elapsed() < Duration::from_secs(1) {
            assert!(Instant::now() < deadline, "the controller keeps writing");
            std::thread::sleep(Duration::from_millis(100));
            let now = self.writes();
            if now.to_bits() != writes.to_bits() {
                (writes, since) = (now, Instant::now());
            }
        }
    }

    /// Sends SIGTERM, and says how and how soon it ended.
    pub fn terminate(mut self) -> (ExitStatus, Duration, String) {
        let asked = Instant::now();
        signal("TERM", self.pid());
        let status = self.process.wait().unwrap();
        (status, asked.elapsed(), self.log())
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Compares a file with what it should be, or writes it where `make generate` asks for that.
pub fn fresh(path: &str, wanted: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, wanted).unwrap();
    }
    let fresh = fs::read_to_string(path).is_ok_and(|text| text == wanted);
    assert!(fresh, "{path} is stale: run `make generate`");
}

/// The same of the part of a document that stands between two marks.
pub fn fresh_section(path: &str, name: &str, wanted: &str) {
    let text = fs::read_to_string(path).unwrap();
    let begin = format!("<!-- {name}: written by `make generate` -->\n");
    let end = format!("<!-- end of {name} -->");
    let from = text.find(&begin).expect("the section begins") + begin.len();
    let to = from + text[from..].find(&end).expect("the section ends");
    fresh(path, &[&text[..from], wanted, &text[to..]].concat());
}

/// Status and body of a path at an address; `None` when nobody answers.
pub fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: test\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// What tests that speak to the API server by themselves run in.
pub fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap()
}

/// Sends a signal to a process.
pub fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

/// Runs our program.
pub fn program(args: &[&str], stdin: &str) -> Output {
    run(Command::new(PROGRAM).args(args), stdin)
}

/// Runs `inspect`: the exit code, standard output and standard error.
pub fn inspect(args: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    let output = program(&[&["inspect"], args].concat(), stdin);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Scans in a folder: exit code, standard output and standard error.
pub fn scan_in(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let mut scan = Command::new(PROGRAM);
    let output = run(scan.arg("scan").args(args).current_dir(dir), "");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Scans files, all accounts, as JSON: the items and the exit code.
pub fn scan_files(paths: &[&Path], args: &[&str]) -> (Vec<Value>, i32, String) {
    let paths: Vec<_> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    let output = program(
        &[
            &["scan", "-o", "json", "--report-scope", "all"],
            args,
            &paths,
        ]
        .concat(),
        "",
    );
    let error = String::from_utf8(output.stderr).unwrap();
    let list: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON; {error}"));
    (
        list["items"].as_array().unwrap().clone(),
        output.status.code().unwrap(),
        error,
    )
}

/// Reads one file into an index, as `scan` does.
pub fn load(file: &Path, index: &mut Index) -> files::Outcome {
    let wanted = files::Wanted {
        namespace: "default",
        pods: &LabelSelector::default(),
        progress: &|_, _| {},
    };
    files::load(&[file.to_owned()], &wanted, index)
}

/// Runs a program with some standard input.
pub fn run(command: &mut Command, stdin: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // Who does not read it has closed it.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}
