//! The one judgement of ID tokens: signature, header and every claim that OpenID Connect Core section 3.1.3.7 and RFC 8725
//! ask about. Nothing else in the product reads an ID token.

use aws_lc_rs::digest::{Algorithm as Digest, SHA256, SHA384, SHA512, digest};
use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use crate::identity::{Issuer, Subject};
use crate::secret::Secret;

use super::discovery::Keys;
use super::error::TokenFault;

/// The largest ID token, in characters: 32 KiB of claims, a header and a signature.
const MAX_TOKEN: usize = 46 * 1024;
/// How far clocks may differ, in seconds.
pub const LEEWAY: i64 = 60;
/// How old a token may be when it comes, in seconds.
const MAX_AGE: i64 = 600;

/// What a token is held against.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    pub issuer: &'a Issuer,
    pub client_id: &'a str,
    pub sign_in: SignIn<'a>,
    pub access_token: &'a Secret<String>,
    /// The algorithms that the issuer uses.
    pub algorithms: &'a [Algorithm],
    pub now: Timestamp,
}

/// The sign-in that a token belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum SignIn<'a> {
    /// This one, by the nonce of its attempt.
    New(&'a Secret<String>),
    /// An earlier one, which the token comes to refresh.
    Earlier(&'a Original),
}

/// What the ID token of a sign-in said and those of its refreshes must not contradict (OpenID Connect Core section 12.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Original {
    /// Its nonce.
    pub nonce: Secret<String>,
    /// When the person had signed in at the provider.
    pub auth_time: Option<Timestamp>,
}

/// An ID token that passed.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct IdToken {
    pub subject: Subject,
    pub sid: Option<String>,
    pub acr: Option<String>,
    pub amr: Vec<String>,
    pub auth_time: Option<Timestamp>,
    pub claims: Map<String, Value>,
}

/// Verifies an ID token: all of it, or none.
pub(super) fn verify_login(
    token: &Secret<String>,
    keys: &Keys,
    expected: &Expected<'_>,
) -> Result<IdToken, TokenFault> {
    let (algorithm, claims) = signed_claims(token.expose(), keys, expected.algorithms)?;
    check_parties(&claims, expected)?;
    check_times(&claims, expected.now.as_second())?;
    let auth_time = seconds(&claims, "auth_time")?
        .map(Timestamp::from_second)
        .transpose()
        .map_err(|_| TokenFault::Claim("auth_time"))?;
    check_sign_in(text(&claims, "nonce")?, auth_time, expected.sign_in)?;
    check_access_token(text(&claims, "at_hash")?, algorithm, expected.access_token)?;
    Ok(IdToken {
        subject: subject(&claims)?,
        sid: text(&claims, "sid")?.map(str::to_owned),
        acr: text(&claims, "acr")?.map(str::to_owned),
        amr: texts(&claims, "amr")?,
        auth_time,
        claims,
    })
}

/// The claims behind a signature of the issuer's. The key comes from the issuer's set alone: `jku`, `x5u`, `x5c` and `jwk`
/// are not looked at. The algorithm is one that both sides use and the key is for, so no other can be talked into it.
fn signed_claims(
    token: &str,
    keys: &Keys,
    algorithms: &[Algorithm],
) -> Result<(Algorithm, Map<String, Value>), TokenFault> {
    if token.len() > MAX_TOKEN {
        return Err(TokenFault::TooLarge);
    }
    let header = header(token)?;
    if !algorithms.contains(&header.alg) {
        return Err(TokenFault::Algorithm);
    }
    let key = keys.find(header.kid.as_deref(), header.alg).ok_or(TokenFault::UnknownKey)?;
    let mut signature_alone = Validation::new(header.alg);
    signature_alone.required_spec_claims.clear();
    signature_alone.validate_exp = false;
    signature_alone.validate_aud = false;
    let claims = jsonwebtoken::decode(token, key, &signature_alone).map_err(|error| match error.kind() {
        jsonwebtoken::errors::ErrorKind::Json(_) => TokenFault::Malformed,
        _ => TokenFault::Signature,
    })?;
    Ok((header.alg, claims.claims))
}

fn header(token: &str) -> Result<Header, TokenFault> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenFault::Malformed)?;
    if header.crit.is_some() {
        return Err(TokenFault::Critical);
    }
    match header.typ.as_deref() {
        Some(kind) if !kind.eq_ignore_ascii_case("JWT") => Err(TokenFault::Type),
        _ => Ok(header),
    }
}

/// From the issuer, for us alone, issued to us.
fn check_parties(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), TokenFault> {
    if text(claims, "iss")? != Some(&expected.issuer.0) {
        return Err(TokenFault::Issuer);
    }
    let audience = match claims.get("aud") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => {
            several.iter().map(Value::as_str).collect::<Option<_>>().ok_or(TokenFault::Claim("aud"))?
        }
        _ => return Err(TokenFault::Claim("aud")),
    };
    if audience.is_empty() || audience.iter().any(|one| *one != expected.client_id) {
        return Err(TokenFault::Audience);
    }
    match text(claims, "azp")? {
        Some(party) if party != expected.client_id => Err(TokenFault::AuthorizedParty),
        None if audience.len() > 1 => Err(TokenFault::AuthorizedParty),
        _ => Ok(()),
    }
}

fn check_times(claims: &Map<String, Value>, now: i64) -> Result<(), TokenFault> {
    let expires = seconds(claims, "exp")?.ok_or(TokenFault::Claim("exp"))?;
    let issued = seconds(claims, "iat")?.ok_or(TokenFault::Claim("iat"))?;
    let begins = seconds(claims, "nbf")?.unwrap_or(issued);
    if expires < now - LEEWAY {
        Err(TokenFault::Expired)
    } else if issued.max(begins) > now + LEEWAY {
        Err(TokenFault::Early)
    } else if issued < now - MAX_AGE {
        Err(TokenFault::Stale)
    } else {
        Ok(())
    }
}

/// Bound to the sign-in: a new one has its nonce; at a refresh nonce and time are those of the first token, where they are
/// sent.
fn check_sign_in(nonce: Option<&str>, auth_time: Option<Timestamp>, sign_in: SignIn<'_>) -> Result<(), TokenFault> {
    let is = |ours: &Secret<String>, theirs: &str| bool::from(theirs.as_bytes().ct_eq(ours.expose().as_bytes()));
    match sign_in {
        SignIn::New(ours) if !nonce.is_some_and(|theirs| is(ours, theirs)) => Err(TokenFault::Nonce),
        SignIn::Earlier(first) if nonce.is_some_and(|theirs| !is(&first.nonce, theirs)) => Err(TokenFault::Nonce),
        SignIn::Earlier(Original { auth_time: Some(first), .. }) if auth_time.is_some_and(|time| time != *first) => {
            Err(TokenFault::AuthTime)
        }
        SignIn::New(_) | SignIn::Earlier(_) => Ok(()),
    }
}

/// Bound to the access token beside it, where `at_hash` is sent.
fn check_access_token(hash: Option<&str>, algorithm: Algorithm, token: &Secret<String>) -> Result<(), TokenFault> {
    match hash {
        Some(hash) if hash != access_token_hash(algorithm, token) => Err(TokenFault::AccessTokenHash),
        _ => Ok(()),
    }
}

/// The left half of the hash that goes with the algorithm (OpenID Connect Core section 3.1.3.6; for Ed25519, SHA-512).
fn access_token_hash(algorithm: Algorithm, token: &Secret<String>) -> String {
    let hash: &'static Digest = match algorithm {
        Algorithm::ES384 => &SHA384,
        Algorithm::EdDSA => &SHA512,
        _ => &SHA256,
    };
    let whole = digest(hash, token.expose().as_bytes());
    BASE64URL_NOPAD.encode(&whole.as_ref()[..whole.as_ref().len() / 2])
}

fn subject(claims: &Map<String, Value>) -> Result<Subject, TokenFault> {
    let subject = text(claims, "sub")?.ok_or(TokenFault::Claim("sub"))?;
    let plain = (1..=255).contains(&subject.len()) && subject.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if plain { Ok(Subject(subject.into())) } else { Err(TokenFault::Subject) }
}

fn text<'a>(claims: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, TokenFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenFault::Claim(name)),
    }
}

fn texts(claims: &Map<String, Value>, name: &'static str) -> Result<Vec<String>, TokenFault> {
    match claims.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Array(several)) => several
            .iter()
            .map(|one| one.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or(TokenFault::Claim(name)),
        Some(_) => Err(TokenFault::Claim(name)),
    }
}

/// Whole seconds since 1970, up to the year 9999; a fraction, text or anything else is refused, never taken as absent.
fn seconds(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, TokenFault> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_i64().filter(|seconds| (0..=253_402_300_799).contains(seconds));
    seconds.map(Some).ok_or(TokenFault::Claim(name))
}

#[cfg(any(test, feature = "fuzzing"))]
pub mod signer;
#[cfg(test)]
mod tests;
