//! A real Redis server with a loopback address of its own, which ends with its handle.

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::session::{RecordKey, RedisSettings, RedisStore, Store, StoreError};

pub const PORT: u16 = 6379;

pub struct Server {
    pub host: Ipv4Addr,
    pub folder: TempDir,
    arguments: Vec<String>,
    child: Child,
}

impl Server {
    /// A server that keeps nothing on disk, with further arguments.
    pub async fn start(arguments: &[&str]) -> Self {
        Self::start_at(address(), arguments).await
    }

    pub async fn start_at(host: Ipv4Addr, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments: Vec<_> = arguments.iter().copied().map(str::to_owned).collect();
        let child = spawn(host, &folder, &arguments);
        let mut server = Self { host, folder, arguments, child };
        server.answers().await;
        server
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, with what it has on disk.
    pub async fn restart(&mut self) {
        self.child = spawn(self.host, &self.folder, &self.arguments);
        self.answers().await;
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// One command, as somebody who may do all.
    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut self.connection().await).await.unwrap()
    }

    pub async fn connection(&self) -> MultiplexedConnection {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(60)))
            .set_response_timeout(Some(Duration::from_secs(60)));
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.host)
    }

    /// A store in it.
    pub fn store(&self) -> RedisStore {
        store(&[("url", &self.url())])
    }

    async fn answers(&mut self) {
        until("the server", async || {
            assert_eq!(self.child.try_wait().unwrap(), None, "redis-server has ended");
            TcpStream::connect((self.host, PORT)).await.is_ok()
        })
        .await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(host: Ipv4Addr, folder: &TempDir, arguments: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    // A Sentinel's own file comes first.
    let (file, rest) = arguments.split_at(usize::from(arguments.first().is_some_and(|first| first.ends_with(".conf"))));
    command.args(file).args(["--bind", &host.to_string(), "--port", "6379", "--dir"]).arg(folder.path());
    command.args(rest);
    if file.is_empty() {
        command.args(["--save", ""]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().expect("there is a redis-server: run `scripts/needs base`")
}

/// An address of 127.0.0.0/8 that nobody else has: the process by its id, the server by its number.
pub fn address() -> Ipv4Addr {
    static NUMBER: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 0x80, low, NUMBER.fetch_add(1, Ordering::Relaxed))
}

pub fn settings(keys: &[(&str, &str)]) -> RedisSettings {
    RedisSettings::parse(keys.iter().map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec()))).unwrap()
}

pub fn store(keys: &[(&str, &str)]) -> RedisStore {
    RedisStore::new(watch::channel(settings(keys)).1)
}

pub async fn until(what: &str, check: impl AsyncFnMut() -> bool) {
    let mut check = check;
    let held = tokio::time::timeout(Duration::from_secs(60), async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    held.await.unwrap_or_else(|_| panic!("{what} does not come"));
}

/// What comes of a question that is asked again while a busy machine lets the store's own deadline pass.
pub async fn answered<T>(ask: impl AsyncFn() -> Result<T, StoreError>) -> T {
    let mut answer = ask().await;
    until("an answer", async || {
        if is_unreachable(&answer) {
            answer = ask().await;
        }
        !is_unreachable(&answer)
    })
    .await;
    answer.unwrap()
}

/// A store that has found its masters, which takes longer than any one question.
pub async fn reached(store: RedisStore) -> RedisStore {
    answered(async || store.read(RecordKey([0; 32])).await).await;
    store
}

pub fn is_unreachable<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Unreachable(_)))
}
