//! The provider's signing key, and what it signs.

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::CLIENT_ID;
use super::grants::Grant;

/// The key's id.
const KID: &str = "dev";

/// How long an ID token is good, in seconds.
const LIFETIME: i64 = 300;

/// A P-256 key of this run.
pub struct SigningKey {
    private: EncodingKey,
    public: Value,
}

impl SigningKey {
    /// A fresh key.
    pub fn generate() -> anyhow::Result<Self> {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let point = pair.public_key_raw();
        anyhow::ensure!(point.len() == 65, "a P-256 public key is an uncompressed point");
        let coordinate = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
        let public = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KID,
            "x": coordinate(&point[1..33]), "y": coordinate(&point[33..]),
        });
        Ok(Self { private: EncodingKey::from_ec_der(pair.serialized_der()), public })
    }

    /// The public key as a JWK (RFC 7517).
    pub fn public(&self) -> &Value {
        &self.public
    }

    /// An ID token for a grant.
    pub fn id_token(&self, issuer: &str, grant: &Grant, now: Timestamp) -> String {
        let mut claims = grant.persona.claims();
        let now = now.as_second();
        claims["iss"] = json!(issuer);
        claims["aud"] = json!(CLIENT_ID);
        claims["iat"] = json!(now);
        claims["auth_time"] = json!(grant.signed_in.as_second());
        claims["exp"] = json!(now + LIFETIME);
        if !grant.nonce.is_empty() {
            claims["nonce"] = json!(grant.nonce);
        }
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(KID.to_owned());
        jsonwebtoken::encode(&header, &claims, &self.private).expect("a P-256 key signs ES256")
    }
}
