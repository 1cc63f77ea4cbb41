//! Policies: from the wire to rules, and to the Ingresses that they are attached to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::class::{self, Ours};
use super::defaults::Defaults;
use super::fields::{Fields, Pointer};
use super::rule;
use crate::api::{Policy as PolicyObject, TargetRef, annotations};
use crate::controller::report::{Kind, Notes, PolicyState, Report};
use crate::controller::world::{ObjectName, Stored, World};
use crate::policy::{PrincipalMatch, Rule};

/// All policies of a world.
pub(super) struct Policies {
    by_name: BTreeMap<ObjectName, Policy>,
    /// Namespaces with a policy that cannot be read. Its targets are not known, so it may be meant for any Ingress there.
    unreadable: BTreeMap<Arc<str>, ObjectName>,
}

/// A policy.
pub(super) enum Policy {
    /// Its rules.
    Rules(Box<[Rule]>),
    /// It has a defect, so it closes what it is attached to.
    Broken,
}

/// The policies of each Ingress, in order of their names.
pub(super) type Attached = BTreeMap<ObjectName, BTreeSet<ObjectName>>;

impl Policies {
    /// A policy by name.
    pub fn get(&self, name: &ObjectName) -> Option<&Policy> {
        self.by_name.get(name)
    }

    /// A policy of this namespace that cannot be read.
    pub fn unreadable_in(&self, namespace: &Arc<str>) -> Option<&ObjectName> {
        self.unreadable.get(namespace)
    }

    /// The claims that rules ask for.
    pub fn claims(&self) -> BTreeSet<String> {
        let rules = self.by_name.values().flat_map(|policy| match policy {
            Policy::Rules(rules) => rules.iter(),
            Policy::Broken => [].iter(),
        });
        let described = rules.filter_map(|rule| match &rule.principal {
            PrincipalMatch::Described(described) => Some(described.claims.keys().cloned()),
            PrincipalMatch::Anyone | PrincipalMatch::Authenticated => None,
        });
        described.flatten().collect()
    }
}

/// Reads all policies.
pub(super) fn compile(world: &World, report: &mut Report) -> Policies {
    let mut policies = Policies { by_name: BTreeMap::new(), unreadable: BTreeMap::new() };
    for (name, object) in &world.policies {
        let mut notes = Notes::on(Kind::Policy, name);
        let (policy, generation) = match object {
            Stored::Decoded(object) => (read(name, object, world, &mut notes), object.metadata.generation),
            Stored::Undecodable(error) => {
                policies.unreadable.entry(Arc::clone(&name.namespace)).or_insert_with(|| name.clone());
                notes.error(
                    "",
                    "Undecodable",
                    format!("the Policy cannot be read, so every route of its namespace is closed: {error}"),
                    "correct or delete it",
                );
                (Policy::Broken, None)
            }
        };
        let accepted = !notes.has_errors();
        let state = PolicyState { observed_generation: generation, accepted, ..PolicyState::default() };
        report.policies.insert(name.clone(), state);
        report.take(notes);
        policies.by_name.insert(name.clone(), policy);
    }
    policies
}

/// Attaches policies to Ingresses of ours: those that a `targetRefs` names, and those that an Ingress names itself. A
/// name that no policy has stays, for it closes the Ingress.
pub(super) fn attach(world: &World, ours: &[Ours<'_>], defaults: &Defaults, report: &mut Report) -> Attached {
    let mut attached = Attached::new();
    for (name, policy) in &world.policies {
        let spec = policy.decoded().map(|policy| &policy.spec);
        for target in spec.and_then(|spec| spec.target_refs.as_deref()).unwrap_or_default() {
            let ingress = ObjectName::new(&name.namespace, target.name.as_deref().unwrap_or_default());
            attached.entry(ingress).or_default().insert(name.clone());
        }
    }
    for it in ours {
        let named = it.annotations.policies.iter();
        let named: Vec<_> = named.map(|policy| ObjectName::new(&it.name.namespace, policy)).collect();
        if !named.is_empty() {
            attached.entry(it.name.clone()).or_default().extend(named);
        }
        for policy in attached.get(it.name).into_iter().flatten() {
            if let Some(state) = report.policies.get_mut(policy) {
                state.targets.push(it.name.clone());
            }
        }
    }
    for (name, ingress) in class::elsewhere(world, defaults) {
        let named = ingress.metadata.annotations.as_ref().map(annotations::read).unwrap_or_default().0.policies;
        let named = named.iter().map(|policy| ObjectName::new(&name.namespace, policy));
        let all: BTreeSet<_> = named.chain(attached.get(name).into_iter().flatten().cloned()).collect();
        for policy in all {
            if let Some(state) = report.policies.get_mut(&policy) {
                state.elsewhere.push(name.clone());
            }
        }
    }
    for state in report.policies.values_mut() {
        state.targets.sort();
        state.elsewhere.sort();
    }
    attached
}

fn read(name: &ObjectName, policy: &PolicyObject, world: &World, notes: &mut Notes) -> Policy {
    let mut fields = Fields::new(notes, "PolicyInvalid");
    let at = Pointer::spec();
    fields.unknown(&at, &policy.spec.unknown);
    let rules = rule::rules(name, &policy.spec.rules, &mut fields);
    let at = at.to("targetRefs");
    let targets = fields.list(&at, &policy.spec.target_refs);
    for (index, target) in targets.iter().enumerate() {
        read_target(&at.to(index), target, &mut fields);
    }
    let broken = fields.broken();
    for (index, target) in targets.iter().enumerate() {
        missing_target(&at.to(index), &name.namespace, target, world, notes);
    }
    if broken { Policy::Broken } else { Policy::Rules(rules) }
}

fn read_target(at: &Pointer, target: &TargetRef, fields: &mut Fields<'_>) {
    let TargetRef { group, kind, name, unknown } = target;
    fields.unknown(at, unknown);
    for (field, value, only) in [("group", group, "networking.k8s.io"), ("kind", kind, "Ingress")] {
        let given = value.as_deref().unwrap_or_default();
        if given != only {
            fields.wrong(
                at.to(field),
                format!("`{}` cannot be a target", given.escape_debug()),
                format!("write `{only}`"),
            );
        }
    }
    fields.text(at.to("name"), name, "name an Ingress of this namespace");
}

/// A target that does not exist closes nothing, for there is nothing to close; the rules hold for the others.
fn missing_target(at: &Pointer, namespace: &str, target: &TargetRef, world: &World, notes: &mut Notes) {
    let Some(name) = target.name.as_deref().filter(|name| !name.is_empty()) else { return };
    if !world.ingresses.contains_key(&ObjectName::new(namespace, name)) {
        notes.error(
            at.to("name"),
            "TargetNotFound",
            format!(
                "there is no Ingress `{name}` in the namespace `{namespace}`, so nothing is protected by this target"
            ),
            format!("create the Ingress `{name}`, or name one that exists"),
        );
    }
}
