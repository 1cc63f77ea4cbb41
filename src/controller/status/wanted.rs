//! Which statuses there should be, compared with the live ones: a pure function of what is live, the health of issuers and
//! the time.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{Ingress, IngressLoadBalancerIngress};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use crate::api::{IdentityProviderStatus, PolicyStatus, PortcullisStatus};
use crate::controller::Live;
use crate::controller::complaint::field_path;
use crate::controller::publish::Entries;
use crate::controller::report::{
    Finding, IngressState, Kind, ObjectRef, PolicyState, PortcullisState, ProviderState, Report, Severity,
};
use crate::controller::world::{ObjectName, Objects, World};
use crate::identity::Issuer;
use crate::oidc::IssuerHealth;

use super::issuer;

/// The longest condition message, in bytes; the API server takes 32 KiB.
const MESSAGE_BYTES: usize = 4096;

/// The reason of a finding that time brings, and no compile.
pub(super) const EXPIRED: &str = "CertificateExpired";

/// A status that is not as it should be.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Wanted {
    /// Whose it is.
    pub(super) object: ObjectRef,
    /// The version of the object that was compared with.
    pub(super) over: Option<String>,
    /// The whole status as we say it.
    pub(super) status: Value,
    created: Option<Timestamp>,
}

impl Wanted {
    /// Whether both say the same, times aside.
    pub(super) fn same(&self, other: &Self) -> bool {
        without_times(self.status.clone()) == without_times(other.status.clone())
    }

    fn new(kind: Kind, object: &impl Resource, status: Value) -> Self {
        Self {
            object: ObjectRef { kind, name: ObjectName::of(object) },
            over: object.meta().resource_version.clone(),
            status,
            created: object.meta().creation_timestamp.as_ref().map(|time| time.0),
        }
    }
}

fn without_times(mut status: Value) -> Value {
    for condition in status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        condition["lastTransitionTime"] = Value::Null;
    }
    status
}

/// What statuses depend on beside what is live.
#[derive(Clone, Copy)]
pub(super) struct Here<'a> {
    /// The addresses that an Ingress gets.
    pub(super) addresses: &'a Entries,
    /// By what name our statuses are known.
    pub(super) field_manager: &'a str,
    /// What is known of issuers.
    pub(super) health: &'a dyn Fn(&Issuer) -> IssuerHealth,
    /// The time.
    pub(super) now: Timestamp,
}

/// All statuses that differ from the live ones, newest objects first.
pub(super) fn statuses(here: Here<'_>, live: &Live) -> Vec<Wanted> {
    let installation = providers(here, live).chain(portcullises(here, live));
    let mut all: Vec<_> = ingresses(here, live).chain(policies(here, live)).chain(installation).collect();
    all.sort_by_key(|wanted| Reverse(wanted.created));
    all
}

fn decoded<T>(objects: &Objects<T>) -> impl Iterator<Item = (&ObjectName, &T)> {
    objects.iter().filter_map(|(name, object)| Some((name, &**object.decoded()?)))
}

/// The address, for who is served; none any more, for who is no longer ours but has it from us.
fn ingresses<'a>(here: Here<'a>, live: &'a Live) -> impl Iterator<Item = Wanted> + 'a {
    decoded(&live.world.ingresses).filter_map(move |(name, ingress)| {
        let wanted = match live.report.ingresses.get(name) {
            Some(IngressState::Served) => {
                json!({"loadBalancer": {"ingress": here.addresses.instead_of(published(ingress))?}})
            }
            // Whoever has an address keeps it: taking it away would take the host out of the DNS.
            Some(_) => return None,
            None if is_ours(ingress, here.field_manager) => json!({"loadBalancer": {}}),
            None => return None,
        };
        Some(Wanted::new(Kind::Ingress, ingress, wanted))
    })
}

/// The addresses that an Ingress has.
fn published(ingress: &Ingress) -> &[IngressLoadBalancerIngress] {
    let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default()
}

/// Whether we have written the status; the watch leaves no managed fields but ours.
fn is_ours(object: &impl Resource, field_manager: &str) -> bool {
    object.managed_fields().iter().any(|fields| {
        fields.manager.as_deref() == Some(field_manager) && fields.subresource.as_deref() == Some("status")
    })
}

fn policies<'a>(here: Here<'a>, live: &'a Live) -> impl Iterator<Item = Wanted> + 'a {
    decoded(&live.world.policies).filter_map(move |(name, policy)| {
        let state = live.report.policies.get(name)?;
        // It is, or may be, for the Ingresses of another installation alone, which says so there.
        let theirs = || policy.status.is_some() && !is_ours(policy, here.field_manager);
        if state.targets.is_empty() && (!state.elsewhere.is_empty() || theirs()) {
            return None;
        }
        let object = ObjectRef { kind: Kind::Policy, name: name.clone() };
        let held = policy.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let mut status = policy_status(state, accepted(&live.report, &object, state.accepted));
        date(&mut status.conditions, held, here.now);
        (policy.status.as_ref() != Some(&status)).then(|| Wanted::new(Kind::Policy, policy, json!(status)))
    })
}

fn policy_status(state: &PolicyState, accepted: Condition) -> PolicyStatus {
    let programmed = match (state.accepted, state.targets.is_empty()) {
        (false, _) => ("False", "Invalid", "the rules decide nothing; the routes that they are for are closed"),
        (true, true) => ("False", "NoTargets", "no Ingress is named by `targetRefs`, and none names this policy"),
        (true, false) => ("True", "Programmed", "the rules decide over the live routes of their targets"),
    };
    // Where two installations have an Ingress each, both say the same.
    let names: BTreeSet<_> = state.targets.iter().chain(&state.elsewhere).map(|target| &*target.name).collect();
    let names: Vec<_> = names.into_iter().collect();
    let mut conditions = vec![accepted, condition("Programmed", programmed.0, programmed.1, programmed.2.to_owned())];
    conditions.iter_mut().for_each(|condition| condition.observed_generation = state.observed_generation);
    PolicyStatus { observed_generation: state.observed_generation, targets: Some(names.join(",")), conditions }
}

fn providers<'a>(here: Here<'a>, live: &'a Live) -> impl Iterator<Item = Wanted> + 'a {
    decoded(&live.world.providers).filter_map(move |(name, provider)| {
        let state = live.report.providers.get(name)?;
        let object = ObjectRef { kind: Kind::IdentityProvider, name: name.clone() };
        let held = provider.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let health = state.issuer.as_ref().map(here.health);
        let mut status = provider_status(&object, state, health, accepted(&live.report, &object, state.accepted));
        date(&mut status.conditions, held, here.now);
        let differs = provider.status.as_ref() != Some(&status);
        differs.then(|| Wanted::new(Kind::IdentityProvider, provider, json!(status)))
    })
}

fn provider_status(
    object: &ObjectRef,
    state: &ProviderState,
    health: Option<IssuerHealth>,
    accepted: Condition,
) -> IdentityProviderStatus {
    let ready = match health {
        _ if !state.accepted => condition("Ready", "False", "Invalid", "nobody can sign in here".to_owned()),
        None | Some(IssuerHealth::Unknown) => {
            condition("Ready", "Unknown", "Pending", "the issuer has not been asked yet".to_owned())
        }
        Some(IssuerHealth::Ready { .. }) => {
            condition("Ready", "True", "Ready", "metadata and keys of the issuer are there".to_owned())
        }
        Some(IssuerHealth::Failed { failure, read_at }) => {
            let finding = issuer::finding(object, &failure);
            let since = read_at.map(|at| format!("; what was read at {at:.0} is still used")).unwrap_or_default();
            condition("Ready", "False", finding.reason, format!("{}{since}", sentence(&finding)))
        }
    };
    let mut conditions = vec![accepted, ready];
    conditions.iter_mut().for_each(|condition| condition.observed_generation = state.observed_generation);
    IdentityProviderStatus { observed_generation: state.observed_generation, conditions }
}

fn portcullises<'a>(here: Here<'a>, live: &'a Live) -> impl Iterator<Item = Wanted> + 'a {
    decoded(&live.world.portcullises).filter_map(move |(name, portcullis)| {
        let PortcullisState { observed_generation, accepted: is_accepted } = *live.report.portcullises.get(name)?;
        let object = ObjectRef { kind: Kind::Portcullis, name: name.clone() };
        let held = portcullis.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let mut accepted = accepted(&live.report, &object, is_accepted);
        accepted.observed_generation = observed_generation;
        let mut status = PortcullisStatus { observed_generation, conditions: vec![accepted] };
        date(&mut status.conditions, held, here.now);
        let differs = portcullis.status.as_ref() != Some(&status);
        differs.then(|| Wanted::new(Kind::Portcullis, portcullis, json!(status)))
    })
}

/// `Accepted`: true, or false with the findings on the object.
fn accepted(report: &Report, object: &ObjectRef, accepted: bool) -> Condition {
    let first = report.findings.partition_point(|finding| finding.object < *object);
    let findings: Vec<_> = report.findings[first..].iter().take_while(|finding| finding.object == *object).collect();
    let worst = findings.iter().find(|finding| finding.severity == Severity::Error);
    let said = findings.iter().map(|finding| sentence(finding)).collect::<Vec<_>>().join("\n");
    match (accepted, said.is_empty()) {
        (true, true) => condition("Accepted", "True", "Accepted", "nothing to complain about".to_owned()),
        (true, false) => condition("Accepted", "True", "Accepted", said),
        (false, _) => condition("Accepted", "False", worst.map_or("Invalid", |finding| finding.reason), said),
    }
}

/// A finding without its object: field, what is wrong, what to do.
pub(super) fn sentence(finding: &Finding) -> String {
    let field = field_path(&finding.field);
    let separator = if field.is_empty() { "" } else { ": " };
    format!("{field}{separator}{}; {}", finding.message.trim_end_matches('.'), finding.remedy)
}

/// Cuts a text to a number of bytes, at the end of a character.
pub(super) fn cut(mut text: String, bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes));
    text
}

fn condition(type_: &str, status: &str, reason: &str, message: String) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: cut(message, MESSAGE_BYTES),
        observed_generation: None,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

/// A condition that keeps its status keeps its time (and so compares equal when nothing else differs).
fn date(conditions: &mut [Condition], held: &[Condition], now: Timestamp) {
    for condition in conditions {
        let former = held.iter().find(|held| held.type_ == condition.type_ && held.status == condition.status);
        condition.last_transition_time =
            former.map_or(Time(whole_second(now)), |held| held.last_transition_time.clone());
    }
}

fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The findings of a report, and those that come without a compile: certificates that have ended, issuers that cannot be
/// used.
pub(super) fn findings(report: &Report, health: &dyn Fn(&Issuer) -> IssuerHealth, now: Timestamp) -> BTreeSet<Finding> {
    let ended = report.certificates.iter().filter(|(_, end)| **end < now).map(|(name, end)| Finding {
        object: ObjectRef { kind: Kind::Secret, name: name.clone() },
        field: "/data/tls.crt".to_owned(),
        reason: EXPIRED,
        severity: Severity::Warning,
        message: format!("the certificate ended at {end:.0} and is still served"),
        remedy: "put one that is valid into the Secret".to_owned(),
    });
    let accepted = report.providers.iter().filter(|(_, state)| state.accepted);
    let failed = accepted.filter_map(|(name, state)| match health(state.issuer.as_ref()?) {
        IssuerHealth::Failed { failure, .. } => {
            Some(issuer::finding(&ObjectRef { kind: Kind::IdentityProvider, name: name.clone() }, &failure))
        }
        IssuerHealth::Unknown | IssuerHealth::Ready { .. } => None,
    });
    report.findings.iter().cloned().chain(ended).chain(failed).collect()
}

/// The version of an object that the watch last told of.
pub(super) fn version(world: &World, object: &ObjectRef) -> Option<String> {
    meta(world, object)?.resource_version.clone()
}

/// The uid of an object.
pub(super) fn uid(world: &World, object: &ObjectRef) -> Option<String> {
    meta(world, object)?.uid.clone()
}

fn meta<'a>(world: &'a World, object: &ObjectRef) -> Option<&'a ObjectMeta> {
    let name = &object.name;
    match object.kind {
        Kind::Ingress => meta_in(&world.ingresses, name),
        Kind::IngressClass => meta_in(&world.classes, name),
        Kind::Service => meta_in(&world.services, name),
        Kind::Secret => Some(&world.secrets.get(name)?.decoded()?.object.metadata),
        Kind::Policy => meta_in(&world.policies, name),
        Kind::IdentityProvider => meta_in(&world.providers, name),
        Kind::Portcullis => meta_in(&world.portcullises, name),
        Kind::EndpointSlice => None,
    }
}

fn meta_in<'a, T: Resource>(objects: &'a Objects<T>, name: &ObjectName) -> Option<&'a ObjectMeta> {
    Some(objects.get(name)?.decoded()?.meta())
}

#[cfg(test)]
mod tests;
