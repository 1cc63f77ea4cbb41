//! What the journeys are made of: real programs, and the people and machines that use them.

pub mod app;
pub mod authority;
pub mod balancer;
pub mod bed;
pub mod browser;
pub mod client;
pub mod cluster;
pub mod controller;
pub mod dump;
pub mod eventually;
pub mod faulty_api;
pub mod liar;
pub mod node;
pub mod objects;
#[allow(dead_code, reason = "the bench uses the rest")]
pub mod portcullis;
pub mod program;
pub mod provider;
pub mod redis;
pub mod replicas;
pub mod scene;
pub mod shell;
#[path = "../tests/support/steps.rs"]
pub mod steps;
pub mod traffic;
