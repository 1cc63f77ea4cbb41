//! `Portcullis`: the settings of one installation.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Unknown, written};

/// The settings of one installation, named by `parameters` of an IngressClass.
#[derive(CustomResource, Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(group = "portcullis.dev", version = "v1alpha1", kind = "Portcullis", plural = "portcullises")]
#[kube(doc = "The settings of one installation, named by `parameters` of an IngressClass.")]
#[kube(status = "PortcullisStatus", derive = "PartialEq", derive = "Default")]
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
pub struct PortcullisSpec {
    /// Names of the IdentityProviders that are offered; the first is the one of a route that names none.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub providers: Option<Vec<String>>,
    /// What routes get that no policy covers, and what Ingresses may say of it.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessSpec>,
    /// Which namespaces may serve which hosts.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub hosts: Option<HostsSpec>,
    /// How long sessions live.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionSpec>,
    /// What is said about TLS.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
    /// Fields that this version does not know; any closes the routes of the class.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Access to routes that no policy covers.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessSpec {
    /// `Deny` (the default), `Authenticated` or `Public`: what a route gets that no policy covers.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub default: Option<String>,
    /// `Allowed` (the default) or `Forbidden`: whether an Ingress may open itself with `portcullis.dev/access: public`.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub public: Option<String>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Ownership of hosts.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostsSpec {
    /// `FirstNamespace` (the default): the namespace of the oldest Ingress owns a host; `Shared`: any may add paths.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub ownership: Option<String>,
    /// Hosts that certain namespaces alone may serve, before any question of age.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub claims: Option<Vec<HostClaim>>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Hosts kept for namespaces.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostClaim {
    /// A host; `*.suffix` for all hosts below a suffix; `*` for all. The most specific claim on a host decides.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub pattern: Option<String>,
    /// The namespaces that may serve them.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(max = 63)))]
    pub namespaces: Option<Vec<String>>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Lives of sessions.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionSpec {
    /// From sign-in to the end, whatever happens, such as `12h` (the default).
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub lifetime: Option<String>,
    /// Without a request, such as `1h` (the default).
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub idle_timeout: Option<String>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// TLS.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsSpec {
    /// The `Strict-Transport-Security` of guarded hosts (RFC 6797).
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub hsts: Option<HstsSpec>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// HTTP Strict Transport Security.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HstsSpec {
    /// For how long browsers are told to keep to HTTPS, such as `8760h` (the default); `0s` takes it back.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub max_age: Option<String>,
    /// Whether hosts below are meant too; not by default.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub include_sub_domains: Option<bool>,
    /// Whether browsers may build it in; not by default.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub preload: Option<bool>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What became of it; said where a class names it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortcullisStatus {
    /// `metadata.generation` that this speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted` (the settings can be used and every provider is there).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
