//! From claims to a principal: where each is found, what counts, and what is too much.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::identity::{Email, Groups, Identity, Principal, Subject};

use super::error::ClaimFault;
use super::provider::Provider;

/// The most groups of a person; more are refused, never cut.
pub const MAX_GROUPS: usize = 1_000;
/// The most claims, in bytes of JSON.
pub const MAX_CLAIMS: usize = 32 * 1024;

/// The claims of one sign-in or refresh. What the ID token says goes before what userinfo says.
#[derive(Clone, Default, Debug)]
pub(super) struct Claims {
    id_token: Map<String, Value>,
    /// Nothing where it was not read, empty where there is none.
    userinfo: Option<Map<String, Value>>,
}

impl Claims {
    /// The claims of a verified ID token.
    pub fn new(id_token: Map<String, Value>) -> Self {
        Self { id_token, userinfo: None }
    }

    /// Whether something that the provider's settings ask for is not in the ID token, so that userinfo is worth a call.
    pub fn lack(&self, provider: &Provider) -> bool {
        self.lack_needed(provider) || provider.kept_claims.iter().any(|path| at(&self.id_token, path).is_none())
    }

    /// Whether that is more than a claim which a policy names: no policy of anybody's makes a sign-in need userinfo.
    pub fn lack_needed(&self, provider: &Provider) -> bool {
        let paths = &provider.claims;
        let absent = |path: &str| at(&self.id_token, path).is_none();
        absent(&paths.groups)
            || absent(&paths.email)
            || (provider.require_verified_email && absent(&verified(&paths.email)))
    }

    /// Adds what userinfo says (OpenID Connect Core section 5.3.2), if it speaks of the same person.
    pub fn add_userinfo(&mut self, body: &[u8], subject: &Subject) -> Result<(), ClaimFault> {
        if body.len() > MAX_CLAIMS {
            return Err(ClaimFault::TooLarge(body.len()));
        }
        let userinfo: Map<String, Value> = serde_json::from_slice(body).map_err(|_| ClaimFault::Userinfo)?;
        if userinfo.get("sub").and_then(Value::as_str) != Some(&subject.0) {
            return Err(ClaimFault::UserinfoSubject);
        }
        self.userinfo = Some(userinfo);
        Ok(())
    }

    /// There is no more to read: the issuer has no userinfo, so its ID token says everything.
    pub fn end(&mut self) {
        self.userinfo = Some(Map::new());
    }

    /// The person, as these claims have it.
    pub fn principal(&self, provider: &Provider, subject: Subject) -> Result<Principal, ClaimFault> {
        self.update(provider, bare(Identity { issuer: provider.issuer.clone(), subject }))
    }

    /// The person with what these claims say. What they are silent about is gone where all was read, since providers leave
    /// out what is empty; it stays where nobody could be asked.
    pub fn update(&self, provider: &Provider, before: Principal) -> Result<Principal, ClaimFault> {
        let before = if self.userinfo.is_some() { bare(before.identity) } else { before };
        let paths = &provider.claims;
        let text = |path: &str| self.find(path).and_then(Value::as_str).map(Into::into);
        let kept = provider.kept_claims.iter().filter_map(|path| Some((path.clone(), self.find(path)?.clone())));
        let mut claims = before.claims;
        claims.retain(|path, _| provider.kept_claims.contains(path));
        claims.extend(kept);
        let principal = Principal {
            email: self.email(provider).unwrap_or(before.email),
            name: text(&paths.name).or(before.name),
            preferred_username: text(&paths.username).or(before.preferred_username),
            groups: self.find(&paths.groups).map(groups).transpose()?.unwrap_or(before.groups),
            identity: before.identity,
            claims,
        };
        if may_sign_in(provider, principal.email.as_ref()) { Ok(principal) } else { Err(ClaimFault::EmailDomain) }
    }

    fn find(&self, path: &str) -> Option<&Value> {
        at(&self.id_token, path).or_else(|| at(self.userinfo.as_ref()?, path))
    }

    /// The e-mail address that counts, if one does; nothing where no document speaks of it.
    fn email(&self, provider: &Provider) -> Option<Option<Email>> {
        let said = [Some(&self.id_token), self.userinfo.as_ref()].map(|claims| email(claims?, provider));
        said.iter().flatten().find(|email| email.is_some()).or_else(|| said.iter().flatten().next()).cloned()
    }
}

/// A person of whom nothing is known yet.
fn bare(identity: Identity) -> Principal {
    Principal {
        identity,
        email: None,
        name: None,
        preferred_username: None,
        groups: Groups::default(),
        claims: BTreeMap::new(),
    }
}

/// What one document says of the e-mail address. It must have the flag too where that is required: neither document vouches
/// for the other's address.
fn email(claims: &Map<String, Value>, provider: &Provider) -> Option<Option<Email>> {
    let path = &*provider.claims.email;
    let address = at(claims, path)?;
    let counts = !provider.require_verified_email || *at(claims, &verified(path))? == Value::Bool(true);
    Some(address.as_str().filter(|_| counts).and_then(Email::parse))
}

/// The flag of an e-mail claim is its neighbour: `email_verified` of `email`, `upn_verified` of `upn`.
fn verified(path: &str) -> String {
    format!("{path}_verified")
}

/// The claim at a path: the claim of just this name, else dots descend. `null` is no claim.
fn at<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let descend = || {
        let (first, rest) = path.split_once('.')?;
        rest.split('.').try_fold(claims.get(first)?, |value, name| value.get(name))
    };
    claims.get(path).or_else(descend).filter(|value| !value.is_null())
}

/// A list of names, or one name.
fn groups(value: &Value) -> Result<Groups, ClaimFault> {
    let names: Vec<&str> = match value {
        Value::String(one) => vec![one],
        Value::Array(several) if several.len() > MAX_GROUPS => return Err(ClaimFault::TooManyGroups(several.len())),
        Value::Array(several) => several.iter().map(Value::as_str).collect::<Option<_>>().ok_or(ClaimFault::Groups)?,
        _ => return Err(ClaimFault::Groups),
    };
    Ok(Groups::new(names))
}

fn may_sign_in(provider: &Provider, email: Option<&Email>) -> bool {
    let domains = &provider.allowed_email_domains;
    domains.is_empty() || email.is_some_and(|email| domains.iter().any(|d| d.eq_ignore_ascii_case(email.domain())))
}
