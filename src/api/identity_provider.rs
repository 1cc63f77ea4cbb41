//! `IdentityProvider`: who signs people in.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Unknown, written};

/// An OpenID Provider that people sign in at.
#[derive(CustomResource, Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(group = "portcullis.dev", version = "v1alpha1", kind = "IdentityProvider", plural = "identityproviders")]
#[kube(doc = "An OpenID Provider that people sign in at.")]
#[kube(status = "IdentityProviderStatus", derive = "PartialEq", derive = "Default")]
#[kube(printcolumn = r#"{"name":"Issuer","type":"string","jsonPath":".spec.issuer"}"#)]
#[kube(
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#
)]
#[kube(
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#
)]
#[kube(
    printcolumn = r#"{"name":"Message","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#
)]
#[kube(printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#)]
#[serde(rename_all = "camelCase")]
pub struct IdentityProviderSpec {
    /// The issuer identifier, an `https` URL, byte for byte as the provider writes it.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub issuer: Option<String>,
    /// What people read on the sign-in page; by default the name of this object.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub display_name: Option<String>,
    /// The Secret with `client_id` and `client_secret`.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub client_secret_ref: Option<SecretRef>,
    /// Scopes to ask for; `openid` always is. By default `openid`, `email` and `profile`.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), inner(length(max = 256)))]
    pub scopes: Option<Vec<String>>,
    /// Where claims are found.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub claims: Option<ClaimsSpec>,
    /// Whether an e-mail address counts only with `email_verified`; it does by default.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub require_verified_email: Option<bool>,
    /// Domains outside which sign-in is refused; absent, none is.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(max = 253)))]
    pub allowed_email_domains: Option<Vec<String>>,
    /// The Secret with `ca.crt`: trust anchors for calls to this issuer, in place of the system's.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<SecretRef>,
    /// Signing out.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub logout: Option<LogoutSpec>,
    /// Fields that this version does not know; any closes the routes that need this provider.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A Secret of the installation's namespace.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// The namespace of the installation, the only one that is read; it may be left out.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
    /// The name.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Claim paths; dots descend.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimsSpec {
    /// The e-mail address; by default `email`.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub email: Option<String>,
    /// The groups; by default `groups`.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub groups: Option<String>,
    /// The name for display; by default `name`.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub name: Option<String>,
    /// The short name; by default `preferred_username`.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub username: Option<String>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Signing out.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogoutSpec {
    /// Whether sign-out goes on to the provider (RP-Initiated Logout 1.0) where it has the endpoint; it does by default.
    #[serde(default, deserialize_with = "written", skip_serializing_if = "Option::is_none")]
    pub rp_initiated: Option<bool>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What became of it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityProviderStatus {
    /// `metadata.generation` that this speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted` (the object can be used) and `Ready` (the issuer's metadata and keys are there).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
