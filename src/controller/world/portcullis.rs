//! A `Portcullis` as it comes: whole, or where it does not decode, with the hosts that it claims as far as they can be told.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::ClusterResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Change, ObjectName, Stored};
use crate::api::{HostClaim, HostsSpec, Portcullis, PortcullisSpec};

/// What a `Portcullis` that does not decode claims, in a spec that has nothing else; `None` where that cannot be told.
pub type UnreadClaims = Option<Arc<PortcullisSpec>>;

/// A `Portcullis` of which nothing but the metadata is decoded.
#[derive(Clone, Debug, Deserialize)]
pub struct RawPortcullis {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The derived one owns what is constant, its kind among it.
impl Resource for RawPortcullis {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Portcullis::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Portcullis::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Portcullis::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Portcullis::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Change {
    /// A `Portcullis` as it came.
    pub fn portcullis(name: ObjectName, new: Option<Stored<RawPortcullis>>) -> Self {
        let raw = match new {
            None => return Self::Portcullis(name, None),
            // Not even the object around the spec can be read.
            Some(Stored::Undecodable(why)) => return Self::UnreadPortcullis(name, why, None),
            Some(Stored::Decoded(raw)) => Arc::unwrap_or_clone(raw),
        };
        match serde_path_to_error::deserialize(&Value::Object(raw.rest.clone())) {
            Ok(Rest { spec, status }) => {
                let object = Portcullis { metadata: raw.metadata, spec, status };
                Self::Portcullis(name, Some(Stored::Decoded(Arc::new(object))))
            }
            Err(error) => Self::unread_portcullis(name, error.to_string().into(), raw.rest.get("spec")),
        }
    }

    /// A `Portcullis` that does not decode, and why not; what is written in its `spec` tells the hosts that it claims.
    pub fn unread_portcullis(name: ObjectName, why: Arc<str>, spec: Option<&Value>) -> Self {
        let claims = claims(spec).map(|claims| {
            let hosts = HostsSpec { claims: Some(claims), ..HostsSpec::default() };
            Arc::new(PortcullisSpec { hosts: Some(hosts), ..PortcullisSpec::default() })
        });
        Self::UnreadPortcullis(name, why, claims)
    }
}

/// What is decoded beside the metadata.
#[derive(Deserialize)]
struct Rest {
    spec: PortcullisSpec,
    status: Option<crate::api::PortcullisStatus>,
}

/// The claims of a spec that does not decode; one whose namespaces cannot be read keeps its hosts from all of them.
fn claims(spec: Option<&Value>) -> Option<Vec<HostClaim>> {
    let mut at = spec.unwrap_or(&Value::Null);
    for field in ["hosts", "claims"] {
        at = match at {
            Value::Null => return Some(Vec::new()),
            Value::Object(fields) => fields.get(field).unwrap_or(&Value::Null),
            _ => return None,
        };
    }
    match at {
        Value::Null => Some(Vec::new()),
        Value::Array(claims) => claims.iter().map(claim).collect(),
        _ => None,
    }
}

fn claim(claim: &Value) -> Option<HostClaim> {
    let pattern = Some(claim.get("pattern")?.as_str()?.to_owned());
    let namespaces = claim.get("namespaces").and_then(|namespaces| Vec::deserialize(namespaces).ok());
    Some(HostClaim { pattern, namespaces: Some(namespaces.unwrap_or_default()), ..HostClaim::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(object: &Value) -> Change {
        let raw = RawPortcullis::deserialize(object).unwrap();
        Change::portcullis(ObjectName::new("", "default"), Some(Stored::Decoded(Arc::new(raw))))
    }

    #[test]
    fn it_is_watched_where_the_kind_is_under_its_constant_name() {
        assert!(matches!(RawPortcullis::kind(&()), Cow::Borrowed("Portcullis")));
        assert_eq!(RawPortcullis::url_path(&(), None), Portcullis::url_path(&(), None));
    }

    #[test]
    fn one_that_decodes_is_whole() {
        let object = json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "Portcullis",
            "metadata": {"name": "default", "generation": 3, "labels": {"team": "web"}},
            "spec": {"providers": ["corp"], "hosts": {"claims": [{"pattern": "*.a.test", "namespaces": ["a"]}]}},
            "status": {"observedGeneration": 3},
        });
        let Change::Portcullis(_, Some(Stored::Decoded(read))) = change(&object) else { panic!("it decodes") };
        assert_eq!(serde_json::to_value(&*read).unwrap(), object);
    }

    #[test]
    fn one_that_does_not_says_where_and_keeps_its_claims() {
        let spec = json!({
            "hosts": {"claims": [{"pattern": "*.a.test", "namespaces": ["a"]}, {"pattern": "b.test", "namespaces": 7}]},
        });
        let Change::UnreadPortcullis(_, why, Some(claims)) = change(&json!({"metadata": {}, "spec": spec})) else {
            panic!("its claims can be told")
        };
        assert!(why.starts_with("spec.hosts.claims[1].namespaces: "), "{why}");
        let claims = claims.hosts.as_ref().unwrap().claims.as_ref().unwrap();
        let short = |claim: &HostClaim| (claim.pattern.clone().unwrap(), claim.namespaces.clone().unwrap());
        let expected = [("*.a.test".to_owned(), vec!["a".to_owned()]), ("b.test".to_owned(), Vec::new())];
        assert_eq!(claims.iter().map(short).collect::<Vec<_>>(), expected);
    }
}
