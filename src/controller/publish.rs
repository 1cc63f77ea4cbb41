//! The addresses by which clients reach the installation, as Ingresses get them: those that are given, and those of a
//! Service that is followed.
//!
//! What was read of the Service last stays in force while it cannot be read, is gone or has no address: an address that is
//! taken away takes hosts out of the DNS.

use std::future::pending;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service, ServiceSpec};
use k8s_openapi::api::networking::v1::{IngressLoadBalancerIngress as Entry, IngressPortStatus};
use tokio::sync::{mpsc, watch};

use super::report::{Finding, Kind, ObjectRef, Severity};
use super::watch::Cluster;
use super::world::{Change, ObjectName, Stored};
use crate::metrics::Metrics;

/// Batches that wait to be read.
const QUEUE: usize = 4;

/// Every Ingress that is served gets these.
#[derive(Clone, Debug)]
pub struct Addresses {
    given: Vec<Entry>,
    service: Option<watch::Receiver<Told>>,
}

/// The addresses of an instant.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Entries {
    all: Vec<Entry>,
    /// Whether a Service has yet to tell its own: until then an Ingress keeps what it has, for it may be just those.
    partial: bool,
}

/// What a Service told last.
#[derive(Clone, PartialEq, Debug, Default)]
struct Told {
    /// The last addresses that it had.
    entries: Vec<Entry>,
    /// Why it has none now.
    finding: Option<Finding>,
}

/// A Service whose addresses are told as long as [`Follower::run`] runs.
pub struct Follower {
    cluster: Cluster,
    name: ObjectName,
    metrics: Metrics,
    told: watch::Sender<Told>,
}

impl Addresses {
    /// IP addresses and host names.
    pub fn given(addresses: &[String]) -> Self {
        Self { given: addresses.iter().map(|address| entry(address)).collect(), service: None }
    }

    /// These, and those of a Service, once the follower runs.
    pub fn and_of_service(self, cluster: Cluster, name: ObjectName, metrics: Metrics) -> (Self, Follower) {
        let (told, service) = watch::channel(Told::default());
        (Self { service: Some(service), ..self }, Follower { cluster, name, metrics, told })
    }

    /// Waits until they are others, or until there is more or less to say about them.
    pub(super) async fn changed(&mut self) {
        let Some(service) = &mut self.service else { return pending().await };
        if service.changed().await.is_err() {
            pending().await
        }
    }

    /// The addresses now.
    pub(super) fn now(&self) -> Entries {
        let Some(service) = &self.service else { return Entries { all: self.given.clone(), partial: false } };
        let told = service.borrow();
        let further = told.entries.iter().filter(|entry| !self.given.contains(entry));
        Entries { all: self.given.iter().chain(further).cloned().collect(), partial: told.entries.is_empty() }
    }

    /// Why the Service has no address now.
    pub(super) fn finding(&self) -> Option<Finding> {
        self.service.as_ref()?.borrow().finding.clone()
    }
}

impl Entries {
    /// What an Ingress that has `held` gets instead, where that is something else.
    pub(super) fn instead_of(&self, held: &[Entry]) -> Option<&[Entry]> {
        let keeps = self.all.is_empty() || self.all == held || (self.partial && !held.is_empty());
        (!keeps).then_some(&*self.all)
    }
}

impl Follower {
    /// Follows the Service, for ever.
    pub async fn run(self) {
        let (sender, mut batches) = mpsc::channel(QUEUE);
        let _watch = self.cluster.start_service(&self.name, &sender, &self.metrics);
        let (mut service, mut listed) = (None, false);
        while let Some(batch) = batches.recv().await {
            listed |= batch.first_list;
            for change in batch.changes {
                if let Change::Service(_, now) = change {
                    service = now;
                }
            }
            if listed {
                self.tell(read(&self.name, service.as_ref()));
            }
        }
    }

    fn tell(&self, read: Result<Vec<Entry>, Box<Finding>>) {
        let former = self.told.borrow().clone();
        let told = match read {
            Ok(entries) => Told { entries, finding: None },
            Err(finding) => Told { entries: former.entries.clone(), finding: Some(*finding) },
        };
        let service = tracing::field::display(&self.name);
        match &told.finding {
            finding if *finding == former.finding => {}
            Some(Finding { message, remedy, .. }) => tracing::warn!(service, problem = message, remedy, "finding"),
            None => tracing::info!(service, "the Service has addresses again"),
        }
        if told != former {
            self.told.send_replace(told);
        }
    }
}

fn entry(address: &str) -> Entry {
    let text = Some(address.to_owned());
    if address.parse::<IpAddr>().is_ok() {
        Entry { ip: text, ..Entry::default() }
    } else {
        Entry { hostname: text, ..Entry::default() }
    }
}

/// By which addresses clients reach a Service, or why there are none.
fn read(name: &ObjectName, service: Option<&Stored<Service>>) -> Result<Vec<Entry>, Box<Finding>> {
    let finding = |field: &str, reason, message: &str, remedy: &str| {
        Box::new(Finding {
            object: ObjectRef { kind: Kind::Service, name: name.clone() },
            field: field.to_owned(),
            reason,
            severity: Severity::Warning,
            message: format!("{message}; new Ingresses get no address from it, others keep what they have"),
            remedy: remedy.to_owned(),
        })
    };
    let service = match service {
        Some(Stored::Decoded(service)) => service,
        Some(Stored::Undecodable(why)) => {
            let message = format!("the Service that `--publish-service` names cannot be read: {why}");
            return Err(finding("", "Undecodable", &message, "correct the field"));
        }
        None => {
            let message = "the Service that `--publish-service` names does not exist";
            return Err(finding("", "ServiceNotFound", message, "create it, or name another"));
        }
    };
    let (spec, status) = (service.spec.as_ref(), service.status.as_ref());
    let balancer = status.and_then(|status| status.load_balancer.as_ref()?.ingress.as_deref());
    let entries = entries(spec, balancer.unwrap_or_default());
    if !entries.is_empty() {
        return Ok(entries);
    }
    let (field, message, remedy) = why_none(spec.and_then(|spec| spec.type_.as_deref()));
    Err(finding(field, "NoAddress", message, remedy))
}

fn entries(spec: Option<&ServiceSpec>, balancer: &[LoadBalancerIngress]) -> Vec<Entry> {
    let Some(spec) = spec else { return Vec::new() };
    let external = || spec.external_ips.iter().flatten().map(|ip| entry(ip));
    match spec.type_.as_deref() {
        Some("LoadBalancer") => {
            let mut entries: Vec<_> = balancer.iter().map(of_balancer).collect();
            let further: Vec<_> = external().filter(|entry| !entries.iter().any(|it| it.ip == entry.ip)).collect();
            entries.extend(further);
            entries
        }
        Some("NodePort") => external().collect(),
        Some("ExternalName") => {
            let name = spec.external_name.iter().map(|name| name.trim_end_matches('.'));
            name.filter(|name| !name.is_empty()).map(entry).collect()
        }
        _ if spec.external_ips.iter().flatten().next().is_some() => external().collect(),
        _ => spec.cluster_ips.iter().flatten().filter(|ip| *ip != "None").map(|ip| entry(ip)).collect(),
    }
}

/// The entry of a load balancer, with its ports.
fn of_balancer(told: &LoadBalancerIngress) -> Entry {
    let ports = told.ports.iter().flatten().map(|port| IngressPortStatus {
        error: port.error.clone(),
        port: port.port,
        protocol: port.protocol.clone(),
    });
    let ports: Vec<_> = ports.collect();
    Entry { hostname: told.hostname.clone(), ip: told.ip.clone(), ports: (!ports.is_empty()).then_some(ports) }
}

/// Field, what is wrong, what to do, for a Service of a type.
fn why_none(type_: Option<&str>) -> (&'static str, &'static str, &'static str) {
    match type_ {
        Some("LoadBalancer") => (
            "/status/loadBalancer",
            "the load balancer has no address yet",
            "wait until whoever makes load balancers in this cluster gives it one, or give addresses with \
             `--publish-address`",
        ),
        Some("NodePort") => (
            "/spec/externalIPs",
            "a Service of type NodePort is reached by ports of nodes, which an address cannot tell",
            "list addresses in `externalIPs` that lead to it, or give them with `--publish-address`",
        ),
        Some("ExternalName") => {
            ("/spec/externalName", "the Service has no name", "write the host name that leads here")
        }
        _ => (
            "/spec/clusterIP",
            "a headless Service has no address",
            "leave `clusterIP` out, or give addresses with `--publish-address`",
        ),
    }
}

#[cfg(test)]
mod tests;
