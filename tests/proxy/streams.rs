//! Bodies stream both ways, with back-pressure; HTTP/2 is one more way in.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Full};
use portcullis::budget::Limits;
use portcullis::route::RouteSettings;

use crate::plane::{Plane, certificate, open, open_with, snapshot_of};
use crate::tls::{h2, h2_with_window};
use crate::upstream::{Reply, Upstream};

/// More than every buffer between the two ends holds: sockets, TLS, HTTP.
const FLOOD: usize = 128 * 1024 * 1024;

/// What may be under way between two ends while one of them does not read: socket buffers above all.
const UNDER_WAY: usize = 64 * 1024 * 1024;

/// An upstream that hands its connection to a function after the request's head.
pub fn raw(serve: impl Fn(TcpStream) + Send + 'static) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            serve(stream);
        }
    });
    address
}

/// Counts until nothing was added for a while.
fn settled(count: &AtomicUsize) -> usize {
    let mut last = usize::MAX;
    loop {
        thread::sleep(Duration::from_millis(300));
        let now = count.load(SeqCst);
        if now == last {
            return now;
        }
        last = now;
    }
}

#[test]
fn a_client_that_does_not_read_holds_the_upstream_back() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let address = raw(move |mut stream| {
        drop(stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {FLOOD}\r\n\r\n").as_bytes()));
        while count.load(SeqCst) < FLOOD && stream.write_all(&[b'x'; 16 * 1024]).is_ok() {
            count.fetch_add(16 * 1024, SeqCst);
        }
    });
    let plane = Plane::of(&[address]);
    let mut client = plane.client();
    client.send("GET / HTTP/1.1\r\nhost: app.test\r\n\r\n");
    let under_way = settled(&sent);
    assert!(under_way < UNDER_WAY, "{under_way} bytes under way");
    assert_eq!(client.answer().map(|answer| answer.body.len()), Some(FLOOD));
}

#[test]
fn an_upstream_that_does_not_read_holds_the_client_back() {
    let address = raw(|stream| {
        thread::spawn(move || {
            thread::sleep(Duration::from_secs(60));
            drop(stream);
        });
    });
    let plane = Plane::of(&[address]);
    let mut stream = plane.client().stream;
    stream
        .write_all(format!("POST / HTTP/1.1\r\nhost: app.test\r\ncontent-length: {FLOOD}\r\n\r\n").as_bytes())
        .unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    thread::spawn(move || {
        while count.load(SeqCst) < FLOOD && stream.write_all(&[b'x'; 16 * 1024]).is_ok() {
            count.fetch_add(16 * 1024, SeqCst);
        }
    });
    let under_way = settled(&sent);
    assert!(under_way < UNDER_WAY, "{under_way} bytes under way");
}

#[test]
fn events_arrive_one_by_one() {
    let (more, next) = mpsc::channel::<()>();
    let next = std::sync::Mutex::new(next);
    let address = raw(move |mut stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        while next.lock().unwrap().recv().is_ok() && stream.write_all(b"data: x\n\n").is_ok() {}
    });
    let plane = Plane::of(&[address]);
    let mut client = plane.client();
    client.send("GET / HTTP/1.1\r\nhost: app.test\r\n\r\n");
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    for events in 0..3 {
        while bytes.windows(6).filter(|window| window == b"data: ").count() < events
            || !bytes.windows(4).any(|window| window == b"\r\n\r\n")
        {
            let count = client.stream.read(&mut buffer).unwrap();
            assert_ne!(count, 0);
            bytes.extend_from_slice(&buffer[..count]);
        }
        more.send(()).unwrap();
    }
}

#[test]
fn an_answer_that_comes_before_the_body_was_sent_cuts_neither() {
    let (whole, bodies) = mpsc::channel();
    let address = raw(move |mut stream| {
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").unwrap();
        let whole = whole.clone();
        thread::spawn(move || whole.send(io::read_to_string(stream)));
    });
    let plane = Plane::of(&[address]);
    // The second finds no connection that still has the body of the first to carry.
    for _ in 0..2 {
        let mut client = plane.client();
        client.send("POST / HTTP/1.1\r\nhost: app.test\r\ncontent-length: 9\r\n\r\nhalf");
        assert_eq!(client.answer().map(|answer| (answer.status, answer.body)), Some((403, b"no".to_vec())));
        client.send(" done");
        assert_eq!(bodies.recv().unwrap().unwrap(), "half done");
    }
}

#[test]
fn a_body_over_the_limit_is_413() {
    let upstream = Upstream::ok();
    let settings = RouteSettings { request_body_limit: Some(10), ssl_redirect: false, ..RouteSettings::default() };
    let route = open_with("app.test", &[upstream.address], settings);
    let plane = Plane::start(snapshot_of(vec![route], &[]), Limits::default());
    let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nhost: app.test\r\n{fields}\r\n{body}");
    let told = post("content-length: 11\r\n", "hello world");
    assert_eq!(plane.client().ask(told).status, 413);
    assert_eq!(upstream.bytes(), 0);
    let untold = post("transfer-encoding: chunked\r\n", "6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n");
    assert_eq!(plane.client().ask(untold).status, 413);
    assert_eq!(plane.client().ask(post("content-length: 10\r\n", "helloworld")).status, 200);
    assert_eq!(upstream.seen().iter().filter(|seen| seen.body == b"helloworld").count(), 1);
}

#[test]
fn a_body_that_stalls_is_408() {
    let upstream = Upstream::ok();
    let limits = Limits { body_idle: Duration::from_millis(200), ..Limits::default() };
    let plane = Plane::start(snapshot_of(vec![open("app.test", &[upstream.address])], &[]), limits);
    let mut client = plane.client();
    client.send("POST / HTTP/1.1\r\nhost: app.test\r\ncontent-length: 5\r\n\r\nhe");
    assert_eq!(client.answer().map(|answer| answer.status), Some(408));
    assert!(client.is_closed());
}

#[test]
fn requests_over_http2_are_the_same_requests() {
    let upstream = Upstream::scripted(|seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        Reply::Send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into())
    });
    let certificate = certificate(&["app.test"]);
    let plane = Plane::start(
        snapshot_of(vec![open("app.test", &[upstream.address])], &[Arc::clone(&certificate)]),
        Limits::default(),
    );
    plane.block_on(async {
        let mut sender = h2(plane.https, "app.test").await;
        for number in 0..3 {
            let mut request = Request::new(Full::new(Bytes::from(format!("body {number}"))));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = format!("https://app.test/{number}?q").parse().unwrap();
            *request.version_mut() = Version::HTTP_2;
            for crumb in ["a=b", "__Host-portcullis=secret", "c=d"] {
                request.headers_mut().append("cookie", crumb.parse().unwrap());
            }
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), 200);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, format!("body {number}"));
        }
    });
    let seen = upstream.seen();
    assert_eq!((seen.len(), upstream.connections()), (3, 1));
    assert_eq!(seen[0].line(), "POST /0?q HTTP/1.1");
    assert_eq!(seen[0].values("host"), ["app.test"]);
    assert_eq!(seen[0].values("cookie"), ["a=b; c=d"]);
    assert_eq!(seen[0].values("content-length"), ["6"]);
    assert_eq!(seen[0].values("x-forwarded-proto"), ["https"]);
}

#[test]
fn an_http2_stream_that_takes_nothing_is_reset_alone() {
    let upstream = Upstream::ok();
    let limits = Limits { stalled: Duration::from_millis(300), ..Limits::default() };
    let route = open("app.test", &[upstream.address]);
    let plane = Plane::start(snapshot_of(vec![route], &[certificate(&["app.test"])]), limits);
    plane.block_on(async {
        let mut sender = h2_with_window(plane.https, "app.test", 0).await;
        let get = || Request::get("https://app.test/").body(Full::<Bytes>::default()).unwrap();
        let stalled = sender.send_request(get()).await.unwrap();
        assert_eq!(stalled.status(), 200);
        // The client of this test grants no window at all, so the body cannot come.
        assert!(stalled.into_body().collect().await.is_err());
        let head = Request::head("https://app.test/").body(Full::default()).unwrap();
        assert_eq!(sender.send_request(head).await.unwrap().status(), 200);
    });
}

#[test]
fn a_head_that_costs_memory_gets_no_body() {
    let plane = Plane::of(&[]);
    plane.block_on(async {
        let mut sender = h2_with_window(plane.https, "app.test", 0).await;
        let mut lines = Request::get("https://app.test/").body(Full::<Bytes>::default()).unwrap();
        let mut crumbs = Request::get("https://app.test/").body(Full::<Bytes>::default()).unwrap();
        for number in 0..101 {
            lines.headers_mut().append("x-a", number.into());
            if number < 33 {
                crumbs.headers_mut().append("cookie", "a=b".parse().unwrap());
            }
        }
        for request in [lines, crumbs] {
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), 431);
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "");
        }
    });
}

#[test]
fn a_route_may_bound_the_whole_exchange() {
    let upstream = Upstream::scripted(|seen| match seen.line() {
        "GET /never HTTP/1.1" => Reply::SendAndStall(Vec::new()),
        _ => Reply::SendAndStall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok".to_vec()),
    });
    let within = Some(Duration::from_secs(2));
    let settings = RouteSettings { request_timeout: within, ssl_redirect: false, ..RouteSettings::default() };
    let route = open_with("app.test", &[upstream.address], settings);
    let plane = Plane::start(snapshot_of(vec![route], &[]), Limits::default());
    assert_eq!(plane.client().ask("GET /never HTTP/1.1\r\nhost: app.test\r\n\r\n").status, 504);
    assert_eq!(plane.client().send("GET / HTTP/1.1\r\nhost: app.test\r\n\r\n").answer(), None);
}

#[test]
fn the_bound_of_the_whole_exchange_holds_for_connecting_too() {
    // Whoever comes to a full queue waits for its turn, which never comes.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let _waits = TcpStream::connect(address).unwrap();
    let within = Some(Duration::from_millis(300));
    let settings = RouteSettings { request_timeout: within, ssl_redirect: false, ..RouteSettings::default() };
    let limits = Limits { connect: Duration::from_secs(3600), ..Limits::default() };
    let plane = Plane::start(snapshot_of(vec![open_with("app.test", &[address], settings)], &[]), limits);
    assert_eq!(plane.client().ask("GET / HTTP/1.1\r\nhost: app.test\r\n\r\n").status, 504);
}

#[test]
fn an_http2_request_with_two_hosts_is_refused() {
    let upstream = Upstream::ok();
    let plane = Plane::of(&[upstream.address]);
    let statuses = plane.block_on(async {
        let mut sender = h2(plane.https, "app.test").await;
        let mut statuses = Vec::new();
        for host in ["app.test", "other.test"] {
            let request = Request::get("https://app.test/").header("host", host).body(Full::default()).unwrap();
            statuses.push(sender.send_request(request).await.unwrap().status().as_u16());
        }
        statuses
    });
    assert_eq!(statuses, [200, 400]);
    assert_eq!(upstream.seen().len(), 1);
}
