//! An OpenID Provider on loopback for tests. It keeps to the standards, and checks that its client does, until a test turns
//! one thing of its [`Behaviour`]. Include it with `#[path = "support/provider.rs"] mod provider;`.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RsaKeyPair, RsaPublicKeyComponents,
};
use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey};
use portcullis::clock::Clock;
use portcullis::identity::Issuer;
use portcullis::oidc::{ClaimPaths, Provider};
use portcullis::secret::Secret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use url::Url;
use url::form_urlencoded::{self, Serializer};

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

struct Shared {
    clock: Clock,
    issuer: String,
    state: Mutex<State>,
}

struct State {
    behaviour: Behaviour,
    keys: Vec<SigningKey>,
    codes: HashMap<String, Login>,
    refresh_tokens: HashMap<String, Login>,
    retired: HashSet<String>,
    calls: BTreeMap<String, usize>,
    made: u64,
}

#[derive(Clone)]
struct Login {
    nonce: Option<String>,
    redirect_uri: String,
    challenge: String,
    /// In seconds since 1970.
    signed_in: i64,
}

/// A key pair with its public half as JWK.
#[derive(Clone)]
pub struct SigningKey {
    pub algorithm: Algorithm,
    pub jwk: Value,
    /// The public key as an attacker could take it for an HMAC secret.
    pub public: Vec<u8>,
    private: EncodingKey,
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

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, std::convert::Infallible>(shared.answer(request).await) }
            });
            let http = hyper::server::conn::http1::Builder::new();
            // A client that goes away is its own affair.
            let _ = match tls {
                None => http.serve_connection(TokioIo::new(stream), service).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => http.serve_connection(TokioIo::new(stream), service).await,
                    Err(_) => return,
                },
            };
        });
    }
}

type Form = HashMap<String, String>;

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let path = head.uri.path();
        let canned = {
            let mut state = self.state.lock().unwrap();
            *state.calls.entry(path.to_owned()).or_default() += 1;
            state.behaviour.canned.get(path).cloned()
        };
        if let Some(Canned { status, body, delay }) = canned {
            tokio::time::sleep(delay).await;
            return response(status, "application/json", body);
        }
        let form = |text: &[u8]| form_urlencoded::parse(text).into_owned().collect::<Form>();
        let authorization = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match path {
            "/.well-known/openid-configuration" => json_response(200, &self.metadata()),
            "/jwks" => json_response(200, &self.key_set()),
            "/authorize" => {
                let query = form(head.uri.query().unwrap_or_default().as_bytes());
                let location = format!("{}?{}", query["redirect_uri"], self.approve(&query));
                let mut response = response(302, "text/plain", Bytes::new());
                response.headers_mut().insert(header::LOCATION, location.try_into().unwrap());
                response
            }
            "/token" => {
                let delay = self.state.lock().unwrap().behaviour.token_delay;
                tokio::time::sleep(delay).await;
                match self.tokens(&form(&body), authorization) {
                    Ok(tokens) => json_response(200, &tokens),
                    Err((status, error)) => json_response(status, &json!({ "error": error })),
                }
            }
            "/userinfo" if authorization.is_some_and(|value| value.starts_with("Bearer access-")) => {
                json_response(200, &self.state.lock().unwrap().behaviour.userinfo)
            }
            "/userinfo" => json_response(401, &json!({ "error": "invalid_token" })),
            _ => response(404, "text/plain", Bytes::new()),
        }
    }

    fn metadata(&self) -> Value {
        let issuer = &self.issuer;
        let mut metadata = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/jwks"),
            "userinfo_endpoint": format!("{issuer}/userinfo"),
            "end_session_endpoint": format!("{issuer}/logout"),
            "id_token_signing_alg_values_supported": ["RS256", "PS256", "ES256", "ES384", "EdDSA", "HS256", "none"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        });
        (self.behaviour().metadata)(&mut metadata);
        metadata
    }

    fn key_set(&self) -> Value {
        let keys: Vec<_> = self.state.lock().unwrap().keys.iter().map(|key| key.jwk.clone()).collect();
        let mut set = json!({ "keys": keys });
        (self.behaviour().key_set)(&mut set);
        set
    }

    fn behaviour(&self) -> Behaviour {
        self.state.lock().unwrap().behaviour.clone()
    }

    fn approve(&self, query: &Form) -> String {
        assert_eq!(query["response_type"], "code");
        assert_eq!(query["client_id"], CLIENT_ID);
        assert_eq!(query["code_challenge_method"], "S256");
        assert!(query["scope"].split(' ').any(|scope| scope == "openid"));
        let code = self.fresh("code");
        let login = Login {
            nonce: Some(query["nonce"].clone()),
            redirect_uri: query["redirect_uri"].clone(),
            challenge: query["code_challenge"].clone(),
            signed_in: self.clock.now().as_second(),
        };
        self.state.lock().unwrap().codes.insert(code.clone(), login);
        let mut parameters = json!({ "code": code, "state": query["state"], "iss": self.issuer });
        (self.behaviour().callback)(&mut parameters);
        let mut serializer = Serializer::new(String::new());
        for (name, value) in parameters.as_object().unwrap() {
            serializer.append_pair(name, value.as_str().unwrap());
        }
        serializer.finish()
    }

    fn tokens(&self, form: &Form, authorization: Option<&str>) -> Result<Value, (u16, &'static str)> {
        if !client_is_known(form, authorization) {
            return Err((401, "invalid_client"));
        }
        let login = match form["grant_type"].as_str() {
            "authorization_code" => {
                let login = self.state.lock().unwrap().codes.remove(&form["code"]).ok_or((400, "invalid_grant"))?;
                let challenge = BASE64URL_NOPAD.encode(&Sha256::digest(&form["code_verifier"]));
                if challenge != login.challenge || form["redirect_uri"] != login.redirect_uri {
                    return Err((400, "invalid_grant"));
                }
                login
            }
            "refresh_token" => self.rotate_refresh_token(&form["refresh_token"])?,
            _ => return Err((400, "unsupported_grant_type")),
        };
        let access = self.fresh("access");
        let refresh = self.fresh("refresh");
        let kept = Login { nonce: None, ..login.clone() };
        self.state.lock().unwrap().refresh_tokens.insert(refresh.clone(), kept);
        let mut tokens = json!({
            "access_token": access, "token_type": "bearer", "expires_in": 300, "refresh_token": refresh,
            "id_token": self.sign(&self.id_claims(&login, &access)),
        });
        (self.behaviour().tokens)(&mut tokens);
        Ok(tokens)
    }

    /// A refresh token is good once; shown again, every token is void.
    fn rotate_refresh_token(&self, token: &str) -> Result<Login, (u16, &'static str)> {
        let mut state = self.state.lock().unwrap();
        if state.retired.contains(token) {
            state.refresh_tokens.clear();
        }
        state.retired.insert(token.to_owned());
        state.refresh_tokens.remove(token).ok_or((400, "invalid_grant"))
    }

    fn id_claims(&self, login: &Login, access_token: &str) -> Value {
        let behaviour = self.behaviour();
        let now = self.clock.now().as_second();
        let mut claims = behaviour.person.clone();
        claims["iss"] = json!(self.issuer);
        claims["aud"] = json!(CLIENT_ID);
        claims["iat"] = json!(now);
        claims["exp"] = json!(now + 300);
        claims["auth_time"] = json!(login.signed_in);
        if let Some(nonce) = &login.nonce {
            claims["nonce"] = json!(nonce);
        }
        if matches!(self.state.lock().unwrap().keys.last().unwrap().algorithm, Algorithm::ES256 | Algorithm::RS256) {
            claims["at_hash"] = json!(BASE64URL_NOPAD.encode(&Sha256::digest(access_token)[..16]));
        }
        (behaviour.claims)(&mut claims);
        claims
    }

    fn sign(&self, claims: &Value) -> String {
        let behaviour = self.behaviour();
        let own = self.state.lock().unwrap().keys.last().unwrap().clone();
        let kid = own.jwk["kid"].as_str().unwrap().to_owned();
        let key = match &behaviour.signing {
            Signing::Own | Signing::Nobody => own,
            Signing::Stranger => SigningKey::generate(&kid, own.algorithm),
            Signing::Secret(secret) => {
                SigningKey { algorithm: Algorithm::HS256, private: EncodingKey::from_secret(secret), ..own }
            }
        };
        let mut header = json!({ "typ": "JWT", "alg": key.algorithm, "kid": kid });
        if behaviour.signing == Signing::Nobody {
            header["alg"] = json!("none");
        }
        (behaviour.header)(&mut header);
        let encode = |part: &Value| BASE64URL_NOPAD.encode(part.to_string().as_bytes());
        let message = format!("{}.{}", encode(&header), encode(claims));
        match behaviour.signing {
            Signing::Nobody => format!("{message}."),
            _ => {
                let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key.private, key.algorithm).unwrap();
                format!("{message}.{signature}")
            }
        }
    }

    fn fresh(&self, kind: &str) -> String {
        let mut state = self.state.lock().unwrap();
        state.made += 1;
        format!("{kind}-{}", state.made)
    }
}

fn client_is_known(form: &Form, authorization: Option<&str>) -> bool {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(CLIENT_ID), encode(CLIENT_SECRET));
    let basic = authorization == Some(&format!("Basic {}", BASE64.encode(pair.as_bytes())));
    let posted = |name, value| form.get(name).is_some_and(|given| given == value);
    basic || (posted("client_id", CLIENT_ID) && posted("client_secret", CLIENT_SECRET))
}

fn response(status: u16, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

fn json_response(status: u16, value: &Value) -> Response<Full<Bytes>> {
    response(status, "application/json", value.to_string().into())
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
fn certificate() -> (TlsAcceptor, String) {
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
