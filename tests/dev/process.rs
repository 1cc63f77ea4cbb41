//! The binary as a child, and curl as a browser: cookies kept, redirects followed, the dev authority trusted.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tempfile::TempDir;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// `portcullis dev`, ended when dropped.
pub struct Dev {
    child: Child,
    state: TempDir,
    out: Receiver<String>,
    err: Receiver<String>,
    https_port: u16,
    echo_port: u16,
    http_port: u16,
}

/// What curl got.
pub struct Page {
    pub status: u16,
    pub url: String,
    pub body: String,
}

/// A cookie jar of its own.
pub struct Browser<'a> {
    dev: &'a Dev,
    jar: TempDir,
}

impl Dev {
    /// Starts it on free ports and waits until the first generation is live.
    pub fn start(folder: Option<&Path>) -> Self {
        let state = tempfile::tempdir().unwrap();
        let [http_port, https_port, provider, echo_port] = free_ports();
        let mut command = Self::command(&state, [http_port, https_port, provider, echo_port]);
        let mut child = command.args(folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        let dev = Self { child, state, out, err, https_port, echo_port, http_port };
        dev.await_line("live: generation 1");
        dev.await_error("ready");
        dev
    }

    fn command(state: &TempDir, [http, https, provider, echo]: [u16; 4]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.arg("dev").args(["--admin", "off", "--workers", "1"]).env("XDG_STATE_HOME", state.path());
        for (flag, port) in [("--http", http), ("--https", https), ("--provider", provider), ("--echo", echo)] {
            command.args([flag, &format!("127.0.0.1:{port}")]);
        }
        command
    }

    pub fn echo_port(&self) -> u16 {
        self.echo_port
    }

    /// The address with the port that is really listened on.
    pub fn url(&self, url: &str) -> String {
        url.replacen(".localhost/", &format!(".localhost:{}/", self.https_port), 1)
    }

    /// Waits for a line on standard output.
    pub fn await_line(&self, expected: &str) {
        await_in(&self.out, expected);
    }

    /// Waits for a line on standard error.
    pub fn await_error(&self, expected: &str) {
        await_in(&self.err, expected);
    }

    /// What a second process says that is started on the same ports.
    pub fn second_on_the_same_ports(&self) -> String {
        let [_, _, provider, echo] = free_ports();
        let output = Self::command(&self.state, [self.http_port, self.https_port, provider, echo]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl<'a> Browser<'a> {
    pub fn new(dev: &'a Dev) -> Self {
        Self { dev, jar: tempfile::tempdir().unwrap() }
    }

    pub fn get(&mut self, url: &str) -> Page {
        self.curl(url, &[])
    }

    pub fn post(&mut self, url: &str, form: &str) -> Page {
        let url = self.dev.url(url);
        let origin = url.split('/').take(3).collect::<Vec<_>>().join("/");
        self.curl(&url, &["--data", form, "-H", &format!("Origin: {origin}")])
    }

    fn curl(&mut self, url: &str, more: &[&str]) -> Page {
        let jar = self.jar.path().join("jar");
        let body = self.jar.path().join("body");
        let output = Command::new("curl")
            .args(["-sSL", "--max-time", "20", "-w", "%{http_code} %{url_effective}"])
            .arg("--cacert")
            .arg(self.dev.state.path().join("portcullis/ca.crt"))
            .arg("-b")
            .arg(&jar)
            .arg("-c")
            .arg(&jar)
            .arg("-o")
            .arg(&body)
            .args(more)
            .arg(self.dev.url(url))
            .output()
            .expect("curl is installed");
        assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
        let told = String::from_utf8(output.stdout).unwrap();
        let (status, url) = told.split_once(' ').unwrap();
        Page { status: status.parse().unwrap(), url: url.to_owned(), body: std::fs::read_to_string(body).unwrap() }
    }
}

/// Ports that were free a moment ago, each another.
fn free_ports() -> [u16; 4] {
    let sockets = [(); 4].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn await_in(lines: &Receiver<String>, expected: &str) {
    let mut seen = String::new();
    while let Ok(line) = lines.recv_timeout(PATIENCE) {
        if line.contains(expected) {
            return;
        }
        seen.push_str(&line);
        seen.push('\n');
    }
    panic!("`{expected}` was not said; what was:\n{seen}");
}
