//! Who may pass.

use std::sync::Arc;

use crate::oidc::Provider;
use crate::policy::Policy;

/// Who may pass a route: opened by its owner, guarded by policy, or closed by a defect. There is no default.
#[derive(Clone, PartialEq, Debug)]
pub enum Access {
    /// Everyone; the policy is [`Policy::anyone`]. May speak plain HTTP.
    Open(Arc<Policy>),
    /// Whom the policy allows.
    Guarded {
        /// The rules.
        policy: Arc<Policy>,
        /// Who signs people in; `None` where nobody can (a challenge is then 503).
        provider: Option<Arc<Provider>>,
    },
    /// Nobody; why is in the report.
    Closed(ClosedReason),
}

/// Why a route is closed, for audit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClosedReason(pub Arc<str>);

/// An identity header that the upstream gets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum IdentityHeader {
    /// `X-Auth-Request-User`: the subject.
    User,
    /// `X-Auth-Request-Email`: the verified e-mail address.
    Email,
    /// `X-Auth-Request-Groups`: the groups, comma-separated.
    Groups,
    /// `X-Auth-Request-Preferred-Username`.
    PreferredUsername,
}

impl Access {
    /// The access of a route that its owner opened.
    pub fn open() -> Self {
        Self::Open(Arc::new(Policy::anyone()))
    }

    /// Whether the owner opened the route.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// The rules that decide; none where the route is closed.
    pub fn policy(&self) -> Option<&Arc<Policy>> {
        match self {
            Self::Open(policy) | Self::Guarded { policy, .. } => Some(policy),
            Self::Closed(_) => None,
        }
    }
}
