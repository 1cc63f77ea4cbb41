//! The keys of the provider: those that sign its tokens, and the one of its certificate.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RsaKeyPair, RsaPublicKeyComponents,
};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

/// A key pair with its public half as JWK.
#[derive(Clone)]
pub struct SigningKey {
    pub algorithm: Algorithm,
    pub jwk: Value,
    /// The public key as an attacker could take it for an HMAC secret.
    pub public: Vec<u8>,
    pub private: EncodingKey,
}

impl SigningKey {
    /// A new key of this id.
    pub fn generate(kid: &str, algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::ES256 => Self::ec(kid, algorithm, &ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
            Algorithm::ES384 => Self::ec(kid, algorithm, &ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            Algorithm::EdDSA => Self::ed25519(kid),
            _ => Self::rsa(kid, algorithm),
        }
    }

    fn ec(kid: &str, algorithm: Algorithm, kind: &'static EcdsaSigningAlgorithm, curve: &str) -> Self {
        let document = EcdsaKeyPair::generate_pkcs8(kind, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(kind, document.as_ref()).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(point.len() / 2);
        let jwk = json!({
            "kty": "EC", "crv": curve, "use": "sig", "kid": kid,
            "x": BASE64URL_NOPAD.encode(x), "y": BASE64URL_NOPAD.encode(y),
        });
        Self { algorithm, jwk, public: point.to_vec(), private: EncodingKey::from_ec_der(document.as_ref()) }
    }

    fn ed25519(kid: &str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let public = pair.public_key().as_ref().to_vec();
        let jwk =
            json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid, "x": BASE64URL_NOPAD.encode(&public) });
        Self { algorithm: Algorithm::EdDSA, jwk, public, private: EncodingKey::from_ed_der(document.as_ref()) }
    }

    fn rsa(kid: &str, algorithm: Algorithm) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let jwk = json!({
            "kty": "RSA", "use": "sig", "kid": kid,
            "n": BASE64URL_NOPAD.encode(&public.n), "e": BASE64URL_NOPAD.encode(&public.e),
        });
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        // The PKCS#1 key begins after 26 bytes of wrapping, for every key of 2,048 bits.
        let private = EncodingKey::from_rsa_der(&pkcs8.as_ref()[26..]);
        Self { algorithm, jwk, public: pair.public_key().as_ref().to_vec(), private }
    }
}

/// A server certificate for the issuer's name, and its authority as PEM.
pub fn certificate() -> (TlsAcceptor, String) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(vec![]).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["issuer.localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), ca_pem)
}
