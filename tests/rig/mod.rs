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

mod controller;
pub mod helm;
pub mod oracle;
mod plane;
pub mod prometheus;
pub mod shared;

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

pub use self::{controller::Controller, plane::ControlPlane};

/// Our program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_token-exposure");

/// Our program, or the one that the environment names: measurements want the release build.
pub fn program_path() -> PathBuf {
    std::env::var_os("TOKEN_EXPOSURE").map_or_else(|| PROGRAM.into(), PathBuf::from)
}

/// The kubectl of the control plane's version.
pub fn kubectl() -> PathBuf {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| built("tests/control-plane/build.sh"))
        .join("kubectl")
}

/// The folder of what a script builds once, which it prints.
fn built(script: &str) -> PathBuf {
    let built = Command::new(script).output().unwrap();
    let error = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{error}");
    PathBuf::from(String::from_utf8(built.stdout).unwrap().trim())
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
