//! WebSocket upgrades: asked for by the client, granted by the upstream, then bytes both ways until either end, the
//! session or the idle limit closes it.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::Cursor;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use http::{Method, Version, request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use crate::audit::Outcome;
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::route::RouteSettings;

use super::admit::{BadRequest, CanonicalRequest};
use super::conn::{Open, Scheme};
use super::forward::SessionEnd;
use super::headers::has_token;
use super::http1::Client;
use super::upstream::Switched;

/// Bytes in flight in one direction of a tunnel.
const BUFFER: usize = 16 * 1024;

/// How long the client's side may take to leave HTTP once the response is sent.
const HANDOVER: Duration = Duration::from_secs(10);

/// An open tunnel, before its bytes flow.
pub(super) struct Tunnel {
    pub client: oneshot::Receiver<Client>,
    pub upstream: Switched,
    pub outcome: Outcome,
    pub idle: Duration,
    /// Ends with the session that opened it.
    pub session_end: Option<SessionEnd>,
    pub place: Place,
    /// The client's place among the connections, which it keeps.
    pub connection: Option<Rc<Open>>,
}

/// Whose tunnel it is: a person's, or where nobody signed in, an address's.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Owner {
    Person(Identity),
    Address(IpAddr),
}

/// The open tunnels of the process by owner. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tunnels {
    open: Arc<Mutex<HashMap<Owner, usize>>>,
    metrics: Metrics,
}

/// The place of one open tunnel, given back when dropped.
pub(super) struct Place {
    tunnels: Tunnels,
    owner: Owner,
}

impl Tunnels {
    /// None yet.
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { open: Arc::default(), metrics }
    }

    /// A place for one more tunnel, unless its owner has as many as are granted.
    pub(super) fn place(&self, person: Option<&Identity>, peer: IpAddr, granted: usize) -> Option<Place> {
        let owner = person.cloned().map_or(Owner::Address(peer), Owner::Person);
        let mut open = self.lock();
        let count = open.get(&owner).copied().unwrap_or(0);
        if count >= granted {
            return None;
        }
        open.insert(owner.clone(), count + 1);
        self.metrics.tunnel(true);
        Some(Place { tunnels: self.clone(), owner })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.tunnels.metrics.tunnel(false);
        let mut open = self.tunnels.lock();
        if let Some(count) = open.get_mut(&self.owner) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.owner);
            }
        }
    }
}

/// Whether a WebSocket may be opened by the page that asks: `Origin` is absent (no browser), the own public origin, or
/// one that the route allows (RFC 6455 section 10.2). `public_port` is where browsers see HTTPS.
pub fn origin_allowed(request: &CanonicalRequest, scheme: Scheme, public_port: u16, settings: &RouteSettings) -> bool {
    if !request.fields().contains_key(ORIGIN) {
        return true;
    }
    let Some(origin) = request.header(&ORIGIN) else { return false };
    let (scheme, default_port, port) = match scheme {
        Scheme::Http => ("http", 80, request.port().unwrap_or(80)),
        Scheme::Https => ("https", 443, public_port),
    };
    let host = request.host();
    let own = if port == default_port { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") };
    let same = |allowed: &str| origin.eq_ignore_ascii_case(allowed);
    same(&own) || settings.allowed_origins.iter().any(|allowed| same(allowed))
}

/// Whether a head asks to go on as exactly `websocket` (RFC 6455 section 4.1); any other upgrade is not seen (RFC 9110
/// section 7.8 lets a server ignore it).
pub(super) fn asks_for_websocket(parts: &request::Parts) -> Result<bool, BadRequest> {
    let fields = &parts.headers;
    let mut protocols = fields.get_all(UPGRADE).iter();
    let named = protocols.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let asked = named
        && protocols.next().is_none()
        && parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && has_token(fields, CONNECTION, "upgrade");
    let length = fields.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    if asked && (length || fields.contains_key(TRANSFER_ENCODING)) {
        return Err(BadRequest::UpgradeBody);
    }
    Ok(asked)
}

impl Tunnel {
    /// Splices both sides until one ends, nothing moves for the idle limit, or the session ends.
    pub(super) async fn run(self) {
        let Self { client, upstream, outcome, idle, session_end, place: _place, connection: _connection } = self;
        let Ok(Ok(client)) = timeout(HANDOVER, client).await else { return };
        let flow = Flow::of(outcome);
        let session_end = async {
            match session_end {
                Some(end) => end.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = splice(client, upstream, idle, &flow) => {}
            () = session_end => {}
        }
        flow.ended.set(true);
    }
}

/// Bytes that went through, and when the last ones did; noted in the outcome however the tunnel ends.
struct Flow {
    outcome: Outcome,
    sent: Cell<u64>,
    received: Cell<u64>,
    moved: Cell<Instant>,
    /// Whether it came to its end, and was not cut by ours.
    ended: Cell<bool>,
}

impl Flow {
    fn of(outcome: Outcome) -> Self {
        Self { outcome, sent: 0.into(), received: 0.into(), moved: Instant::now().into(), ended: false.into() }
    }

    fn count(&self, direction: &Cell<u64>, count: usize) {
        direction.set(direction.get() + count as u64);
        self.moved.set(Instant::now());
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.outcome.note(|event| {
            event.sent = self.sent.get();
            event.received = self.received.get();
            event.complete = self.ended.get();
        });
    }
}

async fn splice(client: Client, upstream: Switched, idle: Duration, flow: &Flow) {
    let (reader, mut client_writes) = split(client.socket);
    let mut client_reads = Cursor::new(client.received).chain(reader);
    let Switched { received, reader, writer: mut upstream_writes } = upstream;
    let mut upstream_reads = Cursor::new(received).chain(reader);
    let quiet = async {
        loop {
            let due = flow.moved.get() + idle;
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    };
    let both = async {
        tokio::join!(
            copy(&mut client_reads, &mut upstream_writes, |count| flow.count(&flow.received, count)),
            copy(&mut upstream_reads, &mut client_writes, |count| flow.count(&flow.sent, count)),
        )
    };
    tokio::select! {
        _ = both => {}
        () = quiet => {}
    }
}

/// Copies until the reader ends or either side breaks, then closes the writer.
async fn copy(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin), moved: impl Fn(usize)) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..count]).await.is_err() || to.flush().await.is_err() {
            break;
        }
        moved(count);
    }
    // The other side may have gone first; there is nobody to tell.
    drop(to.shutdown().await);
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use http::Request;

    use super::super::admit::admit;
    use super::super::conn::{Conn, Transport};
    use super::super::headers::Pseudonym;
    use super::*;
    use crate::budget::Limits;

    /// Whether these origins may open a WebSocket to `app.test`.
    fn allowed(origins: &[&str], scheme: Scheme, port: u16) -> bool {
        let mut request = Request::get("/").header("host", "app.test");
        for origin in origins {
            request = request.header("origin", *origin);
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let conn = Conn::new(address, address, Transport::Plain, Pseudonym::new());
        let request = admit(request.body(()).unwrap().into_parts().0, &conn, &Limits::default()).unwrap();
        let settings =
            RouteSettings { allowed_origins: ["https://friend.test".into()].into(), ..RouteSettings::default() };
        origin_allowed(&request, scheme, port, &settings)
    }

    #[test]
    fn a_page_of_another_origin_opens_no_websocket() {
        assert!(allowed(&[], Scheme::Https, 443));
        assert!(allowed(&["https://app.test"], Scheme::Https, 443));
        assert!(allowed(&["https://app.test:8443"], Scheme::Https, 8443));
        assert!(allowed(&["http://app.test"], Scheme::Http, 8443));
        assert!(allowed(&["https://friend.test"], Scheme::Https, 443));
        for origin in [
            "null",
            "https://evil.test",
            "http://app.test",
            "https://app.test:444",
            "https://app.test.evil.test",
            "https://app.test/",
            "https://sub.app.test",
            "",
        ] {
            assert!(!allowed(&[origin], Scheme::Https, 443), "{origin}");
        }
        assert!(!allowed(&["https://app.test", "https://evil.test"], Scheme::Https, 443));
    }
}
