//! Who may serve which host: claims of the admin first, then the namespace of the oldest Ingress.
//!
//! Without this a tenant could mount a path under another's host, or have its certificate shown for it. Exact and
//! wildcard hosts are owned apart; every host (no host, and default backends) is owned like one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::class::{self, Class, Ours};
use super::defaults::Defaults;
use super::settings::{Claims, Settings};
use crate::controller::world::{ObjectName, World};
use crate::host::{Host, HostMatch};

/// The hosts of all Ingresses of ours.
pub(super) struct Hosts {
    owners: BTreeMap<HostMatch, Owner>,
    claims: Claims,
}

/// Why an Ingress may not serve a host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// The host is kept for other namespaces, by the claim on this pattern.
    Claimed(HostMatch),
    /// An older Ingress of another namespace serves it.
    Owned(ObjectName),
}

struct Owner {
    oldest: ObjectName,
    shared: bool,
}

impl Hosts {
    /// Gives every host to the oldest Ingress that may serve it. A claim holds for all classes of ours.
    pub fn of(claims: Claims, ours: &[Ours<'_>]) -> Self {
        let mut hosts = Self { owners: BTreeMap::new(), claims };
        for it in ours {
            for host in wanted(it) {
                if hosts.claim_against(&host, &it.name.namespace).is_none() {
                    let shared = it.class.settings.shared_hosts;
                    hosts.owners.entry(host).or_insert_with(|| Owner { oldest: it.name.clone(), shared });
                }
            }
        }
        hosts
    }

    /// Whether an Ingress of this namespace and class may serve a host.
    pub fn allow(&self, host: &HostMatch, namespace: &Arc<str>, class: &Class) -> Result<(), Refusal> {
        if let Some(pattern) = self.claim_against(host, namespace) {
            return Err(Refusal::Claimed(pattern));
        }
        match self.owners.get(host) {
            Some(owner) if owner.oldest.namespace != *namespace && !(owner.shared && class.settings.shared_hosts) => {
                Err(Refusal::Owned(owner.oldest.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Whether this is the oldest Ingress on a host, whose default backend answers for all of it.
    pub fn is_oldest(&self, host: &HostMatch, ingress: &ObjectName) -> bool {
        self.owners.get(host).is_some_and(|owner| owner.oldest == *ingress)
    }

    /// The hosts that Ingresses ask for and own.
    pub fn owned(&self) -> impl Iterator<Item = &HostMatch> {
        self.owners.keys()
    }

    /// The patterns of claims, with the namespaces that alone may serve what they cover.
    pub fn kept(&self) -> impl Iterator<Item = (&HostMatch, &BTreeSet<Arc<str>>)> {
        self.claims.iter()
    }

    /// The claim that keeps a host for other namespaces. The most specific one that covers the host decides.
    fn claim_against(&self, host: &HostMatch, namespace: &Arc<str>) -> Option<HostMatch> {
        let (pattern, namespaces) = covering(host).into_iter().find_map(|it| self.claims.get_key_value(&it))?;
        (!namespaces.contains(namespace)).then(|| pattern.clone())
    }
}

/// The claims in force. Those of a `Portcullis` hold as it was last read, also when it has a defect or does not decode,
/// when it is gone and a class of ours names it still, and when no class names it, which may be a slip in ours: else such a
/// slip would let other classes of ours take the hosts over. Where they cannot be told, every host is kept.
pub(super) fn claims(world: &World, defaults: &Defaults) -> Claims {
    let (ours, others) = class::parameters(world, defaults);
    let holds = |name: &&ObjectName| {
        ours.contains(&*name.name) || world.portcullises.contains_key(name) && !others.contains(&*name.name)
    };
    let known = world.last_portcullises.keys().chain(world.unread_claims.keys());
    let names: BTreeSet<_> = known.chain(world.portcullises.keys()).filter(holds).collect();
    let mut claims = Claims::new();
    for name in names {
        let claimed = claims_of(world, name).unwrap_or_else(|| Claims::from([(HostMatch::Any, BTreeSet::new())]));
        for (pattern, namespaces) in claimed {
            claims.entry(pattern).or_default().extend(namespaces);
        }
    }
    claims
}

/// The claims of one `Portcullis`: as it was last read, else as far as can be told of one that never decoded, else none.
pub(super) fn claims_of(world: &World, name: &ObjectName) -> Option<Claims> {
    let last = world.last_portcullises.get(name).map(|last| Settings::claims(&last.spec));
    last.or_else(|| world.unread_claims.get(name)?.as_deref().map(Settings::claims))
}

/// The hosts that an Ingress asks for, as far as they can be told.
fn wanted(it: &Ours<'_>) -> Vec<HostMatch> {
    let Some(spec) = &it.ingress.spec else { return Vec::new() };
    let hosts = spec.rules.iter().flatten().filter_map(|rule| {
        let text = rule.host.as_deref().unwrap_or_default();
        HostMatch::parse(text).ok().or_else(|| meant(text))
    });
    hosts.chain(spec.default_backend.as_ref().map(|_| HostMatch::Any)).collect()
}

/// The host that a text which is none was meant for, where a request could name it: as in an address, with scheme, port,
/// path or space around it, or `*` for every host. It serves to close, never to open.
pub(super) fn meant(text: &str) -> Option<HostMatch> {
    let text = text.trim();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let text = text.split_once('/').map_or(text, |(host, _)| host);
    let text = text.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map_or(text, |(host, _)| host);
    match text {
        "*" => Some(HostMatch::Any),
        _ => HostMatch::parse(text).ok().filter(|host| *host != HostMatch::Any),
    }
}

/// The patterns of claims that cover a host, the most specific first: itself, the wildcards above it, every host.
pub(super) fn covering(host: &HostMatch) -> Vec<HostMatch> {
    let mut patterns = vec![host.clone()];
    let (HostMatch::Exact(name) | HostMatch::Wildcard(name)) = host else { return patterns };
    let mut above = name.suffix().and_then(|suffix| Host::parse(suffix).ok());
    while let Some(suffix) = above {
        above = suffix.suffix().and_then(|suffix| Host::parse(suffix).ok());
        patterns.push(HostMatch::Wildcard(suffix));
    }
    patterns.push(HostMatch::Any);
    patterns
}
