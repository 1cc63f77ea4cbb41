//! The handle that the proxy and the status writer hold: results by issuer, work on the control runtime.

use std::sync::Arc;

use crate::clock::Clock;
use crate::identity::{Issuer, Principal};
use crate::secret::Secret;

use super::{Callback, LoginAttempt, LoginError, LoginStart, Provider, RefreshError, Refreshed, VerifiedLogin};

/// What is known of an issuer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IssuerHealth {
    /// Nothing yet.
    Unknown,
    /// Metadata and keys are there.
    Ready,
    /// They are not; why.
    Failed(String),
}

/// OpenID Connect for the process. Cheap to clone.
#[derive(Clone)]
pub struct Oidc {}

impl Oidc {
    /// A handle that works on `control`.
    pub fn new(clock: Clock, control: tokio::runtime::Handle) -> Self {
        let _ = (clock, control);
        todo!()
    }

    /// Fetches metadata and keys of a provider ahead of the first sign-in, and keeps looking.
    pub fn warm(&self, provider: Arc<Provider>) {
        let _ = provider;
        todo!()
    }

    /// What is known of an issuer.
    pub fn health(&self, issuer: &Issuer) -> IssuerHealth {
        let _ = issuer;
        todo!()
    }

    /// Begins a login. `redirect_uri` is built from the public authority.
    pub async fn begin(
        &self,
        provider: Arc<Provider>,
        redirect_uri: String,
        return_to: String,
    ) -> Result<LoginStart, LoginError> {
        let _ = (provider, redirect_uri, return_to);
        todo!()
    }

    /// Finishes it: redeems the code and verifies everything.
    pub async fn finish(
        &self,
        provider: Arc<Provider>,
        redirect_uri: String,
        attempt: LoginAttempt,
        callback: Callback,
    ) -> Result<VerifiedLogin, LoginError> {
        let _ = (provider, redirect_uri, attempt, callback);
        todo!()
    }

    /// Refreshes.
    pub async fn refresh(
        &self,
        provider: Arc<Provider>,
        principal: Principal,
        refresh_token: Secret<String>,
    ) -> Result<Refreshed, RefreshError> {
        let _ = (provider, principal, refresh_token);
        todo!()
    }

    /// Where sign-out goes on to (RP-Initiated Logout 1.0 section 2), where the provider has it and wants it.
    pub async fn logout_url(
        &self,
        provider: Arc<Provider>,
        id_token: Option<Secret<String>>,
        post_logout_redirect_uri: String,
    ) -> Option<String> {
        let _ = (provider, id_token, post_logout_redirect_uri);
        todo!()
    }
}
