//! The objects of one instant, as `compile` reads them, and the changes that lead from one instant to the next.
//!
//! One task holds the world in a [`Keeper`]; nobody else changes it. Endpoints live beside the routes: a changed
//! EndpointSlice swaps the addresses of its Service and asks for no compile.

mod portcullis;
mod secret;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use portcullis::{RawPortcullis, UnreadClaims};
pub use secret::WatchedSecret;

use super::endpoints::{Guard, Slices, unite};
use super::report::Finding;
use crate::api::{IdentityProvider, Policy, Portcullis};
use crate::metrics::Ingresses;
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
#[derive(Clone)]
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
#[derive(Clone, Default)]
pub struct World {
    /// IngressClasses.
    pub classes: Objects<IngressClass>,
    /// Ingresses.
    pub ingresses: Objects<Ingress>,
    /// Services.
    pub services: Objects<Service>,
    /// Secrets: all of type `kubernetes.io/tls`, and those of the installation namespace.
    pub secrets: Objects<WatchedSecret>,
    /// The certificate of each Secret of type `kubernetes.io/tls`.
    pub certificates: BTreeMap<ObjectName, StoredCertificate>,
    /// Endpoints of every TCP port of every Service, beside the routes: a set is there as soon as its Service is, so that
    /// a route holds the set that later slices fill.
    pub endpoints: BTreeMap<BackendKey, EndpointSet>,
    /// EndpointSlices, by the Service that they belong to.
    pub slices: Slices,
    /// Defects of EndpointSlices, by Service: found where endpoints are united, for compile never sees them.
    pub slice_findings: BTreeMap<ObjectName, Vec<Finding>>,
    /// Where requests are counted, beside the routes: an Ingress keeps its counts from one compile to the next.
    pub counts: Ingresses,
    /// Namespaces on their way out.
    pub terminating: BTreeSet<Arc<str>>,
    /// Installation settings.
    pub portcullises: Objects<Portcullis>,
    /// The newest version of each `Portcullis` that decoded, also of one that is gone: the hosts that it keeps for
    /// namespaces stay kept while a class names it.
    pub last_portcullises: BTreeMap<ObjectName, Arc<Portcullis>>,
    /// What the newest version of each `Portcullis` claims of which none has decoded so far.
    pub unread_claims: BTreeMap<ObjectName, UnreadClaims>,
    /// Identity providers.
    pub providers: Objects<IdentityProvider>,
    /// Policies.
    pub policies: Objects<Policy>,
}

/// One object that is new or different, or gone (`None`).
#[derive(Clone, Debug)]
pub enum Change {
    /// An IngressClass.
    Class(ObjectName, Option<Stored<IngressClass>>),
    /// An Ingress.
    Ingress(ObjectName, Option<Stored<Ingress>>),
    /// A Service.
    Service(ObjectName, Option<Stored<Service>>),
    /// An EndpointSlice.
    Slice(ObjectName, Option<Stored<EndpointSlice>>),
    /// A Secret.
    Secret(ObjectName, Option<Stored<WatchedSecret>>),
    /// Whether a namespace is on its way out.
    Namespace(Arc<str>, bool),
    /// A `Portcullis`.
    Portcullis(ObjectName, Option<Stored<Portcullis>>),
    /// A `Portcullis` that does not decode, why not, and what it claims.
    UnreadPortcullis(ObjectName, Arc<str>, UnreadClaims),
    /// An `IdentityProvider`.
    Provider(ObjectName, Option<Stored<IdentityProvider>>),
    /// A `Policy`.
    Policy(ObjectName, Option<Stored<Policy>>),
}

/// What a change asks for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Effect {
    /// Nothing: the endpoints are swapped already, or nothing that anybody reads is different.
    Nothing,
    /// A look at the live status of an object, which somebody (perhaps we) has written.
    Status,
    /// A compile.
    Compile,
}

/// The one who changes the world.
#[derive(Debug, Default)]
pub struct Keeper {
    world: Arc<World>,
    guard: Guard,
}

impl ObjectName {
    /// A namespaced name.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The name of an object, from its metadata.
    pub fn of(object: &impl kube::Resource) -> Self {
        let meta = object.meta();
        Self::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
    }
}

impl StoredCertificate {
    /// Reads `tls.crt` and `tls.key`, and keeps the last good certificate where they cannot be served.
    pub fn read(secret: &WatchedSecret, last: Option<&Self>) -> Self {
        let entry = |key| secret.entry(key).unwrap_or_default();
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

impl Change {
    /// A Secret as it came.
    pub fn secret(name: ObjectName, new: Option<Stored<Secret>>) -> Self {
        let watched = new.map(|new| match new {
            Stored::Decoded(secret) => Stored::Decoded(Arc::new(Arc::unwrap_or_clone(secret).into())),
            Stored::Undecodable(why) => Stored::Undecodable(why),
        });
        Self::Secret(name, watched)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

impl<T> Stored<T> {
    /// The object, where it decodes.
    pub fn decoded(&self) -> Option<&Arc<T>> {
        match self {
            Self::Decoded(object) => Some(object),
            Self::Undecodable(_) => None,
        }
    }
}

/// Without the object, which may be a Secret.
impl<T> fmt::Debug for Stored<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.decoded().is_some() { "Decoded(..)" } else { "Undecodable(..)" })
    }
}

/// Names and numbers only.
impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("classes", &self.classes.len())
            .field("ingresses", &self.ingresses.len())
            .field("services", &self.services.len())
            .field("secrets", &self.secrets.len())
            .field("certificates", &self.certificates.len())
            .field("portcullises", &self.portcullises.len())
            .field("providers", &self.providers.len())
            .field("policies", &self.policies.len())
            .finish_non_exhaustive()
    }
}

impl Keeper {
    /// A keeper of an empty world.
    pub fn new(guard: Guard) -> Self {
        Self { world: Arc::default(), guard }
    }

    /// The same, where requests are counted by Ingress.
    #[must_use]
    pub fn counting(mut self, counts: Ingresses) -> Self {
        Arc::make_mut(&mut self.world).counts = counts;
        self
    }

    /// The world now.
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// Makes a change, and says what it asks for.
    pub fn apply(&mut self, change: Change) -> Effect {
        let world = Arc::make_mut(&mut self.world);
        match change {
            Change::Class(name, new) => put(&mut world.classes, name, new, |a, b| same_meta(a, b) && a.spec == b.spec),
            Change::Ingress(name, new) => {
                put(&mut world.ingresses, name, new, |a, b| same_meta(a, b) && a.spec == b.spec)
            }
            Change::Portcullis(name, new) => {
                if let Some(Stored::Decoded(object)) = &new {
                    world.last_portcullises.insert(name.clone(), Arc::clone(object));
                    world.unread_claims.remove(&name);
                }
                put(&mut world.portcullises, name, new, |a, b| same_meta(a, b) && a.spec == b.spec)
            }
            Change::UnreadPortcullis(name, why, claims) => world.put_unread(name, why, claims),
            Change::Provider(name, new) => {
                put(&mut world.providers, name, new, |a, b| same_meta(a, b) && a.spec == b.spec)
            }
            Change::Policy(name, new) => {
                put(&mut world.policies, name, new, |a, b| same_meta(a, b) && a.spec == b.spec)
            }
            Change::Namespace(name, true) => compile_if(world.terminating.insert(name)),
            Change::Namespace(name, false) => compile_if(world.terminating.remove(&name)),
            Change::Secret(name, new) => world.put_secret(&name, new),
            Change::Service(name, new) => {
                let effect = put(&mut world.services, name.clone(), new, |a, b| same_meta(a, b) && a.spec == b.spec);
                world.unite(&name, &self.guard).max(effect)
            }
            Change::Slice(name, object) => world.put_slice(name, object, &self.guard),
        }
    }

    /// Forgets the endpoints of Service ports that are gone, once a snapshot without them is live. Not before: a Service
    /// that went and came back between two snapshots must keep the set that the published routes read.
    pub fn prune(&mut self) {
        let gone = |world: &World| -> Vec<BackendKey> {
            world.endpoints.keys().filter(|key| !world.has_port(key)).cloned().collect()
        };
        let gone = gone(&self.world);
        if !gone.is_empty() {
            let world = Arc::make_mut(&mut self.world);
            for key in gone {
                world.endpoints.remove(&key);
            }
        }
    }
}

impl World {
    /// Takes the claims of a `Portcullis` that does not decode where no version of it ever did.
    fn put_unread(&mut self, name: ObjectName, why: Arc<str>, claims: UnreadClaims) -> Effect {
        let mut changed = false;
        if !self.last_portcullises.contains_key(&name) {
            changed = self.unread_claims.insert(name.clone(), claims.clone()) != Some(claims);
        }
        put(&mut self.portcullises, name, Some(Stored::Undecodable(why)), |_, _| false).max(compile_if(changed))
    }

    fn put_secret(&mut self, name: &ObjectName, new: Option<Stored<WatchedSecret>>) -> Effect {
        let effect = put(&mut self.secrets, name.clone(), new, |a, b| {
            same_meta(&a.object, &b.object) && a.object.type_ == b.object.type_ && a.holds_the_same(b)
        });
        if effect == Effect::Compile {
            self.put_certificate(name);
        }
        effect
    }

    /// Reads the newest version of a TLS Secret. One that does not even decode leaves what was read before.
    fn put_certificate(&mut self, name: &ObjectName) {
        match self.secrets.get(name) {
            Some(Stored::Decoded(secret)) if secret.object.type_.as_deref() == Some("kubernetes.io/tls") => {
                let read = StoredCertificate::read(secret, self.certificates.get(name));
                self.certificates.insert(name.clone(), read);
            }
            Some(Stored::Undecodable(_)) => {}
            Some(Stored::Decoded(_)) | None => {
                self.certificates.remove(name);
            }
        }
    }

    fn put_slice(&mut self, name: ObjectName, object: Option<Stored<EndpointSlice>>, guard: &Guard) -> Effect {
        let touched = self.slices.put(name, object);
        touched.iter().map(|service| self.unite(service, guard)).max().unwrap_or(Effect::Nothing)
    }

    /// Brings the endpoints of a Service up to date. A port that is gone keeps its set, empty, until [`Keeper::prune`].
    fn unite(&mut self, service: &ObjectName, guard: &Guard) -> Effect {
        let object = self.services.get(service).and_then(Stored::decoded);
        let united = unite(object.map(|service| &**service), self.slices.of(service), guard);
        for (key, set) in self.endpoints.range(port_keys(service)) {
            if !united.by_port.contains_key(&key.port) && !set.load().is_empty() {
                set.store(Vec::new());
            }
        }
        for (port, addresses) in united.by_port {
            let key = BackendKey { namespace: service.namespace.clone(), service: service.name.clone(), port };
            let set = self.endpoints.entry(key).or_default();
            if **set.load() != addresses {
                set.store(addresses);
            }
        }
        let former = if united.findings.is_empty() {
            self.slice_findings.remove(service)
        } else {
            self.slice_findings.insert(service.clone(), united.findings)
        };
        if former.as_ref() == self.slice_findings.get(service) { Effect::Nothing } else { Effect::Compile }
    }

    fn has_port(&self, key: &BackendKey) -> bool {
        let name = ObjectName { namespace: key.namespace.clone(), name: key.service.clone() };
        let service = self.services.get(&name).and_then(Stored::decoded);
        let ports = service.and_then(|service| service.spec.as_ref()?.ports.as_deref()).unwrap_or_default();
        ports.iter().any(|port| port.port == i32::from(key.port))
    }
}

/// All ports of a Service.
fn port_keys(service: &ObjectName) -> RangeInclusive<BackendKey> {
    let key = |port| BackendKey { namespace: service.namespace.clone(), service: service.name.clone(), port };
    key(0)..=key(u16::MAX)
}

/// Sets or removes an object; `same` tells whether two versions differ in nothing that compile reads.
fn put<T>(objects: &mut Objects<T>, name: ObjectName, new: Option<Stored<T>>, same: fn(&T, &T) -> bool) -> Effect {
    let Some(new) = new else { return compile_if(objects.remove(&name).is_some()) };
    let known = objects.get(&name).is_some_and(|held| same_stored(held, &new, same));
    objects.insert(name, new);
    if known { Effect::Status } else { Effect::Compile }
}

fn compile_if(changed: bool) -> Effect {
    if changed { Effect::Compile } else { Effect::Nothing }
}

fn same_stored<T>(held: &Stored<T>, new: &Stored<T>, same: fn(&T, &T) -> bool) -> bool {
    match (held, new) {
        (Stored::Decoded(held), Stored::Decoded(new)) => same(held, new),
        (Stored::Undecodable(held), Stored::Undecodable(new)) => held == new,
        _ => false,
    }
}

/// Whether nothing but resourceVersion and managed fields differs.
fn same_meta(a: &impl kube::Resource, b: &impl kube::Resource) -> bool {
    let part = |meta: &ObjectMeta| {
        let ObjectMeta { uid, generation, labels, annotations, creation_timestamp, deletion_timestamp, .. } =
            meta.clone();
        (uid, generation, labels, annotations, creation_timestamp, deletion_timestamp, meta.owner_references.clone())
    };
    part(a.meta()) == part(b.meta())
}

#[cfg(test)]
mod tests;
