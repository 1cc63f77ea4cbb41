//! The good world of `world.yaml`, changed in one place a test, compiled and told as text.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Arc, LazyLock};

use portcullis::controller::Guard;
use portcullis::controller::compile::{Compiled, Defaults, compile};
use portcullis::controller::folder::Folder;
use portcullis::controller::report::{Finding, Report};
use portcullis::controller::world::World;
use portcullis::route::{Access, Route};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

/// Objects, each `Kind namespace/name` or `Kind name`.
#[derive(Clone)]
pub struct Objects(BTreeMap<String, Value>);

/// Several cases of one test as one text.
#[derive(Default)]
pub struct Cases(String);

/// A certificate for hosts, with its key, as PEM texts.
pub struct Pair {
    pub chain: String,
    pub key: String,
}

static GOOD: LazyLock<Objects> = LazyLock::new(|| {
    let objects: Vec<Value> = serde_saphyr::from_multiple(include_str!("world.yaml")).unwrap();
    let objects = Objects(objects.into_iter().map(|object| (title(&object), object)).collect());
    objects.with(tls_secret("shop", "web-tls", &pair(&["shop.example.com"])))
});

/// The good world.
pub fn good() -> Objects {
    GOOD.clone()
}

pub fn pair(hosts: &[&str]) -> Pair {
    let key = KeyPair::generate().unwrap();
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    Pair { chain: CertificateParams::new(hosts).unwrap().self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

pub fn tls_secret(namespace: &str, name: &str, pair: &Pair) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"namespace": namespace, "name": name},
        "stringData": {"tls.crt": pair.chain, "tls.key": pair.key},
    })
}

/// An Ingress with one rule: all paths of a host to port 80 of the Service `web`.
pub fn ingress(name: &str, created: &str, host: &str) -> Value {
    let (namespace, name) = name.split_once('/').unwrap();
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"namespace": namespace, "name": name, "creationTimestamp": format!("2026-{created}T00:00:00Z")},
        "spec": {
            "ingressClassName": "portcullis",
            "rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}],
        },
    })
}

pub fn service(namespace: &str, name: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name},
        "spec": {"ports": [{"port": port}]},
    })
}

impl Cases {
    #[expect(clippy::needless_pass_by_value, reason = "what a case tells is made for it")]
    pub fn case(&mut self, name: &str, told: String) {
        writeln!(self.0, "## {name}\n{told}").unwrap();
    }
}

impl fmt::Display for Cases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Objects {
    /// With another object, or another version of one.
    pub fn with(mut self, object: Value) -> Self {
        self.0.insert(title(&object), object);
        self
    }

    /// Without an object.
    pub fn without(mut self, object: &str) -> Self {
        self.0.remove(object).unwrap_or_else(|| panic!("no {object}"));
        self
    }

    /// With one field set, at a JSON pointer whose last part may be new.
    pub fn set(mut self, object: &str, pointer: &str, value: Value) -> Self {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let object = self.0.get_mut(object).unwrap_or_else(|| panic!("no {object}"));
        match object.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}")) {
            Value::Array(list) => list[field.parse::<usize>().unwrap()] = value,
            map => map[field.replace("~1", "/")] = value,
        }
        self
    }

    /// With an annotation on an Ingress.
    pub fn annotate(mut self, ingress: &str, name: &str, value: &str) -> Self {
        let object = self.0.get_mut(&format!("Ingress {ingress}")).unwrap();
        object["metadata"]["annotations"][format!("portcullis.dev/{name}")] = value.into();
        self
    }

    pub fn world(&self) -> World {
        let texts: Vec<_> = self.0.values().map(Value::to_string).collect();
        let (world, _) = Folder::embedded(&[("world.yaml", &texts.join("\n---\n"))]).world(Guard::default());
        World::clone(&world)
    }

    pub fn compiled(&self) -> Compiled {
        compile(&self.world(), &defaults())
    }

    /// What is different from the good world, and all findings.
    pub fn told(&self) -> String {
        tell_difference(&good().compiled(), &self.compiled())
    }
}

pub fn defaults() -> Defaults {
    Defaults {
        controller: "portcullis.dev/ingress-controller".to_owned(),
        without_class: false,
        installation_namespace: "portcullis-system".to_owned(),
        default_certificate: None,
        self_signed: None,
        dev: false,
    }
}

/// Routes and states that differ, and all findings.
pub fn tell_difference(before: &Compiled, after: &Compiled) -> String {
    let (before, after_lines) = (lines(before), lines(after));
    let mut text = String::new();
    for line in before.iter().filter(|line| !after_lines.contains(line)) {
        writeln!(text, "- {line}").unwrap();
    }
    for line in after_lines.iter().filter(|line| !before.contains(line)) {
        writeln!(text, "+ {line}").unwrap();
    }
    for finding in &after.report.findings {
        write!(text, "{}", tell_finding(finding)).unwrap();
    }
    text
}

/// Everything, line by line, but the findings.
pub fn lines(compiled: &Compiled) -> Vec<String> {
    let Compiled { snapshot, report } = compiled;
    let mut lines: Vec<_> = snapshot.routes.iter().map(|route| tell_route(route)).collect();
    for host in ["shop.example.com", "site.team.example.com", "other.example.com", "x.example.com"] {
        if let Some(certificate) = snapshot.certificates.find(Some(host)) {
            let names: Vec<_> = certificate.names.iter().map(ToString::to_string).collect();
            lines.push(format!("certificate of {host}: {}", names.join(" ")));
        }
    }
    lines.extend(snapshot.providers.keys().map(|name| format!("provider {name}")));
    lines.extend(states(report));
    lines
}

fn states(report: &Report) -> Vec<String> {
    let ingresses = report.ingresses.iter().map(|(name, state)| format!("Ingress {name}: {state:?}"));
    let policies = report.policies.iter().map(|(name, state)| {
        let targets: Vec<_> = state.targets.iter().map(ToString::to_string).collect();
        let generation = state.observed_generation;
        format!("Policy {name}: accepted {}, {generation:?}, on [{}]", state.accepted, targets.join(" "))
    });
    let providers = report.providers.iter().map(|(name, state)| {
        let (accepted, generation) = (state.accepted, state.observed_generation);
        let issuer = state.issuer.as_ref().map(ToString::to_string);
        format!("IdentityProvider {name}: accepted {accepted}, {generation:?}, {issuer:?}")
    });
    let portcullises = report.portcullises.iter().map(|(name, state)| {
        let (accepted, generation) = (state.accepted, state.observed_generation);
        format!("Portcullis {name}: accepted {accepted}, {generation:?}")
    });
    let certificates = report.certificates.iter().map(|(name, end)| format!("Secret {name}: until {end}"));
    ingresses.chain(policies).chain(providers).chain(portcullises).chain(certificates).collect()
}

fn tell_route(route: &Route) -> String {
    let Route { ingress, host, path, access, backend, .. } = route;
    let path = path.as_ref().map_or("(default)".to_owned(), ToString::to_string);
    let backend = backend.as_ref().map_or("nowhere".to_owned(), |backend| backend.key.to_string());
    let access = match access {
        Access::Open(_) => "open".to_owned(),
        Access::Closed(reason) => format!("closed: {}", reason.0),
        Access::Guarded { policy, provider } => {
            let rules: Vec<_> = policy.rules.iter().map(|rule| &*rule.name).collect();
            let provider = provider.as_ref().map_or("nobody", |provider| &provider.name);
            format!("guarded by [{}], sign-in by {provider}", rules.join(" "))
        }
    };
    format!("{host} {path} of {ingress} to {backend}, {access}")
}

fn tell_finding(finding: &Finding) -> String {
    let Finding { object, field, reason, severity, message, remedy } = finding;
    let (kind, name) = (object.kind, &object.name);
    format!("{severity:?} on {kind:?} {name} {field}\n  {reason}: {message}\n  remedy: {remedy}\n")
}

/// `Kind namespace/name`, or `Kind name`.
fn title(object: &Value) -> String {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
    let namespace = text("/metadata/namespace").map(|namespace| format!("{namespace}/")).unwrap_or_default();
    format!("{} {namespace}{}", text("/kind").unwrap(), text("/metadata/name").unwrap())
}

/// The route of an Ingress on a path, which must be there.
pub fn route(compiled: &Compiled, ingress: &str, path: &str) -> Arc<Route> {
    let is_it = |route: &&Arc<Route>| {
        *route.ingress == *ingress && route.path.as_ref().is_some_and(|it| it.to_string() == path)
    };
    Arc::clone(compiled.snapshot.routes.iter().find(is_it).unwrap_or_else(|| panic!("no {path} of {ingress}")))
}
