//! The authorization code flow with PKCE (RFC 7636): begin it, judge its callback, redeem its code.

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use rand::CryptoRng;
use sha2::{Digest, Sha256};

use crate::clock::Clock;
use crate::identity::Principal;
use crate::secret::Secret;

use super::attempt::{Callback, LoginAttempt, LoginStart, UsedStates};
use super::claims::Claims;
use super::error::LoginError;
use super::issuer::{Followed, Live};
use super::provider::Provider;
use super::token::{self, Grant, GrantError, Tokens, printable};
use super::verify::{Original, SignIn};

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
    /// What refreshes are held against.
    pub original: Original,
    /// The refresh token.
    pub refresh_token: Option<Secret<String>>,
    /// The access token's end.
    pub access_expires: Option<Timestamp>,
    /// The ID token, where sign-out needs it.
    pub id_token: Option<Secret<String>>,
}

/// Begins a login (OpenID Connect Core section 3.1.2.1).
pub(super) fn begin(
    live: &Live,
    provider: &Provider,
    redirect_uri: &str,
    return_to: String,
    now: Timestamp,
    random: &mut impl CryptoRng,
) -> LoginStart {
    let attempt = LoginAttempt {
        provider: provider.name.as_ref().to_owned(),
        state: random_text(random),
        nonce: random_text(random),
        verifier: random_text(random),
        return_to,
        begun: now,
    };
    let challenge = BASE64URL_NOPAD.encode(&Sha256::digest(attempt.verifier.expose()));
    let mut url = live.metadata.authorization.url();
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &provider.client_id)
        .append_pair("redirect_uri", redirect_uri)
        .append_pair("scope", &provider.scopes.join(" "))
        .append_pair("state", attempt.state.expose())
        .append_pair("nonce", attempt.nonce.expose())
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    LoginStart { authorization_url: Secret::new(url.into()), attempt }
}

/// 256 random bits in 43 characters, which is also what RFC 7636 section 4.1 asks of a verifier.
fn random_text(random: &mut impl CryptoRng) -> Secret<String> {
    let mut bytes = [0; 32];
    random.fill_bytes(&mut bytes);
    Secret::new(BASE64URL_NOPAD.encode(&bytes))
}

/// Whether a callback belongs to the attempt, which it ends: no call has been made yet.
pub(super) fn check_attempt(
    provider: &Provider,
    attempt: &LoginAttempt,
    callback: &Callback,
    used: &mut UsedStates,
    now: Timestamp,
) -> Result<(), LoginError> {
    if attempt.provider != *provider.name {
        return Err(LoginError::AttemptForeign(attempt.provider.clone()));
    }
    if attempt.is_over(now) {
        return Err(LoginError::AttemptExpired);
    }
    match &callback.state {
        None => Err(LoginError::StateMissing),
        Some(state) if *state != attempt.state => Err(LoginError::StateForeign),
        Some(state) if !used.take(state, now) => Err(LoginError::StateReused),
        Some(_) => Ok(()),
    }
}

/// The code of a callback that comes from this issuer and no other (RFC 9207 section 2.4).
pub(super) fn code(live: &Live, provider: &Provider, callback: Callback) -> Result<Secret<String>, LoginError> {
    match callback.issuer {
        Some(issuer) if issuer != *provider.issuer.0 => return Err(LoginError::IssuerForeign),
        None if live.metadata.sends_issuer => return Err(LoginError::IssuerMissing),
        _ => {}
    }
    match callback.error.as_deref() {
        Some("access_denied") => Err(LoginError::AccessDenied),
        Some(error) => Err(LoginError::Refused(printable(error))),
        None => callback.code.ok_or(LoginError::CodeMissing),
    }
}

/// Redeems the code, verifies the ID token and makes the principal.
pub(super) async fn redeem(
    followed: &Followed,
    live: &Live,
    provider: &Provider,
    grant: &Grant,
    nonce: &Secret<String>,
    clock: &Clock,
) -> Result<VerifiedLogin, LoginError> {
    let tokens = token::request(live, provider, grant, clock).await.map_err(|error| refusal(provider, error))?;
    let mut id_token = tokens.verified(followed, live, provider, SignIn::New(nonce), clock).await?;
    let mut claims = Claims::new(std::mem::take(&mut id_token.claims));
    if claims.lack(provider) {
        match userinfo(live, provider, &tokens).await {
            Ok(Some(body)) => claims.add_userinfo(&body, &id_token.subject)?,
            Err(error) if claims.lack_needed(provider) => return Err(error),
            Ok(None) | Err(_) => {}
        }
    }
    Ok(VerifiedLogin {
        principal: claims.principal(provider, id_token.subject)?,
        sid: id_token.sid,
        acr: id_token.acr,
        amr: id_token.amr,
        original: Original { nonce: nonce.clone(), auth_time: id_token.auth_time },
        refresh_token: tokens.refresh,
        access_expires: tokens.access_expires,
        id_token: tokens.id.filter(|_| provider.rp_initiated_logout),
    })
}

async fn userinfo(live: &Live, provider: &Provider, tokens: &Tokens) -> Result<Option<bytes::Bytes>, LoginError> {
    tokens
        .userinfo(live)
        .await
        .map_err(|error| unreachable(provider, format!("the userinfo endpoint answers: {error}")))
}

/// A provider that does not answer, which is no fault of the person's.
pub(super) fn unreachable(provider: &Provider, detail: String) -> LoginError {
    LoginError::Unreachable { provider: provider.name.as_ref().to_owned(), detail }
}

fn refusal(provider: &Provider, error: GrantError) -> LoginError {
    match error {
        GrantError::Unreachable(_) => unreachable(provider, error.to_string()),
        GrantError::InvalidGrant => LoginError::CodeRefused,
        GrantError::Refused(error) => LoginError::ClientRefused(error),
        GrantError::Malformed(_) => LoginError::Answer(error.to_string()),
    }
}
