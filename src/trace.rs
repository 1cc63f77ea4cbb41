//! Traces: which one a request belongs to (W3C Trace Context level 1), the spans that it leaves, and the bounded queue in which
//! they wait for whoever sends them away. Nobody who answers requests ever waits for a trace.
//!
//! A span holds no host, target, query, header, address of a client or name of a person.

mod context;
mod queue;
mod request;

pub use context::{Parent, TRACEPARENT};
pub use queue::{CAPACITY, Tracer};
pub use request::{Decided, Ended, Trace};

/// One finished part of a trace.
#[derive(Clone, PartialEq, Debug)]
pub struct Span {
    /// The trace.
    pub trace_id: u128,
    /// Its own id.
    pub id: u64,
    /// The span that it is a part of, which may be another process's.
    pub parent: Option<u64>,
    /// Which end of an exchange it is.
    pub kind: SpanKind,
    /// What is done; of few kinds.
    pub name: String,
    /// When it began, in nanoseconds since 1970.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
    /// What else there is to say, by names of the semantic conventions where there is one.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it failed on our side of the exchange.
    pub failed: bool,
}

/// Which end of an exchange a span is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpanKind {
    /// A request of a client.
    Server,
    /// What was sent to an upstream for it.
    Client,
}

/// What an attribute says.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
}
