//! The client: this test binary once more, told by environment variables what to ask, and by lines how often.

use std::env;
use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::anyone;

const ADDRESS: &str = "PORTCULLIS_TEST_ADDRESS";
const HOST: &str = "PORTCULLIS_TEST_HOST";
const COOKIE: &str = "PORTCULLIS_TEST_COOKIE";
const TEST: &str = "a_signed_in_request_allocates_little_more_than_an_open_one";
const DONE: &str = "done";

/// A client process with one connection, kept alive.
pub struct Client {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl Client {
    /// Starts it.
    pub fn start(address: SocketAddr, host: &str, cookie: &str) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .envs([(ADDRESS, address.to_string().as_str()), (HOST, host), (COOKIE, cookie)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, answers }
    }

    /// Has it ask so many times, one after the other.
    pub fn ask(&mut self, times: usize) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{times}").unwrap();
        let mut line = String::new();
        while line.trim() != DONE {
            line.clear();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "the client ended");
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        drop(self.process.wait());
    }
}

/// Whether this process is to be the client.
pub fn is_asked_for() -> bool {
    env::var_os(ADDRESS).is_some()
}

/// The client's life.
#[expect(clippy::disallowed_methods, reason = "this is how the test talks to itself")]
pub fn run() {
    let (address, host) = (env::var(ADDRESS).unwrap(), env::var(HOST).unwrap());
    let config = anyone::config(default_provider(), rustls::DEFAULT_VERSIONS);
    let name = ServerName::try_from(host.clone()).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    let port = socket.peer_addr().unwrap().port();
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket);
    let request = format!(
        "GET /path?query=1 HTTP/1.1\r\nhost: {host}:{port}\r\nuser-agent: test\r\naccept: text/html\r\n\
        accept-language: en\r\naccept-encoding: gzip\r\ncookie: {}\r\n\r\n",
        env::var(COOKIE).unwrap()
    );
    for line in stdin().lines().map_while(Result::ok) {
        for _ in 0..line.parse().unwrap() {
            stream.write_all(request.as_bytes()).unwrap();
            answer(&mut stream);
        }
        println!("{DONE}");
        stdout().flush().unwrap();
    }
}

/// Reads one answer with its kibibyte.
fn answer(stream: &mut impl Read) {
    let mut bytes = [0; 8192];
    let mut length = 0;
    loop {
        let count = stream.read(&mut bytes[length..]).unwrap();
        assert_ne!(count, 0, "the connection ended");
        length += count;
        let head = bytes[..length].windows(4).position(|window| window == b"\r\n\r\n");
        if head.is_some_and(|head| length >= head + 4 + 1024) {
            break;
        }
    }
    assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&bytes[..length]));
}
