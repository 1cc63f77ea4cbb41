//! An OpenID Provider as configured: everything known before the first request to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::identity::Issuer;
use crate::secret::Secret;

/// A provider. Two are equal when a sign-in through them would be the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Provider {
    /// The name of its `IdentityProvider`, which is also in the callback path.
    pub name: Arc<str>,
    /// What people read on the sign-in button.
    pub display_name: Arc<str>,
    /// The issuer identifier.
    pub issuer: Issuer,
    /// The client id.
    pub client_id: Arc<str>,
    /// The client secret.
    pub client_secret: Secret<String>,
    /// Scopes, `openid` among them.
    pub scopes: Box<[Box<str>]>,
    /// Where claims are found.
    pub claims: ClaimPaths,
    /// Claims that policies ask for, kept in the session.
    pub kept_claims: BTreeSet<String>,
    /// Extra trust anchors (PEM) for calls to this issuer, in place of the system's.
    pub ca_bundle: Option<Arc<[u8]>>,
    /// Whether a plain-HTTP issuer on loopback is accepted, in `dev` alone.
    pub loopback_http: bool,
    /// Whether an e-mail address counts only with `email_verified`.
    pub require_verified_email: bool,
    /// Domains outside which sign-in is refused; empty: none refused.
    pub allowed_email_domains: Box<[Box<str>]>,
    /// Whether sign-out goes on to the provider.
    pub rp_initiated_logout: bool,
}

/// Claim paths (dots descend) of what a principal is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimPaths {
    /// E-mail address.
    pub email: Box<str>,
    /// Groups.
    pub groups: Box<str>,
    /// Display name.
    pub name: Box<str>,
    /// Short name.
    pub username: Box<str>,
}
