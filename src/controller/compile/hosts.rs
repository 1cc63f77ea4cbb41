//! Who may serve which host: claims of the admin first, then the namespace of the oldest Ingress.
//!
//! Without this a tenant could mount a path under another's host, or have its certificate shown for it. Exact and
//! wildcard hosts are owned apart; every host (no host, and default backends) is owned like one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::class::{Class, Classes, Ours};
use super::settings::Claims;
use crate::controller::world::ObjectName;
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
    /// Gives every host to the oldest Ingress that may serve it. A claim holds whatever the class that brings it.
    pub fn of(classes: &Classes, ours: &[Ours<'_>]) -> Self {
        let mut claims = Claims::new();
        for (pattern, namespaces) in classes.values().flat_map(|class| &class.settings.claims) {
            claims.entry(pattern.clone()).or_default().extend(namespaces.iter().cloned());
        }
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

    /// The claim that keeps a host for other namespaces. The most specific one that covers the host decides.
    fn claim_against(&self, host: &HostMatch, namespace: &Arc<str>) -> Option<HostMatch> {
        let (pattern, namespaces) = covering(host).into_iter().find_map(|it| self.claims.get_key_value(&it))?;
        (!namespaces.contains(namespace)).then(|| pattern.clone())
    }
}

/// The hosts that an Ingress asks for; what cannot be parsed is noted where routes are made.
fn wanted(it: &Ours<'_>) -> Vec<HostMatch> {
    let Some(spec) = &it.ingress.spec else { return Vec::new() };
    let rules = spec.rules.iter().flatten();
    let hosts = rules.filter_map(|rule| HostMatch::parse(rule.host.as_deref().unwrap_or_default()).ok());
    hosts.chain(spec.default_backend.as_ref().map(|_| HostMatch::Any)).collect()
}

/// The patterns of claims that cover a host, the most specific first: itself, the wildcards above it, every host.
fn covering(host: &HostMatch) -> Vec<HostMatch> {
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
