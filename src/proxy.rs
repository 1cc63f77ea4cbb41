//! The data plane: accepts, admits, decides, forwards. Reading `service.rs` from top to bottom is the specification.

pub mod admit;
pub mod rejection;
