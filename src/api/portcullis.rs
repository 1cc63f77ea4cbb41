//! `Portcullis`: the settings of one installation.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The settings of one installation.
#[derive(CustomResource, Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(group = "portcullis.dev", version = "v1alpha1", kind = "Portcullis", plural = "portcullises")]
#[kube(status = "PortcullisStatus", derive = "PartialEq", derive = "Default")]
#[serde(rename_all = "camelCase")]
pub struct PortcullisSpec {
    /// Fields that this version does not know; any closes the routes.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, serde_json::Value>,
}

/// What became of it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct PortcullisStatus {}
