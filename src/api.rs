//! What people write: the kinds of group `portcullis.dev`, and the annotations of an Ingress. Wire types only.
//!
//! The types are lenient, so that a defect is a finding with a field and a remedy instead of an object that cannot be
//! read: every field may be absent, enumerations are text, and every object inside `spec` keeps what it does not know.

pub mod annotations;
mod duration;
mod identity_provider;
mod policy;
mod portcullis;
mod validation;

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde::{Deserialize, Deserializer};

pub use duration::{BadDuration, parse_duration};
pub use identity_provider::*;
pub use policy::*;
pub use portcullis::*;

/// Fields that this version does not know, by name. The API server would drop them in silence, and a rule without a
/// misspelt field is a wider rule; so they are kept, and compile closes on them.
pub type Unknown = BTreeMap<String, serde_json::Value>;

/// The definitions of our kinds, as `crds/` has them.
pub fn crds() -> Vec<CustomResourceDefinition> {
    [Portcullis::crd(), IdentityProvider::crd(), Policy::crd()].map(validation::validated).into()
}

/// The definitions as files: name and YAML text.
pub fn crd_files() -> Vec<(String, String)> {
    let file = |crd: CustomResourceDefinition| {
        let yaml = serde_saphyr::to_string(&crd).expect("a definition is plain data");
        (format!("{}.yaml", crd.spec.names.plural), yaml)
    };
    crds().into_iter().map(file).collect()
}

/// A field that is written counts as written, also with nothing behind it: `groups:` is an empty list, which compile
/// refuses, and not the absence of `groups`, which would widen the rule.
fn written<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<Option<T>, D::Error> {
    Option::<T>::deserialize(from).map(|value| Some(value.unwrap_or_default()))
}
