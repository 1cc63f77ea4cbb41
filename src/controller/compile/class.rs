//! Which classes and Ingresses are ours: by the controller string of the class, never by its name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass, IngressClassParametersReference};

use super::defaults::Defaults;
use super::fields::{Fields, Pointer};
use super::hosts;
use super::provider::Providers;
use super::settings::Settings;
use crate::api::annotations::{self, Annotations, BadAnnotation};
use crate::controller::report::{Kind, Notes, PortcullisState, Report};
use crate::controller::world::{ObjectName, Stored, World};
use crate::route::ClosedReason;

/// A class of ours.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Class {
    /// Its settings, as far as they could be read.
    pub settings: Settings,
    /// Why all its routes are closed, where its parameters cannot be used.
    pub closed: Option<ClosedReason>,
    /// Whether it is marked as the default class.
    pub is_default: bool,
}

/// Classes of ours by name.
pub(super) type Classes = BTreeMap<Arc<str>, Arc<Class>>;

/// An Ingress of ours that is to stay.
pub(super) struct Ours<'w> {
    /// Its name.
    pub name: &'w ObjectName,
    /// The object.
    pub ingress: &'w Ingress,
    /// Its class.
    pub class: Arc<Class>,
    /// Our annotations, as far as they could be read.
    pub annotations: Annotations,
    /// Those that could not.
    pub bad_annotations: Vec<BadAnnotation>,
}

const GROUP: &str = "portcullis.dev";
const LEGACY_CLASS: &str = "kubernetes.io/ingress.class";
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";

/// The classes with our controller string.
pub(super) fn compile(world: &World, defaults: &Defaults, providers: &Providers, report: &mut Report) -> Classes {
    let (named, _) = parameters(world, defaults);
    let settings = portcullises(world, &named, providers, report);
    let mut classes = Classes::new();
    for (name, class) in &world.classes {
        let mut notes = Notes::on(Kind::IngressClass, name);
        match class {
            Stored::Decoded(class) if controller(class) == Some(defaults.controller.as_str()) => {
                classes.insert(Arc::clone(&name.name), Arc::new(read(class, &settings, &mut notes)));
            }
            Stored::Decoded(_) => {}
            Stored::Undecodable(error) => notes.error(
                "",
                "Undecodable",
                format!("the IngressClass cannot be read: {error}"),
                "correct it; until then nothing of this class is served",
            ),
        }
        report.take(notes);
    }
    classes
}

/// The names of what the parameters of classes lead to, by the name alone: of ours, and of others.
pub(super) fn parameters<'w>(world: &'w World, defaults: &Defaults) -> (BTreeSet<&'w str>, BTreeSet<&'w str>) {
    let (mut ours, mut others) = (BTreeSet::new(), BTreeSet::new());
    for class in world.classes.values().filter_map(Stored::decoded) {
        let is_ours = controller(class) == Some(defaults.controller.as_str());
        let parameters = class.spec.as_ref().and_then(|spec| spec.parameters.as_ref());
        let names = if is_ours { &mut ours } else { &mut others };
        names.extend(parameters.map(|parameters| parameters.name.as_str()));
    }
    (ours, others)
}

/// The Ingresses that another installation of Portcullis serves: of a class with its settings and its controller string.
pub(super) fn elsewhere<'w>(
    world: &'w World,
    defaults: &Defaults,
) -> impl Iterator<Item = (&'w ObjectName, &'w Ingress)> {
    let decoded = world.classes.iter().filter_map(|(name, class)| Some((&*name.name, &**class.decoded()?)));
    let theirs: BTreeSet<_> = decoded
        .filter(|(_, class)| controller(class) != Some(defaults.controller.as_str()) && is_portcullis(class))
        .map(|(name, _)| name)
        .collect();
    let ingresses = world.ingresses.iter().filter_map(|(name, ingress)| Some((name, &**ingress.decoded()?)));
    ingresses.filter(move |(_, ingress)| class_name(ingress).is_some_and(|class| theirs.contains(class)))
}

/// The Ingresses of these classes that are not on their way out, the oldest first, then by namespace and name.
pub(super) fn ours<'w>(world: &'w World, classes: &Classes, defaults: &Defaults, report: &mut Report) -> Vec<Ours<'w>> {
    let mut ours = Vec::new();
    for (name, ingress) in &world.ingresses {
        let mut notes = Notes::on(Kind::Ingress, name);
        match ingress {
            Stored::Decoded(ingress) => {
                let leaving =
                    ingress.metadata.deletion_timestamp.is_some() || world.terminating.contains(&name.namespace);
                let class = if leaving { None } else { class_of(ingress, world, classes, defaults, &mut notes) };
                ours.extend(class.map(|class| Ours::new(name, ingress, class)));
            }
            Stored::Undecodable(error) => notes.error(
                "",
                "Undecodable",
                format!("the Ingress cannot be read: {error}"),
                "correct it; until then it is not served",
            ),
        }
        report.take(notes);
    }
    ours.sort_by_key(|it| (created(it.ingress), it.name));
    ours
}

impl<'w> Ours<'w> {
    fn new(name: &'w ObjectName, ingress: &'w Ingress, class: Arc<Class>) -> Self {
        let read = ingress.metadata.annotations.as_ref().map(annotations::read);
        let (annotations, bad_annotations) = read.unwrap_or_default();
        Self { name, ingress, class, annotations, bad_annotations }
    }
}

fn created(ingress: &Ingress) -> Option<Timestamp> {
    ingress.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

fn controller(class: &IngressClass) -> Option<&str> {
    class.spec.as_ref()?.controller.as_deref()
}

/// Whether it has the settings of an installation of Portcullis, ours or another.
fn is_portcullis(class: &IngressClass) -> bool {
    let parameters = class.spec.as_ref().and_then(|spec| spec.parameters.as_ref());
    parameters.is_some_and(|it| it.api_group.as_deref() == Some(GROUP) && it.kind == "Portcullis")
}

/// The class that an Ingress names; the field wins over the annotation that it replaced.
fn class_name(ingress: &Ingress) -> Option<&str> {
    let field = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
    field.or_else(|| annotation(ingress, LEGACY_CLASS))
}

fn annotation<'o>(object: &'o impl kube::Resource, name: &str) -> Option<&'o str> {
    object.meta().annotations.as_ref()?.get(name).map(String::as_str)
}

/// A class that nobody has made is worth a word: nobody serves it.
fn class_of(
    ingress: &Ingress,
    world: &World,
    classes: &Classes,
    defaults: &Defaults,
    notes: &mut Notes,
) -> Option<Arc<Class>> {
    let field = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
    let Some(name) = class_name(ingress) else {
        let marked = || classes.values().find(|class| class.is_default).map(Arc::clone);
        return defaults.without_class.then(|| marked().unwrap_or_else(|| Arc::new(Class::nameless(defaults.dev))));
    };
    if field.is_some() && !world.classes.contains_key(&ObjectName::new("", name)) {
        notes.warning(
            Pointer::spec().to("ingressClassName"),
            "ClassNotFound",
            format!("there is no IngressClass `{name}`, so no controller serves this Ingress"),
            format!("create the IngressClass `{name}`, or name one that exists"),
        );
    }
    classes.get(name).cloned()
}

impl Class {
    /// A class without parameters.
    fn bare() -> Self {
        Self { settings: Settings::default(), closed: None, is_default: false }
    }

    /// The class of an Ingress that names none: nobody has said that it may open itself, but on a laptop.
    fn nameless(may_open: bool) -> Self {
        Self { settings: Settings { may_open, ..Settings::default() }, ..Self::bare() }
    }
}

/// The settings of a `Portcullis`, and whether they can be used.
struct Portcullis {
    settings: Settings,
    broken: bool,
}

fn portcullises(
    world: &World,
    named: &BTreeSet<&str>,
    providers: &Providers,
    report: &mut Report,
) -> BTreeMap<Arc<str>, Portcullis> {
    let mut all = BTreeMap::new();
    for (name, object) in &world.portcullises {
        let mut notes = Notes::on(Kind::Portcullis, name);
        let portcullis = match object {
            Stored::Decoded(object) => {
                let mut fields = Fields::new(&mut notes, "ParametersInvalid");
                let settings = Settings::read(&object.spec, &mut fields);
                let broken = fields.broken();
                missing_providers(&settings, providers, &mut notes);
                Portcullis { settings, broken }
            }
            Stored::Undecodable(error) => {
                let message = format!("the Portcullis cannot be read: {error}");
                notes.error("", "Undecodable", message, unread_remedy(world, name));
                Portcullis { settings: Settings::default(), broken: true }
            }
        };
        if named.contains(&*name.name) {
            let observed_generation = object.decoded().and_then(|object| object.metadata.generation);
            let state = PortcullisState { observed_generation, accepted: !notes.has_errors() };
            report.portcullises.insert(name.clone(), state);
        }
        report.take(notes);
        all.insert(Arc::clone(&name.name), portcullis);
    }
    all
}

/// What to do about a `Portcullis` that does not decode, and what is closed until then.
fn unread_remedy(world: &World, name: &ObjectName) -> &'static str {
    match hosts::claims_of(world, name) {
        Some(_) => "correct it; until then the routes of its classes are closed",
        None => {
            "correct it; until then the routes of its classes are closed, and every host that no other Portcullis claims, \
             for it cannot be told which it claims"
        }
    }
}

fn missing_providers(settings: &Settings, providers: &Providers, notes: &mut Notes) {
    for (index, name) in settings.providers.iter().enumerate().filter(|(_, name)| !providers.contains_key(*name)) {
        notes.error(
            Pointer::spec().to("providers").to(index),
            "ProviderNotFound",
            format!("there is no IdentityProvider `{name}`, so the routes that need it are closed"),
            format!("create the IdentityProvider `{name}`, or name one that exists"),
        );
    }
}

fn read(class: &IngressClass, portcullises: &BTreeMap<Arc<str>, Portcullis>, notes: &mut Notes) -> Class {
    let is_default = annotation(class, DEFAULT_CLASS) == Some("true");
    let Some(parameters) = class.spec.as_ref().and_then(|spec| spec.parameters.as_ref()) else {
        return Class { is_default, ..Class::bare() };
    };
    match resolve(parameters, portcullises) {
        Ok(found) => {
            let reason = || ClosedReason(format!("Portcullis `{}` is invalid", parameters.name).into());
            Class { settings: found.settings.clone(), closed: found.broken.then(reason), is_default }
        }
        Err((field, message, remedy)) => {
            let closed = format!("{message}, so all routes of the class are closed");
            notes.error(Pointer::spec().to("parameters").to(field), "ParametersInvalid", closed, remedy);
            Class { closed: Some(ClosedReason(message.into())), is_default, ..Class::bare() }
        }
    }
}

/// The `Portcullis` that parameters name, or the field that names none, what is wrong, and the remedy.
fn resolve<'p>(
    parameters: &IngressClassParametersReference,
    portcullises: &'p BTreeMap<Arc<str>, Portcullis>,
) -> Result<&'p Portcullis, (&'static str, String, String)> {
    let IngressClassParametersReference { api_group, kind, name, scope, .. } = parameters;
    let group = api_group.as_deref().unwrap_or_default();
    if group != GROUP || kind != "Portcullis" {
        let message = format!("the parameters are a `{kind}` of group `{group}`");
        return Err(("kind", message, "name a `Portcullis` of group `portcullis.dev`".to_owned()));
    }
    if scope.as_deref().is_some_and(|scope| scope != "Cluster") {
        let message = "a Portcullis has no namespace";
        return Err(("scope", message.to_owned(), "write `Cluster`".to_owned()));
    }
    portcullises.get(name.as_str()).ok_or_else(|| {
        let message = format!("there is no Portcullis `{name}`");
        ("name", message, format!("create the Portcullis `{name}`, or name one that exists"))
    })
}
