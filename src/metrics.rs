//! What the process counts about itself, in the Prometheus text format: names without a host or path label.

/// The registry and its families. Cheap to clone; recording never allocates or blocks.
#[derive(Clone, Debug, Default)]
pub struct Metrics {}

impl Metrics {
    /// A fresh set, all zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// The exposition text.
    pub fn encode(&self) -> String {
        todo!()
    }
}
