//! The control plane: watches, compiles, publishes, reports.

pub mod compile;
mod endpoints;
pub mod report;
pub mod world;

pub use endpoints::Guard;
