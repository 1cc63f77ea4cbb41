//! Sign-in with OpenID Connect: discovery and keys by issuer, the authorization code flow with PKCE, one
//! [`verify_login`](login) that does every check, refresh, and RP-initiated logout.

mod discovery;
mod http;
mod login;
mod logout;
mod provider;
mod service;
mod token;

pub use login::{Callback, LoginAttempt, LoginError, LoginStart, VerifiedLogin};
pub use provider::{ClaimPaths, Provider};
pub use service::{IssuerHealth, Oidc};
pub use token::{RefreshError, Refreshed};
