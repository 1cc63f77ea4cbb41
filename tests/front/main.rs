//! The whole data plane as a browser meets it: real listeners, a real sign-in at a provider on loopback, an upstream that
//! counts every byte.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod browser;
mod callback;
mod clock;
mod cookies;
mod decisions;
mod freshness;
mod house;
mod http2;
mod own_pages;
#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/plane.rs"]
mod plane;
#[path = "../support/provider.rs"]
mod provider;
mod refresh;
mod sign_in;
mod sign_out;
mod upgrades;
#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/upstream.rs"]
mod upstream;
