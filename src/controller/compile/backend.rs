//! Backends: from what an Ingress names to a Service port. What cannot be reached is named, and the route stays, so that
//! access is decided before anyone learns that there is nothing behind it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::networking::v1::{IngressBackend, IngressServiceBackend};

use super::fields::Pointer;
use crate::api::annotations::BackendProtocol;
use crate::controller::report::Notes;
use crate::controller::world::{ObjectName, Stored, World};
use crate::route::{Backend, BackendKey};

/// What `appProtocol` may say of a port that speaks HTTP/1.1 without TLS.
const PLAIN_HTTP: [&str; 3] = ["http", "HTTP", "kubernetes.io/ws"];

/// The backend that an Ingress of `namespace` names at `at`; none, noted, where there is nothing to send requests to.
pub(super) fn backend(
    world: &World,
    namespace: &Arc<str>,
    named: (&Pointer, &IngressBackend),
    protocol: Option<BackendProtocol>,
    notes: &mut Notes,
) -> Option<Arc<Backend>> {
    let (at, named) = named;
    let Some(service) = &named.service else {
        let kind = named.resource.as_ref().map_or("nothing", |resource| resource.kind.as_str());
        let message = format!("the backend is `{kind}`, which is not supported, so requests get 503");
        notes.error(at.to("resource"), "UnsupportedBackend", message, "name a Service");
        return None;
    };
    let at = at.to("service");
    let name = ObjectName { namespace: Arc::clone(namespace), name: service.name.as_str().into() };
    let Some(Stored::Decoded(object)) = world.services.get(&name) else {
        let message =
            format!("there is no Service `{}` in the namespace `{namespace}`, so requests get 503", name.name);
        let remedy = format!("create the Service `{}`, or name one that exists", name.name);
        notes.error(at.to("name"), "ServiceNotFound", message, remedy);
        return None;
    };
    let port = port(service, object, &at, notes)?;
    let app_protocol = port.app_protocol.as_deref().filter(|_| protocol.is_none());
    if let Some(unsupported) = app_protocol.filter(|protocol| !PLAIN_HTTP.contains(protocol)) {
        let message = format!("the Service port speaks `{unsupported}`, which is not supported, so requests get 503");
        let remedy = "name a port that speaks HTTP, or say so with `portcullis.dev/backend-protocol: HTTP`";
        notes.error(at.to("port"), "UnsupportedBackend", message, remedy);
        return None;
    }
    if object.spec.as_ref().and_then(|spec| spec.session_affinity.as_deref()) == Some("ClientIP") {
        let message = format!("the Service `{}` asks for `sessionAffinity: ClientIP`, which is ignored", name.name);
        let remedy = "let any endpoint answer any request, or remove the field";
        notes.warning(at.to("name"), "SessionAffinityIgnored", message, remedy);
    }
    let port = u16::try_from(port.port).ok()?;
    let key = BackendKey { namespace: name.namespace, service: name.name, port };
    let endpoints = world.endpoints.get(&key).cloned().unwrap_or_default();
    Some(Arc::new(Backend { key, endpoints }))
}

/// The port of the Service that is named, by number or by name.
fn port<'s>(
    named: &IngressServiceBackend,
    service: &'s Service,
    at: &Pointer,
    notes: &mut Notes,
) -> Option<&'s ServicePort> {
    let spec = service.spec.as_ref();
    if spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
        let message =
            format!("the Service `{}` is an ExternalName, which is not supported, so requests get 503", named.name);
        notes.error(at.to("name"), "UnsupportedBackend", message, "name a Service with endpoints in the cluster");
        return None;
    }
    let wanted = named.port.as_ref();
    let (number, name) = (wanted.and_then(|port| port.number), wanted.and_then(|port| port.name.as_deref()));
    let is_wanted = |port: &&ServicePort| match (number, name) {
        (Some(number), _) => port.port == number,
        (None, Some(name)) => port.name.as_deref() == Some(name),
        (None, None) => false,
    };
    let is_tcp = |port: &&ServicePort| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
    let found = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default().iter().filter(is_tcp).find(is_wanted);
    if found.is_none() {
        let wanted = number.map(|number| number.to_string()).or(name.map(str::to_owned)).unwrap_or_default();
        let message = format!("the Service `{}` has no TCP port `{wanted}`, so requests get 503", named.name);
        notes.error(at.to("port"), "PortNotFound", message, "name one of the Service's ports");
    }
    found
}
