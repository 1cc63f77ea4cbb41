//! Sockets and data threads: each thread has its own current-thread runtime, its own listening sockets, its own service.
//!
//! The kernel spreads connections over the threads (`SO_REUSEPORT`); where it cannot, all threads accept from one socket.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::{FutureExt, TryFutureExt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, LocalOptions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::{Limits, Places};

use super::conn::Open;
use super::connection::Thread;
use super::deadlines::Deadlines;
use super::headers::Pseudonym;
use super::service::{Service, Shared};
use super::tls::Tls;
use super::tunnel::Tunnels;

/// Connections that wait to be accepted, a socket.
const BACKLOG: i32 = 4096;

/// How long accepting rests when the system has no more to give (file descriptors, memory).
const REST: Duration = Duration::from_millis(50);

/// Where and how to listen.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Plain HTTP, where wanted.
    pub http: Option<SocketAddr>,
    /// HTTPS, where wanted.
    pub https: Option<SocketAddr>,
    /// Data threads, at least one.
    pub threads: usize,
    /// What peers are granted.
    pub limits: Arc<Limits>,
}

/// Sockets that are bound, so that nobody else has them; connections wait in their queues.
pub struct Bound {
    http: Vec<StdListener>,
    https: Vec<StdListener>,
    threads: usize,
    limits: Arc<Limits>,
}

/// Data threads at work.
pub struct Running {
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

/// What a data thread starts from.
struct Start {
    http: Option<StdListener>,
    https: Option<StdListener>,
    tls: Tls,
    shared: Shared,
    budget: Arc<Semaphore>,
    exchanges: Places,
    tunnels: Tunnels,
    limits: Arc<Limits>,
    pseudonym: Pseudonym,
    stop: CancellationToken,
}

/// Binds every socket; fails where another process listens already.
pub fn bind(settings: &ListenerSettings) -> io::Result<Bound> {
    let threads = settings.threads.max(1);
    let sockets = |address: Option<SocketAddr>| address.map_or(Ok(Vec::new()), |address| bind_all(address, threads));
    Ok(Bound {
        http: sockets(settings.http)?,
        https: sockets(settings.https)?,
        threads,
        limits: Arc::clone(&settings.limits),
    })
}

impl Bound {
    /// The address of the plain listener, with its real port.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http.first()?.local_addr().ok()
    }

    /// The address of the TLS listener, with its real port.
    pub fn https(&self) -> Option<SocketAddr> {
        self.https.first()?.local_addr().ok()
    }

    /// Starts the data threads.
    pub fn start(self, shared: &Shared) -> io::Result<Running> {
        let tls = Tls::new(shared.reader.clone()).map_err(io::Error::other)?;
        let budget = Arc::new(Semaphore::new(self.limits.connections));
        let exchanges = Places::new(self.limits.exchanges);
        let tunnels = Tunnels::new(shared.metrics.clone());
        let pseudonym = Pseudonym::new();
        let stop = CancellationToken::new();
        let (mut http, mut https) = (self.http.into_iter(), self.https.into_iter());
        let mut threads = Vec::with_capacity(self.threads);
        for number in 0..self.threads {
            let start = Start {
                http: http.next(),
                https: https.next(),
                tls: tls.clone(),
                shared: shared.clone(),
                budget: Arc::clone(&budget),
                exchanges: exchanges.clone(),
                tunnels: tunnels.clone(),
                limits: Arc::clone(&self.limits),
                pseudonym: pseudonym.clone(),
                stop: stop.clone(),
            };
            threads.push(start.spawn(number)?);
        }
        Ok(Running { stop, threads })
    }
}

impl Running {
    /// Accepts until the queues are empty, closes the sockets, and waits for what still runs, at most for
    /// [`Limits::drain`].
    pub async fn drain(self) {
        self.stop.cancel();
        let threads = self.threads;
        let joined = spawn_blocking(move || threads.into_iter().map(JoinHandle::join).all(|end| end.is_ok()));
        if !matches!(joined.await, Ok(true)) {
            tracing::error!("a data thread ended by a panic");
        }
    }
}

impl Start {
    /// Starts a data thread. Its runtime is made there, as one that never leaves its thread.
    fn spawn(self, number: usize) -> io::Result<JoinHandle<()>> {
        let (tell, told) = mpsc::channel();
        let thread = thread::Builder::new().name(format!("data-{number}")).spawn(move || {
            match runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => {
                    let _ = tell.send(Ok(()));
                    runtime.block_on(self.run());
                }
                Err(error) => drop(tell.send(Err(error))),
            }
        })?;
        told.recv().map_err(io::Error::other)??;
        Ok(thread)
    }

    /// The life of a data thread.
    async fn run(self) {
        let limits = Arc::clone(&self.limits);
        let stop = self.stop.clone();
        let metrics = self.shared.metrics.clone();
        let public_ports = [self.shared.public_http_port, self.shared.public_https_port];
        let deadlines = Deadlines::default();
        spawn_local(deadlines.clone().beat(stop.clone()));
        let thread = Rc::new(Thread {
            service: Rc::new(Service::new(self.shared, self.tunnels, deadlines.clone())),
            tls: self.tls,
            limits: Arc::clone(&limits),
            exchanges: self.exchanges,
            metrics,
            pseudonym: self.pseudonym,
            public_ports,
            deadlines,
            stop: self.stop,
        });
        let connections = TaskTracker::new();
        let acceptors = TaskTracker::new();
        for (socket, tls) in [(self.http, false), (self.https, true)] {
            let Some(socket) = socket else { continue };
            let acceptor = Acceptor {
                thread: Rc::clone(&thread),
                tls,
                budget: Arc::clone(&self.budget),
                connections: connections.clone(),
            };
            acceptors.spawn_local(acceptor.run(socket));
        }
        stop.cancelled().await;
        acceptors.close();
        acceptors.wait().await;
        connections.close();
        if timeout(limits.drain, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "connections cut at the end of the drain");
        }
    }
}

/// Accepts from one socket.
struct Acceptor {
    thread: Rc<Thread>,
    tls: bool,
    budget: Arc<Semaphore>,
    connections: TaskTracker,
}

impl Acceptor {
    async fn run(self, socket: StdListener) {
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "a listening socket cannot be used"),
        };
        let stop = self.thread.stop.clone();
        stop.run_until_cancelled(self.accept(&listener)).await;
        // Closing the socket resets what waits in its queue, so the queue is emptied first.
        let Ok(queue) = listener.into_std() else { return };
        while let Ok((stream, peer)) = queue.accept() {
            let Ok(place) = Arc::clone(&self.budget).try_acquire_owned() else { return };
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                self.serve(stream, peer, place);
            }
        }
    }

    /// Accepts for ever: whatever fails is one connection, or passes.
    async fn accept(&self, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let Ok(place) = Arc::clone(&self.budget).acquire_owned().await else { return };
                    self.serve(stream, peer, place);
                }
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accepting rests");
                    sleep(REST).await;
                }
            }
        }
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let thread = Rc::clone(&self.thread);
        let tls = self.tls;
        let open = Rc::new(Open::new(place, self.connections.token(), thread.metrics.clone()));
        let metrics = thread.metrics.clone();
        let serving = async move {
            if tls {
                thread.serve_tls(stream, peer, open).await;
            } else {
                thread.serve_plain(stream, peer, open).await;
            }
        };
        // What panics beyond the answer to a request is the end of its connection.
        spawn_local(AssertUnwindSafe(serving).catch_unwind().inspect_err(move |_| metrics.panic()));
    }
}

/// Whether an error of `accept` is about the connection that was to be accepted.
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// One socket a thread on the same address, or clones of one socket where the system cannot spread.
fn bind_all(address: SocketAddr, threads: usize) -> io::Result<Vec<StdListener>> {
    // Without SO_REUSEPORT first: another process of ours would else share the address unseen.
    let probe = bind_one(address, false)?;
    if !cfg!(target_os = "linux") {
        return (0..threads).map(|_| probe.try_clone()).collect();
    }
    let address = probe.local_addr()?;
    drop(probe);
    (0..threads).map(|_| bind_one(address, true)).collect()
}

fn bind_one(address: SocketAddr, shared: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
