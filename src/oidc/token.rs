//! Refresh.

use jiff::Timestamp;

use crate::identity::Principal;
use crate::secret::Secret;

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
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// `invalid_grant`, or an ID token of somebody else: the session ends.
    #[error("the provider ended the session: {0}")]
    Ended(String),
    /// Anything else: the session goes on, and it is tried again later.
    #[error("the provider did not refresh: {0}")]
    Later(String),
}
