//! Shared by the tests on the real control plane: start it, use it, run the program against it.
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

mod asking;
pub mod audit;
mod controller;
pub mod feature;
pub mod helm;
pub mod oracle;
mod plane;
pub mod pool;
pub mod prometheus;
pub mod proxy;
pub mod random;
pub mod shared;
pub mod world;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::Value;
use token_exposure::{files, index::Index, model::LabelSelector};

pub use self::{asking::path_of, controller::Controller, plane::ControlPlane};

/// The program under test: the one in the environment, else the debug build. `make test` and measurements name the
/// release build: it is what users run, and takes a tenth of the time.
pub fn program_path() -> PathBuf {
    let debug = env!("CARGO_BIN_EXE_token-exposure");
    std::env::var_os("TOKEN_EXPOSURE").map_or_else(|| debug.into(), PathBuf::from)
}

/// The kubectl of the control plane's version.
pub fn kubectl() -> PathBuf {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| built("tests/control-plane/programs.sh"))
        .join("kubectl")
}

/// The directory that a build script prints; it builds only once.
fn built(script: &str) -> PathBuf {
    let built = Command::new(script).output().unwrap();
    let error = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{error}");
    PathBuf::from(String::from_utf8(built.stdout).unwrap().trim())
}

/// The timeout for anything that the tests wait for: these machines are shared.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until a condition holds.
pub fn await_that(what: &str, holds: impl FnMut() -> bool) {
    let held = holds_within(PATIENCE, Duration::from_millis(50), holds);
    assert!(held, "{what}: not within {PATIENCE:?}");
}

/// Whether a condition holds within a time; it is looked at once in each pause.
pub fn holds_within(time: Duration, pause: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + time;
    while !holds() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(pause);
    }
    true
}

/// Compares a file with its expected content, or writes it for `make generate`.
pub fn fresh(path: &str, wanted: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, wanted).unwrap();
    }
    let fresh = fs::read_to_string(path).is_ok_and(|text| text == wanted);
    assert!(fresh, "{path} is stale: run `make generate`");
}

/// The same for the part of a document between two marks.
pub fn fresh_section(path: &str, name: &str, wanted: &str) {
    let text = fs::read_to_string(path).unwrap();
    let begin = format!("<!-- {name}: written by `make generate` -->\n");
    let end = format!("<!-- end of {name} -->");
    let from = text.find(&begin).expect("the section begins") + begin.len();
    let to = from + text[from..].find(&end).expect("the section ends");
    fresh(path, &[&text[..from], wanted, &text[to..]].concat());
}

/// Status and body of a path at an address; `None` without an answer.
pub fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: test\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// A kubeconfig for a server that is no control plane.
pub fn kubeconfig_for(dir: &Path, url: &str) -> PathBuf {
    let kubeconfig = dir.join("kubeconfig");
    let content = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: '{url}'}}}}]\n\
         users: [{{name: u, user: {{token: t}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
    );
    fs::write(&kubeconfig, content).unwrap();
    kubeconfig
}

/// The runtime for tests that use the API server directly.
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

/// Runs the program.
pub fn program(args: &[&str], stdin: &str) -> Output {
    run(Command::new(program_path()).args(args), stdin)
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

/// Scans in a directory: exit code, standard output and standard error.
pub fn scan_in(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let mut scan = Command::new(program_path());
    let output = run(scan.arg("scan").args(args).current_dir(dir), "");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Scans files for all accounts, as JSON: the items, the exit code and standard error.
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
        namespace: None,
        pods: &LabelSelector::default(),
        progress: &|_, _| {},
    };
    files::load(&[file.to_owned()], &wanted, index)
}

/// Runs a program with this standard input.
pub fn run(command: &mut Command, stdin: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // A program that does not read its standard input has closed it.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}
