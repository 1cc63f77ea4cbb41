//! Whatever is accepted here is read by hyper's server in the same way, which is the reading that most others share.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, duplex, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder as Threads, Runtime};
use tokio::task::yield_now;

use super::*;
use crate::budget::Places;
use crate::proxy::body::own;
use crate::proxy::pulse::Pulse;

/// Bytes of a head.
const HEAD: usize = 4 * 1024;

/// One request as it was read; without a body where that broke.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Read {
    line: (Method, String, Version),
    fields: Vec<(String, Bytes)>,
    body: Option<Bytes>,
}

/// Bytes that a failure shows as text.
#[derive(Clone)]
struct Raw(Vec<u8>);

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// Requests in the order of their heads.
type Reads = RefCell<Vec<Read>>;

/// Reads a request to its end, and what it is answered.
async fn read<B>(request: Request<B>, reads: &Reads) -> Response<()>
where
    B: http_body::Body<Data = Bytes>,
{
    let (parts, body) = request.into_parts();
    let connects = parts.method == Method::CONNECT;
    let at = reads.borrow().len();
    let fields = fields_of(&parts.headers);
    reads.borrow_mut().push(Read { line: (parts.method, parts.uri.to_string(), parts.version), fields, body: None });
    let body = body.collect().await.ok().map(http_body_util::Collected::to_bytes);
    let mut response = Response::new(());
    // What is connected is never served.
    if body.is_none() || connects {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response.headers_mut().insert(CONNECTION, "close".parse().unwrap());
    }
    reads.borrow_mut()[at].body = body;
    response
}

/// All fields, without a length that chunks overrule.
fn fields_of(headers: &HeaderMap) -> Vec<(String, Bytes)> {
    let overruled = headers.contains_key(TRANSFER_ENCODING);
    let fields = headers.iter().filter(|(name, _)| !(overruled && **name == CONTENT_LENGTH));
    fields.map(|(name, value)| (name.to_string(), Bytes::copy_from_slice(value.as_bytes()))).collect()
}

/// Sends pieces, each read before the next one comes, and takes what is answered.
async fn talk(mut client: impl AsyncRead + AsyncWrite + Unpin, pieces: &[&[u8]]) {
    for piece in pieces {
        if client.write_all(piece).await.is_err() {
            break;
        }
        for _ in 0..3 {
            yield_now().await;
        }
    }
    drop(client.shutdown().await);
    drop(copy(&mut client, &mut sink()).await);
}

/// Two ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.set_nodelay(true).unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// Serves a connection as the data plane does.
async fn served(socket: TcpStream, leaving: &Cell<bool>, answers: impl AsyncFn(Request<ClientBody>) -> Response<()>) {
    let pulse = Pulse::new(true, 1024, Places::new(0));
    let socket = Watched { stream: Socket::Plain(socket), pulse: pulse.clone() };
    serve(socket, HEAD, leaving, async |request: Result<Request<ClientBody>, Refusal>| {
        let active = pulse.begin();
        let response = match request {
            Ok(request) => answers(request).await,
            Err(refusal) => Response::builder().status(refusal.status()).body(()).unwrap(),
        };
        own(response.map(|()| Bytes::new()), None).map(|body| Tracked::new(body, active))
    })
    .await;
}

async fn ours(pieces: &[&[u8]]) -> Vec<Read> {
    let (client, socket) = pair().await;
    let (reads, leaving) = (Reads::default(), Cell::new(false));
    tokio::join!(served(socket, &leaving, async |request| read(request, &reads).await), talk(client, pieces));
    reads.into_inner()
}

async fn hypers(pieces: &[&[u8]]) -> Vec<Read> {
    let (client, socket) = duplex(64 * 1024);
    let reads = Reads::default();
    let service = service_fn(async |request| {
        let response = read(request, &reads).await;
        Ok::<_, Infallible>(response.map(|()| Empty::<Bytes>::new()))
    });
    let serving = Builder::new().half_close(true).max_headers(128).serve_connection(TokioIo::new(socket), service);
    // What is malformed ends it by an error.
    let (_, ()) = tokio::join!(serving, talk(client, pieces));
    reads.into_inner()
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

fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect()
}

/// A thread that looks at its sockets after each step.
fn thread() -> Runtime {
    Threads::new_current_thread().enable_all().event_interval(1).build().unwrap()
}

#[test]
fn whatever_is_accepted_hyper_reads_alike() {
    let thread = thread();
    let (whole, second) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 2000, failure_persistence: None, ..Config::default() });
    let compared = runner.run(&stream(), |(Raw(bytes), cuts)| {
        let pieces = pieces(&bytes, &cuts);
        let (ours, hypers) = thread.block_on(async { tokio::join!(ours(&pieces), hypers(&pieces)) });
        for (at, one) in ours.iter().enumerate() {
            let Some(other) = hypers.get(at) else {
                return Err(TestCaseError::fail(format!("hyper refused {one:?}")));
            };
            let alike = (&one.line, &one.fields) == (&other.line, &other.fields);
            let alike = alike && (one.body.is_none() || one.body == other.body);
            prop_assert!(alike, "{one:?} is {other:?} to hyper");
            prop_assert!(one.body.is_some() || at + 1 == ours.len(), "something behind a broken body");
        }
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
