//! TLS towards clients: versions, suites and groups in our order, tickets under rotating keys, and at each handshake the
//! certificate of the current snapshot.
