//! EndpointSlices to the addresses of a Service port.
//!
//! All slices of a Service are united and de-duplicated. The port is found by the Service port's *name* (KEP-752), an
//! endpoint counts by its conditions (KEP-1669), and one address family is used, so that no pod counts twice. No address
//! that a slice must not lead to passes the [`Guard`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::ResourceExt;

use super::report::{Finding, Kind, ObjectRef, Severity};
use super::world::{ObjectName, Objects, Stored};

/// Which addresses no EndpointSlice may lead to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Guard {
    /// Whether loopback is fine, as in `dev`.
    pub loopback_allowed: bool,
    /// Our own addresses: a request must not come back to us.
    pub own: Box<[IpAddr]>,
}

/// EndpointSlices, by the Service that they belong to.
#[derive(Clone, Debug, Default)]
pub struct Slices {
    by_service: BTreeMap<ObjectName, Objects<EndpointSlice>>,
    service_of: BTreeMap<ObjectName, ObjectName>,
}

/// What the slices of a Service give.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct United {
    /// Addresses by the port's number in the Service, sorted and without duplicates.
    pub(super) by_port: BTreeMap<u16, Vec<SocketAddr>>,
    /// Addresses that were refused, slices that cannot be used.
    pub(super) findings: Vec<Finding>,
}

/// How far an endpoint may be used; of two slices that hold the same one, the better counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Readiness {
    /// It still serves while it ends: used when nothing is ready.
    Draining,
    /// It is ready.
    Ready,
}

/// Where clouds tell what they know of a machine, its credentials too, beside the link-local addresses: EC2 and Google Cloud
/// over IPv6, Alibaba Cloud, Azure, Oracle Cloud.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

impl Guard {
    /// Why an address is refused; `None` where it may be used. Forms that carry an IPv4 address count as what they carry.
    pub fn refuses(&self, address: IpAddr) -> Option<&'static str> {
        let address = carried(address);
        let link_local = match address {
            IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        match address {
            _ if address.is_unspecified() => Some("the unspecified address"),
            _ if address.is_loopback() && !self.loopback_allowed => Some("a loopback address"),
            _ if address.is_multicast() => Some("a multicast address"),
            _ if link_local => Some("a link-local address"),
            _ if METADATA.contains(&address) => Some("the metadata service of the cloud"),
            _ if self.own.iter().any(|own| own.to_canonical() == address) => Some("an address of Portcullis itself"),
            _ => None,
        }
    }
}

/// Where a packet to an address ends: IPv4-mapped and NAT64 forms (RFC 6052 section 2.1), and the deprecated compatible
/// ones (RFC 4291 section 2.5.5.1), at the IPv4 address in them.
fn carried(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let carries = match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => true,
        [0, 0, 0, 0, 0, 0, high, _] => high != 0,
        _ => false,
    };
    let [.., a, b, c, d] = v6.octets();
    if carries { Ipv4Addr::new(a, b, c, d).into() } else { v6.to_canonical() }
}

impl Slices {
    /// The slices of a Service.
    pub(super) fn of(&self, service: &ObjectName) -> &Objects<EndpointSlice> {
        const NONE: &Objects<EndpointSlice> = &BTreeMap::new();
        self.by_service.get(service).unwrap_or(NONE)
    }

    /// Sets or removes a slice; gives the Services whose endpoints that touches. One that does not decode stays with the
    /// Service that it was last seen to belong to.
    pub(super) fn put(&mut self, name: ObjectName, slice: Option<Stored<EndpointSlice>>) -> BTreeSet<ObjectName> {
        let former = self.service_of.remove(&name);
        if let Some(former) = &former
            && let Some(slices) = self.by_service.get_mut(former)
        {
            slices.remove(&name);
            if slices.is_empty() {
                self.by_service.remove(former);
            }
        }
        let service = match &slice {
            Some(Stored::Decoded(slice)) => slice.labels().get("kubernetes.io/service-name").map(String::as_str),
            Some(Stored::Undecodable(_)) => Some(former.as_ref().map_or("", |former| &*former.name)),
            None => None,
        };
        let service = service.map(|service| ObjectName::new(&name.namespace, service));
        if let (Some(service), Some(slice)) = (&service, slice) {
            self.by_service.entry(service.clone()).or_default().insert(name.clone(), slice);
            self.service_of.insert(name, service.clone());
        }
        former.into_iter().chain(service).collect()
    }
}

/// Unites the slices of a Service, one list of addresses for each of its TCP ports.
pub(super) fn unite(service: Option<&Service>, slices: &Objects<EndpointSlice>, guard: &Guard) -> United {
    let mut united = United::default();
    let usable = usable_endpoints(slices, guard, &mut united.findings);
    let spec = service.and_then(|service| service.spec.as_ref());
    let families = spec.and_then(|spec| spec.ip_families.as_deref()).unwrap_or_default();
    let v6_first = families.first().is_some_and(|family| family == "IPv6");
    for port in spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default() {
        if let (true, Ok(number)) = (is_tcp(port.protocol.as_deref()), u16::try_from(port.port)) {
            united.by_port.insert(number, addresses(&usable, port, v6_first));
        }
    }
    united
}

/// An endpoint that passed the guard, with the slice that names its ports.
struct Usable<'a> {
    address: IpAddr,
    readiness: Readiness,
    slice: &'a EndpointSlice,
}

fn usable_endpoints<'a>(
    slices: &'a Objects<EndpointSlice>,
    guard: &Guard,
    findings: &mut Vec<Finding>,
) -> Vec<Usable<'a>> {
    let mut usable = Vec::new();
    for (name, slice) in slices {
        let slice = match slice {
            Stored::Decoded(slice) => &**slice,
            Stored::Undecodable(why) => {
                findings.push(defect(name, "", format!("the slice does not decode: {why}")));
                continue;
            }
        };
        if slice.address_type == "FQDN" {
            findings.push(defect(name, "/addressType", "endpoints of type `FQDN` are not supported".to_owned()));
            continue;
        }
        for (at, endpoint) in slice.endpoints.iter().enumerate() {
            let Some(readiness) = readiness(endpoint) else { continue };
            match admitted(endpoint, guard) {
                Ok(address) => usable.push(Usable { address, readiness, slice }),
                Err(why) => findings.push(defect(name, &format!("/endpoints/{at}/addresses/0"), why)),
            }
        }
    }
    usable
}

fn defect(slice: &ObjectName, field: &str, message: String) -> Finding {
    Finding {
        object: ObjectRef { kind: Kind::EndpointSlice, name: slice.clone() },
        field: field.to_owned(),
        reason: "EndpointRefused",
        severity: Severity::Error,
        message,
        remedy: "list addresses of pods or servers, as IPv4 or IPv6, that are no part of this node".to_owned(),
    }
}

/// `None` where the endpoint is neither ready nor still serving. An absent `ready` means ready, an absent `serving` what
/// `ready` says, an absent `terminating` no.
fn readiness(endpoint: &Endpoint) -> Option<Readiness> {
    let Some(conditions) = &endpoint.conditions else { return Some(Readiness::Ready) };
    let ready = conditions.ready.unwrap_or(true);
    let draining = conditions.serving.unwrap_or(ready) && conditions.terminating.unwrap_or(false);
    match (ready, draining) {
        (true, _) => Some(Readiness::Ready),
        (false, true) => Some(Readiness::Draining),
        (false, false) => None,
    }
}

/// The first address: all of an endpoint are the same to its Service.
fn admitted(endpoint: &Endpoint, guard: &Guard) -> Result<IpAddr, String> {
    let text = endpoint.addresses.first().ok_or("the endpoint has no address")?;
    let address: IpAddr = text.parse().map_err(|_| format!("`{text}` is no IP address"))?;
    match guard.refuses(address) {
        None => Ok(address.to_canonical()),
        Some(why) => Err(format!("`{text}` is {why}")),
    }
}

/// The addresses of one Service port: the best readiness there is, in the first family that has any.
fn addresses(usable: &[Usable<'_>], port: &ServicePort, v6_first: bool) -> Vec<SocketAddr> {
    let mut best = BTreeMap::new();
    for endpoint in usable {
        for number in slice_ports(endpoint.slice, port) {
            let held = best.entry(SocketAddr::new(endpoint.address, number)).or_insert(endpoint.readiness);
            *held = endpoint.readiness.max(*held);
        }
    }
    let top = best.values().max().copied();
    let (v6, v4): (Vec<_>, Vec<_>) =
        best.into_iter().filter(|(_, r)| Some(*r) == top).map(|(address, _)| address).partition(SocketAddr::is_ipv6);
    let (first, second) = if v6_first { (v6, v4) } else { (v4, v6) };
    if first.is_empty() { second } else { first }
}

/// The numbers that a slice gives for a Service port, found by its name; a null port is no port.
fn slice_ports(slice: &EndpointSlice, port: &ServicePort) -> impl Iterator<Item = u16> {
    let name = port.name.as_deref().unwrap_or_default();
    slice
        .ports
        .iter()
        .flatten()
        .filter(move |p| p.name.as_deref().unwrap_or_default() == name && is_tcp(p.protocol.as_deref()))
        .filter_map(|p| u16::try_from(p.port?).ok().filter(|number| *number != 0))
}

fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol == "TCP")
}

#[cfg(test)]
mod tests;
