//! A `Portcullis` to the settings of the classes that name it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::fields::{Fields, Pointer};
use crate::api::{AccessSpec, HostsSpec, HstsSpec, PortcullisSpec, SessionSpec, TlsSpec};
use crate::controller::report::{Kind, Notes};
use crate::controller::world::ObjectName;
use crate::host::HostMatch;
use crate::route::SessionLimits;

/// The settings of a class.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Settings {
    /// Names of the providers offered, the default first.
    pub providers: Vec<Arc<str>>,
    /// What a route gets that no policy covers.
    pub default_access: DefaultAccess,
    /// Whether an Ingress may open itself.
    pub may_open: bool,
    /// Whether several namespaces may serve one host.
    pub shared_hosts: bool,
    /// Hosts kept for namespaces.
    pub claims: Claims,
    /// How long sessions live.
    pub session: SessionLimits,
    /// The `Strict-Transport-Security` of guarded hosts.
    pub hsts: HeaderValue,
}

/// Patterns with the namespaces that alone may serve what they cover.
pub(super) type Claims = BTreeMap<HostMatch, BTreeSet<Arc<str>>>;

/// What a route gets that no policy covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DefaultAccess {
    /// Nobody passes.
    Deny,
    /// Everyone who is signed in.
    Authenticated,
    /// Everyone.
    Public,
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The settings of a class without parameters: no provider, nobody passes.
impl Default for Settings {
    fn default() -> Self {
        Self {
            providers: Vec::new(),
            default_access: DefaultAccess::Deny,
            may_open: true,
            shared_hosts: false,
            claims: Claims::new(),
            session: SessionLimits::default(),
            hsts: HeaderValue::from_static("max-age=31536000"),
        }
    }
}

impl Settings {
    /// Reads a `Portcullis`.
    pub fn read(spec: &PortcullisSpec, fields: &mut Fields<'_>) -> Self {
        let at = Pointer::spec();
        let PortcullisSpec { providers, access, hosts, session, tls, unknown } = spec;
        fields.unknown(&at, unknown);
        let mut settings = Self::default();
        let name = |text: &str| if text.is_empty() { Err("the name is empty") } else { Ok(Arc::from(text)) };
        settings.providers = fields.parsed(&at.to("providers"), providers, name, "name an IdentityProvider");
        if let Some(access) = access {
            settings.read_access(&at.to("access"), access, fields);
        }
        if let Some(hosts) = hosts {
            settings.read_hosts(&at.to("hosts"), hosts, fields);
        }
        if let Some(session) = session {
            settings.read_session(&at.to("session"), session, fields);
        }
        if let Some(TlsSpec { hsts, unknown }) = tls {
            let at = at.to("tls");
            fields.unknown(&at, unknown);
            if let Some(hsts) = hsts {
                settings.hsts = read_hsts(&at.to("hsts"), hsts, fields);
            }
        }
        settings
    }

    /// The claims alone, of a `Portcullis` whose defects are said elsewhere: each holds as far as it can be read.
    pub fn claims(spec: &PortcullisSpec) -> Claims {
        let mut notes = Notes::on(Kind::Portcullis, &ObjectName::new("", ""));
        Self::read(spec, &mut Fields::new(&mut notes, "")).claims
    }

    fn read_access(&mut self, at: &Pointer, spec: &AccessSpec, fields: &mut Fields<'_>) {
        let AccessSpec { default, public, unknown } = spec;
        fields.unknown(at, unknown);
        let words = [
            ("Deny", DefaultAccess::Deny),
            ("Authenticated", DefaultAccess::Authenticated),
            ("Public", DefaultAccess::Public),
        ];
        self.default_access = fields.word(at.to("default"), default, &words, self.default_access);
        self.may_open = fields.word(at.to("public"), public, &[("Allowed", true), ("Forbidden", false)], self.may_open);
    }

    fn read_hosts(&mut self, at: &Pointer, spec: &HostsSpec, fields: &mut Fields<'_>) {
        let HostsSpec { ownership, claims, unknown } = spec;
        fields.unknown(at, unknown);
        let words = [("FirstNamespace", false), ("Shared", true)];
        self.shared_hosts = fields.word(at.to("ownership"), ownership, &words, self.shared_hosts);
        let at = at.to("claims");
        for (index, claim) in fields.list(&at, claims).iter().enumerate() {
            let at = at.to(index);
            fields.unknown(&at, &claim.unknown);
            let remedy = "write a host, `*.suffix` for all hosts below a suffix, or `*` for all";
            let pattern = match fields.text(at.to("pattern"), &claim.pattern, remedy).map(pattern) {
                None => continue,
                Some(Ok(pattern)) => pattern,
                Some(Err(error)) => {
                    fields.wrong(at.to("pattern"), error, remedy);
                    continue;
                }
            };
            let namespaces = &claim.namespaces;
            if namespaces.is_none() {
                fields.wrong(
                    at.to("namespaces"),
                    "the field is missing",
                    "name the namespaces that may serve the hosts",
                );
            }
            let namespaces = fields.list(&at.to("namespaces"), namespaces).iter().map(|name| Arc::from(name.as_str()));
            self.claims.entry(pattern).or_default().extend(namespaces);
        }
    }

    fn read_session(&mut self, at: &Pointer, spec: &SessionSpec, fields: &mut Fields<'_>) {
        let SessionSpec { lifetime, idle_timeout, unknown } = spec;
        fields.unknown(at, unknown);
        let mut span = |name, text, default| {
            let span = fields.duration(at.to(name), text, default);
            if span.is_zero() {
                fields.wrong(at.to(name), "a session cannot last no time", "write a span such as `1h`");
            }
            span
        };
        self.session.lifetime = span("lifetime", lifetime, self.session.lifetime);
        self.session.idle = span("idleTimeout", idle_timeout, self.session.idle);
    }
}

fn pattern(text: &str) -> Result<HostMatch, String> {
    if text == "*" { Ok(HostMatch::Any) } else { HostMatch::parse(text).map_err(|error| error.to_string()) }
}

/// RFC 6797 section 6.1.
fn read_hsts(at: &Pointer, spec: &HstsSpec, fields: &mut Fields<'_>) -> HeaderValue {
    let HstsSpec { max_age, include_sub_domains, preload, unknown } = spec;
    fields.unknown(at, unknown);
    let max_age = fields.duration(at.to("maxAge"), max_age, YEAR);
    let mut value = format!("max-age={}", max_age.as_secs());
    if include_sub_domains.unwrap_or_default() {
        value.push_str("; includeSubDomains");
    }
    if preload.unwrap_or_default() {
        value.push_str("; preload");
    }
    HeaderValue::from_str(&value).expect("a number and fixed words")
}
