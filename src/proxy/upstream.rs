//! Connections to endpoints: pools of one data thread, last in first out.

use std::sync::Arc;

use crate::budget::Limits;

/// The pools of a data thread.
pub struct Upstreams {
    limits: Arc<Limits>,
}

impl Upstreams {
    /// Empty pools.
    pub fn new(limits: Arc<Limits>) -> Self {
        Self { limits }
    }

    /// What peers are granted.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}
