//! The binary as a child, and curl as a browser: cookies kept, redirects followed, the dev authority trusted.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// `portcullis dev`, ended when dropped.
pub struct Dev {
    child: Child,
    state: TempDir,
    out: Receiver<String>,
    err: Receiver<String>,
    https_port: u16,
    echo_port: u16,
    http_port: u16,
    admin_port: u16,
    banner: String,
    /// What was said on standard error so far.
    heard: RefCell<Vec<String>>,
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
        Self::begin(Self::spawn(folder, &[]))
    }

    /// The same for a folder, with more arguments.
    pub fn start_with(folder: &Path, arguments: &[&str]) -> Self {
        Self::begin(Self::spawn(Some(folder), arguments))
    }

    fn begin(mut dev: Self) -> Self {
        dev.banner = await_in(&dev.out, &["live: generation 1"]).join("\n");
        dev.await_error(&["ready"]);
        dev
    }

    /// The same with all that it says for machines, the audit trail on standard output.
    pub fn start_logging_json(folder: &Path) -> Self {
        let dev = Self::spawn(Some(folder), &["--log", "json", "--audit", "stdout"]);
        dev.await_error(&["ready"]);
        dev
    }

    fn spawn(folder: Option<&Path>, arguments: &[&str]) -> Self {
        let state = tempfile::tempdir().unwrap();
        let ports = free_ports();
        let [http_port, https_port, _, echo_port, admin_port] = ports;
        let mut command = Self::command(&state, ports);
        let mut child =
            command.args(folder).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        let (banner, heard) = Default::default();
        Self { child, state, out, err, https_port, echo_port, http_port, admin_port, banner, heard }
    }

    fn command(state: &TempDir, [http, https, provider, echo, admin]: [u16; 5]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.arg("dev").args(["--workers", "1"]).env("XDG_STATE_HOME", state.path());
        let flags = ["--http", "--https", "--provider", "--echo", "--admin"];
        for (flag, port) in flags.into_iter().zip([http, https, provider, echo, admin]) {
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

    pub fn http(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.http_port).into()
    }

    pub fn https(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.https_port).into()
    }

    pub fn admin(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.admin_port).into()
    }

    /// The certificate to trust.
    pub fn authority(&self) -> PathBuf {
        self.state.path().join("portcullis/ca.crt")
    }

    /// The audit event of a decision, which is written soon after its answer has come.
    pub fn decision(&self, id: &str) -> serde_json::Value {
        let file = self.state.path().join("portcullis/audit.jsonl");
        for _ in 0..3000 {
            let text = std::fs::read_to_string(&file).unwrap();
            let mut lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            if let Some(event) = lines.find(|line| line["id"] == id) {
                return event;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("no event {id}");
    }

    /// Asks it to end, as a kubelet does.
    pub fn terminate(&self) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    }

    /// Waits until it has ended.
    pub fn ends(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Waits until it has ended, and gives every line that it said, on standard output and error.
    pub fn ends_having_said(mut self) -> (Vec<String>, Vec<String>) {
        assert!(self.child.wait().unwrap().success());
        let heard = self.heard.take();
        (self.out.iter().collect(), heard.into_iter().chain(self.err.iter()).collect())
    }

    /// The lines that are printed to be pasted.
    pub fn curl_lines(&self) -> String {
        let (_, lines) = self.banner.split_once("With curl:\n").unwrap();
        lines.split_once("\n\n").unwrap().0.to_owned()
    }

    /// Waits for a line on standard output.
    pub fn await_line(&self, expected: &str) {
        await_in(&self.out, &[expected]);
    }

    /// Waits for a line on standard error that has all of these.
    pub fn await_error(&self, expected: &[&str]) {
        self.heard.borrow_mut().extend(await_in(&self.err, expected));
    }

    /// What a second process says that is started on the same ports.
    pub fn second_on_the_same_ports(&self, arguments: &[&str]) -> String {
        let [_, _, provider, echo, admin] = free_ports();
        let ports = [self.http_port, self.https_port, provider, echo, admin];
        let output = Self::command(&self.state, ports).args(arguments).output().unwrap();
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
            .args(["-sSL", "--max-time", "60", "-w", "%{http_code} %{url_effective}"])
            .arg("--cacert")
            .arg(self.dev.authority())
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

/// Ports that are free and stay so, each another: they lie below those that the system gives to whoever names none.
fn free_ports() -> [u16; 5] {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    [(); 5].map(|()| {
        loop {
            let number = std::process::id() % 200 * 100 + NUMBER.fetch_add(1, Ordering::Relaxed);
            let port = 12_000 + u16::try_from(number % 20_000).unwrap();
            if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
    })
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

/// The lines up to the expected one.
fn await_in(lines: &Receiver<String>, expected: &[&str]) -> Vec<String> {
    let mut seen = Vec::new();
    while let Ok(line) = lines.recv_timeout(PATIENCE) {
        let found = expected.iter().all(|part| line.contains(part));
        seen.push(line);
        if found {
            return seen;
        }
    }
    panic!("{expected:?} was not said; what was:\n{}", seen.join("\n"));
}
