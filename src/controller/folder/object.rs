//! Documents to objects: which kind, which name, decoded or refused with the place of the field.

use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::document::Document;
use crate::controller::complaint::{Complaint, Spots};
use crate::controller::report::{Kind, ObjectRef, Severity};
use crate::controller::world::{Change, ObjectName, Stored};

/// An object of a file.
#[derive(Clone, Debug)]
pub(super) struct Object {
    /// What it is.
    pub(super) reference: ObjectRef,
    /// As it is written.
    pub(super) value: Value,
    /// Where it is written.
    pub(super) spots: Arc<Spots>,
    /// The change that brings it into the world.
    pub(super) change: Change,
}

/// What a document is.
#[derive(Debug)]
pub(super) enum Outcome {
    /// An object, and fields of it that its kind does not know.
    Read(Object, Vec<Complaint>),
    /// Known by name only: it is there, and whatever depends on it is closed.
    Undecodable(Object, Complaint),
    /// Nothing that can be named.
    Refused(Complaint),
    /// No business of ours, said where it may surprise.
    Passed(Option<Complaint>),
}

/// The kinds that are read, with their API version; the flag tells whether they live in a namespace.
const KINDS: &[(Kind, &str, bool)] = &[
    (Kind::Ingress, "networking.k8s.io/v1", true),
    (Kind::IngressClass, "networking.k8s.io/v1", false),
    (Kind::Service, "v1", true),
    (Kind::Secret, "v1", true),
    (Kind::EndpointSlice, "discovery.k8s.io/v1", true),
    (Kind::Portcullis, "portcullis.dev/v1alpha1", false),
    (Kind::IdentityProvider, "portcullis.dev/v1alpha1", false),
    (Kind::Policy, "portcullis.dev/v1alpha1", true),
];

/// Reads one document of `file`.
pub(super) fn read(document: Document, file: &Arc<str>) -> Outcome {
    let spots = Arc::new(Spots { file: Arc::clone(file), by_pointer: document.spots });
    let mut value = document.value;
    let complain = |pointer: &str, severity, message: String, remedy: &str| Complaint {
        place: spots.place(pointer),
        severity,
        object: None,
        field: pointer.to_owned(),
        message,
        remedy: remedy.to_owned(),
    };
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    let Some(kind) = text("/kind") else {
        let message = "the document has no `kind`".to_owned();
        return Outcome::Refused(complain("", Severity::Error, message, "write a whole Kubernetes object"));
    };
    if kind == "List" {
        let message = "the `List` has no `items`".to_owned();
        return Outcome::Refused(complain("", Severity::Error, message, "write its objects under `items`"));
    }
    if kind == "Namespace" {
        return Outcome::Passed(None);
    }
    let Some(&(kind, version, namespaced)) = KINDS.iter().find(|(known, ..)| known.as_str() == kind) else {
        let message = format!("objects of kind `{kind}` are not read");
        return Outcome::Passed(Some(complain("/kind", Severity::Warning, message, "remove it, or leave it as it is")));
    };
    if text("/apiVersion") != Some(version) {
        let message = format!("a `{}` of this API version is not read", kind.as_str());
        let remedy = format!("write `apiVersion: {version}`");
        return Outcome::Refused(complain("/apiVersion", Severity::Error, message, &remedy));
    }
    let Some(name) = text("/metadata/name") else {
        let message = "the object has no `metadata.name`".to_owned();
        return Outcome::Refused(complain("/metadata", Severity::Error, message, "give it a name"));
    };
    let namespace = if namespaced { text("/metadata/namespace").unwrap_or("default") } else { "" };
    let reference = ObjectRef { kind, name: ObjectName::new(namespace, name) };
    if namespaced {
        value["metadata"]["namespace"] = reference.name.namespace.as_ref().into();
    }
    decode_object(reference, value, spots)
}

fn decode_object(reference: ObjectRef, value: Value, spots: Arc<Spots>) -> Outcome {
    let complain = |pointer: &str, severity, message: String, remedy: &str| Complaint {
        place: spots.place(pointer),
        severity,
        object: Some(reference.clone()),
        field: pointer.to_owned(),
        message,
        remedy: remedy.to_owned(),
    };
    match change(&reference, Version::Written(&value)) {
        Ok((change, unknown)) => {
            let warn = |pointer: &String| {
                let message = "this kind has no such field, so it is without effect".to_owned();
                complain(pointer, Severity::Warning, message, "correct its name or its place")
            };
            let complaints = unknown.iter().map(warn).collect();
            Outcome::Read(Object { reference, value, spots, change }, complaints)
        }
        Err(defect) => {
            let remedy = match reference.kind {
                Kind::Secret => "write base64 under `data`, or plain text under `stringData`",
                _ => "correct the value of this field",
            };
            let complaint = complain(&defect.pointer, Severity::Error, defect.message.to_string(), remedy);
            let change = match reference.kind {
                Kind::Portcullis => {
                    Change::unread_portcullis(reference.name.clone(), Arc::clone(&defect.message), value.get("spec"))
                }
                _ => without_content(&reference, Version::Undecodable(&defect.message)),
            };
            Outcome::Undecodable(Object { reference, value, spots, change }, complaint)
        }
    }
}

/// The change that takes an object away.
pub(super) fn removal(reference: &ObjectRef) -> Change {
    without_content(reference, Version::Gone)
}

fn without_content(reference: &ObjectRef, version: Version<'_>) -> Change {
    change(reference, version).expect("nothing to decode, so nothing fails to").0
}

/// What became of an object.
#[derive(Clone, Copy)]
enum Version<'a> {
    Written(&'a Value),
    Undecodable(&'a Arc<str>),
    Gone,
}

/// Why an object does not decode.
#[derive(Debug)]
struct Defect {
    pointer: String,
    message: Arc<str>,
}

/// The change of one kind, and the pointers of fields that the kind does not know.
fn change(reference: &ObjectRef, version: Version<'_>) -> Result<(Change, Vec<String>), Defect> {
    let name = reference.name.clone();
    match reference.kind {
        Kind::Ingress => decode(version, |object| Change::Ingress(name, object)),
        Kind::IngressClass => decode(version, |object| Change::Class(name, object)),
        Kind::Service => decode(version, |object| Change::Service(name, object)),
        Kind::EndpointSlice => decode(version, |object| Change::Slice(name, object)),
        Kind::Policy => decode(version, |object| Change::Policy(name, object)),
        Kind::IdentityProvider => decode(version, |object| Change::Provider(name, object)),
        Kind::Portcullis => decode(version, |object| Change::Portcullis(name, object)),
        Kind::Secret => decode(version, |object| Change::secret(name, object.map(fold_string_data)))
            .map_err(|defect| Defect { message: "the value of this field does not decode".into(), ..defect }),
    }
}

fn decode<T: DeserializeOwned + Serialize>(
    version: Version<'_>,
    change: impl FnOnce(Option<Stored<T>>) -> Change,
) -> Result<(Change, Vec<String>), Defect> {
    let value = match version {
        Version::Written(value) => value,
        Version::Undecodable(why) => return Ok((change(Some(Stored::Undecodable(Arc::clone(why)))), Vec::new())),
        Version::Gone => return Ok((change(None), Vec::new())),
    };
    let object: T = serde_path_to_error::deserialize(value).map_err(|error| Defect {
        pointer: error.path().iter().filter_map(segment).collect(),
        message: error.inner().to_string().into(),
    })?;
    let mut unknown = Vec::new();
    if let Ok(kept) = serde_json::to_value(&object) {
        lost(value, &kept, "", &mut unknown);
    }
    Ok((change(Some(Stored::Decoded(Arc::new(object)))), unknown))
}

fn segment(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Seq { index } => Some(format!("/{index}")),
        Segment::Map { key } | Segment::Enum { variant: key } => Some(format!("/{}", escape(key))),
        Segment::Unknown => None,
    }
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The pointers of fields that are written, but not kept by the kind's type.
fn lost(written: &Value, kept: &Value, pointer: &str, unknown: &mut Vec<String>) {
    match (written, kept) {
        (Value::Object(written), Value::Object(kept)) => {
            for (key, value) in written.iter().filter(|(_, value)| !value.is_null()) {
                let pointer = format!("{pointer}/{}", escape(key));
                match kept.get(key) {
                    Some(kept) => lost(value, kept, &pointer, unknown),
                    None => unknown.push(pointer),
                }
            }
        }
        (Value::Array(written), Value::Array(kept)) => {
            for (at, (written, kept)) in written.iter().zip(kept).enumerate() {
                lost(written, kept, &format!("{pointer}/{at}"), unknown);
            }
        }
        _ => {}
    }
}

/// What the API server does on a write: `stringData` goes into `data`.
fn fold_string_data(secret: Stored<Secret>) -> Stored<Secret> {
    let Stored::Decoded(secret) = secret else { return secret };
    let mut secret = Arc::unwrap_or_clone(secret);
    let texts = secret.string_data.take().unwrap_or_default();
    secret
        .data
        .get_or_insert_default()
        .extend(texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
    Stored::Decoded(Arc::new(secret))
}
