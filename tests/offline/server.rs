//! The controller while nothing else works: no API server, clients that are slow on purpose, logs that nobody reads.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::rig::{await_that, get, kubeconfig_for, program, program_path, signal};

/// A controller whose API server does not answer; it is killed when this value is dropped.
struct Alone {
    process: Child,
    address: String,
    _dir: TempDir,
}

/// A port that nobody listens on.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

impl Alone {
    fn start(stderr: Stdio) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (address, config) = (
            free_address(),
            kubeconfig_for(dir.path(), &format!("http://{}", free_address())),
        );
        let mut command = Command::new(program_path());
        command.args([
            "controller",
            "--bind-address",
            &address,
            "--kubeconfig",
            config.to_str().unwrap(),
        ]);
        let process = command
            .env("RUST_LOG", "debug")
            .stderr(stderr)
            .spawn()
            .unwrap();
        let alone = Self {
            process,
            address,
            _dir: dir,
        };
        await_that("it serves", || get(&alone.address, "/healthz").is_some());
        alone
    }

    fn is_alive(&self) {
        let asked = Instant::now();
        assert_eq!(get(&self.address, "/healthz").unwrap().0, 200);
        assert!(
            asked.elapsed() < Duration::from_secs(3),
            "{:?}",
            asked.elapsed()
        );
    }

    fn metric(&self, name: &str) -> f64 {
        let (_, text) = get(&self.address, "/metrics").unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap().parse().unwrap()
    }

    /// Asks it to stop; it must end soon and say success.
    fn stops(mut self) {
        signal("TERM", self.process.id());
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(
                asked.elapsed() < Duration::from_secs(8),
                "SIGTERM is ignored"
            );
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Clients that send slowly, read nothing, or ask many times at once do not keep a probe from its answer.
#[test]
fn slow_clients_do_not_stop_the_probes() {
    let alone = Alone::start(Stdio::null());
    let connect = || TcpStream::connect(&alone.address).unwrap();
    let slow: Vec<_> = (0..300)
        .map(|_| {
            let mut client = connect();
            client
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")
                .unwrap();
            client
        })
        .collect();
    alone.is_alive();
    let deaf: Vec<_> = (0..100)
        .map(|_| {
            let mut client = connect();
            // The server may close while we still send.
            let _ = client.write_all(&b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(400));
            client
        })
        .collect();
    alone.is_alive();
    // One request for each connection.
    let mut client = connect();
    let _ = client.write_all(&b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3));
    let mut answer = String::new();
    let _ = client.read_to_string(&mut answer);
    assert_eq!(answer.matches("200 OK").count(), 1, "{answer}");
    drop((slow, deaf));
    alone.stops();
}

/// Each ends early, which is logged at level `debug`.
fn cause_log_lines(alone: &Alone, count: usize) {
    for _ in 0..count {
        let mut client = TcpStream::connect(&alone.address).unwrap();
        let _ = client.write_all(b"garbage\r\n\r\n");
        let _ = client.read(&mut [0; 64]);
    }
}

/// The pipe of the logs is full: lines are lost and counted, and nothing waits.
#[test]
fn logs_that_nobody_reads_delay_nothing() {
    let alone = Alone::start(Stdio::piped());
    cause_log_lines(&alone, 6_000);
    alone.is_alive();
    assert!(alone.metric("token_exposure_log_lines_lost") > 0.0);
    alone.stops();
}

/// The reader of the logs has gone.
#[test]
fn a_closed_standard_error_is_no_reason_to_stop() {
    let mut alone = Alone::start(Stdio::piped());
    drop(alone.process.stderr.take());
    cause_log_lines(&alone, 20);
    alone.is_alive();
    alone.stops();
}

/// An API server that accepts connections and never answers, as one without its etcd.
#[test]
fn a_silent_api_server_is_named_and_then_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap().to_string();
    let config = kubeconfig_for(dir.path(), &format!("http://{server}"));
    let scan = program(
        &[
            "scan",
            "-A",
            "--kubeconfig",
            config.to_str().unwrap(),
            "--request-timeout=6s",
        ],
        "",
    );
    let error = String::from_utf8(scan.stderr).unwrap();
    assert_eq!(scan.status.code(), Some(2), "{error}");
    assert!(
        error.starts_with(&format!("note: waiting for the API server http://{server}")),
        "{error}"
    );
    let last = error.lines().last().unwrap();
    assert!(
        last.starts_with("error: the cluster http://")
            && last.ends_with("no answer within 6 seconds"),
        "{error}"
    );
}

#[test]
fn a_request_timeout_is_a_duration() {
    for (text, fix) in [
        ("0", ""),
        ("1h30m", ""),
        ("90", ""),
        ("-5s", "use a duration like"),
        ("soon", "use a duration like"),
    ] {
        let timeout = format!("--request-timeout={text}");
        let scan = [
            "scan",
            "tests/demo/sample.yaml",
            "--fail-on=never",
            &timeout,
        ];
        let output = program(&scan, "");
        let error = String::from_utf8(output.stderr).unwrap();
        let code = if fix.is_empty() { 0 } else { 2 };
        assert_eq!(output.status.code(), Some(code), "{text}: {error}");
        assert!(error.contains(fix), "{text}: {error}");
    }
}

#[test]
fn audit_events_are_received_with_mutual_tls_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let config = kubeconfig_for(dir.path(), &format!("http://{}", free_address()));
    let flags = |name: &str| {
        let file = dir.path().join(name).display().to_string();
        ["--audit-tls-cert", "--audit-tls-key", "--audit-client-ca"]
            .map(|flag| format!("{flag}={file}"))
    };
    std::fs::write(dir.path().join("empty"), "").unwrap();
    let [certificate, key, _] = flags("absent");
    for (more, error) in [
        (vec![], "--audit-client-ca"),
        (vec![certificate, key], "--audit-client-ca"),
        (flags("absent").into(), "absent: No such file"),
        (flags("empty").into(), "empty: has no certificate in PEM"),
    ] {
        let own = [
            "controller",
            "--bind-address",
            "127.0.0.1:0",
            "--audit-listen",
            "127.0.0.1:0",
        ];
        let more = more.iter().map(String::as_str);
        let kubeconfig = ["--kubeconfig", config.to_str().unwrap()];
        let args: Vec<_> = own.into_iter().chain(kubeconfig).chain(more).collect();
        let output = program(&args, "");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(error), "{said}");
    }
}
