//! Golden tests of compile: a good world, changed in one place, and what comes of it: the routes that differ, the
//! findings, the states. What is not listed in a snapshot has stayed as it was.

#![expect(clippy::unwrap_used, reason = "helpers of tests stop where a test would")]

mod bad_access;
mod bad_hosts;
mod bad_input;
mod hosts;
mod order;
mod semantics;
mod world;
