//! HTTP/1 with clients that misbehave: what ends, what goes on, and who is told.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

use portcullis::budget::Limits;
use portcullis::route::RouteSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::plane::{Client, Plane, certificate, open, open_with, snapshot_of};
use crate::streams::raw;
use crate::tls::{connect, ordinary};
use crate::upstream::{Reply, Upstream};

const GET: &str = "GET / HTTP/1.1\r\nhost: app.test\r\n\r\n";
const OLD: &str = "GET / HTTP/1.0\r\nhost: app.test\r\n\r\n";
const OLD_KEPT: &str = "GET / HTTP/1.0\r\nhost: app.test\r\nconnection: keep-alive\r\n\r\n";

/// A plane over TLS too, with these limits.
fn plane(upstream: std::net::SocketAddr, limits: Limits) -> Plane {
    Plane::start(snapshot_of(vec![open("app.test", &[upstream])], &[certificate(&["app.test"])]), limits)
}

/// How a connection ends: what came, and whether the end was orderly.
fn end(client: &mut Client) -> (String, bool) {
    let mut bytes = Vec::new();
    let end = client.stream.read_to_end(&mut bytes);
    assert!(end.as_ref().err().is_none_or(|error| error.kind() == ErrorKind::ConnectionReset), "{end:?}");
    (String::from_utf8(bytes).unwrap(), end.is_ok())
}

#[test]
fn a_refusal_reaches_who_still_sends_a_body() {
    let upstream = Upstream::ok();
    let settings = RouteSettings { request_body_limit: Some(10), ssl_redirect: false, ..RouteSettings::default() };
    let route = open_with("app.test", &[upstream.address], settings);
    let plane = Plane::start(snapshot_of(vec![route], &[]), Limits::default());
    let body = vec![b'x'; 256 * 1024];
    for (host, framing, status) in
        [("app.test", "content-length: 262144", 413), ("nobody.test", "content-length: 262144", 404)]
    {
        let mut client = plane.client();
        let head = format!("POST / HTTP/1.1\r\nhost: {host}\r\n{framing}\r\n\r\n");
        // All of it can be sent, though nobody reads it.
        client.send([head.as_bytes(), &body].concat());
        let (text, orderly) = end(&mut client);
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")) && orderly, "{text}");
        assert!(text.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{text}");
    }
}

#[test]
fn what_is_pipelined_behind_the_last_request_does_not_take_its_answer() {
    let upstream = Upstream::ok();
    let plane = plane(upstream.address, Limits::default());
    let mut client = plane.client();
    client.send("GET / HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n");
    client.send(GET.repeat(1000));
    let (text, orderly) = end(&mut client);
    assert!(text.ends_with("\r\n\r\nok") && orderly, "{text}");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn http10_is_kept_by_word_alone() {
    let upstream = Upstream::ok();
    let plane = plane(upstream.address, Limits::default());
    let mut client = plane.client();
    for _ in 0..2 {
        assert_eq!(client.ask(OLD_KEPT).values("connection"), ["keep-alive"]);
    }
    assert_eq!(client.ask(OLD).values("connection"), ["close"]);
    assert!(client.is_closed());
}

#[test]
fn http10_gets_no_chunks_and_sees_what_is_cut() {
    let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n";
    // What is whole when it comes has a length; what is not, has not.
    let (more, next) = mpsc::channel();
    let address = raw(move |mut stream| {
        stream.write_all(chunks.as_bytes()).unwrap();
        next.recv().unwrap();
        stream.write_all(b"2\r\n..\r\n0\r\n\r\n").unwrap();
    });
    let whole = plane(address, Limits::default());
    let mut client = whole.client();
    client.send(OLD_KEPT).stream.read_exact(&mut [0; 16]).unwrap();
    more.send(()).unwrap();
    let (text, orderly) = end(&mut client);
    assert!(text.contains("connection: close\r\n") && text.ends_with("\r\n\r\nok..") && orderly, "{text}");
    let broken = Upstream::scripted(move |_| Reply::SendAndClose(chunks.into()));
    let broken = plane(broken.address, Limits::default());
    assert!(!end(broken.client().send(OLD_KEPT)).1);
    // By the end of TLS without its goodbye.
    let fault = broken.block_on(async {
        let mut client = connect(broken.https, "app.test", ordinary(&["http/1.1"])).await.unwrap();
        client.write_all(OLD.as_bytes()).await.unwrap();
        client.read_to_end(&mut Vec::new()).await.unwrap_err()
    });
    assert_eq!(fault.kind(), ErrorKind::UnexpectedEof);
    // And where we stop before its end.
    let endless = Upstream::scripted(move |_| Reply::SendAndStall(chunks.into()));
    let mut plane = plane(endless.address, Limits { drain: Duration::from_millis(100), ..Limits::default() });
    let mut client = plane.client();
    client.send(OLD).stream.read_exact(&mut [0; 16]).unwrap();
    let drained = plane.drain();
    plane.block_on(drained).unwrap();
    assert!(!end(&mut client).1);
}

#[test]
fn a_client_that_goes_away_while_it_waits_takes_its_upstream_connection_along() {
    let (gone, ended) = mpsc::channel();
    let address = raw(move |mut stream| gone.send(stream.read(&mut [0]).unwrap_or(0)).unwrap());
    let plane = plane(address, Limits::default());
    // By an end of both directions, of its own alone, and by a reset.
    for end in [
        (|stream: TcpStream| drop(stream)) as fn(TcpStream),
        |stream| {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!((&stream).read(&mut [0]).unwrap(), 0);
        },
        |stream| socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
    ] {
        // Also where it asked for more meanwhile.
        for more in ["", GET] {
            let before = plane.trail.lines().len();
            let mut client = plane.client();
            client.send(GET);
            plane.trail.until(before + 1);
            client.send(more);
            end(client.stream);
            assert_eq!(ended.recv_timeout(Duration::from_secs(45)), Ok(0));
            assert_eq!(plane.trail.until(before + 2)[before + 1]["complete"], false);
        }
    }
}

#[test]
fn only_who_waits_for_it_is_asked_for_a_body() {
    let upstream = Upstream::ok();
    let plane = plane(upstream.address, Limits::default());
    let put = |version: &str, host: &str, length: usize| {
        format!("PUT / HTTP/{version}\r\nhost: {host}\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n")
    };
    let answers = |client: &mut Client, count: usize| {
        (0..count).map(|_| client.answer().map(|answer| answer.status)).collect::<Vec<_>>()
    };
    // Behind another request, on the same connection as one without a body.
    let mut client = plane.client();
    client.send(format!("{GET}{}", put("1.1", "app.test", 2)));
    assert_eq!(answers(&mut client, 2), [Some(200), Some(100)]);
    client.send(format!("he{}", put("1.1", "app.test", 0)));
    assert_eq!(answers(&mut client, 2), [Some(200), Some(200)]);
    // Who does not wait, and who cannot understand it, is not asked.
    assert_eq!(client.ask(put("1.1", "app.test", 2) + "he").status, 200);
    let mut old = plane.client();
    assert_eq!(old.ask(put("1.0", "app.test", 2) + "he").status, 200);
    // A refusal comes in the place of the question, and ends the connection: a body may come or not.
    assert_eq!(client.ask(put("1.1", "nobody.test", 2)).status, 404);
    assert!(client.is_closed());
    let bodies: Vec<_> = upstream.seen().into_iter().map(|seen| seen.body.len()).collect();
    assert_eq!(bodies, [0, 2, 0, 2, 2]);
}

#[test]
fn a_head_may_come_in_single_bytes_behind_empty_lines() {
    let upstream = Upstream::ok();
    let plane = plane(upstream.address, Limits::default());
    let mut client = plane.client();
    client.stream.set_nodelay(true).unwrap();
    for _ in 0..2 {
        for byte in format!("\r\n\n\r\n{GET}").as_bytes() {
            client.send([*byte]);
        }
        assert_eq!(client.answer().map(|answer| answer.status), Some(200));
    }
}

#[test]
fn empty_lines_are_no_head_that_must_come_in_time() {
    let short = Duration::from_millis(100);
    let limits = Limits { head_deadline: short, idle: Duration::from_secs(600), ..Limits::default() };
    let plane = plane(Upstream::ok().address, limits);
    let mut clients = Vec::new();
    for stray in ["\r\n", "\n\r\n\r"] {
        let mut client = plane.client();
        // Behind a body, before the first request, and alone.
        client.send(stray);
        let post = format!("\nPOST / HTTP/1.1\r\nhost: app.test\r\ncontent-length: 2\r\n\r\nhe{stray}");
        for _ in 0..2 {
            assert_eq!(client.ask(&post).status, 200);
        }
        clients.push(client);
        let mut alone = plane.client();
        alone.send(stray);
        clients.push(alone);
    }
    // A head that began with them is closed, and by then so would the others be.
    let mut begun = plane.client();
    begun.send("\r\nG");
    assert!(begun.is_closed());
    for mut client in clients {
        assert_eq!(client.ask(format!("\n{GET}")).status, 200);
    }
}

#[test]
fn empty_lines_keep_no_connection() {
    let (idle, short) = (Duration::from_millis(300), Duration::from_millis(100));
    let plane = plane(Upstream::ok().address, Limits { idle, head_deadline: short, ..Limits::default() });
    for lines in [b"\r\n".repeat(1000), b"\n\r".repeat(1000), b"\r\n\n".repeat(1000)] {
        let mut client = plane.client();
        let sent = (0..1_000_000).take_while(|_| client.stream.write_all(&lines).is_ok());
        assert!(sent.count() < 1_000_000);
    }
}

#[test]
fn an_upstream_that_takes_no_body_behind_its_answer_keeps_no_connection() {
    let (keep, _kept) = mpsc::channel();
    let address = raw(move |mut stream| {
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").unwrap();
        keep.send(stream).unwrap();
    });
    let plane = plane(address, Limits { body_idle: Duration::from_secs(2), ..Limits::default() });
    let mut client = plane.client();
    client.send("POST / HTTP/1.1\r\nhost: app.test\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(client.answer().map(|answer| answer.status), Some(403));
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(64 * 1024));
    let sent = (0..10_000).take_while(|_| client.stream.write_all(chunk.as_bytes()).is_ok());
    assert!(sent.count() < 10_000);
}

#[test]
fn a_head_under_way_is_finished_while_we_stop() {
    // One thread tells all its connections at once that it stops.
    let routes = vec![open("app.test", &[Upstream::ok().address])];
    let mut plane = Plane::on_threads(1, snapshot_of(routes, &[]), Limits::default());
    let (head, rest) = GET.split_at(20);
    let mut client = plane.client();
    // What comes with a request is read with it.
    assert_eq!(client.ask([GET, head].concat()).status, 200);
    let mut idle = plane.client();
    assert_eq!(idle.ask(GET).status, 200);
    let drained = plane.drain();
    // By then it has begun.
    assert!(idle.is_closed());
    let answer = client.ask(rest);
    assert_eq!((answer.status, answer.values("connection")), (200, vec!["close"]));
    assert!(client.is_closed());
    plane.block_on(async { tokio::time::timeout(Duration::from_secs(25), drained).await }).unwrap().unwrap();
}

#[test]
fn over_tls_nothing_waits_in_a_buffer_and_the_end_is_said() {
    let upstream = Upstream::ok();
    let plane = plane(upstream.address, Limits { idle: Duration::from_secs(5), ..Limits::default() });
    let body = "x".repeat(15_000);
    let post = format!("POST / HTTP/1.1\r\nhost: app.test\r\ncontent-length: 15000\r\n\r\n{body}");
    plane.block_on(async {
        let mut client = connect(plane.https, "app.test", ordinary(&["http/1.1"])).await.unwrap();
        // One record with two requests, one request in records of one byte.
        client.write_all(format!("{post}{GET}").as_bytes()).await.unwrap();
        for byte in GET.bytes() {
            client.write_all(&[byte]).await.unwrap();
            client.flush().await.unwrap();
        }
        let mut text = String::new();
        // An end without its goodbye were an error.
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{text}");
    });
    let lengths: Vec<_> = upstream.seen().into_iter().map(|seen| seen.body.len()).collect();
    assert_eq!(lengths, [15_000, 0, 0]);
}
