//! The token endpoint (RFC 6749 sections 4.1.3 and 6) and userinfo: what is asked, and what an answer may be.

use bytes::Bytes;
use data_encoding::BASE64;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::clock::Clock;
use crate::secret::Secret;

use super::discovery::ClientAuth;
use super::error::TokenFault;
use super::issuer::{Followed, Live};
use super::provider::Provider;
use super::verify::{Expected, IdToken, SignIn, verify_login};

/// The longest life of an access token that is believed, in seconds: a year.
const MAX_LIFE: u32 = 366 * 24 * 3600;

/// What is given for tokens.
#[derive(Debug)]
pub(super) enum Grant {
    Code { code: Secret<String>, verifier: Secret<String>, redirect_uri: String },
    Refresh(Secret<String>),
}

/// What came for it.
#[derive(Debug)]
pub(super) struct Tokens {
    pub access: Secret<String>,
    pub access_expires: Option<Timestamp>,
    pub refresh: Option<Secret<String>>,
    pub id: Option<Secret<String>>,
}

/// Why no tokens came.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum GrantError {
    #[error("the token endpoint does not answer: {0}")]
    Unreachable(String),
    #[error("the token endpoint answers `invalid_grant`")]
    InvalidGrant,
    #[error("the token endpoint answers `{0}`")]
    Refused(String),
    #[error("the token endpoint's answer cannot be used: {0}")]
    Malformed(String),
}

#[derive(Deserialize)]
struct Success {
    access_token: String,
    token_type: String,
    expires_in: Option<u32>,
    refresh_token: Option<String>,
    id_token: Option<String>,
}

#[derive(Deserialize)]
struct Failure {
    error: String,
}

/// Asks the token endpoint once.
pub(super) async fn request(
    live: &Live,
    provider: &Provider,
    grant: &Grant,
    clock: &Clock,
) -> Result<Tokens, GrantError> {
    let (authorization, form) = form(live.metadata.client_auth, provider, grant);
    let answer = live.client.post(&live.metadata.token, authorization, form).await;
    let answer = answer.map_err(|error| GrantError::Unreachable(error.to_string()))?;
    let status = answer.status;
    if status == StatusCode::OK {
        Tokens::parse(&answer.body, clock.now())
    } else if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Err(GrantError::Unreachable(status.to_string()))
    } else if let Ok(Failure { error }) = serde_json::from_slice(&answer.body) {
        Err(if error == "invalid_grant" { GrantError::InvalidGrant } else { GrantError::Refused(printable(&error)) })
    } else {
        Err(GrantError::Malformed(status.to_string()))
    }
}

/// The value of `Authorization`, and the body.
fn form(auth: ClientAuth, provider: &Provider, grant: &Grant) -> (Option<String>, String) {
    let mut form = Serializer::new(String::new());
    match grant {
        Grant::Code { code, verifier, redirect_uri } => form
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", code.expose())
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("code_verifier", verifier.expose()),
        Grant::Refresh(token) => {
            form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token.expose())
        }
    };
    let (id, secret) = (&*provider.client_id, provider.client_secret.expose());
    match auth {
        ClientAuth::Basic => {
            let [id, secret] = [id, secret].map(|text| byte_serialize(text.as_bytes()).collect::<String>());
            (Some(format!("Basic {}", BASE64.encode(format!("{id}:{secret}").as_bytes()))), form.finish())
        }
        ClientAuth::Post => (None, form.append_pair("client_id", id).append_pair("client_secret", secret).finish()),
    }
}

impl Tokens {
    fn parse(body: &[u8], now: Timestamp) -> Result<Self, GrantError> {
        // The text of a parse error names a place and a type, never a value that was fine until then; still, none is shown.
        let success: Success =
            serde_json::from_slice(body).map_err(|_| GrantError::Malformed("it is no token response".to_owned()))?;
        if !success.token_type.eq_ignore_ascii_case("Bearer") {
            return Err(GrantError::Malformed(format!("tokens of type `{}`", printable(&success.token_type))));
        }
        let end = |seconds: u32| now + SignedDuration::from_secs(seconds.min(MAX_LIFE).into());
        Ok(Self {
            access: Secret::new(success.access_token),
            access_expires: success.expires_in.map(end),
            refresh: success.refresh_token.map(Secret::new),
            id: success.id_token.map(Secret::new),
        })
    }

    /// The ID token, verified. For a key that is not known, the issuer is read once more.
    pub async fn verified(
        &self,
        followed: &Followed,
        live: &Live,
        provider: &Provider,
        sign_in: SignIn<'_>,
        clock: &Clock,
    ) -> Result<IdToken, TokenFault> {
        let token = self.id.as_ref().ok_or(TokenFault::Missing)?;
        let verify = |live: &Live| {
            let expected = Expected {
                issuer: &provider.issuer,
                client_id: &provider.client_id,
                sign_in,
                access_token: &self.access,
                algorithms: &live.metadata.algorithms,
                now: clock.now(),
            };
            verify_login(token, &live.keys, &expected)
        };
        match verify(live) {
            Err(TokenFault::UnknownKey) => match followed.read_again(clock.now()).await {
                Ok(live) => verify(&live),
                Err(_) => Err(TokenFault::UnknownKey),
            },
            verdict => verdict,
        }
    }

    /// What the userinfo endpoint says, where there is one.
    pub async fn userinfo(&self, live: &Live) -> Result<Option<Bytes>, String> {
        let Some(endpoint) = &live.metadata.userinfo else { return Ok(None) };
        let answer = live.client.get(endpoint, Some(&self.access)).await.map_err(|error| error.to_string())?;
        if answer.status == StatusCode::OK { Ok(Some(answer.body)) } else { Err(answer.status.to_string()) }
    }
}

/// An error code of a provider as it may be logged: 64 characters of plain ASCII at most.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(64).collect()
}
