//! Sockets and data threads: each thread has its own current-thread runtime, its own listening sockets, its own service.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::budget::Limits;

use super::service::Shared;

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
pub struct Bound {}

/// Data threads at work.
pub struct Running {}

/// Binds every socket; fails where another process listens already.
pub fn bind(settings: ListenerSettings) -> io::Result<Bound> {
    let _ = settings;
    todo!()
}

impl Bound {
    /// The address of the plain listener, with its real port.
    pub fn http(&self) -> Option<SocketAddr> {
        todo!()
    }

    /// The address of the TLS listener, with its real port.
    pub fn https(&self) -> Option<SocketAddr> {
        todo!()
    }

    /// Starts the data threads.
    pub fn start(self, shared: &Shared) -> io::Result<Running> {
        let _ = shared;
        todo!()
    }
}

impl Running {
    /// Accepts until the queues are empty, closes the sockets, and waits for what still runs, at most for
    /// [`Limits::drain`].
    pub async fn drain(self) {
        todo!()
    }
}
