//! Chromium by its DevTools protocol, over a pipe that it is started with: JSON texts that end with a zero byte.
//! It ends when the pipe closes, so with this process at the latest.

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

/// How long anything that has to come may take: these machines are shared.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Nothing that a browser does by itself in the background, and pages that no window hides.
const FLAGS: [&str; 20] = [
    "--headless",
    "--remote-debugging-pipe",
    // Chromium has none for root.
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

/// What waits for something that the browser says.
#[derive(Default)]
struct Waiting {
    /// For the answer to a call, by its number.
    answers: HashMap<u64, Sender<Value>>,
    /// For the events of a session.
    events: HashMap<String, Sender<Value>>,
}

/// A running Chromium with a fresh profile; it ends with this value.
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
        // It reads what it is told from file descriptor 3, and writes what it says to 4.
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

    /// Calls a method of the browser, or of a session with a page: its result.
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

    /// The events of a session, in their order.
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

/// Hands what the browser says to who waits for it.
fn listen(stdout: ChildStdout, waiting: &Mutex<Waiting>) {
    for message in BufReader::new(stdout).split(0).map_while(Result::ok) {
        let message: Value = serde_json::from_slice(&message).unwrap();
        let mut waiting = waiting.lock().unwrap();
        // Nobody may wait any more.
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
