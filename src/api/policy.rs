//! `Policy`: an app team's rules.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Unknown, written};

/// An app team's rules over its Ingresses.
#[derive(CustomResource, Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "Policy",
    plural = "policies",
    shortname = "ppol",
    namespaced
)]
#[kube(doc = "An app team's rules over its Ingresses.")]
#[kube(status = "PolicyStatus", derive = "PartialEq", derive = "Default")]
#[kube(printcolumn = r#"{"name":"Targets","type":"string","jsonPath":".status.targets"}"#)]
#[kube(
    printcolumn = r#"{"name":"Accepted","type":"string","jsonPath":".status.conditions[?(@.type==\"Accepted\")].status"}"#
)]
#[kube(
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Accepted\")].reason"}"#
)]
#[kube(printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#)]
#[kube(
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type==\"Accepted\")].message"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct PolicySpec {
    /// The Ingresses of this namespace that the rules are for. An Ingress may also name the policy, in its annotation
    /// `portcullis.dev/policies`.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub target_refs: Option<Vec<TargetRef>>,
    /// The rules. A `Deny` that matches wins over every `Allow`; where no `Allow` matches, the answer is no.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub rules: Option<Vec<RuleSpec>>,
    /// Fields that this version does not know; any closes the routes.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// An object that a policy is attached to.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// `networking.k8s.io`.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub group: Option<String>,
    /// `Ingress`.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub kind: Option<String>,
    /// The name, in the policy's own namespace.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// One rule: it speaks where all that is written holds.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleSpec {
    /// The name, unique in the policy, that audit and denied page tell.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub name: Option<String>,
    /// `Allow` or `Deny`.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub effect: Option<String>,
    /// Which requests the rule speaks of; absent, all.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestSpec>,
    /// Whom the rule speaks of; an `Allow` must say it.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub principal: Option<PrincipalSpec>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Requests: within a list any entry, across the lists all.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestSpec {
    /// Methods, upper case.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 64)))]
    pub methods: Option<Vec<String>>,
    /// Paths with all below them, by segment; `exact:/x` for one path, in a Deny with and without a slash at its end.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(max = 1024)))]
    pub paths: Option<Vec<String>>,
    /// Hosts, or `*.suffix` for those with one more label.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(max = 253)))]
    pub hosts: Option<Vec<String>>,
    /// Address ranges (CIDR) that the connection comes from.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(max = 64)))]
    pub source_ranges: Option<Vec<String>>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// People: within a list any entry, across the lists all.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrincipalSpec {
    /// Groups, byte for byte as the provider writes them.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(max = 512)))]
    pub groups: Option<Vec<String>>,
    /// Verified e-mail addresses, in any case.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), inner(length(max = 320)))]
    pub emails: Option<Vec<String>>,
    /// Domains of verified e-mail addresses, without those below them.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(max = 253)))]
    pub email_domains: Option<Vec<String>>,
    /// Persons by issuer and subject.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub subjects: Option<Vec<SubjectSpec>>,
    /// Claim path (dots descend) to the values that are accepted: text, number or boolean.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "claims")]
    pub claims: Option<BTreeMap<String, Option<Vec<Value>>>>,
    /// `true`: everybody, signed in or not. Stands alone.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub anyone: Option<bool>,
    /// `true`: everybody who is signed in.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub authenticated: Option<bool>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A person.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubjectSpec {
    /// The issuer identifier.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub issuer: Option<String>,
    /// The subject identifier.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub subject: Option<String>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What became of it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// `metadata.generation` that this speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The Ingresses that the rules decide over, by name, with commas between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<String>,
    /// `Accepted` (the rules can be used and every target is there) and `Programmed` (they decide over live routes).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Claim values are scalars of any type, which a structural schema can say only by leaving the type open.
fn claims(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "nullable": true,
        "maxProperties": 64,
        "additionalProperties": {
            "type": "array",
            "nullable": true,
            "maxItems": 256,
            "items": {"x-kubernetes-preserve-unknown-fields": true},
        },
    })
}
