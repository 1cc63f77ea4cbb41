//! Sessions in this process alone: for `dev`, and for a single replica that may forget them.

/// The store.
#[derive(Debug, Default)]
pub struct MemoryStore {}
