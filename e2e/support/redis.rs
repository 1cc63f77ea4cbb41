//! A real Redis that speaks TLS alone, to nobody but the ACL user of the documentation, and forgets nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::authority::Authority;
use super::eventually::START;
use super::objects::INSTALLATION;
use super::program::{Program, output};

const ADDRESS: &str = "127.0.0.1";
const PASSWORD: &str = "redis-password-8c21f7d0";
const DOCUMENTATION: &str = include_str!("../../docs/redis.md");

/// A running Redis.
pub struct Redis {
    program: Program,
    folder: PathBuf,
    authority: String,
}

impl Redis {
    /// Starts it, with its files in `folder`.
    pub async fn start(folder: &Path, authority: &Authority) -> Self {
        let pair = authority.issue(&[ADDRESS]);
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("the folder is there");
        write("redis.crt", &pair.certificate);
        write("redis.key", &pair.key);
        write("redis.acl", &format!("user default off\n{}\n", rules()));
        write("ca.crt", &authority.pem);
        Self { program: run(folder).await, folder: folder.to_owned(), authority: authority.pem.clone() }
    }

    /// The Secret by which it is reached.
    pub fn secret(&self, name: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"namespace": INSTALLATION, "name": name},
            "stringData": {
                "url": format!("rediss://{ADDRESS}:6379"),
                "username": "portcullis",
                "password": PASSWORD,
                "ca.crt": self.authority,
            },
        })
    }

    /// Kills it; what it had written stays.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Starts it again with what it had.
    pub async fn restart(&mut self) {
        self.program = run(&self.folder).await;
    }

    /// Puts a text where sessions are.
    pub fn plant(&self, text: &str) {
        assert_eq!(self.ask(&["SET", "pcs-planted", text]), "OK\n");
    }

    /// The keys of all sessions.
    pub fn keys(&self) -> Vec<String> {
        self.ask(&["--scan", "--pattern", "pcs-*"]).lines().map(str::to_owned).collect()
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["--tls", "--cacert", "ca.crt", "-h", ADDRESS, "--user", "portcullis", "--pass", PASSWORD]);
        output(command.arg("--no-auth-warning").args(arguments).current_dir(&self.folder))
    }

    /// All that it has written to disk: every key and value as it came, since nothing is compressed.
    pub fn dump(&self) -> Vec<Vec<u8>> {
        let files = fs::read_dir(self.folder.join("appendonlydir")).expect("it appends");
        files.map(|file| fs::read(file.expect("a file").path()).expect("it may be read")).collect()
    }
}

/// The rules of the documentation with our password.
fn rules() -> String {
    let from = DOCUMENTATION.find("user portcullis").expect("the documentation has the rules");
    let rules = DOCUMENTATION[from..].split("```").next().expect("split gives one at least");
    rules.split_whitespace().collect::<Vec<_>>().join(" ").replace("PASSWORD", PASSWORD)
}

async fn run(folder: &Path) -> Program {
    let mut command = Command::new("redis-server");
    // What it has answered is written; only a machine that loses power needs it on the disk too.
    command.args(["--bind", ADDRESS, "--port", "0", "--tls-port", "6379", "--tls-auth-clients", "no"]);
    command.args(["--appendonly", "yes", "--appendfsync", "no", "--aof-use-rdb-preamble", "no"]);
    command.arg("--dir").arg(folder).args(["--tls-ca-cert-file", "ca.crt"]);
    command.args(["--tls-cert-file", "redis.crt", "--tls-key-file", "redis.key", "--aclfile", "redis.acl"]);
    let mut program = Program::start("redis-server", command.current_dir(folder), &folder.join("redis.log"));
    program.prints("Ready to accept connections", START).await;
    program
}
