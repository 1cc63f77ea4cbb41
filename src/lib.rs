//! Portcullis, an identity-aware ingress controller for Kubernetes.
//!
//! An hourglass: Kubernetes is wide, HTTP is wide, and between them is one narrow value, the [`snapshot::Snapshot`].
//! The controller compiles it from the cluster (or a folder of YAML), the proxy reads it, nothing else is shared.
//! `tests/layers.rs` holds who may import whom. The modules, in reading order:

// Ground floor: no async, no Kubernetes, no HTTP server.
pub mod budget;
pub mod clock;
pub mod host;
pub mod identity;
pub mod metrics;
pub mod path;
pub mod secret;
pub mod trace;

pub mod api;

// First floor: one module a concept.
pub mod audit;
pub mod oidc;
pub mod policy;
pub mod route;
pub mod seal;
pub mod session;
pub mod tls;

// The waist.
pub mod snapshot;

// The two wings.
pub mod controller;
pub mod proxy;

// The roof.
pub mod admin;
pub mod check;
pub mod cli;
pub mod config;
pub mod dev;
pub mod inspect;
pub mod keys;
pub mod logging;
pub mod otlp;
pub mod output;
pub mod routes;
pub mod run;
pub mod serve;
pub mod sessions;
