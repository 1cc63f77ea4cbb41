//! The control plane: watches, compiles, publishes, reports.

pub mod compile;
pub mod report;
pub mod world;
