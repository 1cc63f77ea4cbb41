//! The demo provider: a real OpenID Provider over HTTP on loopback, with personas instead of passwords. It exists in `dev`
//! alone; the product talks to it as to any other.

mod grants;
mod keys;
mod pages;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::serve;

use self::grants::{Authorization, Grants};
use self::keys::SigningKey;
use super::personas::Persona;

/// The one client.
pub const CLIENT_ID: &str = "portcullis-dev";

/// The provider.
pub struct Provider {
    issuer: String,
    client_secret: String,
    key: SigningKey,
    grants: Grants,
    clock: Clock,
}

type Answer = Response<Full<Bytes>>;

impl Provider {
    /// A provider with a fresh key and a fresh secret for its one client.
    pub fn new(address: SocketAddr, clock: Clock) -> anyhow::Result<Self> {
        Ok(Self {
            issuer: format!("http://{address}"),
            client_secret: grants::token(),
            key: SigningKey::generate()?,
            grants: Grants::default(),
            clock,
        })
    }

    /// The issuer identifier.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The client's secret.
    pub fn client_secret(&self) -> &str {
        &self.client_secret
    }

    /// Serves.
    pub async fn run(self: Arc<Self>, listener: TcpListener) {
        let handler = move |_: SocketAddr, request: Request<Bytes>| {
            let response = self.answer(&request);
            async move { response }
        };
        serve::serve(listener, handler).await;
    }

    fn answer(&self, request: &Request<Bytes>) -> Answer {
        let query = request.uri().query().unwrap_or_default();
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/.well-known/openid-configuration") => ok(&self.metadata()),
            (&Method::GET, "/jwks") => ok(&json!({ "keys": [self.key.public()] })),
            (&Method::GET, "/authorize") => choose(query),
            (&Method::POST, "/authorize") => self.sign_in(query, request.body()),
            (&Method::POST, "/token") => self.token(request),
            (&Method::GET | &Method::POST, "/userinfo") => self.userinfo(request),
            (&Method::GET, "/logout") => logout(query),
            _ => serve::text(StatusCode::NOT_FOUND, "this is the demo provider of `portcullis dev`\n"),
        }
    }

    fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        json!({
            "issuer": self.issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
            "userinfo_endpoint": at("/userinfo"), "jwks_uri": at("/jwks"), "end_session_endpoint": at("/logout"),
            "response_types_supported": ["code"], "grant_types_supported": ["authorization_code", "refresh_token"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
            "scopes_supported": ["openid", "email", "profile", "groups", "offline_access"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"], "authorization_response_iss_parameter_supported": true,
        })
    }

    /// The form of the page that asks whom to sign in as, posted back to the same address.
    fn sign_in(&self, query: &str, body: &Bytes) -> Answer {
        let form = form(body);
        let Some(persona) = form.get("persona").and_then(|subject| Persona::of(subject)) else {
            return refused("choose one of the personas");
        };
        match Authorization::parse(query) {
            Ok(authorization) => redirect(&self.grants.code(authorization, persona, &self.issuer, self.clock.now())),
            Err(why) => refused(why),
        }
    }

    /// The token endpoint (RFC 6749 section 3.2).
    fn token(&self, request: &Request<Bytes>) -> Answer {
        let form = form(request.body());
        if !self.is_client(request, &form) {
            return error(StatusCode::UNAUTHORIZED, "invalid_client");
        }
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let now = self.clock.now();
        let granted = match field("grant_type") {
            "authorization_code" => {
                self.grants.redeem(field("code"), field("redirect_uri"), field("code_verifier"), now)
            }
            "refresh_token" => self.grants.rotate(field("refresh_token")),
            _ => return error(StatusCode::BAD_REQUEST, "unsupported_grant_type"),
        };
        let Some((grant, refresh_token)) = granted else {
            return error(StatusCode::BAD_REQUEST, "invalid_grant");
        };
        ok(&json!({
            "token_type": "Bearer", "expires_in": 300, "access_token": self.grants.access(grant.persona, now),
            "refresh_token": refresh_token, "id_token": self.key.id_token(&self.issuer, &grant, now),
        }))
    }

    fn userinfo(&self, request: &Request<Bytes>) -> Answer {
        let token = authorization(request).and_then(|value| value.strip_prefix("Bearer "));
        match token.and_then(|token| self.grants.persona(token, self.clock.now())) {
            Some(persona) => ok(&persona.claims()),
            None => error(StatusCode::UNAUTHORIZED, "invalid_token"),
        }
    }

    /// Whether the request is our one client's, by Basic or by form (RFC 6749 section 2.3.1).
    fn is_client(&self, request: &Request<Bytes>, form: &HashMap<String, String>) -> bool {
        let posted = form.get("client_id").is_some_and(|id| id == CLIENT_ID)
            && form.get("client_secret").is_some_and(|secret| *secret == self.client_secret);
        let expected = data_encoding::BASE64.encode(format!("{CLIENT_ID}:{}", self.client_secret).as_bytes());
        posted || authorization(request).and_then(|value| value.strip_prefix("Basic ")) == Some(expected.as_str())
    }
}

/// The page that asks whom to sign in as.
fn choose(query: &str) -> Answer {
    match Authorization::parse(query) {
        Ok(_) => serve::typed(StatusCode::OK, "text/html; charset=utf-8", pages::choose()),
        Err(why) => refused(why),
    }
}

/// RP-Initiated Logout 1.0 section 2; there is no session to end, since every sign-in asks anew.
fn logout(query: &str) -> Answer {
    let target = grants::parameter(query, "post_logout_redirect_uri");
    match target.filter(|uri| grants::is_ours(uri, "/.portcullis/signed-out")) {
        Some(uri) => redirect(&uri),
        None => serve::text(StatusCode::OK, "signed out at the demo provider\n"),
    }
}

fn authorization(request: &Request<Bytes>) -> Option<&str> {
    request.headers().get(header::AUTHORIZATION)?.to_str().ok()
}

fn form(body: &Bytes) -> HashMap<String, String> {
    url::form_urlencoded::parse(body).into_owned().collect()
}

fn ok(body: &Value) -> Answer {
    serve::typed(StatusCode::OK, "application/json", body.to_string())
}

fn error(status: StatusCode, code: &str) -> Answer {
    serve::typed(status, "application/json", json!({ "error": code }).to_string())
}

fn refused(why: &str) -> Answer {
    serve::text(StatusCode::BAD_REQUEST, format!("the demo provider refuses: {why}\n"))
}

fn redirect(location: &str) -> Answer {
    let Ok(location) = HeaderValue::from_str(location) else {
        return refused("the redirect URI has a forbidden character");
    };
    let mut response = serve::text(StatusCode::SEE_OTHER, "");
    response.headers_mut().insert(header::LOCATION, location);
    response
}
