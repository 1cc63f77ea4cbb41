//! `Policy`: an app team's rules.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
#[kube(status = "PolicyStatus", derive = "PartialEq", derive = "Default")]
#[serde(rename_all = "camelCase")]
pub struct PolicySpec {
    /// Fields that this version does not know; any closes the routes.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, serde_json::Value>,
}

/// What became of it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct PolicyStatus {}
