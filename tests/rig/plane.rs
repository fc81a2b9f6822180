//! A real control plane: start it, use it as an administrator, run the controller against it.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use kube::{Client, Resource};
use serde_json::Value;
use token_exposure::api::TokenExposureReport;
use tokio::runtime::Runtime;

use super::{Controller, PATIENCE, await_that, holds_within, program_path, run, signal};

/// How many control planes may start at a time: one start keeps both cores of a small machine busy.
const STARTS: usize = 2;
static STARTING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// A permit to start one.
struct Start;

impl Start {
    fn permit() -> Self {
        let (starting, ended) = &STARTING;
        let starting = starting.lock().unwrap();
        let mut starting = ended
            .wait_while(starting, |starting| *starting == STARTS)
            .unwrap();
        *starting += 1;
        Self
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        let (starting, ended) = &STARTING;
        *starting.lock().unwrap() -= 1;
        ended.notify_one();
    }
}

/// A control plane; it stops when this value is dropped or this process ends, and leaves no files behind.
pub struct ControlPlane {
    dir: PathBuf,
    process: Child,
    /// It runs until this closes.
    stdin: Option<ChildStdin>,
    /// The programs that were started again, by name.
    again: Mutex<BTreeMap<&'static str, Again>>,
    /// The administrator's client, created on first use.
    pub(super) asking: Mutex<Option<(Runtime, Client)>>,
}

impl ControlPlane {
    /// Starts one with more flags for kube-apiserver, and installs `deploy/install.yaml`.
    pub fn start(flags: &[&str]) -> Self {
        let plane = Self::bare(flags);
        plane.install();
        plane
    }

    /// Starts one without our manifests.
    pub fn bare(flags: &[&str]) -> Self {
        Self::bare_in(tempfile::tempdir().unwrap().keep(), flags)
    }

    fn bare_in(dir: PathBuf, flags: &[&str]) -> Self {
        let _permit = Start::permit();
        Self::launched(dir, flags, &[], None)
    }

    /// Starts one whose etcd is filled before its API server starts, given the port of etcd.
    pub(super) fn seeded(seed: impl FnOnce(u16)) -> Self {
        let _permit = Start::permit();
        let dir = tempfile::tempdir().unwrap().keep();
        Self::launched(dir, &[], &[("SEEDED", "1")], Some(Box::new(seed)))
    }

    fn launched(
        dir: PathBuf,
        flags: &[&str],
        environment: &[(&str, &str)],
        seed: Option<Box<dyn FnOnce(u16) + '_>>,
    ) -> Self {
        let mut process = Command::new("tests/control-plane/start.sh")
            .arg(&dir)
            .args(flags)
            .env("REMOVE", "1")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tests/control-plane/start.sh starts");
        let mut stdin = process.stdin.take();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut says = move || said.next().map(Result::unwrap).unwrap_or_default();
        if let Some(seed) = seed {
            let port = says();
            seed(port.strip_prefix("etcd ").unwrap().parse().unwrap());
            writeln!(stdin.as_mut().unwrap()).unwrap();
        }
        assert_eq!(
            says(),
            "ready",
            "the control plane did not start: see standard error"
        );
        Self {
            dir,
            process,
            stdin,
            again: Mutex::default(),
            asking: Mutex::default(),
        }
    }

    /// Starts one that writes an audit log, with `deploy/install.yaml` installed.
    pub fn audited(flags: &[&str]) -> Self {
        // Responses to requests for Secrets are logged in full.
        let secrets = "{level: RequestResponse, resources: [{resources: [secrets]}]}";
        let rules =
            format!("omitStages: [RequestReceived]\nrules: [{secrets}, {{level: Metadata}}]\n");
        let content = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}");
        let dir = tempfile::tempdir().unwrap().keep();
        let policy = dir.join("audit-policy.yaml");
        fs::write(&policy, content).unwrap();
        let audit = [
            format!("--audit-policy-file={}", policy.display()),
            format!("--audit-log-path={}", dir.join("audit.log").display()),
        ];
        let audit: Vec<&str> = audit.iter().map(String::as_str).collect();
        let plane = Self::bare_in(dir, &[flags, &audit].concat());
        plane.install();
        plane
    }

    /// The requests of our account in the audit log.
    pub fn own_requests(&self) -> Vec<Value> {
        let own = "system:serviceaccount:token-exposure:token-exposure";
        let mut requests = self.requests();
        requests.retain(|event| event["user"]["username"] == own);
        requests
    }

    /// All requests in the audit log.
    pub fn requests(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.file("audit.log")).unwrap();
        // The API server is still writing: the last line may be incomplete.
        let (whole_lines, _) = log.rsplit_once('\n').unwrap();
        let events = whole_lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        events.collect()
    }

    /// Installs `deploy/install.yaml`.
    pub fn install(&self) {
        self.apply(&fs::read_to_string("deploy/install.yaml").unwrap());
    }

    /// A file in the control plane's directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// An administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.file("kubeconfig")
    }

    /// The process id of one of its programs.
    pub fn pid(&self, program: &str) -> u32 {
        if let Some(again) = self.again.lock().unwrap().get(program) {
            return again.pid;
        }
        let pids = fs::read_to_string(self.file("pids")).unwrap();
        let line = pids
            .lines()
            .find_map(|line| line.strip_prefix(program)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{program} runs"))
            .parse()
            .unwrap()
    }

    /// The address of its etcd, which answers JSON too.
    pub fn etcd_url(&self) -> String {
        let words = command_line(self.pid("etcd"));
        let flag = words.iter().position(|word| word == "--listen-client-urls");
        words[flag.unwrap() + 1].clone()
    }

    /// Kills the API server and starts it again with the same data: its watch cache is empty, so that no
    /// watch can be resumed.
    pub fn restart_api_server(&self) {
        let api_server = self.kill("kube-apiserver");
        self.start_again("kube-apiserver", &api_server);
        self.await_api_server();
    }

    /// Restarts the API server with a certificate of another authority.
    pub fn replace_certificate(&self) {
        let api_server = self.kill("kube-apiserver");
        // It signs a new one if it has none.
        fs::remove_dir_all(self.file("certs")).unwrap();
        self.start_again("kube-apiserver", &api_server);
        let certificate = self.file("certs/apiserver.crt");
        await_that("the API server has signed a certificate", || {
            fs::copy(&certificate, self.file("ca.crt")).is_ok_and(|bytes| bytes > 0)
        });
        // The administrator's client trusts the old one.
        *self.asking.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.await_api_server();
    }

    /// Kills the API server and etcd, changes the data of etcd, and starts both again.
    pub fn change_etcd(&self, change: impl FnOnce(&Path)) {
        let api_server = self.kill("kube-apiserver");
        let etcd = self.kill("etcd");
        change(&self.dir);
        self.start_again("etcd", &etcd);
        self.start_again("kube-apiserver", &api_server);
        self.await_api_server();
    }

    /// Starts another API server with the same data, as on another host, and returns its URL; `None` where a process
    /// may not change the name of its host. Its audit log is `second/audit.log`.
    pub fn second_api_server(&self) -> Option<String> {
        let name = "hostname second && hostname";
        let may = Command::new("unshare")
            .args(["--uts", "sh", "-c", name])
            .output();
        may.ok().filter(|output| output.status.success())?;
        let mut words = command_line(self.pid("kube-apiserver"));
        let dir = self.file("second");
        fs::create_dir(&dir).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port().to_string();
        drop(free);
        let mut set = |flag: &str, value: &str| {
            let at = words
                .iter()
                .position(|word| word.starts_with(flag))
                .unwrap();
            if words[at].contains('=') {
                words[at] = format!("{flag}={value}");
            } else {
                value.clone_into(&mut words[at + 1]);
            }
        };
        set("--secure-port", &port);
        set("--cert-dir", dir.join("certs").to_str().unwrap());
        set("--audit-log-path", dir.join("audit.log").to_str().unwrap());
        let mut second = Command::new("unshare");
        second
            .args(["--uts", "sh", "-c", "hostname second && exec \"$@\"", "sh"])
            .args(&words);
        let log = fs::File::create(dir.join("kube-apiserver.log")).unwrap();
        let second = Again::start(&second, log);
        self.again
            .lock()
            .unwrap()
            .insert("second kube-apiserver", second);
        Some(format!("https://127.0.0.1:{port}"))
    }

    fn await_api_server(&self) {
        let ready = || self.answers("/readyz");
        let is_ready = holds_within(5 * PATIENCE, Duration::from_millis(200), ready);
        let log = fs::read_to_string(self.file("kube-apiserver-again.log")).unwrap_or_default();
        let end: Vec<_> = log.lines().rev().take(5).collect();
        assert!(is_ready, "the API server is not ready again: {end:?}");
    }

    /// Kills a program, and returns the command that starts it again.
    fn kill(&self, program: &'static str) -> Command {
        let pid = self.pid(program);
        let words = command_line(pid);
        let mut again = Command::new(&words[0]);
        again.args(&words[1..]);
        // How much memory it may use, among others.
        let environment = texts(pid, "environ");
        again.envs(
            environment
                .iter()
                .filter_map(|variable| variable.split_once('=')),
        );
        signal("KILL", pid);
        let old = self.again.lock().unwrap().remove(program);
        await_that("the program has ended", || {
            let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // Its ports are free when its last thread has ended.
            let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
            state.is_empty() || state.contains(") Z ") && threads < 2
        });
        drop(old);
        again
    }

    /// Starts a program again.
    fn start_again(&self, program: &'static str, again: &Command) {
        let log = fs::File::create(self.file(&format!("{program}-again.log"))).unwrap();
        let again = Again::start(again, log);
        self.again.lock().unwrap().insert(program, again);
    }

    /// Verdict and reason of an account's report; `None` without one.
    pub fn report(&self, namespace: &str, account: &str) -> Option<(String, String)> {
        let reports = TokenExposureReport::url_path(&(), Some(namespace));
        let mut answer = None;
        await_that("the API server answers", || {
            answer = self.ask(&format!("{reports}/{account}")).ok();
            answer.is_some()
        });
        let status = &answer??["status"];
        let word = |field: &str| status[field].as_str().map(ToOwned::to_owned);
        Some((word("verdict")?, word("reason").unwrap_or_default()))
    }

    /// Waits for this verdict and reason of an account's report, or with `None` until there is no report.
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
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A kubeconfig of our account, with exactly the permissions that `deploy/` ships, and in our namespace,
    /// as in a pod.
    pub fn own_kubeconfig(&self) -> PathBuf {
        let server = fs::read_to_string(self.file("server")).unwrap();
        self.own_kubeconfig_for(server.trim(), "controller.kubeconfig")
    }

    /// The same, for another address of the API server.
    pub fn own_kubeconfig_for(&self, address: &str, name: &str) -> PathBuf {
        let server = fs::read_to_string(self.file("server")).unwrap();
        let kubeconfig = fs::read_to_string(self.kubeconfig())
            .unwrap()
            .replace(
                "admintoken",
                &self.token("token-exposure", "token-exposure"),
            )
            .replace(server.trim(), address)
            .replace("user: admin}", "user: admin, namespace: token-exposure}");
        let path = self.file(name);
        fs::write(&path, kubeconfig).unwrap();
        path
    }

    /// Runs the controller as our account, and waits until it is ready.
    pub fn controller(&self, args: &[&str]) -> Controller {
        let kubeconfig = self.own_kubeconfig();
        let own = ["--kubeconfig", kubeconfig.to_str().unwrap()];
        let controller = Controller::start(&[&own, args].concat());
        controller.await_ready();
        controller
    }

    /// A client with an administrator's permissions.
    pub async fn client(&self) -> Client {
        let kubeconfig = kube::config::Kubeconfig::read_from(self.kubeconfig()).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .unwrap();
        config.read_timeout = Some(PATIENCE);
        Client::try_from(config).unwrap()
    }

    /// Runs `scan` as an administrator.
    pub fn scan(&self, args: &[&str]) -> Output {
        self.scan_with(&program_path(), args)
    }

    /// The same with another program.
    pub fn scan_with(&self, program: &Path, args: &[&str]) -> Output {
        let mut scan = Command::new(program);
        scan.args(["scan", "--kubeconfig"]).arg(self.kubeconfig());
        run(scan.args(args), "")
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.again.get_mut().unwrap().clear();
        drop(self.stdin.take());
        let _ = self.process.wait();
    }
}

/// A program of a control plane that was started again. It ends with this process at the latest: a control plane that is
/// never dropped leaves none behind.
struct Again {
    shell: Child,
    /// It runs until this closes.
    stdin: Option<ChildStdin>,
    pid: u32,
}

impl Again {
    fn start(program: &Command, log: fs::File) -> Self {
        let script = r#""$@" >/dev/null & echo $!; exec >/dev/null; cat; kill -KILL $!; wait"#;
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]);
        shell.arg(program.get_program()).args(program.get_args());
        let environment = program.get_envs();
        shell.envs(environment.filter_map(|(name, value)| Some((name, value?))));
        shell.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.stderr(log).spawn().unwrap();
        let mut pid = String::new();
        let mut said = BufReader::new(shell.stdout.take().unwrap());
        said.read_line(&mut pid).unwrap();
        Self {
            stdin: shell.stdin.take(),
            shell,
            pid: pid.trim().parse().unwrap(),
        }
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.shell.wait();
    }
}

/// The command line of a process.
fn command_line(pid: u32) -> Vec<String> {
    texts(pid, "cmdline")
}

/// The texts in a file of `/proc`.
fn texts(pid: u32, file: &str) -> Vec<String> {
    let texts = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let texts = texts.split('\0').filter(|text| !text.is_empty());
    texts.map(ToOwned::to_owned).collect()
}
