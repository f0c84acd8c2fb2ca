//! Chromium without a window, asked through a pipe: the DevTools protocol as lines of JSON with a zero byte after each.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::{Value, json};

/// Longest wait for one answer: a busy machine of two cores takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one tab.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    calls: u64,
    tab: String,
    /// What the browser said unasked since the page was opened.
    events: Vec<Value>,
}

impl Browser {
    /// The browser of this system, if it has one.
    pub fn find() -> Result<String, String> {
        let named = std::env::var("CHROMIUM").into_iter();
        let usual = ["chromium", "chromium-browser", "google-chrome"].map(String::from);
        let runs = |name: &String| {
            let asked = Command::new(name).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
            asked.is_ok_and(|o| o.status.success())
        };
        named.chain(usual).find(runs).ok_or_else(|| "no Chromium here (Debian: apt-get install chromium)".into())
    }

    /// Starts it with a folder of its own.
    pub fn start(binary: &str, profile: &Path) -> Result<Browser, String> {
        // It reads what it is asked from descriptor 3 and answers on 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 0</dev/null 1>&2", "sh", binary])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .args([
                "--no-first-run",
                "--disable-extensions",
                "--disable-background-networking",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("sh: {e}"))?;
        let (to, out) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let (send, from) = mpsc::channel();
        std::thread::spawn(move || {
            for message in BufReader::new(out).split(0).map_while(Result::ok) {
                let Ok(value) = serde_json::from_slice(&message) else { break };
                if send.send(value).is_err() {
                    break;
                }
            }
        });
        let mut browser = Browser { child, to, from, calls: 0, tab: String::new(), events: vec![] };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }))?;
        let attached = json!({ "targetId": target["targetId"], "flatten": true });
        browser.tab = text(&browser.ask("Target.attachToTarget", attached)?["sessionId"]);
        for domain in ["Page", "Runtime", "Log", "Network", "Accessibility"] {
            browser.ask(&format!("{domain}.enable"), json!({}))?;
        }
        Ok(browser)
    }

    fn next(&mut self) -> Result<Value, String> {
        self.from.recv_timeout(PATIENCE).map_err(|_| format!("the browser does not answer within {PATIENCE:?}"))
    }

    /// Sends a call of the protocol; its number.
    fn send(&mut self, method: &str, params: &Value) -> Result<u64, String> {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": params });
        if !self.tab.is_empty() {
            call["sessionId"] = self.tab.clone().into();
        }
        let mut line = call.to_string().into_bytes();
        line.push(0);
        self.to.write_all(&line).map_err(|e| format!("the browser has ended: {e}"))?;
        Ok(self.calls)
    }

    /// Waits for the result of a call.
    fn result(&mut self, call: u64, method: &str) -> Result<Value, String> {
        loop {
            let mut message = self.next()?;
            if message["id"] == call {
                return match message.get("error") {
                    Some(error) => Err(format!("{method}: {error}")),
                    None => Ok(message["result"].take()),
                };
            }
            self.events.push(message);
        }
    }

    /// One call of the protocol, and its result.
    pub fn ask(&mut self, method: &str, params: Value) -> Result<Value, String> {
        let call = self.send(method, &params)?;
        self.result(call, method)
    }

    /// Opens a page in a window of this width, with or without scripts, and waits until it is there.
    pub fn open(&mut self, page: &Path, width: u32, scripts: bool) -> Result<(), String> {
        self.show("screen", "light")?;
        let window = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", window)?;
        self.ask("Emulation.setScriptExecutionDisabled", json!({ "value": !scripts }))?;
        self.events.clear();
        self.ask("Page.navigate", json!({ "url": format!("file://{}", page.display()) }))?;
        while !self.events.iter().any(|e| e["method"] == "Page.loadEventFired") {
            let event = self.next()?;
            self.events.push(event);
        }
        Ok(())
    }

    /// How the page is shown: `screen` or `print`, in `light` or `dark`.
    pub fn show(&mut self, media: &str, scheme: &str) -> Result<(), String> {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.ask("Emulation.setEmulatedMedia", json!({ "media": media, "features": features })).map(drop)
    }

    /// The value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Result<Value, String> {
        let params = json!({ "expression": expression, "returnByValue": true, "userGesture": true });
        let mut answer = self.ask("Runtime.evaluate", params)?;
        match answer.get("exceptionDetails") {
            Some(problem) => Err(format!("in the page: {problem}")),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// Presses a key so many times. A browser that is waited for each time draws the page each time.
    pub fn press(&mut self, key: &str, code: u32, written: &str, times: u64) -> Result<(), String> {
        const METHOD: &str = "Input.dispatchKeyEvent";
        let mut calls = Vec::new();
        for kind in (0..times).flat_map(|_| ["keyDown", "keyUp"]) {
            let text = if kind == "keyDown" { written } else { "" };
            let params = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            calls.push(self.send(METHOD, &params)?);
        }
        calls.into_iter().try_for_each(|call| self.result(call, METHOD).map(drop))
    }

    /// What the page wrote on the console, and what it asked for beside itself, since it was opened.
    pub fn said(&self) -> Vec<String> {
        let fault = |e: &Value| {
            let p = &e["params"];
            match e["method"].as_str()? {
                "Runtime.exceptionThrown" => Some(format!("console: {}", p["exceptionDetails"]["text"])),
                "Runtime.consoleAPICalled" => Some(format!("console: {} {}", p["type"], p["args"][0]["value"])),
                "Log.entryAdded" => Some(format!("console: {}", p["entry"]["text"])),
                "Network.requestWillBeSent" => {
                    let url = text(&p["request"]["url"]);
                    let own = p["type"] == "Document" || url.starts_with("data:");
                    (!own).then(|| format!("request: {url}"))
                }
                _ => None,
            }
        };
        self.events.iter().filter_map(fault).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.ask("Browser.close", json!({}));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}
