//! What the process, not a class, decides.

use std::sync::Arc;

use crate::controller::world::ObjectName;
use crate::tls::Certificate;

/// The settings of the process that compile reads.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// Our controller string.
    pub controller: String,
    /// Whether Ingresses without a class are ours.
    pub without_class: bool,
    /// The namespace of the installation, where client secrets and CA bundles are.
    pub installation_namespace: String,
    /// Secret of the default certificate.
    pub default_certificate: Option<ObjectName>,
    /// The certificate of last resort, made at start.
    pub self_signed: Option<Arc<Certificate>>,
    /// `dev`: loopback endpoints and plain-HTTP issuers on loopback are accepted, HSTS is off.
    pub dev: bool,
}
