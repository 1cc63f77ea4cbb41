//! Connections to endpoints: pools of one data thread, last in first out.

mod connection;
mod fault;
mod response;
mod upload;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;
use http::Method;
use http_body::Frame;
use tokio::task::spawn_local;
use tokio::time::{Instant, interval, timeout};

use crate::budget::Limits;
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::route::EndpointSet;

use super::body::RequestBody;
use super::deadlines::Deadlines;
use super::decoder::Decoder;
use super::headers::Framing;
use super::tunnel::{Place, Tunnels};

pub(super) use connection::{Switched, Unanswered};
pub use fault::Fault;
pub(super) use response::Head;

use connection::Connection;

/// How often idle connections are looked through for those that are closed, stale or whose endpoint is gone.
const SWEEP: Duration = Duration::from_secs(1);

/// The connections of a data thread to its upstreams. Cheap to clone within the thread.
#[derive(Clone)]
pub struct Upstreams(Rc<Pools>);

struct Pools {
    limits: Arc<Limits>,
    idle: RefCell<HashMap<SocketAddr, Vec<Idle>, RandomState>>,
    turn: Cell<u32>,
    tunnels: Tunnels,
    deadlines: Deadlines,
    metrics: Metrics,
}

/// A connection that waits for work.
struct Idle {
    connection: Box<Connection>,
    endpoints: EndpointSet,
    since: Instant,
}

/// A connection at work. Dropped, it is closed.
pub(super) struct Lease {
    connection: Box<Connection>,
    address: SocketAddr,
    endpoints: EndpointSet,
    pools: Weak<Pools>,
    reused: bool,
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It was not accepted in time.
    #[error("the endpoint did not accept in time")]
    Timeout,
    /// It was refused.
    #[error("the endpoint cannot be connected to")]
    Refused(#[source] io::Error),
}

impl ConnectError {
    /// Its stable name.
    fn name(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Refused(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => "refused",
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable",
                _ => "other",
            },
        }
    }
}

impl Upstreams {
    /// Empty pools. Called on the data thread, whose local tasks look after them.
    pub(super) fn new(limits: Arc<Limits>, tunnels: Tunnels, deadlines: Deadlines, metrics: Metrics) -> Self {
        let pools =
            Rc::new(Pools { limits, idle: RefCell::default(), turn: Cell::new(0), tunnels, deadlines, metrics });
        spawn_local(sweep(Rc::downgrade(&pools)));
        Self(pools)
    }

    /// What peers are granted.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The deadlines of the data thread.
    pub(super) fn deadlines(&self) -> &Deadlines {
        &self.0.deadlines
    }

    /// A place for one more tunnel of a person or, where nobody signed in, of an address.
    pub(super) fn tunnel_place(&self, person: Option<&Identity>, peer: IpAddr) -> Option<Place> {
        self.0.tunnels.place(person, peer, self.0.limits.tunnels)
    }

    /// The endpoint whose turn it is, another one than `failed` where there is one.
    ///
    /// Turns follow a Weyl sequence: each backend's endpoints get even shares, whatever other backends are asked for in
    /// between.
    pub(super) fn choose(&self, endpoints: &EndpointSet, failed: Option<SocketAddr>) -> Option<SocketAddr> {
        const GOLDEN: u32 = 0x9E37_79B9;
        let endpoints = endpoints.load();
        let turn = self.0.turn.get().wrapping_add(GOLDEN);
        self.0.turn.set(turn);
        let at = ((u64::from(turn) * endpoints.len() as u64) >> 32) as usize;
        let chosen = *endpoints.get(at)?;
        if Some(chosen) != failed {
            return Some(chosen);
        }
        endpoints.get((at + 1) % endpoints.len()).copied()
    }

    /// The connection to an endpoint that was idle for the shortest time.
    pub(super) fn idle(&self, address: SocketAddr) -> Option<Lease> {
        let mut idle = self.0.idle.borrow_mut();
        let pool = idle.get_mut(&address)?;
        while let Some(Idle { connection, endpoints, .. }) = pool.pop() {
            if connection.is_quiet() {
                return Some(Lease { connection, address, endpoints, pools: Rc::downgrade(&self.0), reused: true });
            }
        }
        None
    }

    /// Opens a connection to an endpoint, and counts whether that could be done.
    pub(super) async fn connect(
        &self,
        address: SocketAddr,
        endpoints: &EndpointSet,
        within: Duration,
    ) -> Result<Lease, ConnectError> {
        let opened = timeout(within, Connection::open(address)).await.map_err(|_| ConnectError::Timeout);
        let opened = opened.and_then(|opened| opened.map_err(ConnectError::Refused));
        self.0.metrics.upstream_connect(address, opened.as_ref().err().map(ConnectError::name));
        let connection = Box::new(opened?);
        let pools = Rc::downgrade(&self.0);
        Ok(Lease { connection, address, endpoints: endpoints.clone(), pools, reused: false })
    }
}

impl Lease {
    /// Which endpoint.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it came out of the pool, where its upstream may have closed it in the meantime.
    pub(super) fn reused(&self) -> bool {
        self.reused
    }

    /// Sends a request, and gives the head of its response.
    pub(super) async fn exchange(
        &mut self,
        method: &Method,
        head: &[u8],
        body: (RequestBody, Framing),
    ) -> Result<Head, Unanswered> {
        self.connection.exchange(method, head, body).await
    }

    /// The next part of the response's body; `None` where it is whole.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.connection.poll_body(cx)
    }

    /// What is still to come of the response's body.
    pub(super) fn body(&self) -> &Decoder {
        self.connection.body()
    }

    /// Leaves HTTP behind a head that says so.
    pub(super) fn switch(self) -> Option<Switched> {
        self.connection.switch()
    }

    /// Gives the connection back behind a response, if its endpoint is still one and it can be used again; else it is
    /// closed, when the request's body is sent.
    pub(super) fn give_back(mut self) {
        let Some(pools) = self.pools.upgrade() else { return };
        if !self.connection.rest() || self.endpoints.load().binary_search(&self.address).is_err() {
            return self.connection.finish_upload();
        }
        let mut idle = pools.idle.borrow_mut();
        let pool = idle.entry(self.address).or_default();
        if pool.len() < pools.limits.idle_upstream {
            pool.push(Idle { connection: self.connection, endpoints: self.endpoints, since: pools.deadlines.now() });
        }
    }
}

/// Closes idle connections that are stale, and those to endpoints that are gone.
async fn sweep(pools: Weak<Pools>) {
    let mut tick = interval(SWEEP);
    loop {
        tick.tick().await;
        let Some(pools) = pools.upgrade() else { return };
        let stale = Instant::now().checked_sub(pools.limits.idle);
        pools.idle.borrow_mut().retain(|address, pool| {
            pool.retain(|idle| {
                let fresh = stale.is_none_or(|stale| idle.since > stale);
                fresh && idle.connection.is_quiet() && idle.endpoints.load().binary_search(address).is_ok()
            });
            !pool.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::task::LocalSet;

    use super::*;

    fn endpoints(ports: std::ops::Range<u16>) -> EndpointSet {
        let set = EndpointSet::default();
        set.store(ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).collect());
        set
    }

    async fn with_pools(test: impl FnOnce(Upstreams)) {
        let metrics = Metrics::new();
        let tunnels = Tunnels::new(metrics.clone());
        let pools = || Upstreams::new(Arc::default(), tunnels, Deadlines::default(), metrics);
        LocalSet::new().run_until(async { test(pools()) }).await;
    }

    #[tokio::test]
    async fn turns_are_fair_whatever_comes_in_between() {
        with_pools(|pools| {
            for strangers in 0..4 {
                let (set, other) = (endpoints(1..4), endpoints(7..9));
                let mut turns = HashMap::new();
                for _ in 0..300 {
                    *turns.entry(pools.choose(&set, None).unwrap()).or_insert(0) += 1;
                    for _ in 0..strangers {
                        pools.choose(&other, None);
                    }
                }
                assert!(turns.len() == 3 && turns.values().all(|turns| (90..=110).contains(turns)), "{turns:?}");
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_failed_endpoint_is_chosen_again_only_where_it_is_the_only_one() {
        with_pools(|pools| {
            let (one, two) = (endpoints(1..2), endpoints(1..3));
            let failed = one.load()[0];
            assert_eq!(pools.choose(&one, Some(failed)), Some(failed));
            assert!((0..50).all(|_| pools.choose(&two, Some(failed)) != Some(failed)));
            assert_eq!(pools.choose(&endpoints(1..1), None), None);
        })
        .await;
    }

    #[tokio::test]
    async fn tunnels_are_counted_by_owner() {
        let tunnels = Tunnels::new(Metrics::new());
        let (one, two) = ([1, 1, 1, 1].into(), [2, 2, 2, 2].into());
        let place = tunnels.place(None, one, 1);
        assert!(place.is_some() && tunnels.place(None, one, 1).is_none() && tunnels.place(None, two, 1).is_some());
        drop(place);
        assert!(tunnels.place(None, one, 1).is_some());
    }
}
