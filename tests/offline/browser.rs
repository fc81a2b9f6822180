//! A real Chromium, and the pages in it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak, mpsc::Receiver},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::devtools::{Chromium, PATIENCE};

/// The browser that tests share while any of them uses it.
static SHARED: Mutex<Weak<Chromium>> = Mutex::new(Weak::new());

/// A running Chromium.
pub(crate) struct Browser {
    chromium: Arc<Chromium>,
}

impl Browser {
    /// The browser that other tests use too, or a new one.
    pub(crate) fn shared() -> Self {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let chromium = shared.upgrade().unwrap_or_else(|| {
            let chromium = Arc::new(Chromium::start());
            *shared = Arc::downgrade(&chromium);
            chromium
        });
        Self { chromium }
    }

    /// Opens a file, with a fragment such as `#search=web`, and waits until it is loaded.
    pub(crate) fn open(&self, file: &Path, fragment: &str) -> Page {
        let file = fs::canonicalize(file).unwrap();
        let address = format!("file://{}", file.display());
        let page = Page::new(self.chromium.clone(), address.clone());
        for domain in ["Page", "Log", "Runtime", "Network"] {
            page.call(&format!("{domain}.enable"), &json!({}));
        }
        let focused = json!({ "enabled": true });
        page.call("Emulation.setFocusEmulationEnabled", &focused);
        page.call("Page.navigate", &json!({ "url": address + fragment }));
        page.await_event(|event| event["method"] == "Page.loadEventFired");
        page
    }
}

/// What a page should never do: write to the console, throw an exception, request a URL.
fn notice(event: &Value, own: &str) -> Option<String> {
    let told = &event["params"];
    match event["method"].as_str()? {
        "Log.entryAdded" => Some(format!("log: {}", told["entry"]["text"])),
        "Runtime.consoleAPICalled" => Some(format!("console: {}", told["args"])),
        "Runtime.exceptionThrown" => Some(format!("exception: {}", told["exceptionDetails"])),
        "Network.requestWillBeSent" => {
            let url = told["request"]["url"].as_str()?;
            (url != own).then(|| format!("request: {url}"))
        }
        _ => None,
    }
}

/// A page in a browser.
pub(crate) struct Page {
    chromium: Arc<Chromium>,
    target: String,
    session: String,
    address: String,
    events: Receiver<Value>,
    /// What [`notice`] found in the events so far.
    noticed: Mutex<Vec<String>>,
}

impl Page {
    /// An empty page in a separate window, so that no other hides it.
    fn new(chromium: Arc<Chromium>, address: String) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let window = json!({ "url": "about:blank", "newWindow": true });
        let target = text(&chromium.call(None, "Target.createTarget", &window)["targetId"]);
        let flat = json!({ "targetId": target, "flatten": true });
        let session = text(&chromium.call(None, "Target.attachToTarget", &flat)["sessionId"]);
        Self {
            events: chromium.events(&session),
            chromium,
            target,
            session,
            address,
            noticed: Mutex::default(),
        }
    }

    fn call(&self, method: &str, parameters: &Value) -> Value {
        self.chromium.call(Some(&self.session), method, parameters)
    }

    /// Waits for an event.
    fn await_event(&self, is_it: impl Fn(&Value) -> bool) {
        loop {
            let event = self.events.recv_timeout(PATIENCE).expect("an event");
            let mut noticed = self.noticed.lock().unwrap();
            noticed.extend(notice(&event, &self.address));
            if is_it(&event) {
                return;
            }
        }
    }

    /// The value of an expression in the page; promises are awaited.
    pub(crate) fn ask(&self, expression: &str) -> Value {
        let wrapped = format!("(async () => JSON.stringify([await ({expression})]))()");
        let evaluated = json!({ "expression": wrapped, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", &evaluated);
        let text = answer["result"]["value"].as_str();
        let text = text.unwrap_or_else(|| panic!("{expression}: {answer}"));
        let mut answer: Value = serde_json::from_str(text).unwrap();
        answer[0].take()
    }

    /// The same, for a string.
    pub(crate) fn text(&self, expression: &str) -> String {
        let answer = self.ask(expression);
        let text = answer.as_str();
        text.unwrap_or_else(|| panic!("{expression}: {answer}"))
            .to_owned()
    }

    /// The texts of all elements that match a selector.
    pub(crate) fn texts(&self, selector: &str) -> Vec<String> {
        let all = format!(
            "Array.from(document.querySelectorAll({}), (found) => found.textContent)",
            json!(selector)
        );
        serde_json::from_value(self.ask(&all)).unwrap()
    }

    /// Waits until an expression has this value.
    pub(crate) fn await_that(&self, expression: &str, expected: &Value) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(expression);
            if answer == *expected {
                return;
            }
            let late = Instant::now() > deadline;
            assert!(!late, "{expression}: {answer} instead of {expected}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Clicks the middle of the first element that matches a selector.
    pub(crate) fn click(&self, selector: &str) {
        let middle = format!(
            "((found) => {{ found.scrollIntoViewIfNeeded(); const box = found.getClientRects()[0]; \
             return [box.x + box.width / 2, box.y + box.height / 2]; }})(document.querySelector({}))",
            json!(selector)
        );
        let middle = self.ask(&middle);
        for event in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let (button, clicks) = match event {
                "mouseMoved" => ("none", 0),
                _ => ("left", 1),
            };
            let mouse = json!({ "type": event, "x": middle[0], "y": middle[1], "button": button, "clickCount": clicks });
            self.call("Input.dispatchMouseEvent", &mouse);
        }
    }

    /// Presses a key, named as in `KeyboardEvent.key`.
    pub(crate) fn press(&self, key: &str) {
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "ArrowUp" => 38,
            "ArrowDown" => 40,
            "-" => 189,
            "/" => 191,
            _ => key.to_uppercase().as_bytes()[0],
        };
        let mut pressed = json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": code });
        if key == "Enter" {
            pressed["text"] = "\r".into();
        } else if key.len() == 1 {
            pressed["text"] = key.into();
        }
        self.call("Input.dispatchKeyEvent", &pressed);
        let released = json!({ "type": "keyUp", "key": key, "windowsVirtualKeyCode": code });
        self.call("Input.dispatchKeyEvent", &released);
    }

    /// Inserts text at the focus, all at once.
    pub(crate) fn write(&self, text: &str) {
        self.call("Input.insertText", &json!({ "text": text }));
    }

    /// Pastes the clipboard at the focus.
    pub(crate) fn paste(&self) {
        for paste in [
            json!({ "type": "keyDown", "key": "v", "modifiers": 2, "commands": ["paste"] }),
            json!({ "type": "keyUp", "key": "v", "modifiers": 2 }),
        ] {
            self.call("Input.dispatchKeyEvent", &paste);
        }
    }

    /// Sets the preferred colour scheme, `light` or `dark`, and the width of the screen.
    pub(crate) fn look(&self, scheme: &str, width: u32) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let media = json!({ "features": features });
        self.call("Emulation.setEmulatedMedia", &media);
        let screen =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &screen);
    }

    /// Saves a screenshot for a person to look at.
    pub(crate) fn keep_picture(&self, name: &str) -> PathBuf {
        let picture = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        let picture = BASE64_STANDARD.decode(picture["data"].as_str().unwrap());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
        fs::write(&path, picture.unwrap()).unwrap();
        path
    }

    /// Everything so far that a page should never do.
    pub(crate) fn noticed(&self) -> Vec<String> {
        // Events arrive in order: after this one, no earlier one is missing.
        const END: &str = "end of events";
        self.ask(&format!("console.debug({END:?})"));
        let is_end = |event: &Value| notice(event, "").is_some_and(|note| note.contains(END));
        self.await_event(is_end);
        let mut noticed = self.noticed.lock().unwrap();
        let end = noticed.pop();
        assert!(end.is_some_and(|note| note.contains(END)));
        noticed.drain(..).collect()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let target = json!({ "targetId": self.target });
        self.chromium.call(None, "Target.closeTarget", &target);
    }
}
