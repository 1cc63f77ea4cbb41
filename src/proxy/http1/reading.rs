//! Whatever is accepted here is read by hyper's server in the same way, which is the reading that most others share.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, duplex, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder as Threads, Runtime};
use tokio::task::yield_now;

use super::*;
use crate::budget::Places;
use crate::proxy::body::own;
use crate::proxy::deadlines::Deadlines;
use crate::proxy::pulse::Pulse;

/// Bytes of a head.
const HEAD: usize = 4 * 1024;

/// Reads bytes that are cut at these places, here and as hyper does: what was read here, unless it differs.
pub fn alike(thread: &Runtime, bytes: &[u8], mut cuts: Vec<usize>) -> Result<Vec<Read>, String> {
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let pieces: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
    let (ours, hypers) = thread.block_on(async { tokio::join!(ours(&pieces), hypers(&pieces)) });
    for (at, one) in ours.iter().enumerate() {
        let Some(other) = hypers.get(at) else { return Err(format!("hyper refused {one:?}")) };
        let same_head = (&one.line, &one.fields) == (&other.line, &other.fields);
        if !same_head || (one.body.is_some() && one.body != other.body) {
            return Err(format!("{one:?} is {other:?} to hyper"));
        }
        if one.body.is_none() && at + 1 < ours.len() {
            return Err(format!("a request behind {one:?}"));
        }
    }
    Ok(ours)
}

/// A thread that looks at its sockets after each step.
pub fn thread() -> Runtime {
    Threads::new_current_thread().enable_all().event_interval(1).build().expect("a thread can be started")
}

/// One request as it was read; without a body where that broke.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    line: (Method, String, Version),
    fields: Vec<(String, Bytes)>,
    /// What came whole.
    pub body: Option<Bytes>,
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
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
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
pub(super) async fn talk(mut client: impl AsyncRead + AsyncWrite + Unpin, pieces: &[&[u8]]) {
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
pub(super) async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback works");
    let client = TcpStream::connect(listener.local_addr().expect("loopback works")).await.expect("loopback works");
    client.set_nodelay(true).expect("loopback works");
    (client, listener.accept().await.expect("loopback works").0)
}

/// Serves a connection as the data plane does.
pub(super) async fn served(
    socket: TcpStream,
    leaving: &Cell<bool>,
    answers: impl AsyncFn(Request<ClientBody>) -> Response<()>,
) {
    let pulse = Pulse::new(true, 1024, Places::new(0), Deadlines::default());
    let socket = Watched { stream: Socket::Plain(socket), pulse: pulse.clone() };
    serve(socket, HEAD, leaving, async |request: Result<&mut Request<ClientBody>, Refusal>| {
        let active = pulse.begin();
        let response = match request {
            Ok(request) => answers(std::mem::take(request)).await,
            Err(refusal) => {
                Response::builder().status(refusal.status()).body(()).expect("a status alone makes a response")
            }
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
