//! The life of the process: addresses are ours alone, accepting goes on when descriptors run out, the end is orderly.

use std::fs::File;
use std::io::ErrorKind;
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use portcullis::budget::Limits;
use portcullis::proxy::listener::{ListenerSettings, bind};
use portcullis::route::RouteSettings;

use crate::plane::{Client, Plane, certificate, open, open_with, snapshot_of};
use crate::tls::h2;
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
    // It stays, since a descriptor that comes free in the midst of this would let one in.
    let mut client = plane.client();
    assert_eq!(client.ask(GET).status, 200);
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
fn a_panic_is_one_500_and_nobody_elses_concern() {
    let upstream = Upstream::ok();
    // No compile lets a time pass that ends after the clock does.
    let endless =
        RouteSettings { request_timeout: Some(Duration::MAX), ssl_redirect: false, ..RouteSettings::default() };
    let routes = vec![open_with("panic.test", &[upstream.address], endless), open("app.test", &[upstream.address])];
    let names = certificate(&["panic.test", "app.test"]);
    let plane = Plane::start(snapshot_of(routes, &[names]), Limits::default());
    let mut neighbour = plane.client();
    assert_eq!(neighbour.ask(GET).status, 200);
    let before = upstream.bytes();
    let answer = plane.client().ask("GET / HTTP/1.1\r\nhost: panic.test\r\n\r\n");
    assert_eq!((answer.status, upstream.bytes()), (500, before));
    let lines = plane.trail.until(4);
    let of_panic = lines.iter().filter(|line| line["id"] == *answer.values("x-request-id")[0]);
    let told: Vec<_> = of_panic.map(|line| (line["kind"].as_str(), line["status"].as_u64())).collect();
    assert_eq!(told, [(Some("AuthorizationAllowed"), None), (Some("Outcome"), Some(500))]);
    assert_eq!(neighbour.ask(GET).status, 200);
    // On each of two data threads, whoever comes next is served.
    for _ in 0..8 {
        assert_eq!(plane.client().ask(GET).status, 200);
    }
    plane.block_on(async {
        let mut sender = h2(plane.https, "app.test").await;
        for (host, status) in [("app.test", 200), ("panic.test", 500), ("app.test", 200)] {
            let request = Request::get(format!("https://{host}/")).body(Full::default()).unwrap();
            assert_eq!(sender.send_request(request).await.unwrap().status(), status, "{host}");
        }
    });
}

#[test]
fn a_panic_in_the_midst_of_an_answer_is_counted_and_nobody_elses_concern() {
    let half = Upstream::scripted(|_| Reply::SendAndStall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok".into()));
    let routes = vec![open("panic.test", &[half.address]), open("app.test", &[Upstream::ok().address])];
    let names = certificate(&["panic.test", "app.test"]);
    // No body can stand still for so long that the clock ends.
    let plane = Plane::start(snapshot_of(routes, &[names]), Limits { body_idle: Duration::MAX, ..Limits::default() });
    let counts = |count: usize| plane.metrics.encode().contains(&format!("portcullis_panics_total {count}\n"));
    assert_eq!(plane.client().send("GET / HTTP/1.1\r\nhost: panic.test\r\n\r\n").answer(), None);
    // It is counted when all of the connection is gone.
    assert!((0..2_000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        counts(1)
    }));
    plane.block_on(async {
        let mut sender = h2(plane.https, "app.test").await;
        let get = |host: &str| Request::get(format!("https://{host}/")).body(Full::<Bytes>::default()).unwrap();
        // The reset may overtake the head.
        if let Ok(response) = sender.send_request(get("panic.test")).await {
            assert!(response.into_body().collect().await.is_err());
        }
        assert!(counts(2));
        assert_eq!(sender.send_request(get("app.test")).await.unwrap().status(), 200);
    });
}

#[test]
fn what_runs_is_finished_and_what_waits_is_served() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let upstream = Upstream::scripted(move |seen| {
        if seen.line().contains("/slow") {
            // Ends with the test's end of the channel.
            _ = released.lock().unwrap().recv();
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
    // For a second after we stop, whoever waits may still ask.
    for client in &mut waiting {
        client.send(GET);
    }
    for client in &mut waiting {
        assert_eq!(client.answer().map(|answer| answer.status), Some(200));
    }
    drop(release);
    assert_eq!(slow.answer().map(|answer| answer.status), Some(200));
    assert!(slow.is_closed() && idle.is_closed());
    drop(waiting);
    plane.block_on(async { tokio::time::timeout(Duration::from_secs(25), drained).await }).unwrap().unwrap();
    assert!(std::net::TcpStream::connect(plane.http).is_err());
}
