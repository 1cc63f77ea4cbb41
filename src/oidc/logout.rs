//! Where sign-out goes on to (OpenID Connect RP-Initiated Logout 1.0 section 2).

use crate::secret::Secret;

use super::issuer::Live;
use super::provider::Provider;

/// The provider's end of the session, where it has one and the settings want it.
pub(super) fn url(
    live: &Live,
    provider: &Provider,
    id_token: Option<&Secret<String>>,
    post_logout_redirect_uri: &str,
) -> Option<String> {
    let end_session = live.metadata.end_session.as_ref().filter(|_| provider.rp_initiated_logout)?;
    let mut url = end_session.url();
    url.query_pairs_mut()
        .append_pair("client_id", &provider.client_id)
        .append_pair("post_logout_redirect_uri", post_logout_redirect_uri)
        .extend_pairs(id_token.map(|token| ("id_token_hint", token.expose())));
    Some(url.into())
}
