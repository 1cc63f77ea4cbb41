//! Sign-in with OpenID Connect: metadata and keys by issuer, the authorization code flow with PKCE, one
//! [`verify_login`](verify) that does every check, refresh, and RP-initiated logout.

mod attempt;
mod claims;
mod discovery;
mod error;
mod http;
mod issuer;
mod login;
mod logout;
mod provider;
mod refresh;
mod service;
mod token;
mod verify;

pub use attempt::{Callback, LoginAttempt, LoginStart};
pub use error::{ClaimFault, IssuerFault, LoginError, TokenFault};
pub use issuer::IssuerFailure;
pub use login::VerifiedLogin;
pub use provider::{ClaimPaths, Provider};
pub use refresh::{RefreshError, Refreshed};
pub use service::{IssuerHealth, Oidc};
pub use verify::Original;
#[cfg(feature = "fuzzing")]
pub use verify::signer;
