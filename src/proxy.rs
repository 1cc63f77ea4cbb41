//! The data plane: accepts, admits, decides, forwards. Reading `service.rs` from top to bottom is the specification.

pub mod admit;
pub mod body;
pub mod forward;
pub mod headers;
pub mod listener;
pub mod negotiation;
pub mod pages;
pub mod rejection;
pub mod return_path;
pub mod service;
pub mod tls;
pub mod tunnel;
pub mod upstream;
