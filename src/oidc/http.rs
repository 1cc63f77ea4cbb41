//! Part of `oidc`.
