//! Findings as Events (events.k8s.io/v1). An Event is named by what it says, so that a restart, or another leader, finds
//! the one that is there and counts it up instead of adding one more.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use serde_json::json;
use tokio::time::timeout;

use super::wanted::{cut, sentence};
use super::{Answer, CALL, StatusWriter};
use crate::controller::report::{Finding, Kind};

/// The longest note that the API server takes, in bytes.
const NOTE_BYTES: usize = 1024;

/// Writes Events.
pub(super) struct Announcer {
    client: Client,
    controller: String,
    identity: String,
}

impl Announcer {
    pub(super) fn new(writer: &StatusWriter) -> Self {
        Self {
            client: writer.client.clone(),
            controller: writer.field_manager.clone(),
            identity: writer.identity.clone(),
        }
    }

    /// Creates the Event of a finding; where it is there already, says that it was seen again.
    pub(super) async fn announce(&self, finding: &Finding, uid: Option<String>, now: Timestamp) -> Answer {
        let event = self.event(finding, uid, now);
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let name = event.metadata.name.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let created = timeout(CALL, api.create(&PostParams::default(), &event)).await;
        if !matches!(&created, Ok(Err(Error::Api(status))) if status.reason == "AlreadyExists") {
            return Answer::of(created);
        }
        let again = json!({"series": {"count": 2, "lastObservedTime": MicroTime(now)}});
        Answer::of(timeout(CALL, api.patch(&name, &PatchParams::default(), &Patch::Merge(&again))).await)
    }

    fn event(&self, finding: &Finding, uid: Option<String>, now: Timestamp) -> Event {
        let Finding { object, field, reason, .. } = finding;
        let text = format!("{object:?} {uid:?} {field} {reason} {}", finding.message);
        let digest = blake3::hash(text.as_bytes()).to_hex();
        let subject = cut(object.name.name.to_string(), 200);
        // Events on objects without a namespace live in this one.
        let namespace = if object.name.namespace.is_empty() { "default" } else { &*object.name.namespace };
        let regarding = ObjectReference {
            api_version: Some(api_version(object.kind).to_owned()),
            kind: Some(object.kind.as_str().to_owned()),
            name: Some(object.name.name.to_string()),
            namespace: (!object.name.namespace.is_empty()).then(|| object.name.namespace.to_string()),
            uid,
            ..ObjectReference::default()
        };
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{}", subject.trim_end_matches(['-', '.']), &digest[..16])),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            regarding: Some(regarding),
            type_: Some("Warning".to_owned()),
            reason: Some((*reason).to_owned()),
            action: Some("Compile".to_owned()),
            note: Some(cut(sentence(finding), NOTE_BYTES)),
            reporting_controller: Some(self.controller.clone()),
            reporting_instance: Some(cut(self.identity.clone(), 128)),
            ..Event::default()
        }
    }
}

fn api_version(kind: Kind) -> &'static str {
    match kind {
        Kind::Ingress | Kind::IngressClass => "networking.k8s.io/v1",
        Kind::Service | Kind::Secret => "v1",
        Kind::EndpointSlice => "discovery.k8s.io/v1",
        Kind::Policy | Kind::IdentityProvider | Kind::Portcullis => "portcullis.dev/v1alpha1",
    }
}
