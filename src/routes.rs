//! `portcullis routes`: every host and path that would be served, and who may pass.

use std::sync::Arc;

use serde::Serialize;

use crate::inspect::Scope;
use crate::output::{Choice, columns};
use crate::route::{Access, ClosedReason, Route};

/// A route in words.
#[derive(Serialize)]
pub struct Row {
    host: String,
    path: String,
    access: &'static str,
    /// Who may pass, rule by rule.
    who: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    ingress: String,
}

/// Prints the routes, or only those where somebody who is not signed in may pass.
pub fn main(scope: &Scope, unprotected: bool, choice: Choice) -> anyhow::Result<()> {
    let seen = scope.look()?;
    let routes = seen.snapshot.routes.iter().filter(|route| !unprotected || is_unprotected(route));
    choice.print(&rows(routes), table)
}

/// Routes in words.
pub fn rows<'a>(routes: impl Iterator<Item = &'a Arc<Route>>) -> Vec<Row> {
    routes.map(|route| Row::of(route)).collect()
}

/// Whether some request of somebody who is not signed in may pass.
fn is_unprotected(route: &Route) -> bool {
    route.access.policy().is_some_and(|policy| policy.lets_strangers_pass() || route.settings.cors_preflight)
}

fn table(rows: &[Row]) -> String {
    let row = |row: &Row| {
        let backend = row.backend.clone().unwrap_or_else(|| "-".to_owned());
        [row.host.clone(), row.path.clone(), row.access.to_owned(), row.who.join("; "), backend, row.ingress.clone()]
    };
    columns(["HOST", "PATH", "ACCESS", "WHO MAY PASS", "BACKEND", "INGRESS"], rows.iter().map(row))
}

impl Row {
    fn of(route: &Route) -> Self {
        let (access, mut who) = match &route.access {
            Access::Open(_) => ("open", vec!["anyone".to_owned()]),
            Access::Guarded { policy, .. } if policy.rules.is_empty() => {
                ("guarded", vec!["nobody: no policy".to_owned()])
            }
            Access::Guarded { policy, .. } => ("guarded", policy.rules.iter().map(ToString::to_string).collect()),
            Access::Closed(ClosedReason(reason)) => ("closed", vec![format!("nobody: {reason}")]),
        };
        if access == "guarded" && route.settings.cors_preflight {
            who.push("anyone, for CORS preflights".to_owned());
        }
        Self {
            host: route.host.to_string(),
            path: route.path.as_ref().map_or_else(|| "(all others)".to_owned(), ToString::to_string),
            access,
            who,
            backend: route.backend.as_ref().map(|backend| backend.key.to_string()),
            ingress: route.ingress.to_string(),
        }
    }
}
