//! Part of `proxy`.
