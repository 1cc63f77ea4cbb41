//! `IdentityProvider`: who signs people in.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An OpenID Provider.
#[derive(CustomResource, Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(group = "portcullis.dev", version = "v1alpha1", kind = "IdentityProvider", plural = "identityproviders")]
#[kube(status = "IdentityProviderStatus", derive = "PartialEq", derive = "Default")]
#[serde(rename_all = "camelCase")]
pub struct IdentityProviderSpec {
    /// Fields that this version does not know; any closes the routes.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, serde_json::Value>,
}

/// What became of it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct IdentityProviderStatus {}
