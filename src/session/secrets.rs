//! Sessions in Kubernetes Secrets: one sealed Secret a session, resourceVersion as compare-and-set, one watch that feeds
//! the cache.

/// The store.
#[derive(Clone)]
pub struct SecretStore {}
