//! Streams that their client leaves before it has their answer, or whose windows it takes back, frame by frame.

use std::collections::BTreeSet;
use std::time::Duration;

use portcullis::budget::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::http2::{DATA, GOOD, HEADERS, RST_STREAM, block, post};
use crate::limits::frame;
use crate::plane::{Plane, certificate, open, snapshot_of};
use crate::tls::{connect, ordinary};
use crate::upstream::{Reply, Upstream};

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// Reasons (RFC 9113 section 7).
const PROTOCOL_ERROR: u32 = 1;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// How long the server may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that sends frames.
struct Raw(TlsStream<TcpStream>);

/// One frame of the server's.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Raw {
    async fn begin(plane: &Plane) -> Self {
        let mut raw = Self(connect(plane.https, "app.test", ordinary(&["h2"])).await.unwrap());
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
        raw
    }

    async fn send(&mut self, bytes: &[u8]) {
        // The server may have ended the connection, which reading shows.
        drop(self.0.write_all(bytes).await);
        drop(self.0.flush().await);
    }

    /// The next frame; none where the connection ended.
    async fn next(&mut self) -> Option<Frame> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("the server says something")
    }

    async fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        self.0.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame of these kinds; none where the connection ended.
    async fn next_of(&mut self, kinds: &[u8]) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if kinds.contains(&frame.kind) {
                return Some(frame);
            }
        }
    }
}

/// Numbers of streams.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| 2 * number + 1)
}

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&GOOD))
}

fn cancel(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

fn plane(upstream: &Upstream, limits: Limits) -> Plane {
    Plane::start(snapshot_of(vec![open("app.test", &[upstream.address])], &[certificate(&["app.test"])]), limits)
}

fn patient(most: u32) -> Limits {
    // However slowly a test runs, what it leaves is left early.
    Limits { h2_resets: most, h2_reset_rate: 0, h2_early: Duration::from_secs(3600), ..Limits::default() }
}

/// A request that makes the server reset it.
fn overflow(stream: u32) -> Vec<u8> {
    [get(stream), frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes())].concat()
}

/// Answers one path, and stalls at all others.
fn upstream() -> Upstream {
    Upstream::scripted(|seen| match seen.line() {
        "GET /last HTTP/1.1" => Reply::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()),
        _ => Reply::SendAndStall(Vec::new()),
    })
}

/// Asks for that path, and is answered.
async fn is_answered(raw: &mut Raw, stream: u32) {
    let last = crate::http2::with(":path", Some("/last"));
    raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&last))).await;
    let answer = raw.next_of(&[HEADERS, GOAWAY]).await.unwrap();
    assert_eq!((answer.kind, answer.stream), (HEADERS, stream));
}

/// The reason of a GOAWAY.
fn reason(goaway: &Frame) -> u32 {
    u32::from_be_bytes(goaway.payload[4..8].try_into().unwrap())
}

#[test]
fn who_leaves_more_streams_than_it_may_is_sent_away() {
    let upstream = Upstream::scripted(|_| Reply::SendAndStall(Vec::new()));
    let plane = plane(&upstream, patient(20));
    plane.block_on(async {
        let mut raw = Raw::begin(&plane).await;
        // One that stays at work until the end.
        raw.send(&get(1)).await;
        plane.trail.until(1);
        for (number, stream) in streams(22).enumerate().skip(1) {
            raw.send(&get(stream)).await;
            // It was permitted, so none of them is reset before it was seen.
            plane.trail.until(2 * number);
            raw.send(&cancel(stream)).await;
            plane.trail.until(2 * number + 1);
        }
        let goaway = raw.next_of(&[GOAWAY]).await.unwrap();
        assert_eq!(reason(&goaway), ENHANCE_YOUR_CALM);
        assert!(raw.next().await.is_none());
    });
    let lines = plane.trail.until(2 * 22);
    let outcomes: Vec<_> = lines.iter().filter(|line| line["kind"] == "Outcome").collect();
    assert_eq!(outcomes.len(), 22);
    assert!(outcomes.iter().all(|line| line["complete"] == false && line["status"] == 0), "{outcomes:#?}");
}

#[test]
fn what_a_client_makes_us_reset_counts_like_what_it_resets() {
    let upstream = Upstream::scripted(|_| Reply::SendAndStall(Vec::new()));
    let longer = |stream| {
        let head = block(&post(&[("content-length", "1")]));
        [frame(HEADERS, END_HEADERS, stream, &head), frame(DATA, 0, stream, b"long")].concat()
    };
    let nothing = |stream| [get(stream), frame(WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes())].concat();
    let ended = |stream| [get(stream), frame(DATA, 0, stream, b"more")].concat();
    type Provoke<'a> = &'a dyn Fn(u32) -> Vec<u8>;
    for (name, provokes, resets, why) in [
        ("a window that overflows", &overflow as Provoke, 21, ENHANCE_YOUR_CALM),
        ("more than was told", &longer, 21, ENHANCE_YOUR_CALM),
        ("a window of nothing more", &nothing, 0, PROTOCOL_ERROR),
        ("data behind the end", &ended, 0, PROTOCOL_ERROR),
    ] {
        let plane = plane(&upstream, patient(20));
        plane.block_on(async {
            let mut raw = Raw::begin(&plane).await;
            for (reset, stream) in streams(100).enumerate() {
                raw.send(&provokes(stream)).await;
                let frame = raw.next_of(&[RST_STREAM, GOAWAY]).await.unwrap();
                if frame.kind == GOAWAY {
                    assert_eq!((reason(&frame), reset), (why, resets), "{name}");
                    return;
                }
            }
            panic!("{name}: the connection goes on");
        });
    }
}

#[test]
fn a_browser_that_goes_elsewhere_stays_a_guest() {
    let upstream = upstream();
    let plane = plane(&upstream, Limits::default());
    plane.block_on(async {
        let mut raw = Raw::begin(&plane).await;
        let most = Limits::default().h2_streams;
        // All at once, before we may have seen one of them.
        let burst: Vec<_> = streams(most).map(get).chain(streams(most).map(cancel)).flatten().collect();
        raw.send(&burst).await;
        is_answered(&mut raw, 2 * most + 1).await;
    });
}

#[test]
fn answers_of_ours_earn_nothing_back() {
    let upstream = upstream();
    let plane = plane(&upstream, patient(20));
    plane.block_on(async {
        let mut raw = Raw::begin(&plane).await;
        let lost = crate::http2::with(":authority", Some("nowhere.test"));
        for pair in 0..100 {
            let ours = frame(HEADERS, END_STREAM | END_HEADERS, 4 * pair + 1, &block(&lost));
            raw.send(&[ours, overflow(4 * pair + 3)].concat()).await;
            let frame = raw.next_of(&[RST_STREAM, GOAWAY]).await.unwrap();
            if frame.kind == GOAWAY {
                assert_eq!(reason(&frame), ENHANCE_YOUR_CALM);
                return;
            }
        }
        panic!("the connection goes on");
    });
}

#[test]
fn who_leaves_late_is_no_flood() {
    let upstream = upstream();
    let plane = plane(&upstream, Limits { h2_early: Duration::ZERO, ..patient(20) });
    plane.block_on(async {
        let mut raw = Raw::begin(&plane).await;
        for stream in streams(30) {
            raw.send(&overflow(stream)).await;
            assert_eq!(raw.next_of(&[RST_STREAM, GOAWAY]).await.unwrap().kind, RST_STREAM);
        }
        is_answered(&mut raw, 61).await;
    });
}

/// What sets the window that streams begin with.
fn window(bytes: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&[0, 4], &bytes.to_be_bytes()[..]].concat())
}

/// Asks for many answers, and takes their windows back while they come; whether the connection ended over it.
async fn take_back(raw: &mut Raw, first: u32) -> bool {
    let mut open: BTreeSet<_> = streams(50).map(|number| first + number).collect();
    let asked: Vec<_> = open.iter().flat_map(|stream| get(*stream)).collect();
    raw.send(&[window(65_535), asked].concat()).await;
    let mut taken_back = false;
    while !open.is_empty() {
        let Some(frame) = raw.next().await else { return true };
        if frame.kind == HEADERS && !taken_back {
            taken_back = true;
            raw.send(&window(0)).await;
        }
        if frame.kind == RST_STREAM || (frame.kind == DATA && frame.flags & END_STREAM != 0) {
            open.remove(&frame.stream);
        }
    }
    false
}

#[test]
fn who_takes_windows_back_from_what_is_on_its_way_keeps_no_stream_by_it() {
    let body = vec![b'x'; 1000];
    let upstream = Upstream::scripted(move |_| {
        Reply::Send([&b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"[..], &body].concat())
    });
    let plane = plane(&upstream, Limits { stalled: Duration::from_millis(200), ..Limits::default() });
    plane.block_on(async {
        let mut raw = Raw::begin(&plane).await;
        raw.send(&frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes())).await;
        // One must meet an answer between the hand-over and the write. All others are reset alone, and that is no end.
        for round in 0..1000 {
            if take_back(&mut raw, 100 * round).await {
                assert_eq!(plane.client().ask("GET / HTTP/1.1\r\nhost: app.test\r\n\r\n").status, 200);
                return;
            }
        }
        panic!("no window was taken back in time");
    });
}
