//! Ingresses to routes. Ingresses come oldest first, and the first to ask for a host and path gets it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::networking::v1::{HTTPIngressPath, IngressBackend, IngressRule};

use super::access::{self, Context};
use super::backend::backend;
use super::class::Ours;
use super::defaults::Defaults;
use super::fields::Pointer;
use super::hosts::{Hosts, Refusal, covering, meant};
use crate::api::annotations::{IdentityHeaderWord, PREFIX};
use crate::controller::report::{Kind, Notes, Report};
use crate::controller::world::{ObjectName, World};
use crate::host::HostMatch;
use crate::path::PathMatch;
use crate::route::{Access, Backend, ClosedReason, IdentityHeader, Reserved, Route, RouteSettings, RouteTable};

/// The routes so far.
pub(super) struct Routes<'c> {
    world: &'c World,
    defaults: &'c Defaults,
    hosts: &'c Hosts,
    access: Context<'c>,
    /// Each with the Ingress that it is of.
    routes: BTreeMap<Place, (ObjectName, Arc<Route>)>,
}

/// Where a route is; no path for a default backend.
type Place = (HostMatch, Option<PathMatch>);

/// An Ingress on its way to routes.
struct Draft<'i> {
    it: &'i Ours<'i>,
    name: Arc<str>,
    access: Access,
    settings: Arc<RouteSettings>,
    /// The hosts that it may serve and has asked for.
    hosts: BTreeSet<HostMatch>,
    served: BTreeSet<HostMatch>,
    /// Whether nobody can tell for which host one of its rules was meant.
    lost_a_host: bool,
    notes: Notes,
}

/// The label of Ingresses that answer HTTP-01 challenges (RFC 8555 section 8.3), and where the answers are.
const SOLVER_LABEL: &str = "acme.cert-manager.io/http01-solver";
const SOLVER_PATH: &str = "/.well-known/acme-challenge";
/// Where we answer ourselves, before routing.
const RESERVED: [&str; 2] = ["/.portcullis", "/.well-known/portcullis"];

impl<'c> Routes<'c> {
    /// No routes yet.
    pub fn new(world: &'c World, defaults: &'c Defaults, hosts: &'c Hosts, access: Context<'c>) -> Self {
        Self { world, defaults, hosts, access, routes: BTreeMap::new() }
    }

    /// Adds the routes of an Ingress, and gives the hosts on which it has any.
    pub fn add(&mut self, it: &Ours<'_>, report: &mut Report) -> BTreeSet<HostMatch> {
        let mut notes = Notes::on(Kind::Ingress, it.name);
        let access = access::of(it, self.access, &mut notes);
        let name: Arc<str> = it.name.to_string().into();
        let counts = self.world.counts.counts_of(&name);
        let settings = Arc::new(RouteSettings { counts, ..settings(it, &access, self.defaults, &mut notes) });
        let (hosts, served) = Default::default();
        let mut draft = Draft { it, name, access, settings, hosts, served, lost_a_host: false, notes };
        let spec = it.ingress.spec.as_ref();
        for (index, rule) in spec.and_then(|spec| spec.rules.as_deref()).unwrap_or_default().iter().enumerate() {
            self.add_rule(&Pointer::spec().to("rules").to(index), rule, &mut draft);
        }
        if let Some(default) = spec.and_then(|spec| spec.default_backend.as_ref()) {
            self.add_default(&Pointer::spec().to("defaultBackend"), default, &mut draft);
        }
        report.take(draft.notes);
        draft.served
    }

    /// All routes, and the hosts that are left to them, with what is wrong with the endpoints of their Services.
    pub fn finish(self, report: &mut Report) -> RouteTable {
        let reserved = self.reserved();
        let routes: Vec<_> = self.routes.into_values().map(|(_, route)| route).collect();
        for key in routes.iter().filter_map(|route| Some(&route.backend.as_ref()?.key)) {
            let service = ObjectName { namespace: Arc::clone(&key.namespace), name: Arc::clone(&key.service) };
            report.findings.extend(self.world.slice_findings.get(&service).into_iter().flatten().cloned());
        }
        RouteTable::new(routes).reserving(reserved)
    }

    /// The hosts that an Ingress owns or a claim keeps, and that have no route: a wildcard, or who serves every host, would
    /// answer for them else, and that may be another namespace.
    fn reserved(&self) -> Reserved {
        let is_served = |host: &HostMatch| self.on(host).next().is_some();
        let may_answer = |host: &HostMatch, for_those: &BTreeSet<Arc<str>>| {
            self.on(host).all(|name| for_those.contains(&name.namespace))
        };
        let mut reserved = Reserved::default();
        reserved.hosts.extend(self.hosts.owned().filter(|host| !is_served(host)).cloned());
        for (pattern, namespaces) in self.hosts.kept() {
            match pattern {
                HostMatch::Exact(_) if !is_served(pattern) => {
                    let wildcard = covering(pattern).into_iter().nth(1).filter(is_served);
                    if !may_answer(&wildcard.unwrap_or(HostMatch::Any), namespaces) {
                        reserved.hosts.insert(pattern.clone());
                    }
                }
                HostMatch::Wildcard(suffix) => {
                    reserved.below.insert(suffix.clone(), may_answer(&HostMatch::Any, namespaces));
                }
                HostMatch::Exact(_) | HostMatch::Any => {}
            }
        }
        reserved
    }

    fn add_rule(&mut self, at: &Pointer, rule: &IngressRule, draft: &mut Draft<'_>) {
        let text = rule.host.as_deref().unwrap_or_default();
        let has_default = draft.it.ingress.spec.as_ref().is_some_and(|spec| spec.default_backend.is_some());
        let host = match HostMatch::parse(text) {
            Ok(host) => host,
            Err(error) => {
                let meant = meant(text);
                draft.lost_a_host |= meant.is_none();
                let unserved = if meant.is_some() || !has_default {
                    "the rule is not"
                } else {
                    "rule and default backend are not"
                };
                let remedy = "write a DNS name, or `*.` and a DNS name";
                draft.notes.error(at.to("host"), "HostInvalid", format!("{error}, so {unserved} served"), remedy);
                return self.close_rule(meant, rule, draft);
            }
        };
        if let Err(refusal) = self.hosts.allow(&host, &draft.it.name.namespace, &draft.it.class) {
            let (message, remedy) = refusal_text(&host, &refusal);
            draft.notes.error(at.to("host"), "Conflict", format!("{message}, so the rule is not served"), remedy);
            return;
        }
        draft.hosts.insert(host.clone());
        if !has_default && rule.http.as_ref().is_none_or(|http| http.paths.is_empty()) {
            let message = "the rule has no paths and the Ingress no default backend, so nothing is served";
            draft.notes.error(at.clone(), "NothingServed", message, "add a path or a default backend");
        }
        for (index, path) in rule.http.iter().flat_map(|http| &http.paths).enumerate() {
            self.add_path(&at.to("http").to("paths").to(index), &host, path, draft);
        }
    }

    /// Closes the paths of a rule whose host cannot be read, on the host that it was meant for.
    fn close_rule(&mut self, meant: Option<HostMatch>, rule: &IngressRule, draft: &mut Draft<'_>) {
        let Some(host) = meant else { return };
        if self.hosts.allow(&host, &draft.it.name.namespace, &draft.it.class).is_ok() {
            for path in rule.http.iter().flat_map(|http| &http.paths) {
                self.close(&host, path.path.as_deref().unwrap_or_default(), draft);
            }
        }
    }

    fn add_path(&mut self, at: &Pointer, host: &HostMatch, path: &HTTPIngressPath, draft: &mut Draft<'_>) {
        let text = path.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
        let parsed = match path_match(text, &path.path_type) {
            Ok(parsed) => parsed,
            Err((field, message, remedy)) => {
                let outcome = self.close(host, text, draft);
                draft.notes.error(at.to(field), "PathInvalid", format!("{message}, so {outcome}"), remedy);
                return;
            }
        };
        let place = (host.clone(), Some(parsed));
        match self.taken(&place) {
            None => self.push(&at.to("backend"), place, &path.backend, draft),
            Some(winner) if winner == *draft.it.name => {
                let message =
                    format!("the path `{text}` of the host `{host}` is there twice, and the first one counts");
                draft.notes.error(at.to("path"), "Conflict", message, "remove one of them");
            }
            Some(winner) => {
                let message =
                    format!("the path `{text}` of the host `{host}` is served by the older Ingress `{winner}`");
                draft.notes.error(at.to("path"), "Conflict", message, format!("remove it here or from `{winner}`"));
            }
        }
    }

    /// A default backend answers for the hosts on which this Ingress is the oldest, and where no host is known. Losing the
    /// latter is a defect only of an Ingress that has nothing else.
    fn add_default(&mut self, at: &Pointer, default: &IngressBackend, draft: &mut Draft<'_>) {
        let oldest = |host: &&HostMatch| **host != HostMatch::Any && self.hosts.is_oldest(host, draft.it.name);
        let hosts: Vec<_> = draft.hosts.iter().filter(oldest).cloned().collect();
        for host in hosts {
            self.push(at, (host, None), default, draft);
        }
        let place = (HostMatch::Any, None);
        let refused = self.hosts.allow(&place.0, &draft.it.name.namespace, &draft.it.class);
        let (message, remedy) = match (refused, self.taken(&place)) {
            (Ok(()), None) => return self.push(at, place, default, draft),
            (Ok(()), Some(winner)) => {
                let message = format!("unknown hosts are answered by the older Ingress `{winner}`");
                (message, format!("remove the default backend here or from `{winner}`"))
            }
            (Err(refusal), _) => refusal_text(&HostMatch::Any, &refusal),
        };
        if draft.hosts.is_empty() {
            draft.notes.error(at.clone(), "Conflict", format!("{message}, so this one is not served"), remedy);
        }
    }

    /// Closes what a path that cannot be served was meant for, so that no shorter route takes its requests over, and tells
    /// what became of them. Where the namespace has a route in that very place, it gives way, for it may lead to the same
    /// Service and let others in. One of another namespace, which has the host in common, stays: it leads to no Service of
    /// this one.
    fn close(&mut self, host: &HostMatch, text: &str, draft: &mut Draft<'_>) -> String {
        let path = PathMatch::plain_part(text);
        let place = (host.clone(), Some(path.clone()));
        let outcome = match self.taken(&place) {
            Some(other) if other.namespace != draft.it.name.namespace => {
                return format!("requests go to `{path}` of the Ingress `{other}`");
            }
            Some(other) if other != *draft.it.name => format!("`{path}` is closed, also for the Ingress `{other}`"),
            _ => format!("`{path}` is closed"),
        };
        let access = Access::Closed(ClosedReason("the rule cannot be served".into()));
        self.insert(place, access, None, draft);
        outcome
    }

    fn push(&mut self, at: &Pointer, place: Place, to: &IngressBackend, draft: &mut Draft<'_>) {
        let access = path_access(at, &place, draft);
        let protocol = draft.it.annotations.backend_protocol;
        let backend = backend(self.world, &draft.it.name.namespace, (at, to), protocol, &mut draft.notes);
        self.insert(place, access, backend, draft);
    }

    fn insert(&mut self, place: Place, access: Access, backend: Option<Arc<Backend>>, draft: &mut Draft<'_>) {
        draft.served.insert(place.0.clone());
        let (ingress, settings) = (Arc::clone(&draft.name), Arc::clone(&draft.settings));
        let (host, path) = place.clone();
        let route = Arc::new(Route { ingress, host, path, access, backend, settings });
        self.routes.insert(place, (draft.it.name.clone(), route));
    }

    /// The Ingresses with routes on a host.
    fn on<'r>(&'r self, host: &'r HostMatch) -> impl Iterator<Item = &'r ObjectName> {
        let routes = self.routes.range((host.clone(), None)..).take_while(move |(place, _)| place.0 == *host);
        routes.map(|(_, (name, _))| name)
    }

    /// The Ingress that has a place.
    fn taken(&self, place: &Place) -> Option<ObjectName> {
        self.routes.get(place).map(|(name, _)| name.clone())
    }
}

/// A path by its type, or the field that is wrong, how, and the remedy.
fn path_match(text: &str, path_type: &str) -> Result<PathMatch, (&'static str, String, &'static str)> {
    let parsed = match path_type {
        "Exact" => PathMatch::exact(text),
        "Prefix" | "ImplementationSpecific" => PathMatch::prefix(text),
        other => {
            let message = format!("there is no path type `{}`", other.escape_debug());
            return Err(("pathType", message, "write `Exact`, `Prefix` or `ImplementationSpecific`"));
        }
    };
    parsed.map_err(|error| {
        let message = format!("the path `{}` cannot be served: {error}", text.escape_debug());
        let remedy = "write a plain path, literal, without empty or dot segments, encoded delimiters, `;` and query";
        ("path", message, remedy)
    })
}

/// The access of one path. Answers to HTTP-01 challenges would have to be open over plain HTTP: not supported yet, so
/// closed by name and not opened by guess.
fn path_access(at: &Pointer, (host, path): &Place, draft: &mut Draft<'_>) -> Access {
    let labels = draft.it.ingress.metadata.labels.as_ref();
    let is_solver = labels.and_then(|labels| labels.get(SOLVER_LABEL)).is_some_and(|label| label == "true");
    let below = |place: &str| {
        path.as_ref().is_some_and(|(PathMatch::Exact(path) | PathMatch::Prefix(path))| path.as_str().starts_with(place))
    };
    if path.is_none() && draft.lost_a_host && !matches!(host, HostMatch::Exact(_)) {
        return Access::Closed(ClosedReason("a rule beside the default backend has no host that can be read".into()));
    }
    if is_solver || below(SOLVER_PATH) {
        let message = "answers to HTTP-01 challenges are not supported yet, so the path is closed";
        draft.notes.error(
            at.clone(),
            "UnsupportedSolver",
            message,
            "use DNS-01 challenges, or another way in for these",
        );
        return Access::Closed(ClosedReason("HTTP-01 challenges are not supported".into()));
    }
    if RESERVED.into_iter().any(below) {
        let message = "requests below this path are answered by Portcullis itself and never get here";
        draft.notes.warning(at.clone(), "PathReserved", message, "use another path");
    }
    draft.access.clone()
}

fn settings(it: &Ours<'_>, access: &Access, defaults: &Defaults, notes: &mut Notes) -> RouteSettings {
    let annotations = &it.annotations;
    let has_tls = it.ingress.spec.as_ref().and_then(|spec| spec.tls.as_ref()).is_some_and(|tls| !tls.is_empty());
    let header = |word: &IdentityHeaderWord| match word {
        IdentityHeaderWord::User => IdentityHeader::User,
        IdentityHeaderWord::Email => IdentityHeader::Email,
        IdentityHeaderWord::Groups => IdentityHeader::Groups,
        IdentityHeaderWord::PreferredUsername => IdentityHeader::PreferredUsername,
    };
    let class = &it.class.settings;
    RouteSettings {
        identity_headers: annotations.identity_headers.iter().map(header).collect(),
        ssl_redirect: annotations.ssl_redirect.unwrap_or(has_tls),
        websocket: annotations.websocket.unwrap_or(true),
        allowed_origins: annotations.cors_allow_origin.iter().map(|origin| origin.as_str().into()).collect(),
        cors_preflight: preflights_pass(it, notes),
        connect_timeout: annotations.connect_timeout,
        request_timeout: annotations.request_timeout,
        idle_timeout: annotations.idle_timeout,
        request_body_limit: annotations.request_body_limit,
        hsts: (!defaults.dev && !access.is_open()).then(|| class.hsts.clone()),
        session: class.session,
        ..RouteSettings::default()
    }
}

/// Whether preflights pass, which opens the Ingress a little.
fn preflights_pass(it: &Ours<'_>, notes: &mut Notes) -> bool {
    let wanted = it.annotations.cors_preflight == Some(true);
    if wanted && !it.class.settings.may_open {
        let at = Pointer::annotation(&format!("{PREFIX}cors-preflight"));
        let message = "the class forbids what is public, so CORS preflights have to sign in";
        notes.warning(at, "PublicForbidden", message, "remove the annotation, or let the class allow what is public");
    }
    wanted && it.class.settings.may_open
}

/// Why a host is refused, and what to do.
pub(super) fn refusal_text(host: &HostMatch, refusal: &Refusal) -> (String, String) {
    match refusal {
        Refusal::Claimed(pattern) => {
            let message = format!("the host `{host}` is kept for other namespaces by the claim on `{pattern}`");
            (message, "use another host, or add the namespace to the claim".to_owned())
        }
        Refusal::Owned(oldest) => {
            let message = format!("the host `{host}` belongs to the namespace of the older Ingress `{oldest}`");
            (message, "use another host, or give the host to this namespace with a claim in the Portcullis".to_owned())
        }
    }
}
