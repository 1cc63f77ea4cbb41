//! Part of `api`.
