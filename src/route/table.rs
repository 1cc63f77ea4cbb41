//! The route table: host first, then path, in both readings.

use std::sync::Arc;

use crate::host::Host;
use crate::path::RequestPath;

use super::Route;

/// All routes of a snapshot.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RouteTable {}

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

impl RouteTable {
    /// Builds the table. Routes come in order of age; the first of two with the same host and path wins.
    pub fn new(routes: impl IntoIterator<Item = Arc<Route>>) -> Self {
        let _ = routes.into_iter().count();
        todo!()
    }

    /// The route of a request: exact host, then wildcard, then any; no fall-through to another host bucket but to its
    /// default backend.
    pub fn find(&self, host: &Host, path: &RequestPath) -> Result<Found<'_>, NotFound> {
        let _ = (host, path);
        todo!()
    }

    /// Whether any route of the host (by any bucket that would serve it) is guarded or closed, so that the host is HTTPS.
    pub fn guards(&self, host: &Host) -> bool {
        let _ = host;
        todo!()
    }

    /// All routes, in order of precedence.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        std::iter::empty()
    }
}
