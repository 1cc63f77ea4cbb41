//! The data plane: accepts, admits, decides, forwards. Reading `service.rs` from top to bottom is the specification.

pub mod admit;
pub mod body;
pub mod forward;
pub mod headers;
pub mod listener;
pub mod rejection;
pub mod service;
pub mod tls;
pub mod tunnel;
pub mod upstream;
