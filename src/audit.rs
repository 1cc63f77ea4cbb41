//! The audit trail: every decision leaves one event, every request one outcome. It is the access log.
//!
//! A place is reserved before the decision, so no request can end without its record: where none is free, the request is
//! refused. Events are JSON lines, written by a thread of their own.

mod json;
mod record;
mod writer;

pub use record::{Decided, Event, Kind, OutcomeEvent, RequestId, Upstream};
pub use writer::{Audit, Outcome, Sink, Slot};
