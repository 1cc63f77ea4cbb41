//! The decision itself, pure: no clock, no I/O, no allocation but none.

use super::{AccessRequest, Decision, Denial, Policy, Reason};

/// Decides over one request.
///
/// In this order: a Deny that matches denies; a Deny that would need to know who asks, caller anonymous, challenges;
/// an Allow that matches allows; an Allow that needs to know challenges; else denied.
pub fn decide<S>(slot: S, policy: &Policy, request: &AccessRequest<'_>) -> Decision<S> {
    let _ = (slot, policy, request);
    todo!()
}

/// The denial of every request to a route that a defect of its configuration closed.
pub fn closed<S>(slot: S) -> Denial<S> {
    Denial::new(slot, Reason::RouteClosed, None)
}
