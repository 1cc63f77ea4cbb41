//! The real listeners against raw sockets: what is refused, what reaches an upstream and in which form, what happens when
//! either side misbehaves.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod admission;
#[path = "../support/anyone.rs"]
mod anyone;
mod bad_objects;
mod faults;
mod fields;
mod frames;
mod http1;
mod http2;
mod lifecycle;
mod limits;
#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/plane.rs"]
mod plane;
mod rates;
mod resets;
mod streams;
mod tls;
mod tunnels;
mod undecodable;
#[path = "../support/upstream.rs"]
mod upstream;
