//! World to Snapshot and Report: pure, no client, no clock, no await. The same world gives the same result in any order.

use super::report::Report;
use super::world::World;
use crate::snapshot::Snapshot;

/// What the process, not a class, decides.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// Our controller string.
    pub controller: String,
    /// Whether Ingresses without a class are ours.
    pub without_class: bool,
    /// The namespace of the installation, where client secrets and CA bundles are.
    pub installation_namespace: String,
    /// Secret of the default certificate.
    pub default_certificate: Option<super::world::ObjectName>,
    /// The certificate of last resort, made at start.
    pub self_signed: Option<std::sync::Arc<crate::tls::Certificate>>,
    /// `dev`: loopback endpoints and plain-HTTP issuers on loopback are accepted, HSTS is off.
    pub dev: bool,
}

/// A compiled world.
#[derive(Clone, PartialEq, Debug)]
pub struct Compiled {
    /// What the data plane reads.
    pub snapshot: Snapshot,
    /// What people read.
    pub report: Report,
}

/// Compiles.
pub fn compile(world: &World, defaults: &Defaults) -> Compiled {
    let _ = (world, defaults);
    todo!()
}
