//! A real Chromium, and what a page does in it.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use headless_chrome::{
    LaunchOptions, Tab,
    protocol::cdp::{
        Emulation::{SetDeviceMetricsOverride, SetEmulatedMedia},
        Input::DispatchKeyEvent,
        Network,
        Page::{CaptureScreenshotFormatOption, SetLifecycleEventsEnabled},
        types::{Event, Method},
    },
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything that has to come may take: these machines are shared.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running Chromium with a fresh profile; it ends with this value.
pub(crate) struct Browser {
    chromium: headless_chrome::Browser,
    _profile: TempDir,
}

impl Browser {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let paths = std::env::var_os("PATH").unwrap();
        let mut programs = std::env::split_paths(&paths).map(|path| path.join("chromium"));
        let program = programs.find(|program| program.exists());
        let profile = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let args = [
            "--disable-quic",
            "--disable-component-update",
            "--no-proxy-server",
        ];
        let options = LaunchOptions {
            path: Some(program.expect("`chromium` is installed: .ci/tools does that")),
            user_data_dir: Some(profile.path().to_owned()),
            // Chromium has none for root.
            sandbox: false,
            args: args.map(OsStr::new).to_vec(),
            idle_browser_timeout: PATIENCE,
            ..LaunchOptions::default()
        };
        Self {
            chromium: headless_chrome::Browser::new(options).unwrap(),
            _profile: profile,
        }
    }

    /// Opens a file, with a fragment such as `#search=web`, and waits until it is loaded.
    pub(crate) fn open(&self, file: &Path, fragment: &str) -> Page {
        let tab = self.chromium.new_tab().unwrap();
        tab.set_default_timeout(PATIENCE);
        let file = fs::canonicalize(file).unwrap();
        let address = format!("file://{}{fragment}", file.display());
        let noticed = Arc::new(Mutex::new(Vec::new()));
        let (own, notes) = (address.clone(), noticed.clone());
        let note = move |event: &Event| notes.lock().unwrap().extend(notice(event, &own));
        tab.add_event_listener(Arc::new(note)).unwrap();
        tab.enable_log().unwrap().enable_runtime().unwrap();
        let page = Page { tab, noticed };
        page.call::<Network::Enable>(json!({}));
        page.call::<SetLifecycleEventsEnabled>(json!({ "enabled": true }));
        page.tab.navigate_to(&address).unwrap();
        page.tab.wait_until_navigated().unwrap();
        page
    }
}

/// What a quiet page of a file never does: anything on the console, an exception, a request.
fn notice(event: &Event, own: &str) -> Option<String> {
    let own = own.split('#').next().unwrap_or_default();
    match event {
        Event::LogEntryAdded(event) => Some(format!("log: {}", event.params.entry.text)),
        Event::RuntimeConsoleAPICalled(event) => Some(format!("console: {:?}", event.params.args)),
        Event::RuntimeExceptionThrown(event) => {
            Some(format!("exception: {:?}", event.params.exception_details))
        }
        Event::NetworkRequestWillBeSent(event) if event.params.request.url != own => {
            Some(format!("request: {}", event.params.request.url))
        }
        _ => None,
    }
}

/// A page in a browser.
pub(crate) struct Page {
    tab: Arc<Tab>,
    noticed: Arc<Mutex<Vec<String>>>,
}

impl Page {
    fn call<M>(&self, parameters: Value) -> M::ReturnObject
    where
        M: Method + DeserializeOwned + serde::Serialize,
    {
        let method: M = serde_json::from_value(parameters).unwrap();
        self.tab.call_method(method).unwrap()
    }

    /// What an expression is, or becomes, in the page.
    pub(crate) fn ask(&self, expression: &str) -> Value {
        let wrapped = format!("(async () => JSON.stringify([await ({expression})]))()");
        let answer = self.tab.evaluate(&wrapped, true).unwrap();
        let text = answer
            .value
            .unwrap_or_else(|| panic!("{expression}: {:?}", answer.description));
        let mut answer: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        answer[0].take()
    }

    /// The same, for what is text.
    pub(crate) fn text(&self, expression: &str) -> String {
        let answer = self.ask(expression);
        let text = answer.as_str();
        text.unwrap_or_else(|| panic!("{expression}: {answer}"))
            .to_owned()
    }

    /// The texts of all elements that a selector matches.
    pub(crate) fn texts(&self, selector: &str) -> Vec<String> {
        let all = format!(
            "Array.from(document.querySelectorAll({}), (found) => found.textContent)",
            json!(selector)
        );
        serde_json::from_value(self.ask(&all)).unwrap()
    }

    /// Waits until an expression is this.
    pub(crate) fn await_that(&self, expression: &str, expected: &Value) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(expression);
            if answer == *expected {
                return;
            }
            let late = Instant::now() > deadline;
            assert!(!late, "{expression}: {answer} instead of {expected}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Clicks into the middle of the first element that a selector matches.
    pub(crate) fn click(&self, selector: &str) {
        self.tab.find_element(selector).unwrap().click().unwrap();
    }

    /// Presses a key, named as `KeyboardEvent.key` names it.
    pub(crate) fn press(&self, key: &str) {
        self.tab.press_key(key).unwrap();
    }

    /// Enters text where the focus is, all of it at once.
    pub(crate) fn write(&self, text: &str) {
        self.tab.send_character(text).unwrap();
    }

    /// Pastes what the clipboard has to where the focus is.
    pub(crate) fn paste(&self) {
        self.call::<DispatchKeyEvent>(
            json!({ "type": "keyDown", "key": "v", "modifiers": 2, "commands": ["paste"] }),
        );
        self.call::<DispatchKeyEvent>(json!({ "type": "keyUp", "key": "v", "modifiers": 2 }));
    }

    /// Shows the page as somebody sees it who prefers `light` or `dark`, on a screen of this width.
    pub(crate) fn look(&self, scheme: &str, width: u32) {
        self.call::<SetEmulatedMedia>(
            json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }),
        );
        self.call::<SetDeviceMetricsOverride>(
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false }),
        );
    }

    /// Keeps a picture of what is seen, for a person to look at.
    pub(crate) fn keep_picture(&self, name: &str) -> PathBuf {
        let format = CaptureScreenshotFormatOption::Png;
        let picture = self.tab.capture_screenshot(format, None, None, true);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
        fs::write(&path, picture.unwrap()).unwrap();
        path
    }

    /// All that the page did so far that a quiet one never does.
    pub(crate) fn noticed(&self) -> Vec<String> {
        // Events come in order: after this one, none is on its way.
        const END: &str = "all is told";
        self.ask(&format!("console.debug({END:?})"));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut noticed = self.noticed.lock().unwrap();
            if let Some(end) = noticed.iter().position(|note| note.contains(END)) {
                return noticed.drain(..=end).take(end).collect();
            }
            drop(noticed);
            assert!(Instant::now() < deadline, "the browser tells nothing");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
