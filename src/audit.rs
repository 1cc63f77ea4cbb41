//! The audit trail: every decision leaves one event, every request one outcome. It is the access log.

mod record;
mod writer;

pub use record::{DecisionEvent, Effect, OutcomeEvent, RequestId, Subject};
pub use writer::{Audit, Outcome, Sink, Slot};
