//! IdentityProviders: from the wire to [`Provider`], with their Secrets of the installation's namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use url::Url;

use super::class;
use super::defaults::Defaults;
use super::fields::{Fields, Pointer};
use super::rule::domain;
use crate::api::{ClaimsSpec, IdentityProvider, LogoutSpec, SecretRef};
use crate::controller::report::{Kind, Notes, ProviderState, Report};
use crate::controller::world::{ObjectName, Stored, WatchedSecret, World};
use crate::identity::Issuer;
use crate::oidc::{ClaimPaths, Provider};
use crate::secret::Secret;
use crate::tls;

/// Providers by name; none where the object has a defect.
pub(super) type Providers = BTreeMap<Arc<str>, Option<Arc<Provider>>>;

/// Reads all providers. `kept_claims` are those that policies ask for.
pub(super) fn compile(
    world: &World,
    defaults: &Defaults,
    kept_claims: &BTreeSet<String>,
    report: &mut Report,
) -> Providers {
    let mut providers = Providers::new();
    let (here, elsewhere) = offered(world, defaults);
    for (name, object) in &world.providers {
        // Its Secret is in the namespace of the other installation, which says what is wrong with it.
        let foreign = object.decoded().is_some_and(|object| is_foreign(object, defaults));
        if foreign && elsewhere.contains(&*name.name) && !here.contains(&*name.name) {
            providers.insert(Arc::clone(&name.name), None);
            continue;
        }
        let mut notes = Notes::on(Kind::IdentityProvider, name);
        let mut state = ProviderState::default();
        let mut provider = None;
        match object {
            Stored::Decoded(object) => {
                let mut reader = Reader { fields: Fields::new(&mut notes, "ProviderInvalid"), world, defaults };
                let read = reader.provider(&name.name, object, kept_claims);
                let broken = reader.fields.broken();
                provider = read.filter(|_| !broken).map(Arc::new);
                state.observed_generation = object.metadata.generation;
                state.issuer = provider.as_ref().map(|provider| provider.issuer.clone());
                state.accepted = provider.is_some();
            }
            Stored::Undecodable(error) => notes.error(
                "",
                "Undecodable",
                format!("the IdentityProvider cannot be read: {error}"),
                "correct it; until then the routes that need it are closed",
            ),
        }
        report.take(notes);
        report.providers.insert(name.clone(), state);
        providers.insert(Arc::clone(&name.name), provider);
    }
    providers
}

/// The names of the providers that classes offer: ours, and others.
fn offered<'w>(world: &'w World, defaults: &Defaults) -> (BTreeSet<&'w str>, BTreeSet<&'w str>) {
    let (ours, others) = class::parameters(world, defaults);
    let of = |classes: BTreeSet<&str>| {
        let named = world.portcullises.iter().filter(move |(name, _)| classes.contains(&*name.name));
        let specs = named.filter_map(|(_, object)| Some(&object.decoded()?.spec));
        specs.flat_map(|spec| spec.providers.iter().flatten().map(String::as_str)).collect()
    };
    (of(ours), of(others))
}

/// Whether its client is in another namespace than that of this installation.
fn is_foreign(object: &IdentityProvider, defaults: &Defaults) -> bool {
    let reference = object.spec.client_secret_ref.as_ref();
    reference.and_then(|it| it.namespace.as_ref()).is_some_and(|it| *it != defaults.installation_namespace)
}

struct Reader<'r, 'n> {
    fields: Fields<'n>,
    world: &'r World,
    defaults: &'r Defaults,
}

impl Reader<'_, '_> {
    fn provider(&mut self, name: &Arc<str>, object: &IdentityProvider, kept: &BTreeSet<String>) -> Option<Provider> {
        let spec = &object.spec;
        let at = Pointer::spec();
        self.fields.unknown(&at, &spec.unknown);
        let issuer = self.issuer(&at.to("issuer"), &spec.issuer);
        let client = self.client(&at.to("clientSecretRef"), &spec.client_secret_ref);
        let ca_bundle = spec.ca_bundle_ref.as_ref().map(|it| self.bundle(&at.to("caBundleRef"), it));
        let claims = self.claims(&at.to("claims"), spec.claims.as_ref());
        let scopes = self.scopes(&at.to("scopes"), &spec.scopes);
        let domains = &spec.allowed_email_domains;
        let remedy = "write a domain such as `example.com`";
        let domains = self.fields.parsed(&at.to("allowedEmailDomains"), domains, domain, remedy);
        let display_name = match &spec.display_name {
            None => Arc::clone(name),
            given => self.fields.text(at.to("displayName"), given, "write a name, or remove the field")?.into(),
        };
        let (client_id, client_secret) = client?;
        Some(Provider {
            name: Arc::clone(name),
            display_name,
            issuer: issuer?,
            client_id,
            client_secret,
            scopes,
            claims,
            kept_claims: kept.clone(),
            ca_bundle: ca_bundle.map_or(Some(None), |bundle| bundle.map(Some))?,
            loopback_http: self.defaults.dev,
            require_verified_email: spec.require_verified_email.unwrap_or(true),
            allowed_email_domains: domains.into(),
            rp_initiated_logout: self.logout(&at.to("logout"), spec.logout.as_ref()),
        })
    }

    /// OpenID Connect Discovery section 3: an https URL without query and fragment.
    fn issuer(&mut self, at: &Pointer, text: &Option<String>) -> Option<Issuer> {
        let remedy = "write the issuer identifier, such as `https://id.example.com`";
        let text = self.fields.text(at.clone(), text, remedy)?;
        let url = Url::parse(text).ok().filter(|url| {
            let secure = url.scheme() == "https" || self.defaults.dev && url.scheme() == "http" && is_loopback(url);
            let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
            secure && plain && url.password().is_none()
        });
        if url.is_none() {
            let message = format!("`{}` is not an https URL without query and fragment", text.escape_debug());
            self.fields.wrong(at.clone(), message, remedy);
        }
        url.map(|_| text.to_owned().into())
    }

    fn client(&mut self, at: &Pointer, reference: &Option<SecretRef>) -> Option<(Arc<str>, Secret<String>)> {
        let Some(reference) = reference else {
            let remedy = "name the Secret with `client_id` and `client_secret`";
            self.fields.wrong(at.clone(), "the field is missing", remedy);
            return None;
        };
        let secret = self.secret(at, reference)?;
        let id = self.entry(at, &secret, "client_id");
        let secret = self.entry(at, &secret, "client_secret").map(|text| Secret::new(text.to_owned()));
        Some((id?.into(), secret?))
    }

    fn bundle(&mut self, at: &Pointer, reference: &SecretRef) -> Option<Arc<[u8]>> {
        let secret = self.secret(at, reference)?;
        let bundle = self.entry(at, &secret, "ca.crt")?;
        if let Err(error) = tls::check_bundle(bundle.as_bytes()) {
            let message = format!("`ca.crt` of the Secret cannot be used: {error}");
            self.fields.wrong(at.clone(), message, "put the CA certificates there, as PEM text");
            return None;
        }
        Some(bundle.as_bytes().into())
    }

    /// A Secret of the installation's namespace, the only one that is read.
    fn secret(&mut self, at: &Pointer, reference: &SecretRef) -> Option<Arc<WatchedSecret>> {
        let SecretRef { namespace, name, unknown } = reference;
        self.fields.unknown(at, unknown);
        let own = &self.defaults.installation_namespace;
        if let Some(other) = namespace.as_ref().filter(|namespace| *namespace != own) {
            let message = format!("Secrets of the namespace `{other}` are not read for providers");
            self.fields.wrong(at.to("namespace"), message, format!("put the Secret into the namespace `{own}`"));
            return None;
        }
        let name = self.fields.text(at.to("name"), name, "name a Secret")?;
        let found = self.world.secrets.get(&ObjectName::new(own, name)).and_then(Stored::decoded);
        if found.is_none() {
            let message = format!("there is no Secret `{name}` in the namespace `{own}`");
            self.fields.wrong(at.to("name"), message, format!("create the Secret `{own}/{name}`"));
        }
        found.cloned()
    }

    /// An entry as text. A line break at its end is nearly always an accident of how the Secret was made, and a provider
    /// would answer it with a riddle.
    fn entry<'s>(&mut self, at: &Pointer, secret: &'s WatchedSecret, key: &str) -> Option<&'s str> {
        let text = secret.entry(key).and_then(|value| str::from_utf8(value).ok()).filter(|text| !text.is_empty());
        let Some(text) = text else {
            let message = format!("the Secret has no text under `{key}`");
            self.fields.wrong(at.to("name"), message, format!("add the key `{key}` to the Secret"));
            return None;
        };
        if key != "ca.crt" && text.trim() != text {
            let message = format!("`{key}` of the Secret begins or ends with a space or line break");
            self.fields.wrong(at.to("name"), message, "make the Secret from the bare value, with `printf` for `echo`");
            return None;
        }
        Some(text)
    }

    fn claims(&mut self, at: &Pointer, spec: Option<&ClaimsSpec>) -> ClaimPaths {
        let none = ClaimsSpec::default();
        let ClaimsSpec { email, groups, name, username, unknown } = spec.unwrap_or(&none);
        self.fields.unknown(at, unknown);
        let mut path = |field, given: &Option<String>, default: &str| match given {
            None => default.into(),
            Some(path) => {
                if path.split('.').any(str::is_empty) {
                    self.fields.wrong(at.to(field), "the claim's path has an empty part", "write a path such as `a.b`");
                }
                path.as_str().into()
            }
        };
        ClaimPaths {
            email: path("email", email, "email"),
            groups: path("groups", groups, "groups"),
            name: path("name", name, "name"),
            username: path("username", username, "preferred_username"),
        }
    }

    /// The scopes in the order given, `openid` first where it is not among them (OpenID Connect Core section 3.1.2.1).
    fn scopes(&mut self, at: &Pointer, given: &Option<Vec<String>>) -> Box<[Box<str>]> {
        if given.is_none() {
            return ["openid", "email", "profile"].map(Box::from).into();
        }
        let scopes = self.fields.parsed(at, given, scope, "write a scope such as `groups`");
        let openid = (!scopes.iter().any(|scope| **scope == *"openid")).then(|| Box::from("openid"));
        openid.into_iter().chain(scopes).collect()
    }

    fn logout(&mut self, at: &Pointer, spec: Option<&LogoutSpec>) -> bool {
        let Some(LogoutSpec { rp_initiated, unknown }) = spec else { return true };
        self.fields.unknown(at, unknown);
        rp_initiated.unwrap_or(true)
    }
}

/// RFC 6749 section 3.3.
fn scope(text: &str) -> Result<Box<str>, String> {
    let is_token = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if !text.is_empty() && text.bytes().all(is_token) {
        Ok(text.into())
    } else {
        Err(format!("`{}` is not a scope", text.escape_debug()))
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}
