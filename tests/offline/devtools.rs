//! Chromium through its DevTools protocol on a pipe: JSON messages, each ending with a zero byte. It exits when
//! the pipe closes, at the latest when this process ends.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The timeout for anything that the tests wait for: these machines are shared.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Disables background activity, and throttling of pages in hidden windows.
const FLAGS: [&str; 20] = [
    "--headless",
    "--remote-debugging-pipe",
    // Chromium has no sandbox for root.
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-breakpad",
    "--disable-component-extensions-with-background-pages",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-hang-monitor",
    "--disable-quic",
    "--disable-renderer-backgrounding",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--no-first-run",
    "--no-proxy-server",
    "--password-store=basic",
];

/// The receivers of messages from the browser.
#[derive(Default)]
struct Waiting {
    /// Of the answer to a call, by its number.
    answers: HashMap<u64, Sender<Value>>,
    /// Of the events of a session.
    events: HashMap<String, Sender<Value>>,
}

/// A running Chromium with a new profile; it is killed when this value is dropped.
pub(crate) struct Chromium {
    process: Child,
    stdin: Mutex<ChildStdin>,
    waiting: Arc<Mutex<Waiting>>,
    calls: AtomicU64,
    _profile: TempDir,
}

impl Chromium {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let profile = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        // It reads messages from file descriptor 3, and writes them to 4.
        let mut process = Command::new("sh")
            .args(["-c", r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null"#, "sh"])
            .arg(program())
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let (told, output) = (waiting.clone(), stdout.unwrap());
        std::thread::spawn(move || listen(output, &told));
        Self {
            process,
            stdin: Mutex::new(stdin.unwrap()),
            waiting,
            calls: AtomicU64::new(1),
            _profile: profile,
        }
    }

    /// Calls a method of the browser, or of a session with a page; returns its result.
    pub(crate) fn call(&self, session: Option<&str>, method: &str, parameters: &Value) -> Value {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = channel();
        self.waiting.lock().unwrap().answers.insert(number, sender);
        let mut call = json!({ "id": number, "method": method, "params": parameters });
        if let Some(session) = session {
            call["sessionId"] = session.into();
        }
        let text = format!("{call}\0");
        self.stdin
            .lock()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let mut answer = answer.recv_timeout(PATIENCE).expect(method);
        assert_eq!(answer["error"], Value::Null, "{method} {parameters}");
        answer["result"].take()
    }

    /// The events of a session, in order.
    pub(crate) fn events(&self, session: &str) -> Receiver<Value> {
        let (sender, events) = channel();
        let mut waiting = self.waiting.lock().unwrap();
        waiting.events.insert(session.to_owned(), sender);
        events
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap();
    let mut programs = std::env::split_paths(&paths).map(|path| path.join("chromium"));
    let program = programs.find(|program| program.exists());
    program.expect("`chromium` is installed: .ci/tools does that")
}

/// Passes messages from the browser to their receivers.
fn listen(stdout: ChildStdout, waiting: &Mutex<Waiting>) {
    for message in BufReader::new(stdout).split(0).map_while(Result::ok) {
        let message: Value = serde_json::from_slice(&message).unwrap();
        let mut waiting = waiting.lock().unwrap();
        // The receiver may be gone.
        if let Some(number) = message["id"].as_u64() {
            if let Some(answer) = waiting.answers.remove(&number) {
                let _ = answer.send(message);
            }
        } else if let Some(session) = message["sessionId"].as_str()
            && let Some(events) = waiting.events.get(session)
        {
            let _ = events.send(message);
        }
    }
}
