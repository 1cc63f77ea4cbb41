//! The authorization code flow: begin, and finish with every check that the standards ask for.

use jiff::Timestamp;

use crate::identity::Principal;
use crate::secret::Secret;

/// One login attempt, sealed in its own cookie between redirect and callback.
#[derive(Clone, Debug)]
pub struct LoginAttempt {
    /// The provider's name.
    pub provider: String,
    /// `state`.
    pub state: Secret<String>,
    /// `nonce`.
    pub nonce: Secret<String>,
    /// The PKCE verifier (RFC 7636).
    pub verifier: Secret<String>,
    /// Where to land: path and query of the same host.
    pub return_to: String,
    /// When it began; it ends ten minutes later.
    pub begun: Timestamp,
}

/// What a login begins with.
#[derive(Clone, Debug)]
pub struct LoginStart {
    /// Where the browser goes.
    pub authorization_url: String,
    /// What its cookie holds.
    pub attempt: LoginAttempt,
}

/// The query of the callback, each parameter at most once.
#[derive(Clone, Debug, Default)]
pub struct Callback {
    /// `code`.
    pub code: Option<Secret<String>>,
    /// `state`.
    pub state: Option<Secret<String>>,
    /// `iss` (RFC 9207).
    pub issuer: Option<String>,
    /// `error`.
    pub error: Option<String>,
}

/// A sign-in that passed every check: the only evidence from which a session begins.
#[derive(Clone, Debug)]
pub struct VerifiedLogin {
    /// Who.
    pub principal: Principal,
    /// The provider's session id.
    pub sid: Option<String>,
    /// Authentication context class.
    pub acr: Option<String>,
    /// Authentication methods.
    pub amr: Vec<String>,
    /// When the person signed in at the provider.
    pub auth_time: Option<Timestamp>,
    /// The refresh token.
    pub refresh_token: Option<Secret<String>>,
    /// The access token's end.
    pub access_expires: Option<Timestamp>,
    /// The ID token, where sign-out needs it.
    pub id_token: Option<Secret<String>>,
}

/// Why a sign-in failed. `Display` is for the log; pages show [`LoginError::code`] and fixed text.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Discovery, keys or token endpoint do not answer.
    #[error("the provider `{provider}` is unreachable: {detail}")]
    Unreachable {
        /// The provider's name.
        provider: String,
        /// What failed.
        detail: String,
    },
}

impl LoginError {
    /// The stable name for audit, metrics and pages.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "provider_unreachable",
        }
    }
}
