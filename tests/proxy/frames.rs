//! How answers and bodies begin and end over HTTP/2, frame by frame.

use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use portcullis::budget::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::http2::{DATA, Field, GOOD, HEADERS, RST_STREAM, block, frame, post, status, with};
use crate::plane::{Plane, certificate, open, snapshot_of};
use crate::tls::{connect, h2, h2_with_window, ordinary};
use crate::upstream::{Reply, Upstream};

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Reasons of RST_STREAM (RFC 9113 section 7).
const NO_ERROR: u32 = 0;
const CANCEL: u32 = 8;

/// One frame of the server's: kind, whether it ends the stream, payload.
type Frame = (u8, bool, Vec<u8>);

/// A client that sends frames of one stream.
struct Raw(TlsStream<TcpStream>);

impl Raw {
    async fn begin(plane: &Plane, fields: &[Field], ends: bool) -> Self {
        let mut raw = Self(connect(plane.https, "app.test", ordinary(&["h2"])).await.unwrap());
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
        raw.send(&frame(HEADERS, END_HEADERS | u8::from(ends), &block(fields))).await;
        raw
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The next frame of the stream.
    async fn next(&mut self) -> Frame {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            self.0.read_exact(&mut payload).await.unwrap();
            if head[5..] == [0, 0, 0, 1] && [DATA, HEADERS, RST_STREAM].contains(&head[3]) {
                return (head[3], head[3] != RST_STREAM && head[4] & END_STREAM != 0, payload);
            }
        }
    }

    /// The frames of an answer: its status, whether that ends it, and what follows.
    async fn answer(&mut self) -> (u16, bool, Vec<Frame>) {
        let (kind, ends, head) = self.next().await;
        assert_eq!(kind, HEADERS);
        let mut rest: Vec<Frame> = Vec::new();
        while !ends && !rest.last().is_some_and(|(_, ends, _)| *ends) {
            rest.push(self.next().await);
        }
        (status(&head), ends, rest)
    }
}

fn says(message: &'static str) -> Upstream {
    Upstream::scripted(move |_| Reply::Send(message.into()))
}

#[test]
fn an_answer_ends_with_its_last_frame() {
    let ok = says("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let chunked = says("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    let empty = says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let length = says("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");
    let none = says("HTTP/1.1 204 No Content\r\n\r\n");
    let same = says("HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n");
    let (get, head) = (GOOD.to_vec(), with(":method", Some("HEAD")));
    let data = || (DATA, true, b"ok".to_vec());
    for (name, upstream, fields, expected) in [
        ("a length", &ok, &get, (200, false, vec![data()])),
        ("chunks", &chunked, &get, (200, false, vec![data()])),
        ("an empty body", &empty, &get, (200, true, vec![])),
        ("HEAD", &length, &head, (200, true, vec![])),
        ("204", &none, &get, (204, true, vec![])),
        ("304", &same, &get, (304, true, vec![])),
    ] {
        let plane = Plane::of(&[upstream.address]);
        let answer = plane.block_on(async { Raw::begin(&plane, fields, true).await.answer().await });
        assert_eq!(answer, expected, "{name}");
    }
}

#[test]
fn a_body_that_is_not_read_is_cut_after_the_answer_without_an_error() {
    let plane = Plane::of(&[]);
    plane.block_on(async {
        let mut raw = Raw::begin(&plane, &with(":authority", Some("other.test")), false).await;
        let (status, _, rest) = raw.answer().await;
        assert_eq!((status, rest.iter().all(|(kind, ..)| *kind == DATA)), (421, true));
        assert_eq!(raw.next().await, (RST_STREAM, false, NO_ERROR.to_be_bytes().to_vec()));
        // The connection goes on.
        let next = [&frame(HEADERS, 5, &block(&GOOD))[..8], &[3], &block(&GOOD)].concat();
        raw.send(&next).await;
        let mut head = [0; 9];
        raw.0.read_exact(&mut head).await.unwrap();
        assert_eq!((head[3], head[8]), (HEADERS, 3));
    });
}

#[test]
fn trailers_pass_in_a_frame_of_their_own() {
    let message = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
        2\r\nok\r\n0\r\nx-sum: 1\r\nx-portcullis-a: 1\r\n\r\n";
    let upstream = says(message);
    let plane = Plane::of(&[upstream.address]);
    plane.block_on(async {
        let get = Request::get("https://app.test/").body(Full::default()).unwrap();
        let response = h2(plane.https, "app.test").await.send_request(get).await.unwrap();
        let body = response.into_body().collect().await.unwrap();
        let trailers = body.trailers().unwrap().clone();
        assert_eq!((trailers.len(), &trailers["x-sum"]), (1, &"1".parse().unwrap()));
        assert_eq!(body.to_bytes(), "ok");
        // Those of a request end here, and its body with them.
        let mut raw = Raw::begin(&plane, &post(&[("trailer", "x-a")]), false).await;
        raw.send(&frame(DATA, 0, b"all")).await;
        raw.send(&frame(HEADERS, 5, &block(&[("x-a", "b")]))).await;
        assert_eq!(raw.answer().await.0, 200);
    });
    let seen = upstream.seen().pop().unwrap();
    assert_eq!((seen.body.as_slice(), seen.values("x-a").len()), (&b"all"[..], 0));
}

#[test]
fn what_belongs_to_a_connection_stays_there() {
    let upstream = says(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\n\
            proxy-connection: keep-alive\r\nupgrade: h2c\r\nte: trailers\r\nx-app: 1\r\n\r\nok",
    );
    let plane = Plane::of(&[upstream.address]);
    plane.block_on(async {
        let get = Request::get("https://app.test/").body(Full::<Bytes>::default()).unwrap();
        let response = h2(plane.https, "app.test").await.send_request(get).await.unwrap();
        let mut names: Vec<_> = response.headers().keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "date", "x-app"]);
        assert_eq!(response.headers()["date"].len(), "Sun, 06 Nov 1994 08:49:37 GMT".len());
    });
}

#[test]
fn every_byte_of_a_large_answer_comes_however_small_the_window() {
    const SIZE: usize = 300_000;
    let expected: Vec<u8> = (0..SIZE).map(|number| (number % 251) as u8).collect();
    let body = expected.clone();
    let upstream = Upstream::scripted(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n");
        Reply::Send([head.into_bytes(), body.clone()].concat())
    });
    let plane = Plane::of(&[upstream.address]);
    for window in [1000, 20_000, 1 << 20] {
        let received = plane.block_on(async {
            let mut sender = h2_with_window(plane.https, "app.test", window).await;
            let get = || Request::get("https://app.test/").body(Full::<Bytes>::default()).unwrap();
            let responses = [sender.send_request(get()), sender.send_request(get())];
            let [one, two] = responses.map(|response| async {
                let response = response.await.unwrap();
                response.into_body().collect().await.unwrap().to_bytes()
            });
            tokio::join!(one, two)
        });
        assert!(received.0 == expected && received.1 == expected, "{window}");
    }
}

#[test]
fn a_large_body_goes_up_however_often_its_window_closes() {
    let upstream = Upstream::scripted(|seen| {
        let length = seen.body.len().to_string();
        Reply::Send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{length}", length.len()).into())
    });
    let plane = Plane::of(&[upstream.address]);
    plane.block_on(async {
        let mut sender = h2(plane.https, "app.test").await;
        let body = Bytes::from(vec![b'x'; 3_000_000]);
        let request = Request::builder().method(Method::POST).uri("https://app.test/");
        let response = sender.send_request(request.body(Full::new(body)).unwrap()).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "3000000");
    });
    assert_eq!(upstream.seen()[0].values("content-length"), ["3000000"]);
}

#[test]
fn a_request_that_its_client_resets_is_given_up() {
    let upstream = Upstream::scripted(|_| Reply::SendAndStall(Vec::new()));
    let plane = Plane::of(&[upstream.address]);
    plane.block_on(async {
        let mut raw = Raw::begin(&plane, &GOOD, true).await;
        while upstream.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        raw.send(&frame(RST_STREAM, 0, &CANCEL.to_be_bytes())).await;
        let lines = plane.trail.until(2);
        assert_eq!((&lines[1]["kind"], &lines[1]["status"]), (&"Outcome".into(), &0.into()));
        assert_eq!(lines[1]["complete"], false);
        drop(raw);
    });
}

#[test]
fn an_answer_that_its_client_resets_is_given_up() {
    let upstream = says("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok");
    let plane = Plane::of(&[upstream.address]);
    plane.block_on(async {
        let mut raw = Raw::begin(&plane, &GOOD, true).await;
        assert_eq!(raw.next().await.0, HEADERS);
        assert_eq!(raw.next().await, (DATA, false, b"ok".to_vec()));
        raw.send(&frame(RST_STREAM, 0, &CANCEL.to_be_bytes())).await;
        let lines = plane.trail.until(2);
        assert_eq!((&lines[1]["status"], &lines[1]["complete"]), (&200.into(), &false.into()));
        drop(raw);
    });
}

#[test]
fn no_reset_ends_a_body_as_if_it_were_whole() {
    for reason in [NO_ERROR, CANCEL] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let plane = Plane::of(&[listener.local_addr().unwrap()]);
        let received = plane.block_on(async {
            let mut raw = Raw::begin(&plane, &post(&[]), false).await;
            raw.send(&frame(DATA, 0, b"half")).await;
            let (mut upstream, _) = listener.accept().unwrap();
            let mut received = String::new();
            while !received.ends_with("half\r\n") {
                let mut bytes = [0; 1024];
                let count = upstream.read(&mut bytes).unwrap();
                received.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
            }
            raw.send(&frame(RST_STREAM, 0, &reason.to_be_bytes())).await;
            upstream.read_to_string(&mut received).unwrap();
            received
        });
        assert!(received.ends_with("4\r\nhalf\r\n"), "{received}");
    }
}

#[test]
fn an_upstream_that_breaks_off_resets_the_stream_alone() {
    let broken = Upstream::scripted(|_| Reply::SendAndClose(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok".into()));
    let routes = vec![open("app.test", &[broken.address]), open("other.test", &[Upstream::ok().address])];
    let plane = Plane::start(snapshot_of(routes, &[certificate(&["app.test", "other.test"])]), Limits::default());
    plane.block_on(async {
        let mut sender = h2(plane.https, "app.test").await;
        let get = |host: &str| Request::get(format!("https://{host}/")).body(Full::<Bytes>::default()).unwrap();
        // The reset may overtake the head.
        if let Ok(response) = sender.send_request(get("app.test")).await {
            assert!(response.into_body().collect().await.is_err());
        }
        let response = sender.send_request(get("other.test")).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    });
}

#[test]
fn as_many_streams_as_are_granted_run_at_once() {
    let upstream = Upstream::scripted(|seen| {
        let length = seen.body.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        Reply::Send([head.as_bytes(), &seen.body].concat())
    });
    let plane = Plane::of(&[upstream.address]);
    plane.block_on(async {
        let mut sender = h2(plane.https, "app.test").await;
        let exchanges: Vec<_> = (0..Limits::default().h2_streams as usize)
            .map(|number| {
                let body = Bytes::from(vec![number as u8; 1000 * (number + 1)]);
                let request = Request::post("https://app.test/").body(Full::new(body.clone())).unwrap();
                (sender.send_request(request), body)
            })
            .collect();
        for (response, body) in exchanges {
            let response = response.await.unwrap();
            assert!(response.into_body().collect().await.unwrap().to_bytes() == body);
        }
    });
}
