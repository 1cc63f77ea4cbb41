//! The life of the process: addresses are ours alone, accepting goes on when descriptors run out, the end is orderly.

use std::fs::File;
use std::io::ErrorKind;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use portcullis::budget::Limits;
use portcullis::proxy::listener::{ListenerSettings, bind};

use crate::plane::{Client, Plane};
use crate::upstream::{Reply, Upstream};

const GET: &str = "GET / HTTP/1.1\r\nhost: app.test\r\n\r\n";

/// Tells the test below that it runs with few descriptors.
const INNER: &str = "PORTCULLIS_TEST_FEW_DESCRIPTORS";

#[test]
fn an_address_that_is_taken_is_an_error() {
    let plane = Plane::of(&[]);
    let limits = Arc::new(Limits::default());
    let settings = ListenerSettings { http: Some(plane.http), https: None, threads: 2, limits };
    let error = bind(&settings).err().expect("the address is taken");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn accepting_goes_on_when_descriptors_ran_out() {
    if std::env::var_os(INNER).is_none() {
        // In a process of its own, since the limit is one of the process.
        let test = "lifecycle::accepting_goes_on_when_descriptors_ran_out";
        let script = r#"ulimit -n 128 && exec "$0" --exact "$1" --test-threads 1"#;
        let mut inner = Command::new("sh");
        inner.args(["-c", script]).arg(std::env::current_exe().unwrap()).arg(test).env(INNER, "1");
        let output = inner.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let upstream = Upstream::ok();
    let plane = Plane::of(&[upstream.address]);
    assert_eq!(plane.client().ask(GET).status, 200);
    let mut client = plane.client();
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    // One more descriptor for the client's end of a connection that cannot be accepted.
    files.pop();
    let mut waiting = Client::connect(plane.http);
    waiting.send(GET);
    std::thread::sleep(Duration::from_millis(300));
    drop(files);
    assert_eq!(waiting.answer().map(|answer| answer.status), Some(200));
    assert_eq!(client.ask(GET).status, 200);
}

#[test]
fn what_runs_is_finished_and_what_waits_is_served() {
    let upstream = Upstream::scripted(|seen| {
        if seen.line().contains("/slow") {
            std::thread::sleep(Duration::from_millis(500));
        }
        Reply::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec())
    });
    let mut plane = Plane::of(&[upstream.address]);
    let mut idle = plane.client();
    assert_eq!(idle.ask(GET).status, 200);
    let mut slow = plane.client();
    slow.send("GET /slow HTTP/1.1\r\nhost: app.test\r\n\r\n");
    while upstream.seen().len() < 2 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut waiting: Vec<_> = (0..20).map(|_| plane.client()).collect();
    let drained = plane.drain();
    for client in &mut waiting {
        let answer = client.ask(GET);
        assert_eq!(answer.status, 200);
    }
    assert_eq!(slow.answer().map(|answer| answer.status), Some(200));
    assert!(slow.is_closed() && idle.is_closed());
    drop(waiting);
    plane.block_on(async { tokio::time::timeout(Duration::from_secs(10), drained).await }).unwrap().unwrap();
    assert!(std::net::TcpStream::connect(plane.http).is_err());
}
