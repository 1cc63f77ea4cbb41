//! World to Snapshot and Report: pure, no client, no clock, no await. The same world gives the same result in any order.
//!
//! Every defect is a line of the report plus a closed route or a missing certificate, never an abort: neighbours go on.

mod access;
mod backend;
mod certificate;
mod class;
mod defaults;
mod fields;
mod hosts;
mod ingress;
mod policy;
mod provider;
mod rule;
mod settings;

use super::report::{IngressState, Report};
use super::world::World;
use crate::snapshot::Snapshot;
use crate::tls::CertStore;

pub use defaults::Defaults;

/// A compiled world.
#[derive(Clone, PartialEq, Debug)]
pub struct Compiled {
    /// What the data plane reads.
    pub snapshot: Snapshot,
    /// What people read.
    pub report: Report,
}

/// Compiles: settings first, then who owns which host, then the routes of each Ingress, the oldest first.
pub fn compile(world: &World, defaults: &Defaults) -> Compiled {
    let mut report = Report::default();
    let policies = policy::compile(world, &mut report);
    let providers = provider::compile(world, defaults, &policies.claims(), &mut report);
    let classes = class::compile(world, defaults, &providers, &mut report);
    let ours = class::ours(world, &classes, defaults, &mut report);
    let hosts = hosts::Hosts::of(hosts::claims(world, defaults), &ours);
    let attached = policy::attach(world, &ours, defaults, &mut report);
    let access = access::Context { providers: &providers, policies: &policies, attached: &attached };

    let mut routes = ingress::Routes::new(world, defaults, &hosts, access);
    let mut certificates = certificate::Certificates::new(world, defaults, &hosts, &mut report);
    for ingress in &ours {
        let served = routes.add(ingress, &mut report);
        let complete = certificates.add(ingress, &served, &mut report);
        let state = match (served.is_empty(), complete) {
            (true, _) => IngressState::Refused,
            (false, true) => IngressState::Served,
            (false, false) => IngressState::Incomplete,
        };
        report.ingresses.insert(ingress.name.clone(), state);
    }
    let routes = routes.finish(&mut report);
    let (entries, default) = certificates.finish();
    report.findings.sort();
    report.findings.dedup();
    let snapshot = Snapshot {
        generation: 0,
        routes,
        certificates: CertStore::new(entries, default),
        providers: providers.into_iter().filter_map(|(name, it)| Some((name, it?))).collect(),
    };
    Compiled { snapshot, report }
}
