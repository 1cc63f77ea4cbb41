//! Refresh (OpenID Connect Core section 12): new tokens for a session, and what the provider says of the person now.

use jiff::Timestamp;

use crate::clock::Clock;
use crate::identity::Principal;
use crate::secret::Secret;

use super::claims::Claims;
use super::error::{ClaimFault, TokenFault};
use super::issuer::{Followed, Live};
use super::provider::Provider;
use super::token::{self, Grant, GrantError};
use super::verify::{Original, SignIn};

/// What a refresh gave.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// The principal, as the provider sees it now.
    pub principal: Principal,
    /// The rotated refresh token, or the old one.
    pub refresh_token: Secret<String>,
    /// The new access token's end.
    pub access_expires: Option<Timestamp>,
    /// A new ID token, where one came and sign-out needs it.
    pub id_token: Option<Secret<String>>,
}

/// Why a refresh failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RefreshError {
    /// `invalid_grant`, or an ID token or claims that are refused: the session ends.
    #[error("the provider ended the session: {0}")]
    Ended(String),
    /// Anything else: the session goes on, and it is tried again later.
    #[error("the provider did not refresh: {0}")]
    Later(String),
}

impl From<GrantError> for RefreshError {
    fn from(error: GrantError) -> Self {
        let text = error.to_string();
        if error == GrantError::InvalidGrant { Self::Ended(text) } else { Self::Later(text) }
    }
}

impl From<TokenFault> for RefreshError {
    fn from(fault: TokenFault) -> Self {
        let text = format!("the new ID token is refused: {fault}");
        if fault == TokenFault::UnknownKey { Self::Later(text) } else { Self::Ended(text) }
    }
}

impl From<ClaimFault> for RefreshError {
    fn from(fault: ClaimFault) -> Self {
        Self::Ended(format!("the new claims are refused: {fault}"))
    }
}

/// Refreshes. The person stays the same; groups and the rest come from the new ID token, else from userinfo, and are gone
/// where all that there is was read and has none; else they stay as they were. A userinfo endpoint that does not answer
/// takes nothing away: the tokens are new already, and are kept.
pub(super) async fn refresh(
    followed: &Followed,
    live: &Live,
    provider: &Provider,
    (before, original): (Principal, &Original),
    refresh_token: Secret<String>,
    clock: &Clock,
) -> Result<Refreshed, RefreshError> {
    let grant = Grant::Refresh(refresh_token.clone());
    let tokens = token::request(live, provider, &grant, clock).await?;
    let subject = before.identity.subject.clone();
    let mut claims = Claims::default();
    if tokens.id.is_some() {
        let id_token = tokens.verified(followed, live, provider, SignIn::Earlier(original), clock).await?;
        if id_token.subject != subject {
            return Err(TokenFault::OtherPerson.into());
        }
        claims = Claims::new(id_token.claims);
    }
    if claims.lack(provider) {
        match tokens.userinfo(live).await {
            Ok(Some(body)) => claims.add_userinfo(&body, &subject)?,
            Ok(None) if tokens.id.is_some() => claims.end(),
            Ok(None) | Err(_) => {}
        }
    }
    Ok(Refreshed {
        principal: claims.update(provider, before)?,
        refresh_token: tokens.refresh.unwrap_or(refresh_token),
        access_expires: tokens.access_expires,
        id_token: tokens.id.filter(|_| provider.rp_initiated_logout),
    })
}
