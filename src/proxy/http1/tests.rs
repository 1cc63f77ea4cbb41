//! Streams of near-valid requests, and bodies that outlive their request.

use bytes::Bytes;
use http_body_util::BodyExt;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local, yield_now};

use super::reading::{alike, pair, served, talk, thread};
use super::*;

/// Bytes that a failure shows as text.
#[derive(Clone)]
struct Raw(Vec<u8>);

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// One of the usual texts, or seldom an odd one.
fn slot(usual: &'static [&'static str], odd: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![24 => select(usual), 1 => select(odd)].prop_map(str::to_owned)
}

fn line_end() -> impl Strategy<Value = String> {
    slot(&["\r\n"], &["\n", "\r", "\r\r\n", ""])
}

fn request_line() -> impl Strategy<Value = String> {
    let before = slot(&["", "", "", "\r\n"], &["\n\n", "\r", " ", "\r\n\n"]);
    let method = slot(&["GET", "POST", "PUT", "HEAD", "OPTIONS"], &["get", "CONNECT", "", "G T", "PRI", "G\u{e4}T"]);
    let target = slot(
        &["/", "/a?b=c", "/%61", "*", "http://h.test/x"],
        &["/a#b", "h:80", "", "/a b", "/\u{e4}", "//x", "/\"", "http://", "/%zz", "http://h.test"],
    );
    let version = slot(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"], &["HTTP/2.0", "http/1.1", "HTTP/1.10", "", "HTTP/1.1 "]);
    let blank = || slot(&[" "], &["  ", "\t", ""]);
    (before, method, blank(), target, blank(), version, line_end())
        .prop_map(|(a, b, c, d, e, f, g)| [a, b, c, d, e, f, g].concat())
}

fn fields() -> impl Strategy<Value = String> {
    let field = slot(
        &["host: h", "x-a: b", "X-A:\tb \t", "x-a:", "connection: keep-alive", "upgrade: x"],
        &[
            "connection: close",
            "connection: x, close",
            "expect: 100-continue",
            "x a: b",
            "x-a : b",
            ": b",
            " x: y",
            "\tx",
            "x-a: b\0",
            "x-a: \u{e4}",
            "x-a: b\rc",
            "x-a",
            "",
        ],
    );
    let line = (field, line_end()).prop_map(|(field, end)| field + &end);
    prop::collection::vec(line, 0..4).prop_map(|lines| lines.concat())
}

fn data() -> impl Strategy<Value = String> {
    select(&["", "he", "hello world, hello", "0\r\n\r\n", "GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n"][..])
        .prop_map(str::to_owned)
}

/// A field with a length, and as many bytes.
fn by_length() -> impl Strategy<Value = (String, String)> {
    let form = slot(
        &["content-length: N\r\n", "Content-Length:N\t\r\n", "content-length: N\r\ncontent-length: N\r\n"],
        &[
            "content-length: 0N\r\n",
            "content-length: +N\r\n",
            "content-length: -N\r\n",
            "content-length: N, N\r\n",
            "content-length: N N\r\n",
            "content-length: N\r\ncontent-length: 1N\r\n",
            "content-length: 0xN\r\n",
            "content-length: \r\n",
            "content-length: N;\r\n",
            "content-length: 1844674407370955161N\r\n",
            "content-length : N\r\n",
        ],
    );
    (form, data(), slot(&[""], &["x"])).prop_map(|(form, data, more)| {
        let length = (data.len() + more.len()).to_string();
        (form.replace('N', &length), data)
    })
}

fn chunk() -> impl Strategy<Value = String> {
    let size = slot(&["", "0"], &["+", "-", "0x", "1", " ", "00000000000000000000"]);
    let extension =
        slot(&["", ";a", ";a=\"b\"", " ", "\t ;a"], &[";a\nb", ";\0", "\u{1}", " 1", ";a\rb", "\r", ";\u{e4}"]);
    (size, data(), any::<bool>(), extension, line_end(), slot(&["\r\n"], &["\n", "", "x\r\n", "\r"])).prop_map(
        |(before, data, upper, extension, end, behind)| {
            let data = if data.is_empty() { "x".to_owned() } else { data };
            let size = if upper { format!("{:X}", data.len()) } else { format!("{:x}", data.len()) };
            [before, size, extension, end, data, behind].concat()
        },
    )
}

/// A field that says that there are chunks, and some.
fn by_chunks() -> impl Strategy<Value = (String, String)> {
    let form = slot(
        &["transfer-encoding: chunked\r\n", "Transfer-Encoding:Chunked \t\r\n"],
        &[
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked, identity\r\n",
            "transfer-encoding: xchunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
            "transfer-encoding: chunked;x\r\n",
            "transfer-encoding: chunked,\r\n",
            "transfer-encoding: \"chunked\"\r\n",
            "transfer-encoding: chunked\u{b}\r\n",
            "transfer-encoding:\r\n chunked\r\n",
            "transfer-encoding : chunked\r\n",
            "transfer_encoding: chunked\r\n",
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        ],
    );
    let last = slot(&["0", "000", "0;a", "0 "], &["", "-0", "0x0", "g", "00000000000000000000"]);
    let trailer = slot(
        &["x: y\r\n", "X:\r\n"],
        &["x: y\n", "\n", "x y\r\n", "\rx: y\r\n", " x\r\n", "x: \u{e4}\r\n", ": y\r\n", "x: y\r\r\n", "x: y\n\n"],
    );
    let trailers = prop::collection::vec(trailer, 0..3).prop_map(|lines| lines.concat());
    let chunks = prop::collection::vec(chunk(), 0..4).prop_map(|chunks| chunks.concat());
    (form, chunks, last, line_end(), trailers, slot(&["\r\n"], &["\n", "", "\r"]))
        .prop_map(|(form, a, b, c, d, e)| (form, [a, b, c, d, e].concat()))
}

fn request() -> impl Strategy<Value = String> {
    let none = Just((String::new(), String::new()));
    let body = prop_oneof![2 => none, 2 => by_length(), 3 => by_chunks()];
    (request_line(), fields(), body, fields(), line_end())
        .prop_map(|(line, before, (framing, body), behind, end)| [line, before, framing, behind, end, body].concat())
}

/// Requests one behind the other, maybe with an octet that does not belong there, and where they are cut.
fn stream() -> impl Strategy<Value = (Raw, Vec<Index>)> {
    let octet = select(&b"\0\r\n \t:;0,#+-\x7f\x80"[..]);
    let stray = prop::option::weighted(0.3, (any::<Index>(), octet, 0..3));
    let requests = prop::collection::vec(request(), 1..4);
    (requests, stray, prop::collection::vec(any::<Index>(), 0..5)).prop_map(|(requests, stray, cuts)| {
        let mut bytes = requests.concat().into_bytes();
        match stray {
            Some((at, octet, 0)) => bytes.insert(at.index(bytes.len() + 1), octet),
            Some((at, octet, 1)) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] = octet;
            }
            Some((at, ..)) if !bytes.is_empty() => _ = bytes.remove(at.index(bytes.len())),
            _ => {}
        }
        (Raw(bytes), cuts)
    })
}

#[test]
fn whatever_is_accepted_hyper_reads_alike() {
    let thread = thread();
    let (whole, second) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 2000, failure_persistence: None, ..Config::default() });
    let compared = runner.run(&stream(), |(Raw(bytes), cuts)| {
        let cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        let ours = alike(&thread, &bytes, cuts).map_err(TestCaseError::fail)?;
        whole.set(
            whole.get() + usize::from(ours.iter().any(|one| one.body.as_ref().is_some_and(|body| !body.is_empty()))),
        );
        second.set(second.get() + usize::from(ours.len() > 1));
        Ok(())
    });
    if let Err(failure) = compared {
        panic!("{failure}");
    }
    // Else it would show little.
    assert!(whole.get() > 200 && second.get() > 100, "{} bodies, {} successors", whole.get(), second.get());
}

/// Who reads a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reader {
    /// The request, before its answer.
    Itself,
    /// A task of its own, beside the answer or behind it.
    Another,
    /// Nobody, behind its first part.
    Half,
    Nobody,
}

/// How a client leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leaves {
    /// It says that it has sent all, and waits for the answers.
    Orderly,
    Closing,
    Resetting,
}

/// The bodies that were read, where they were read to their ends; the connection has ended.
async fn crowded(pieces: &[&[u8]], readers: &[Reader], leaves: Leaves) -> Vec<Option<Bytes>> {
    let (mut client, socket) = pair().await;
    let (bodies, leaving) = (Rc::new(RefCell::new(Vec::new())), Cell::new(false));
    let answers = async |request: Request<ClientBody>| {
        let at = bodies.borrow().len();
        bodies.borrow_mut().push(None);
        let status = if request.method() == Method::CONNECT { 400 } else { 200 };
        let (mut body, all) = (request.into_body(), Rc::clone(&bodies));
        match readers[at % readers.len()] {
            Reader::Itself => all.borrow_mut()[at] = collected(body).await,
            Reader::Another => drop(spawn_local(async move {
                let whole = collected(body).await;
                all.borrow_mut()[at] = whole;
            })),
            Reader::Half => drop(body.frame().await),
            Reader::Nobody => {}
        }
        let mut response = Response::builder().status(status);
        if status != 200 {
            response = response.header("connection", "close");
        }
        response.body(()).unwrap()
    };
    let talks = async {
        if leaves == Leaves::Orderly {
            return talk(client, pieces).await;
        }
        for piece in pieces {
            // It may have ended.
            drop(client.write_all(piece).await);
            yield_now().await;
        }
        if leaves == Leaves::Resetting {
            client.set_zero_linger().unwrap();
        }
    };
    let all = async { tokio::join!(served(socket, &leaving, answers), talks) };
    timeout(Duration::from_secs(30), all).await.expect("the connection ends");
    bodies.take()
}

async fn collected(body: ClientBody) -> Option<Bytes> {
    Some(body.collect().await.ok()?.to_bytes())
}

#[test]
fn whoever_reads_and_however_the_client_leaves_bodies_stay_apart_and_the_connection_ends() {
    let (thread, later) = (thread(), Cell::new(0));
    let readers = select(&[Reader::Itself, Reader::Another, Reader::Another, Reader::Half, Reader::Nobody][..]);
    let leaves = select(&[Leaves::Orderly, Leaves::Orderly, Leaves::Closing, Leaves::Resetting][..]);
    let crowd = (stream(), prop::collection::vec(readers, 4), leaves);
    let mut runner = TestRunner::new(Config { cases: 1000, failure_persistence: None, ..Config::default() });
    let run = runner.run(&crowd, |((Raw(bytes), cuts), readers, leaves)| {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        let expected = alike(&thread, &bytes, cuts.clone()).map_err(TestCaseError::fail)?;
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        let bodies = thread.block_on(LocalSet::new().run_until(crowded(&pieces, &readers, leaves)));
        prop_assert!(bodies.len() <= expected.len(), "{} requests, not {:?}", bodies.len(), expected);
        for (body, expected) in bodies.iter().zip(&expected) {
            prop_assert!(body.is_none() || *body == expected.body, "{body:?}, not {expected:?}");
        }
        let second = bodies.len() > 1
            && readers[0] == Reader::Another
            && bodies[0].as_ref().is_some_and(|body| !body.is_empty());
        later.set(later.get() + usize::from(second));
        Ok(())
    });
    if let Err(failure) = run {
        panic!("{failure}");
    }
    assert!(later.get() > 10, "{} requests behind a body that another reads", later.get());
}

/// One answer without a body.
async fn answered(client: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(client.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn a_body_that_outlives_its_answer_gets_nothing_of_the_next() {
    thread().block_on(async {
        let (mut client, socket) = pair().await;
        let (kept, read, leaving) = (RefCell::new(None), RefCell::new(Vec::new()), Cell::new(false));
        let answers = async |request: Request<ClientBody>| {
            let mut body = request.into_body();
            let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
            read.borrow_mut().push(data);
            kept.borrow_mut().get_or_insert(body);
            Response::new(())
        };
        let talks = async {
            client.write_all(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nhe").await.unwrap();
            answered(&mut client).await;
            client.write_all(b"POST / HTTP/1.1\r\ncontent-length: 6\r\n\r\n").await.unwrap();
            for _ in 0..100 {
                yield_now().await;
            }
            client.write_all(b"second").await.unwrap();
            yield_now().await;
            let mut first = kept.take().unwrap();
            assert!(first.frame().await.is_none(), "the second body went to the first request");
            drop(first);
            answered(&mut client).await;
            drop(kept.take());
            drop(client);
        };
        tokio::join!(talks, served(socket, &leaving, answers));
        assert_eq!(read.into_inner(), ["he", "second"]);
    });
}

#[test]
fn a_client_that_was_not_asked_for_its_body_is_not_kept() {
    thread().block_on(async {
        let (mut client, socket) = pair().await;
        let (kept, leaving) = (RefCell::new(None), Cell::new(false));
        let answers = async |request: Request<ClientBody>| {
            // It is still to be read, by whoever sends it on.
            kept.replace(Some(request.into_body()));
            Response::new(())
        };
        let talks = async {
            client.write_all(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n").await.unwrap();
            let answer = answered(&mut client).await;
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close\r\n"), "{answer}");
            drop(kept.take());
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            drop(client);
        };
        tokio::join!(talks, served(socket, &leaving, answers));
    });
}

#[test]
fn who_could_not_ask_for_a_body_reads_it_when_it_comes_unasked() {
    thread().block_on(LocalSet::new().run_until(async {
        let (mut client, socket) = pair().await;
        // Nothing can be said to the client before it reads.
        let mut filled = 0;
        for _ in 0..20 {
            yield_now().await;
            while let Ok(count) = socket.try_write(&[b'x'; 64 * 1024]) {
                filled += count;
            }
        }
        let (read, leaving) = (Rc::new(RefCell::new(None)), Cell::new(false));
        let answers = async |request: Request<ClientBody>| {
            let read = Rc::clone(&read);
            drop(spawn_local(async move {
                let body = collected(request.into_body()).await;
                *read.borrow_mut() = body;
            }));
            // Until it waits to ask.
            for _ in 0..10 {
                yield_now().await;
            }
            Response::new(())
        };
        let talks = async {
            client.write_all(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n").await.unwrap();
            for _ in 0..100 {
                yield_now().await;
            }
            client.read_exact(&mut vec![0; filled]).await.unwrap();
            assert!(answered(&mut client).await.starts_with("HTTP/1.1 200 "));
            client.write_all(b"he").await.unwrap();
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            drop(client);
        };
        let all = async { tokio::join!(served(socket, &leaving, answers), talks) };
        timeout(Duration::from_secs(30), all).await.expect("the connection ends");
        assert_eq!(read.take().as_deref(), Some(&b"he"[..]));
    }));
}
