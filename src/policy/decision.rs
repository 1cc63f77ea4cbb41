//! What `decide` takes and gives. A [`Permit`] is made here and nowhere else, and is spent once.

use std::net::IpAddr;
use std::sync::Arc;

use crate::host::Host;
use crate::identity::Principal;
use crate::path::RequestPath;

/// One request as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct AccessRequest<'a> {
    /// The method, upper case.
    pub method: &'a str,
    /// The host.
    pub host: &'a Host,
    /// The path, in both readings.
    pub path: &'a RequestPath,
    /// The socket peer.
    pub peer: IpAddr,
    /// Who asks, where known.
    pub principal: Option<&'a Principal>,
}

/// The decision over one request. `S` is the audit slot that it must be recorded in, `()` where nothing is forwarded.
#[must_use]
#[derive(Debug)]
pub enum Decision<S> {
    /// The request may be forwarded.
    Allow(Permit<S>),
    /// The caller must sign in first.
    Challenge(Challenge<S>),
    /// The request is refused.
    Deny(Denial<S>),
}

/// The right to forward one request: neither `Clone` nor `Default`, made by [`decide`](super::decide) alone.
///
/// It is spent once:
///
/// ```
/// # use portcullis::policy::Permit;
/// fn forward<S>(permit: Permit<S>) -> S {
///     permit.spend().0
/// }
/// ```
///
/// and not twice,
///
/// ```compile_fail,E0382
/// # use portcullis::policy::Permit;
/// fn forward<S>(permit: Permit<S>) -> (S, S) {
///     (permit.spend().0, permit.spend().0)
/// }
/// ```
///
/// nor copied,
///
/// ```compile_fail,E0277
/// # use portcullis::policy::Permit;
/// fn copy(permit: &Permit<()>) -> Permit<()> {
///     <Permit<()> as Clone>::clone(permit)
/// }
/// ```
///
/// nor made by hand,
///
/// ```compile_fail,E0451
/// # use portcullis::policy::{Permit, Verdict};
/// fn forge(verdict: Verdict) -> Permit<()> {
///     Permit { slot: (), verdict }
/// }
/// ```
///
/// nor by its constructor.
///
/// ```compile_fail,E0624
/// # use portcullis::policy::{Permit, Reason};
/// fn forge() -> Permit<()> {
///     Permit::new((), Reason::RuleAllows, None)
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct Permit<S> {
    slot: S,
    verdict: Verdict,
}

/// What is left of a permit that was spent: the right to send its one request. Made by [`Permit::spend`] alone.
///
/// ```compile_fail,E0423
/// # use portcullis::policy::Passage;
/// fn forge() -> Passage {
///     Passage(())
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct Passage(());

/// The answer that the caller must sign in.
#[must_use]
#[derive(Debug)]
pub struct Challenge<S> {
    slot: S,
    verdict: Verdict,
}

/// The refusal of one request.
#[must_use]
#[derive(Debug)]
pub struct Denial<S> {
    slot: S,
    verdict: Verdict,
}

/// Why it was decided so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The reason.
    pub reason: Reason,
    /// The rule that decided, where one did.
    pub rule: Option<Arc<str>>,
}

/// The closed list of reasons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reason {
    /// A rule allows.
    RuleAllows,
    /// A rule denies.
    RuleDenies,
    /// The route lets CORS preflights pass.
    CorsPreflight,
    /// No rule allows.
    NoRuleAllows,
    /// A rule needs to know who asks.
    SignInRequired,
    /// The two readings of the path match different rules: answered with 400.
    AmbiguousPath,
}

impl Reason {
    /// The stable name for audit, metrics and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RuleAllows => "rule_allows",
            Self::RuleDenies => "rule_denies",
            Self::CorsPreflight => "cors_preflight",
            Self::NoRuleAllows => "no_rule_allows",
            Self::SignInRequired => "sign_in_required",
            Self::AmbiguousPath => "ambiguous_path",
        }
    }
}

macro_rules! carries_slot {
    ($($name:ident),*) => {$(
        impl<S> $name<S> {
            /// Only the decision makes one.
            pub(super) fn new(slot: S, reason: Reason, rule: Option<Arc<str>>) -> Self {
                Self { slot, verdict: Verdict { reason, rule } }
            }

            /// Why it was decided so.
            pub fn verdict(&self) -> &Verdict {
                &self.verdict
            }
        }
    )*};
}

carries_slot!(Permit, Challenge, Denial);

impl<S> Permit<S> {
    /// Spends it: gives the slot in which the verdict is to be recorded, and the right to send.
    pub fn spend(self) -> (S, Verdict, Passage) {
        (self.slot, self.verdict, Passage(()))
    }
}

macro_rules! forbids {
    ($($name:ident),*) => {$(
        impl<S> $name<S> {
            /// Spends it: gives the slot in which the verdict is to be recorded.
            pub fn spend(self) -> (S, Verdict) {
                (self.slot, self.verdict)
            }
        }
    )*};
}

forbids!(Challenge, Denial);
