//! The limits of the data plane on what a peer can drive, in one table (`SECURITY.md` repeats it, a test holds it).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// What one process grants its peers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Header lines of a request.
    pub header_lines: usize,
    /// Bytes of a request's header list.
    pub header_bytes: usize,
    /// Bytes of all `Cookie` fields of a request.
    pub cookie_bytes: usize,
    /// Concurrent HTTP/2 streams of a connection.
    pub h2_streams: u32,
    /// Initial flow-control window of an HTTP/2 stream, in bytes.
    pub h2_stream_window: u32,
    /// Initial flow-control window of an HTTP/2 connection, in bytes.
    pub h2_connection_window: u32,
    /// Streams of an HTTP/2 connection that its client leaves early, beyond answers of upstreams that it takes whole.
    pub h2_resets: u32,
    /// How many more of them each second grants.
    pub h2_reset_rate: u32,
    /// Until when a stream is left early, from its beginning. Later, the number of streams bounds what leaving costs us.
    pub h2_early: Duration,
    /// From the first byte of a request to the end of its head.
    pub head_deadline: Duration,
    /// From accept to the end of the TLS handshake.
    pub handshake_deadline: Duration,
    /// A connection without a request.
    pub idle: Duration,
    /// A body, either way, in which nothing moves.
    pub body_idle: Duration,
    /// Bytes a second of a body that its client sends or takes: what is slower uses up `body_idle` or `stalled`.
    pub body_rate: usize,
    /// A client that takes nothing of what is there for it: a socket, or one HTTP/2 stream. Twice that, where it took a window
    /// back from what was on its way.
    pub stalled: Duration,
    /// Opening a connection to an endpoint.
    pub connect: Duration,
    /// From the sent request to the response head of the upstream.
    pub response_head: Duration,
    /// Open client connections of the process.
    pub connections: usize,
    /// Requests at work in the process, beside the first of each connection.
    pub exchanges: usize,
    /// Idle connections kept to one endpoint by one data thread.
    pub idle_upstream: usize,
    /// Open tunnels (WebSocket) of one person or, where nobody signed in, of one address.
    pub tunnels: usize,
    /// A tunnel in which nothing moves.
    pub tunnel_idle: Duration,
    /// Bytes of a request body to our own endpoints.
    pub own_body_bytes: usize,
    /// From SIGTERM to the end of what still runs.
    pub drain: Duration,
}

/// Places that all threads share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Places {
    taken: Arc<AtomicUsize>,
    granted: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_lines: 100,
            header_bytes: 16 * 1024,
            cookie_bytes: 8 * 1024,
            h2_streams: 100,
            h2_stream_window: 64 * 1024,
            h2_connection_window: 1024 * 1024,
            h2_resets: 1000,
            h2_reset_rate: 33,
            h2_early: Duration::from_secs(1),
            head_deadline: Duration::from_secs(10),
            handshake_deadline: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body_idle: Duration::from_secs(60),
            body_rate: 1024,
            stalled: Duration::from_secs(30),
            connect: Duration::from_secs(5),
            response_head: Duration::from_secs(60),
            connections: 8192,
            exchanges: 16_384,
            idle_upstream: 64,
            tunnels: 64,
            tunnel_idle: Duration::from_secs(3600),
            own_body_bytes: 64 * 1024,
            drain: Duration::from_secs(30),
        }
    }
}

/// What a peer owes that owed `debt`, then let us wait for `waited`, then moved so many bytes: the time by which it is
/// slower than `rate`.
pub fn owed(debt: Duration, waited: Duration, bytes: usize, rate: usize) -> Duration {
    let earned = bytes as u64 * 1_000_000 / rate.max(1) as u64;
    (debt + waited).saturating_sub(Duration::from_micros(earned))
}

impl Places {
    /// So many, all free.
    pub fn new(granted: usize) -> Self {
        Self { taken: Arc::default(), granted }
    }

    /// Takes one, where fewer than all (`share` 1), half of all (`share` 2) and so on are taken.
    pub fn take(&self, share: usize) -> bool {
        let free = self.taken.fetch_add(1, Relaxed) < self.granted / share;
        if !free {
            self.give_back();
        }
        free
    }

    /// Gives one back.
    pub fn give_back(&self) {
        self.taken.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_slower_than_the_rate_owes_the_time() {
        let seconds = Duration::from_secs;
        assert_eq!(owed(seconds(0), seconds(5), 4 * 1024, 1024), seconds(1));
        assert_eq!(owed(seconds(1), seconds(5), 4 * 1024, 1024), seconds(2));
        assert_eq!(owed(seconds(2), seconds(5), 8 * 1024, 1024), seconds(0));
        assert_eq!(owed(seconds(2), seconds(3), 0, 0), seconds(5));
    }
}
