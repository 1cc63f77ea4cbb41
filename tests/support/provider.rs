//! An OpenID Provider on loopback for tests. It keeps to the standards, and checks that its client does, until a test turns
//! one thing of its [`Behaviour`]. Include it with `#[path = "support/provider.rs"] mod provider;`.

#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "provider/endpoints.rs"]
mod endpoints;
#[path = "provider/keys.rs"]
mod keys;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use jsonwebtoken::Algorithm;
use portcullis::clock::Clock;
use portcullis::identity::Issuer;
use portcullis::oidc::{ClaimPaths, Provider};
use portcullis::secret::Secret;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use url::{Url, form_urlencoded};

use endpoints::{Shared, State, accept};
use keys::certificate;

pub use keys::SigningKey;

pub const CLIENT_ID: &str = "the client";
pub const CLIENT_SECRET: &str = "a secret: with %, + and :";

/// Changes what is about to be sent.
pub type Tamper = Arc<dyn Fn(&mut Value) + Send + Sync>;

/// What the provider does; each part by itself.
#[derive(Clone)]
pub struct Behaviour {
    /// Claims of the person who signs in; `sub` among them.
    pub person: Value,
    /// What userinfo answers.
    pub userinfo: Value,
    pub metadata: Tamper,
    pub key_set: Tamper,
    /// The header of ID tokens.
    pub header: Tamper,
    /// The claims of ID tokens, all of them, last.
    pub claims: Tamper,
    /// The parameters of the callback, an object of text.
    pub callback: Tamper,
    /// The answer of the token endpoint, at a code and at a refresh.
    pub tokens: Tamper,
    pub signing: Signing,
    /// Paths that answer this and nothing else.
    pub canned: BTreeMap<&'static str, Canned>,
    /// How long the token endpoint takes.
    pub token_delay: Duration,
}

/// Who signs ID tokens.
#[derive(Clone, PartialEq)]
pub enum Signing {
    /// The newest key of the provider.
    Own,
    /// Nobody: `alg` is `none` and the signature is empty.
    Nobody,
    /// HS256 with these bytes.
    Secret(Vec<u8>),
    /// A key of the same kind and key id, which is not in the set.
    Stranger,
}

/// An answer that does not depend on the request.
#[derive(Clone)]
pub struct Canned {
    pub status: u16,
    pub body: Bytes,
    pub delay: Duration,
}

pub struct TestProvider {
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
    /// The certificate authority, where it speaks TLS.
    pub ca: Option<String>,
}

impl Default for Behaviour {
    fn default() -> Self {
        let honest: Tamper = Arc::new(|_| {});
        Self {
            person: json!({
                "sub": "alice-1", "email": "Alice@Example.com", "email_verified": true, "name": "Alice",
                "preferred_username": "alice", "groups": ["staff", "ops"],
            }),
            userinfo: json!({ "sub": "alice-1" }),
            metadata: honest.clone(),
            key_set: honest.clone(),
            header: honest.clone(),
            claims: honest.clone(),
            callback: honest.clone(),
            tokens: honest,
            signing: Signing::Own,
            canned: BTreeMap::new(),
            token_delay: Duration::ZERO,
        }
    }
}

impl Canned {
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, body: body.into(), delay: Duration::ZERO }
    }
}

impl TestProvider {
    /// A provider over plain HTTP with an ES256 key.
    pub async fn start(clock: Clock) -> Self {
        Self::serve(clock, "http", None, None).await
    }

    /// A provider over HTTPS, with a certificate for `localhost` of an authority of its own.
    pub async fn start_tls(clock: Clock) -> Self {
        let (acceptor, ca) = certificate();
        Self::serve(clock, "https", Some(acceptor), Some(ca)).await
    }

    async fn serve(clock: Clock, scheme: &str, tls: Option<TlsAcceptor>, ca: Option<String>) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let issuer = format!("{scheme}://issuer.localhost:{}", listener.local_addr().unwrap().port());
        let state = State {
            behaviour: Behaviour::default(),
            keys: vec![SigningKey::generate("key-1", Algorithm::ES256)],
            codes: HashMap::new(),
            refresh_tokens: HashMap::new(),
            retired: HashSet::new(),
            calls: BTreeMap::new(),
            made: 0,
        };
        let shared = Arc::new(Shared { clock, issuer, state: Mutex::new(state) });
        let server = tokio::spawn(accept(listener, tls, Arc::clone(&shared)));
        Self { shared, server, ca }
    }

    pub fn issuer(&self) -> &str {
        &self.shared.issuer
    }

    /// The settings of a client of this provider.
    pub fn settings(&self) -> Provider {
        Provider {
            name: "corp".into(),
            display_name: "Corp".into(),
            issuer: Issuer(self.issuer().into()),
            client_id: CLIENT_ID.into(),
            client_secret: Secret::new(CLIENT_SECRET.to_owned()),
            scopes: ["openid", "email", "groups"].map(Into::into).into(),
            claims: ClaimPaths {
                email: "email".into(),
                groups: "groups".into(),
                name: "name".into(),
                username: "preferred_username".into(),
            },
            kept_claims: Default::default(),
            ca_bundle: self.ca.as_ref().map(|pem| pem.as_bytes().into()),
            loopback_http: self.ca.is_none(),
            require_verified_email: true,
            allowed_email_domains: Box::new([]),
            rp_initiated_logout: true,
        }
    }

    /// Turns the behaviour from here on.
    pub fn behave(&self, turn: impl FnOnce(&mut Behaviour)) {
        turn(&mut self.state().behaviour);
    }

    /// How often a path was called.
    pub fn calls(&self, path: &str) -> usize {
        self.state().calls.get(path).copied().unwrap_or_default()
    }

    /// The newest key.
    pub fn key(&self) -> SigningKey {
        self.state().keys.last().unwrap().clone()
    }

    /// Signs with a new key from here on, and publishes no other.
    pub fn rotate_to(&self, key: SigningKey) {
        self.state().keys = vec![key];
    }

    /// The person signs in and agrees: the callback's query for an authorization URL.
    pub fn approve(&self, authorization_url: &str) -> String {
        let url = Url::parse(authorization_url).unwrap();
        let query = form_urlencoded::parse(url.query().unwrap().as_bytes()).into_owned().collect();
        self.shared.approve(&query)
    }

    /// Signs any claims as an ID token would be.
    pub fn sign(&self, claims: &Value) -> String {
        self.shared.sign(claims)
    }

    /// Closes the listener and forgets what was said; the port stays its own.
    pub fn stop(&self) {
        self.server.abort();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }
}

impl Drop for TestProvider {
    fn drop(&mut self) {
        self.server.abort();
    }
}
