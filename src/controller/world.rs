//! The objects of one instant, as `compile` reads them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};

use crate::api::{IdentityProvider, Policy, Portcullis};
use crate::route::{BackendKey, EndpointSet};
use crate::tls::Certificate;

/// Namespace and name; cluster-scoped objects have an empty namespace. Never joined into one text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectName {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

/// An object as it came: decoded, or known by name only because it does not decode.
#[derive(Clone, Debug)]
pub enum Stored<T> {
    /// It decodes.
    Decoded(Arc<T>),
    /// It does not; the decoder's words.
    Undecodable(Arc<str>),
}

/// Objects of one kind by name.
pub type Objects<T> = BTreeMap<ObjectName, Stored<T>>;

/// Everything that `compile` reads.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// IngressClasses.
    pub classes: Objects<IngressClass>,
    /// Ingresses.
    pub ingresses: Objects<Ingress>,
    /// Services.
    pub services: Objects<Service>,
    /// Secrets: all of type `kubernetes.io/tls`, and those of the installation namespace.
    pub secrets: Objects<Secret>,
    /// The newest certificate of each TLS Secret that parsed, kept when a later version does not.
    pub certificates: BTreeMap<ObjectName, Arc<Certificate>>,
    /// Endpoints of every port of every Service, beside the routes.
    pub endpoints: BTreeMap<BackendKey, EndpointSet>,
    /// Namespaces on their way out.
    pub terminating: std::collections::BTreeSet<Arc<str>>,
    /// Installation settings.
    pub portcullises: Objects<Portcullis>,
    /// Identity providers.
    pub providers: Objects<IdentityProvider>,
    /// Policies.
    pub policies: Objects<Policy>,
}

impl ObjectName {
    /// A namespaced name.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}
