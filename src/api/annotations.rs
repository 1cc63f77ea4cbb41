//! Part of api.
