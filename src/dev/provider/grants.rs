//! What was granted: codes, refresh tokens, access tokens. In memory, bounded, gone with the process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use rand::TryRng as _;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::CLIENT_ID;
use crate::dev::personas::Persona;

/// Grants of one kind kept at once; the oldest goes first.
const KEPT: usize = 1024;

/// How long a code can be redeemed.
const CODE: SignedDuration = SignedDuration::from_secs(60);

/// How long an access token is good.
const ACCESS: SignedDuration = SignedDuration::from_secs(300);

/// An authorization request (OpenID Connect Core section 3.1.2.1) that is complete.
#[derive(Clone, Debug)]
pub struct Authorization {
    redirect_uri: String,
    state: String,
    nonce: String,
    challenge: String,
}

/// What a code or refresh token stands for.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Who signed in.
    pub persona: Persona,
    /// The nonce of the request.
    pub nonce: String,
    /// When they did, which refreshes tell too.
    pub signed_in: Timestamp,
}

/// Everything granted.
#[derive(Default)]
pub struct Grants(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    codes: Shelf<(Authorization, Grant, Timestamp)>,
    refresh: Shelf<Grant>,
    access: Shelf<(Persona, Timestamp)>,
}

/// A bounded map: when it is full, the oldest entry goes.
struct Shelf<T> {
    entries: HashMap<String, (u64, T)>,
    next: u64,
}

impl Authorization {
    /// Reads the query, or says what is missing.
    pub fn parse(query: &str) -> Result<Self, &'static str> {
        let field = |name: &str| parameter(query, name).unwrap_or_default();
        if field("client_id") != CLIENT_ID {
            return Err("unknown client_id");
        }
        if field("response_type") != "code"
            || field("code_challenge_method") != "S256"
            || field("code_challenge").is_empty()
        {
            return Err("only the code flow with PKCE S256");
        }
        let redirect_uri = field("redirect_uri");
        if !is_ours(&redirect_uri, "/.portcullis/callback/") {
            return Err("redirect_uri must be https://…localhost/.portcullis/callback/…");
        }
        Ok(Self { redirect_uri, state: field("state"), nonce: field("nonce"), challenge: field("code_challenge") })
    }
}

impl Grants {
    /// Grants a code; gives where the browser goes with it.
    pub fn code(&self, authorization: Authorization, persona: Persona, issuer: &str, now: Timestamp) -> String {
        let code = token();
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("code", code.as_str()), ("state", &authorization.state), ("iss", issuer)])
            .finish();
        let location = format!("{}?{query}", authorization.redirect_uri);
        let grant = Grant { persona, nonce: authorization.nonce.clone(), signed_in: now };
        self.lock().codes.put(code, (authorization, grant, now + CODE));
        location
    }

    /// Redeems a code, once; gives what it stands for and a refresh token.
    pub fn redeem(&self, code: &str, redirect_uri: &str, verifier: &str, now: Timestamp) -> Option<(Grant, String)> {
        let mut kept = self.lock();
        let (authorization, grant, ends) = kept.codes.take(code)?;
        let challenge = data_encoding::BASE64URL_NOPAD.encode(&Sha256::digest(verifier.as_bytes()));
        let fits = ends > now && authorization.redirect_uri == redirect_uri && authorization.challenge == challenge;
        fits.then(|| kept.issue(grant))
    }

    /// Exchanges a refresh token for a new one.
    pub fn rotate(&self, refresh_token: &str) -> Option<(Grant, String)> {
        let mut kept = self.lock();
        let grant = kept.refresh.take(refresh_token)?;
        Some(kept.issue(grant))
    }

    /// An access token.
    pub fn access(&self, persona: Persona, now: Timestamp) -> String {
        let token = token();
        self.lock().access.put(token.clone(), (persona, now + ACCESS));
        token
    }

    /// Whom an access token speaks for.
    pub fn persona(&self, access_token: &str, now: Timestamp) -> Option<Persona> {
        let kept = self.lock();
        let (_, (persona, ends)) = kept.access.entries.get(access_token)?;
        (*ends > now).then_some(*persona)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn issue(&mut self, grant: Grant) -> (Grant, String) {
        let refresh_token = token();
        self.refresh.put(refresh_token.clone(), grant.clone());
        (grant, refresh_token)
    }
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), next: 0 }
    }
}

impl<T> Shelf<T> {
    fn put(&mut self, name: String, value: T) {
        if self.entries.len() >= KEPT
            && let Some(oldest) = self.entries.iter().min_by_key(|(_, (at, _))| *at).map(|(name, _)| name.clone())
        {
            self.entries.remove(&oldest);
        }
        self.entries.insert(name, (self.next, value));
        self.next += 1;
    }

    fn take(&mut self, name: &str) -> Option<T> {
        self.entries.remove(name).map(|(_, value)| value)
    }
}

/// 256 random bits in hex.
pub fn token() -> String {
    let mut bytes = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).expect("the system has random bytes");
    data_encoding::HEXLOWER.encode(&bytes)
}

/// The first query parameter of a name.
pub fn parameter(query: &str, name: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Whether a URI is on a loopback host, with a path of ours.
pub fn is_ours(uri: &str, path: &str) -> bool {
    Url::parse(uri).is_ok_and(|url| {
        let local = url
            .host_str()
            .is_some_and(|host| host == "localhost" || host.ends_with(".localhost") || host == "127.0.0.1");
        url.scheme() == "https"
            && local
            && url.path().starts_with(path)
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::personas::PERSONAS;

    const VERIFIER: &str = "a-verifier-of-enough-length-for-everyone-here";
    const CALLBACK: &str = "https://staff.localhost:8443/.portcullis/callback/demo";

    fn authorization() -> Authorization {
        let challenge = data_encoding::BASE64URL_NOPAD.encode(&Sha256::digest(VERIFIER.as_bytes()));
        Authorization { redirect_uri: CALLBACK.into(), state: "s".into(), nonce: "n".into(), challenge }
    }

    fn code(location: &str) -> String {
        parameter(location.split_once('?').unwrap().1, "code").unwrap()
    }

    #[test]
    fn a_code_is_redeemed_once_and_only_with_its_verifier() {
        let (grants, now) = (Grants::default(), Timestamp::UNIX_EPOCH);
        let mine = code(&grants.code(authorization(), PERSONAS[0], "http://op", now));
        assert!(grants.redeem(&mine, CALLBACK, VERIFIER, now).is_some());
        assert!(grants.redeem(&mine, CALLBACK, VERIFIER, now).is_none());
        let other = code(&grants.code(authorization(), PERSONAS[0], "http://op", now));
        assert!(grants.redeem(&other, CALLBACK, "another", now).is_none());
        let late = code(&grants.code(authorization(), PERSONAS[0], "http://op", now));
        assert!(grants.redeem(&late, CALLBACK, VERIFIER, now + CODE).is_none());
    }

    #[test]
    fn a_refresh_token_is_good_once() {
        let (grants, now) = (Grants::default(), Timestamp::UNIX_EPOCH);
        let mine = code(&grants.code(authorization(), PERSONAS[1], "http://op", now));
        let (_, first) = grants.redeem(&mine, CALLBACK, VERIFIER, now).unwrap();
        let (grant, second) = grants.rotate(&first).unwrap();
        assert_eq!((grant.persona, grant.signed_in), (PERSONAS[1], now));
        assert!(grants.rotate(&first).is_none() && grants.rotate(&second).is_some());
    }

    #[test]
    fn nobody_is_sent_elsewhere() {
        for uri in [
            "http://staff.localhost/.portcullis/callback/demo",
            "https://evil.example/.portcullis/callback/demo",
            "https://x.localhost/other",
        ] {
            assert!(!is_ours(uri, "/.portcullis/callback/"), "{uri}");
        }
        assert!(is_ours(CALLBACK, "/.portcullis/callback/"));
    }

    #[test]
    fn a_full_shelf_forgets_the_oldest() {
        let mut shelf = Shelf::default();
        for number in 0..=KEPT {
            shelf.put(number.to_string(), number);
        }
        assert_eq!((shelf.take("0"), shelf.take("1"), shelf.entries.len()), (None, Some(1), KEPT - 1));
    }
}
