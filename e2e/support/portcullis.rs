//! The program under test, as a user bound to nothing but the RBAC in `manifests/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::authority::Authority;
use super::client::{Ask, Client};
use super::eventually::{SOON, START, eventually};
use super::objects::INSTALLATION;
use super::program::{Program, output};

/// The address that Ingresses get in their status.
pub const PUBLISHED: &str = "203.0.113.10";

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");

/// Where a replica listens: HTTP on 8080 and HTTPS on 8443 of one address, the admin listener on 9090 of another; and its
/// `--session-store`, with what belongs to that.
pub struct Place<'a> {
    pub data: &'a str,
    pub admin: &'a str,
    pub store: &'a [&'a str],
}

/// All of this machine, with sessions in Secrets.
pub const HERE: Place<'_> = Place { data: "[::]", admin: "127.0.0.1", store: &["secrets"] };

/// The program with a clock that runs so many times as fast (Debian's `faketime`).
pub fn hurried(times: u32) -> Command {
    let speed = format!("+0 x{times}");
    let library = output(Command::new("faketime").args(["-m", "-f", &speed, "printenv", "LD_PRELOAD"]));
    let mut command = Command::new(PROGRAM);
    command.env("LD_PRELOAD", library.trim()).env("FAKETIME", speed);
    command
}

/// A running Portcullis.
pub struct Portcullis {
    program: Program,
    audit: PathBuf,
    admin: Client,
    /// Where it tells how it is.
    told: String,
}

impl Portcullis {
    /// Starts it [`HERE`]; its log and its audit file are in `folder`.
    pub fn start(folder: &Path, kubeconfig: &Path, authority: &Authority) -> Self {
        Self::start_by(Command::new(PROGRAM), folder, kubeconfig, authority)
    }

    /// The same by a command that passes its further arguments on to the program, such as `taskset`.
    pub fn start_by(command: Command, folder: &Path, kubeconfig: &Path, authority: &Authority) -> Self {
        Self::launch(command, &HERE, folder, kubeconfig, authority)
    }

    /// One of several replicas.
    pub fn start_at(place: &Place<'_>, folder: &Path, kubeconfig: &Path, authority: &Authority) -> Self {
        Self::launch(Command::new(PROGRAM), place, folder, kubeconfig, authority)
    }

    fn launch(
        mut command: Command,
        place: &Place<'_>,
        folder: &Path,
        kubeconfig: &Path,
        authority: &Authority,
    ) -> Self {
        let Place { data, admin, store } = place;
        let audit = folder.join("audit.jsonl");
        command.env("KUBECONFIG", kubeconfig).arg("run");
        command.args(["--http", &format!("{data}:8080"), "--https", &format!("{data}:8443")]);
        command.args(["--admin", &format!("{admin}:9090")]);
        command.args(["--public-https-port", "8443", "--namespace", INSTALLATION, "--session-store"]).args(*store);
        command.args(["--publish-address", PUBLISHED]).arg("--audit").arg(&audit);
        let program = Program::start("portcullis", &mut command, &folder.join("portcullis.log"));
        Self { program, audit, admin: Client::new(authority), told: format!("http://{admin}:9090") }
    }

    /// Waits until it says that it serves.
    pub async fn ready(&mut self) {
        eventually("Portcullis' /readyz", START, async || {
            self.program.assert_runs();
            self.is_ready().await.then_some(())
        })
        .await;
    }

    /// Whether it says that it serves.
    pub async fn is_ready(&self) -> bool {
        let answer = self.admin.try_send(Ask::get(&format!("{}/readyz", self.told))).await;
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// Its log.
    pub fn log(&self) -> String {
        self.program.printed()
    }

    /// The audit events so far.
    pub fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.audit).unwrap_or_default();
        // The last line may be in the middle of being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("audit lines are JSON")).collect()
    }

    /// The newest audit event.
    pub fn newest_audit(&self) -> Value {
        let text = fs::read_to_string(&self.audit).expect("it has written some");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        serde_json::from_str(whole.lines().last().unwrap_or_default()).expect("audit lines are JSON")
    }

    /// What it tells of itself in numbers.
    pub async fn metrics(&self) -> String {
        self.admin.send(Ask::get(&format!("{}/metrics", self.told))).await.text()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.program.id()
    }

    /// Its memory, in bytes.
    pub fn resident(&self) -> u64 {
        self.program.resident()
    }

    /// Kills it, as a machine that loses power would.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Asks it to end, as a kubelet does, and sees that it ends well.
    pub async fn stop(mut self) {
        self.program.signal(Signal::SIGTERM);
        let status = self.program.end(SOON).await;
        assert!(status.success(), "portcullis ended with {status}:\n{}", self.log());
    }
}
