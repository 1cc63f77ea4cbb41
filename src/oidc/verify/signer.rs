//! An issuer that signs whatever it is told to: for tests, and for the fuzz target of `verify_login`.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use jsonwebtoken::EncodingKey;
use serde_json::json;

use super::*;

/// The time by which its tokens are judged, in seconds since 1970.
pub const NOW: i64 = 1_800_000_000;

/// An issuer with one ES256 key, and what is expected of its tokens.
pub struct Signer {
    private: EncodingKey,
    keys: Keys,
    issuer: Issuer,
    pub(super) nonce: Secret<String>,
    pub(super) access_token: Secret<String>,
}

impl Signer {
    /// One with a key of its own.
    pub fn new() -> Self {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let document = document.expect("the system has random bytes");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).expect("just made");
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (BASE64URL_NOPAD.encode(x), BASE64URL_NOPAD.encode(y));
        let set = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "a", "x": x, "y": y }] });
        Self {
            private: EncodingKey::from_ec_der(document.as_ref()),
            keys: Keys::parse(set.to_string().as_bytes()).expect("a set with one key"),
            issuer: Issuer("https://issuer.example.com".into()),
            nonce: Secret::new("n-1".to_owned()),
            access_token: Secret::new("access".to_owned()),
        }
    }

    /// A token with this header and payload, whatever they are.
    pub fn sign(&self, header: &str, payload: &str) -> String {
        let message = [header, payload].map(|part| BASE64URL_NOPAD.encode(part.as_bytes())).join(".");
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.private, Algorithm::ES256);
        format!("{message}.{}", signature.expect("the key is for ES256"))
    }

    /// The claims of a token that a new sign-in takes: from `https://issuer.example.com` for `us`, with the nonce `n-1`.
    pub fn believed(&self, token: String) -> Option<Map<String, Value>> {
        self.verify_of(token, SignIn::New(&self.nonce)).ok().map(|token| token.claims)
    }

    pub(super) fn verify_of(&self, token: String, sign_in: SignIn<'_>) -> Result<IdToken, TokenFault> {
        let expected = Expected {
            issuer: &self.issuer,
            client_id: "us",
            sign_in,
            access_token: &self.access_token,
            algorithms: &[Algorithm::ES256, Algorithm::RS256],
            now: Timestamp::from_second(NOW).expect("a time"),
        };
        verify_login(&Secret::new(token), &self.keys, &expected)
    }
}
