//! The objects of one instant, as `compile` reads them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};

use crate::api::{IdentityProvider, Policy, Portcullis};
use crate::route::{BackendKey, EndpointSet};
use crate::tls::{BadCertificate, Certificate};

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

/// The certificate of a TLS Secret: the newest that parsed is served, also after a later version that does not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoredCertificate {
    /// The Secret as it is now.
    Current(Arc<Certificate>),
    /// An earlier version; the present one cannot be served.
    LastGood(Arc<Certificate>, BadCertificate),
    /// No version so far could be served.
    Broken(BadCertificate),
}

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
    /// The certificate of each Secret of type `kubernetes.io/tls`.
    pub certificates: BTreeMap<ObjectName, StoredCertificate>,
    /// Endpoints of every port of every Service, beside the routes: a set is there as soon as its Service is, so that
    /// a route holds the set that later slices fill.
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

impl StoredCertificate {
    /// Reads `tls.crt` and `tls.key`, and keeps the last good certificate where they cannot be served.
    pub fn read(secret: &Secret, last: Option<&Self>) -> Self {
        let entry =
            |key: &str| secret.data.iter().flatten().find(|(name, _)| *name == key).map_or(&[][..], |(_, v)| &v.0);
        match (Certificate::from_pem(entry("tls.crt"), entry("tls.key")), last.and_then(Self::certificate)) {
            (Ok(certificate), _) => Self::Current(Arc::new(certificate)),
            (Err(defect), Some(last)) => Self::LastGood(Arc::clone(last), defect),
            (Err(defect), None) => Self::Broken(defect),
        }
    }

    /// What is served.
    pub fn certificate(&self) -> Option<&Arc<Certificate>> {
        match self {
            Self::Current(certificate) | Self::LastGood(certificate, _) => Some(certificate),
            Self::Broken(_) => None,
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}
