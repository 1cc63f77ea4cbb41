//! What people write: the kinds of group `portcullis.dev`, and the annotations of an Ingress. Wire types only.

pub mod annotations;
mod identity_provider;
mod policy;
mod portcullis;

pub use identity_provider::*;
pub use policy::*;
pub use portcullis::*;
