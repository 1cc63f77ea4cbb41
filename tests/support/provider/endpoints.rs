//! What the provider answers at its endpoints, and what it remembers for that.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey};
use portcullis::clock::Clock;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use url::form_urlencoded::{self, Serializer};

use super::{Behaviour, CLIENT_ID, CLIENT_SECRET, Canned, Signing, SigningKey};

pub struct Shared {
    pub clock: Clock,
    pub issuer: String,
    pub state: Mutex<State>,
}

pub struct State {
    pub behaviour: Behaviour,
    pub keys: Vec<SigningKey>,
    pub codes: HashMap<String, Login>,
    pub refresh_tokens: HashMap<String, Login>,
    pub retired: HashSet<String>,
    pub calls: BTreeMap<String, usize>,
    pub made: u64,
}

#[derive(Clone)]
pub struct Login {
    pub nonce: Option<String>,
    pub redirect_uri: String,
    pub challenge: String,
    /// In seconds since 1970.
    pub signed_in: i64,
}

pub async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
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

    pub fn approve(&self, query: &Form) -> String {
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

    pub fn sign(&self, claims: &Value) -> String {
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
