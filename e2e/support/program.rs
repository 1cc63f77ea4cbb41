//! A program that runs beside the journeys and ends with its handle.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{sleep, timeout};

use super::eventually::{PAUSE, eventually};

/// A running program. Dropping it kills it and waits for its end, so its ports are free again.
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts a command; what it prints goes to the file `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("the folder of the log is there");
        let both = file.try_clone().expect("a file handle can be doubled");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(both).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { name: name.to_owned(), child, log: log.to_owned() }
    }

    /// All that it has printed.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).expect("it was created at the start")).into_owned()
    }

    /// Waits until it has printed `text`.
    pub async fn prints(&mut self, text: &str, limit: Duration) {
        let what = format!("`{text}` in {}", self.log.display());
        eventually(&what, limit, async || {
            self.assert_runs();
            self.printed().contains(text).then_some(())
        })
        .await;
    }

    /// Panics with the end of the log where the program has ended.
    pub fn assert_runs(&mut self) {
        if let Some(status) = self.child.try_wait().expect("it is our child") {
            let log = self.printed();
            let from = log.len().saturating_sub(2_000);
            panic!("{} ended ({status}):\n{}", self.name, String::from_utf8_lossy(&log.as_bytes()[from..]));
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it is our child");
    }

    /// Kills it, as a machine that loses power would.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end.
    pub async fn end(&mut self, limit: Duration) -> ExitStatus {
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait().expect("it is our child") {
                    return status;
                }
                sleep(PAUSE).await;
            }
        };
        let ended = timeout(limit, ended).await;
        ended.unwrap_or_else(|_| panic!("within {limit:?} not seen: the end of {}", self.name))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The memory that it holds, in bytes (`VmRSS`).
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells it");
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kibibytes * 1024
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.id().try_into().expect("the kernel's own range"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a command to its end and gives what it printed.
///
/// # Panics
/// Where it fails; the message has what it printed to standard error.
pub fn output(command: &mut Command) -> String {
    tokio::task::block_in_place(|| {
        let name = command.get_program().to_string_lossy().into_owned();
        let arguments: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        let line = format!("{name} {}", arguments.join(" "));
        let output = command.output().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{line}` failed ({}):\n{error}", output.status);
        String::from_utf8(output.stdout).expect("text")
    })
}
