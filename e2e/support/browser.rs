//! A person's browser: headless Chromium that trusts the tests' authority, driven by `e2e/provider/browser.mjs`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::authority::Authority;
use super::program::output;

/// One browser with one page and a profile of its own.
pub struct Browser {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pictures: PathBuf,
}

impl Browser {
    /// Starts one; its profile, its log and its pictures are in `folder`.
    pub fn start(folder: &Path, authority: &Authority) -> Self {
        let home = folder.join("browser");
        trust(&home, authority);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/provider/browser.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .env("HOME", &home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.join("browser.log")).expect("the folder is there"))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start node: {error}"));
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it was asked for"));
        Self { child, commands, answers, pictures: folder.to_owned() }
    }

    /// Opens an address and gives the status of the page it ends at.
    pub fn open(&mut self, url: &str) -> u64 {
        self.order(&json!({"do": "goto", "url": url})).as_u64().expect("a status")
    }

    /// Fills a field.
    pub fn fill(&mut self, label: &str, value: &str) {
        self.order(&json!({"do": "fill", "label": label, "value": value}));
    }

    /// Presses a button and waits for an address that begins with `until`.
    pub fn press(&mut self, button: &str, until: &str) {
        self.order(&json!({"do": "press", "button": button, "until": until}));
    }

    /// What the page shows.
    pub fn text(&mut self) -> String {
        self.order(&json!({"do": "text"})).as_str().expect("text").to_owned()
    }

    /// The address of the page.
    pub fn url(&mut self) -> String {
        self.order(&json!({"do": "url"})).as_str().expect("text").to_owned()
    }

    /// The value of a cookie of a host.
    pub fn cookie(&mut self, host: &str, name: &str) -> Option<String> {
        let cookies = self.order(&json!({"do": "cookies"}));
        let found = cookies.as_array()?.iter().find(|cookie| cookie["domain"] == host && cookie["name"] == name)?;
        Some(found["value"].as_str()?.to_owned())
    }

    /// Keeps a picture of the page, to be looked at.
    pub fn picture(&mut self, name: &str) {
        let path = self.pictures.join(format!("{name}.png"));
        self.order(&json!({"do": "screenshot", "path": path}));
    }

    /// Shows pages `light` or `dark`, so many pixels wide.
    pub fn look(&mut self, scheme: &str, width: u32) {
        self.order(&json!({"do": "look", "scheme": scheme, "width": width}));
    }

    /// What keeps people from using the page, after WCAG 2.2 A and AA.
    pub fn barriers(&mut self) -> Value {
        self.order(&json!({"do": "barriers"}))
    }

    /// Signs in on the provider's form, which the page is at, and waits for an address that begins with `until`.
    pub fn sign_in(&mut self, login: &str, until: &str) {
        self.fill("Name", login);
        self.press("Sign in", until);
    }

    fn order(&mut self, command: &Value) -> Value {
        let line = block_in_place(|| {
            writeln!(self.commands.as_ref().expect("it is there until the end"), "{command}")?;
            let mut line = String::new();
            self.answers.read_line(&mut line).map(|_| line)
        });
        let line = line.expect("the browser runs");
        let mut answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the browser ended: {command}"));
        if let Some(reason) = answer["failed"].as_str() {
            panic!("the browser could not {command}: {reason}");
        }
        answer["done"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of its input is the end of the script, which closes Chromium; killed, it would leave it behind.
        self.commands = None;
        let _ = self.child.wait();
    }
}

/// Puts the authority into the NSS store of a home folder, where Chromium looks.
fn trust(home: &Path, authority: &Authority) {
    let store = home.join(".pki/nssdb");
    fs::create_dir_all(&store).expect("the folder can be made");
    let database = format!("sql:{}", store.display());
    let certutil = |arguments: &[&str]| output(Command::new("certutil").args(["-d", &database]).args(arguments));
    certutil(&["-N", "--empty-password"]);
    certutil(&["-A", "-n", "Portcullis tests", "-t", "C,,", "-i", &authority.file.to_string_lossy()]);
}
