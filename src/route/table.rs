//! The route table: host first, then path, in both readings. What a lookup costs depends on the path, not on how many
//! routes there are.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter::successors;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::{Access, Route};
use crate::host::{Host, HostMatch};
use crate::path::{PathMatch, PlainPath, RequestPath};

/// All routes of a snapshot. Two are equal when their routes, and what they reserve, are.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    routes: Box<[Arc<Route>]>,
    exact: HashMap<Host, Bucket, RandomState>,
    wildcard: HashMap<Host, Bucket, RandomState>,
    any: Bucket,
    reserved: Reserved,
}

/// Hosts that are left to their own routes, also where they have none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reserved {
    /// No wildcard answers for these, nor who serves every host.
    pub hosts: BTreeSet<HostMatch>,
    /// Suffixes, and whether who serves every host answers for the hosts below; the longest suffix decides.
    pub below: BTreeMap<Host, bool>,
}

/// What was found.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The route.
    pub route: &'a Arc<Route>,
}

/// Why no route was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotFound {
    /// Neither route nor default backend: 404.
    Nothing,
    /// The two readings of the path lead to different routes: 400.
    Ambiguous,
}

/// The routes of one host.
#[derive(Clone, Debug, Default)]
struct Bucket {
    exact: HashMap<PlainPath, Arc<Route>, RandomState>,
    prefix: HashMap<PlainPath, Arc<Route>, RandomState>,
    /// The length of the longest prefix: what is longer need not be looked up.
    longest: usize,
    default: Option<Arc<Route>>,
    guarded: bool,
    /// The first route, by precedence, at whose provider people sign in.
    sign_in: Option<Arc<Route>>,
}

impl RouteTable {
    /// Builds the table. Routes come in order of age; the first of two with the same host and path wins.
    pub fn new(routes: impl IntoIterator<Item = Arc<Route>>) -> Self {
        let mut routes: Vec<_> = routes.into_iter().collect();
        routes.sort_by(|a, b| place(a).cmp(&place(b)));
        routes.dedup_by(|younger, older| place(younger) == place(older));
        let mut table = Self::default();
        for route in &routes {
            table.bucket_mut(&route.host).insert(Arc::clone(route));
        }
        table.routes = routes.into();
        table
    }

    /// Leaves hosts to their own routes.
    #[must_use]
    pub fn reserving(mut self, reserved: Reserved) -> Self {
        for host in &reserved.hosts {
            self.bucket_mut(host);
        }
        self.reserved = reserved;
        self
    }

    /// The route of a request: exact host, then wildcard, then any. There is no fall-through from a host that is served,
    /// not even to the default backend of every host, which may be another namespace's.
    pub fn find(&self, host: &Host, path: &RequestPath) -> Result<Found<'_>, NotFound> {
        let bucket = self.bucket(host).ok_or(NotFound::Nothing)?;
        let found = bucket.find(path.as_str());
        if let Some(lenient) = path.lenient()
            && !is_same(found, bucket.find(lenient))
        {
            return Err(NotFound::Ambiguous);
        }
        found.map(|route| Found { route }).ok_or(NotFound::Nothing)
    }

    /// The first route of the host, by precedence, at whose provider people sign in.
    pub fn sign_in(&self, host: &Host) -> Option<&Arc<Route>> {
        self.bucket(host)?.sign_in.as_ref()
    }

    /// Whether any route of the host (by any bucket that would serve it) is guarded or closed, so that the host is HTTPS.
    pub fn guards(&self, host: &Host) -> bool {
        self.bucket(host).is_some_and(|bucket| bucket.guarded)
    }

    /// All routes that can be found, in order of precedence.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter()
    }

    fn bucket(&self, host: &Host) -> Option<&Bucket> {
        let wildcard = || host.suffix().and_then(|suffix| self.wildcard.get(suffix));
        self.exact.get(host).or_else(wildcard).or_else(|| self.any_answers(host).then_some(&self.any))
    }

    /// Whether who serves every host answers for this one, which has no routes.
    fn any_answers(&self, host: &Host) -> bool {
        let mut suffixes = successors(host.suffix(), |suffix| Some(suffix.split_once('.')?.1));
        suffixes.find_map(|suffix| self.reserved.below.get(suffix)).copied().unwrap_or(true)
    }

    fn bucket_mut(&mut self, host: &HostMatch) -> &mut Bucket {
        match host {
            HostMatch::Exact(host) => self.exact.entry(host.clone()).or_default(),
            HostMatch::Wildcard(suffix) => self.wildcard.entry(suffix.clone()).or_default(),
            HostMatch::Any => &mut self.any,
        }
    }
}

impl Bucket {
    fn insert(&mut self, route: Arc<Route>) {
        self.guarded |= is_guarded(&route);
        if self.sign_in.is_none() && matches!(route.access, Access::Guarded { provider: Some(_), .. }) {
            self.sign_in = Some(Arc::clone(&route));
        }
        match route.path.clone() {
            Some(PathMatch::Exact(path)) => {
                self.exact.insert(path, route);
            }
            Some(PathMatch::Prefix(path)) => {
                self.longest = self.longest.max(path.as_str().len());
                self.prefix.insert(path, route);
            }
            None => self.default = Some(route),
        }
    }

    /// The exact path, else the longest prefix, else the default backend.
    fn find(&self, path: &str) -> Option<&Arc<Route>> {
        self.exact.get(path).or_else(|| self.find_prefix(path)).or(self.default.as_ref())
    }

    fn find_prefix(&self, path: &str) -> Option<&Arc<Route>> {
        let mut prefix = path;
        loop {
            if prefix.len() <= self.longest
                && let Some(route) = self.prefix.get(prefix)
            {
                return Some(route);
            }
            // The next shorter one, but none that is too long to be there.
            let end = prefix.len().min(self.longest + 1);
            prefix = &prefix[..prefix[..end].rfind('/')?];
        }
    }
}

/// Where a route is in the table, in order of precedence; a default backend goes last.
fn place(route: &Route) -> (&HostMatch, bool, &Option<PathMatch>) {
    (&route.host, route.path.is_none(), &route.path)
}

fn is_guarded(route: &Route) -> bool {
    !route.access.is_open()
}

fn is_same(a: Option<&Arc<Route>>, b: Option<&Arc<Route>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

impl PartialEq for RouteTable {
    fn eq(&self, other: &Self) -> bool {
        self.routes == other.routes && self.reserved == other.reserved
    }
}
