//! WebSocket upgrades: asked for by the client, granted by the upstream, then bytes both ways until either end, the
//! session or the idle limit closes it.

use crate::host::Host;
use crate::route::RouteSettings;

use super::admit::CanonicalRequest;

/// A request to go on as a WebSocket (RFC 6455 section 4.1).
#[derive(Debug)]
pub struct WebSocket {}

/// Whether a WebSocket may be opened by the page that asks: `Origin` is absent (no browser), the own public origin, or
/// one that the route allows.
pub fn origin_allowed(request: &CanonicalRequest, host: &Host, public_port: u16, settings: &RouteSettings) -> bool {
    let _ = (request, host, public_port, settings);
    todo!()
}
