//! What an issuer publishes about itself: its metadata (OpenID Connect Discovery 1.0 section 3) and its keys (RFC 7517),
//! parsed into what sign-in uses, or refused.

use http::StatusCode;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use crate::identity::Issuer;

use super::error::IssuerFault;
use super::http::{Answer, Client, Endpoint, HttpError};

/// The signature algorithms of ID tokens that are believed; what an issuer lists beside them is not.
const ALGORITHMS: [(&str, Algorithm); 5] = [
    ("RS256", Algorithm::RS256),
    ("PS256", Algorithm::PS256),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];
/// The most keys of an issuer.
pub const MAX_KEYS: usize = 100;

/// The metadata of an issuer.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Metadata {
    pub authorization: Endpoint,
    pub token: Endpoint,
    pub userinfo: Option<Endpoint>,
    pub end_session: Option<Endpoint>,
    pub client_auth: ClientAuth,
    /// Ours that the issuer uses.
    pub algorithms: Vec<Algorithm>,
    /// Whether each callback has `iss` (RFC 9207 section 3).
    pub sends_issuer: bool,
    jwks: Endpoint,
}

/// How the client shows itself at the token endpoint (OpenID Connect Core section 9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ClientAuth {
    Basic,
    Post,
}

/// The signing keys of an issuer.
#[derive(Clone, Debug)]
pub(super) struct Keys(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    /// The algorithms that this key may verify.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// Why the issuer cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum DiscoveryError {
    #[error("no call can be made: {0}")]
    Client(#[from] HttpError),
    #[error("the issuer identifier cannot be used: {0}")]
    Issuer(String),
    #[error("`{url}` does not answer: {error}")]
    Unreachable { url: String, error: HttpError },
    #[error("`{url}` answers {status}")]
    Status { url: String, status: StatusCode },
    #[error("the {what} cannot be read: {detail}")]
    Unreadable { what: &'static str, detail: String },
    #[error("the metadata is of the issuer `{0}`")]
    OtherIssuer(String),
    #[error("`{field}` of the metadata cannot be used: {detail}")]
    Endpoint { field: &'static str, detail: String },
    #[error("the issuer offers {0}")]
    Unsupported(&'static str),
    #[error("the issuer has {0} keys, more than {MAX_KEYS}")]
    TooManyKeys(usize),
    #[error("the issuer has no key that can verify a signature")]
    NoKeys,
}

impl DiscoveryError {
    /// In kind.
    pub fn fault(&self) -> IssuerFault {
        match self {
            Self::Client(_) => IssuerFault::TrustAnchors,
            Self::Issuer(_) => IssuerFault::Identifier,
            Self::Unreachable { error: HttpError::Untrusted(_), .. } => IssuerFault::NotTrusted,
            Self::Unreachable { error: HttpError::TooLarge, .. } | Self::TooManyKeys(_) => IssuerFault::TooLarge,
            Self::Unreachable { .. } => IssuerFault::Unreachable,
            Self::Status { .. } => IssuerFault::Status,
            Self::Unreadable { .. } | Self::Endpoint { .. } => IssuerFault::Document,
            Self::OtherIssuer(_) => IssuerFault::Mismatch,
            Self::Unsupported(_) => IssuerFault::Unsupported,
            Self::NoKeys => IssuerFault::NoUsableKeys,
        }
    }
}

/// The wire form; what sign-in does not use is not read.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    end_session_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    id_token_signing_alg_values_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// Reads the metadata and then the keys of an issuer.
pub(super) async fn read(
    client: &Client,
    issuer: &Issuer,
    loopback_http: bool,
) -> Result<(Metadata, Keys), DiscoveryError> {
    let url = format!("{}/.well-known/openid-configuration", issuer.0.strip_suffix('/').unwrap_or(&issuer.0));
    let home = Endpoint::parse(&url, loopback_http).map_err(DiscoveryError::Issuer)?;
    let metadata = Metadata::parse(&fetch(client, &home).await?, issuer, loopback_http)?;
    let keys = Keys::parse(&fetch(client, &metadata.jwks).await?)?;
    Ok((metadata, keys))
}

async fn fetch(client: &Client, endpoint: &Endpoint) -> Result<bytes::Bytes, DiscoveryError> {
    let url = || endpoint.url().to_string();
    match client.get(endpoint, None).await {
        Ok(Answer { status: StatusCode::OK, body }) => Ok(body),
        Ok(Answer { status, .. }) => Err(DiscoveryError::Status { url: url(), status }),
        Err(error) => Err(DiscoveryError::Unreachable { url: url(), error }),
    }
}

impl Metadata {
    fn parse(text: &[u8], issuer: &Issuer, loopback_http: bool) -> Result<Self, DiscoveryError> {
        let document: Document = parse_json("metadata", text)?;
        if document.issuer != *issuer.0 {
            return Err(DiscoveryError::OtherIssuer(document.issuer));
        }
        if document.code_challenge_methods_supported.is_some_and(|methods| !methods.iter().any(|m| m == "S256")) {
            return Err(DiscoveryError::Unsupported("no PKCE with S256"));
        }
        let endpoint = |field, text: &str| {
            Endpoint::parse(text, loopback_http).map_err(|detail| DiscoveryError::Endpoint { field, detail })
        };
        let optional = |field, text: Option<String>| text.map(|text| endpoint(field, &text)).transpose();
        Ok(Self {
            authorization: endpoint("authorization_endpoint", &document.authorization_endpoint)?,
            token: endpoint("token_endpoint", &document.token_endpoint)?,
            jwks: endpoint("jwks_uri", &document.jwks_uri)?,
            userinfo: optional("userinfo_endpoint", document.userinfo_endpoint)?,
            end_session: optional("end_session_endpoint", document.end_session_endpoint)?,
            client_auth: client_auth(document.token_endpoint_auth_methods_supported)?,
            algorithms: algorithms(document.id_token_signing_alg_values_supported)?,
            sends_issuer: document.authorization_response_iss_parameter_supported,
        })
    }
}

/// Basic where the issuer names no methods (OpenID Connect Discovery section 3).
fn client_auth(methods: Option<Vec<String>>) -> Result<ClientAuth, DiscoveryError> {
    let Some(methods) = methods else { return Ok(ClientAuth::Basic) };
    let offers = |method| methods.iter().any(|offered| offered == method);
    if offers("client_secret_basic") {
        Ok(ClientAuth::Basic)
    } else if offers("client_secret_post") {
        Ok(ClientAuth::Post)
    } else {
        Err(DiscoveryError::Unsupported("neither `client_secret_basic` nor `client_secret_post`"))
    }
}

/// RS256, which every issuer must have, where it names none.
fn algorithms(offered: Option<Vec<String>>) -> Result<Vec<Algorithm>, DiscoveryError> {
    let Some(offered) = offered else { return Ok(vec![Algorithm::RS256]) };
    let known = |(name, algorithm): (&str, _)| offered.iter().any(|o| o == name).then_some(algorithm);
    let usable: Vec<_> = ALGORITHMS.into_iter().filter_map(known).collect();
    if usable.is_empty() {
        Err(DiscoveryError::Unsupported("no signature algorithm that is believed"))
    } else {
        Ok(usable)
    }
}

impl Keys {
    /// Takes the keys that verify signatures; the others, and kinds that are not known, are left out.
    pub fn parse(text: &[u8]) -> Result<Self, DiscoveryError> {
        let set: KeySet = parse_json("key set", text)?;
        if set.keys.len() > MAX_KEYS {
            return Err(DiscoveryError::TooManyKeys(set.keys.len()));
        }
        let keys: Vec<_> = set.keys.into_iter().filter_map(Key::parse).collect();
        if keys.is_empty() { Err(DiscoveryError::NoKeys) } else { Ok(Self(keys)) }
    }

    /// The key of this id for this algorithm; without an id, the only key there is for it (OpenID Connect Core 10.1).
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let fits = |key: &&Key| key.algorithms.contains(&algorithm) && (id.is_none() || key.id.as_deref() == id);
        let mut fitting = self.0.iter().filter(fits);
        let first = fitting.next()?;
        (id.is_some() || fitting.next().is_none()).then_some(&first.key)
    }
}

impl Key {
    fn parse(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let common = &jwk.common;
        let verifies = common.public_key_use.as_ref().is_none_or(|u| *u == PublicKeyUse::Signature)
            && common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        let of_kind: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &[Algorithm::RS256, Algorithm::PS256],
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[Algorithm::ES256],
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[Algorithm::ES384],
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
            _ => &[],
        };
        let bound =
            |algorithm: &Algorithm| common.key_algorithm.is_none_or(|only| only == KeyAlgorithm::from(*algorithm));
        let algorithms: Vec<_> = of_kind.iter().copied().filter(bound).collect();
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        (verifies && !algorithms.is_empty()).then(|| Self { id: common.key_id.clone(), algorithms, key })
    }
}

fn parse_json<T: for<'de> Deserialize<'de>>(what: &'static str, text: &[u8]) -> Result<T, DiscoveryError> {
    serde_json::from_slice(text).map_err(|error| DiscoveryError::Unreadable { what, detail: error.to_string() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rsa(kid: Option<&str>, more: &Value) -> Value {
        let mut jwk = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" });
        jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        jwk.as_object_mut().unwrap().extend(kid.map(|kid| ("kid".to_owned(), json!(kid))));
        jwk
    }

    fn keys(keys: &[Value]) -> Keys {
        Keys::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn without_an_id_only_the_only_key_for_the_algorithm_is_found() {
        let curve = json!({ "kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB" });
        let one_each = keys(&[rsa(Some("a"), &json!({})), curve]);
        assert!(one_each.find(None, Algorithm::RS256).is_some());
        assert!(one_each.find(None, Algorithm::ES256).is_some());
        assert!(one_each.find(None, Algorithm::ES384).is_none());
        let two = keys(&[rsa(Some("a"), &json!({})), rsa(Some("b"), &json!({}))]);
        assert!(two.find(None, Algorithm::RS256).is_none());
        assert!(two.find(Some("b"), Algorithm::RS256).is_some());
    }

    #[test]
    fn a_key_without_an_id_is_not_found_by_one() {
        assert!(keys(&[rsa(None, &json!({}))]).find(Some("a"), Algorithm::RS256).is_none());
    }

    #[test]
    fn a_key_is_bound_to_its_algorithm_and_use() {
        let bound = keys(&[rsa(Some("a"), &json!({ "alg": "PS256", "use": "sig" }))]);
        assert!(bound.find(Some("a"), Algorithm::PS256).is_some());
        assert!(bound.find(Some("a"), Algorithm::RS256).is_none());
        let others = [
            rsa(Some("b"), &json!({ "use": "enc" })),
            rsa(Some("b"), &json!({ "key_ops": ["encrypt"] })),
            rsa(Some("b"), &json!({ "alg": "RSA-OAEP" })),
            json!({ "kty": "oct", "k": "AQAB", "kid": "b" }),
            json!({ "kty": "EC", "crv": "P-521", "x": "AQAB", "y": "AQAB", "kid": "b" }),
            json!({ "kty": "new", "kid": "b" }),
            json!("b"),
        ];
        for other in others {
            let mixed = keys(&[rsa(Some("a"), &json!({})), other.clone()]);
            for (_, algorithm) in ALGORITHMS {
                assert!(mixed.find(Some("b"), algorithm).is_none(), "{other}");
            }
        }
    }
}
