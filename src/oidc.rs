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
pub use claims::{MAX_CLAIMS, MAX_GROUPS};
pub use discovery::MAX_KEYS;
pub use error::{ClaimFault, IssuerFault, LoginError, TokenFault};
pub use http::MAX_ANSWER;
pub use issuer::{IssuerFailure, MAX_SIGN_INS};
pub use login::VerifiedLogin;
pub use provider::{ClaimPaths, Provider};
pub use refresh::{RefreshError, Refreshed};
pub use service::{IssuerHealth, Oidc};
#[cfg(feature = "fuzzing")]
pub use verify::signer;
pub use verify::{LEEWAY, Original};
