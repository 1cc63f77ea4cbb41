//! The data plane: accepts, admits, decides, forwards. Reading `service.rs` from top to bottom is the specification.

pub mod admit;
mod attempt;
pub mod authenticate;
pub mod body;
pub mod client_body;
mod conn;
mod connection;
mod date;
mod deadlines;
mod decoder;
pub mod endpoints;
pub mod forward;
pub mod headers;
#[cfg(not(feature = "fuzzing"))]
mod http1;
#[cfg(feature = "fuzzing")]
pub mod http1;
mod http2;
pub mod listener;
pub mod negotiation;
pub mod pages;
mod pulse;
mod refuse;
pub mod rejection;
pub mod return_path;
pub mod service;
mod tcp;
pub mod tls;
mod trail;
pub mod tunnel;
pub mod upstream;
