//! Policy: rules over requests and principals. Rules come compiled; nothing here knows Kubernetes, a clock or I/O.
//!
//! Within a rule all fields must hold, within a list any entry. [`decide`] gives the order in which rules count.

mod authorize;
mod decision;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

pub use authorize::{decide, decide_preflight};
pub use decision::{AccessRequest, Challenge, Decision, Denial, Passage, Permit, Reason, Verdict};

use crate::host::HostMatch;
use crate::identity::{Email, Groups, Identity};
use crate::path::PathMatch;

/// All rules that decide over a route.
#[derive(Clone, PartialEq, Debug)]
pub struct Policy {
    /// In the order of the policies and of the rules in them; the order never changes a decision.
    pub rules: Box<[Rule]>,
}

/// One rule.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// `namespace/policy:rule`, for audit and denied page.
    pub name: Arc<str>,
    /// What it does where it matches.
    pub effect: Effect,
    /// Which requests it speaks of.
    pub request: RequestMatch,
    /// Whom it speaks of.
    pub principal: PrincipalMatch,
}

/// What a matching rule does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Grants, unless a rule denies.
    Allow,
    /// Denies, whatever else grants.
    Deny,
}

/// Requests: every list that is not empty must have an entry that matches.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RequestMatch {
    /// Methods, upper case.
    pub methods: Box<[Box<str>]>,
    /// Paths.
    pub paths: Box<[PathMatch]>,
    /// Hosts.
    pub hosts: Box<[HostMatch]>,
    /// Address ranges of the socket peer.
    pub source_ranges: Box<[IpNet]>,
}

/// Whom a rule speaks of.
#[derive(Clone, PartialEq, Debug)]
pub enum PrincipalMatch {
    /// Everybody, signed in or not.
    Anyone,
    /// Everybody who is signed in.
    Authenticated,
    /// Those signed in of whom all that is written holds.
    Described(Box<Description>),
}

/// Properties of a principal: every list that is not empty must have an entry that matches.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Description {
    /// Groups.
    pub groups: Groups,
    /// Verified e-mail addresses.
    pub emails: Box<[Email]>,
    /// Domains of verified e-mail addresses, exact.
    pub email_domains: Box<[Box<str>]>,
    /// Identities.
    pub subjects: Box<[Identity]>,
    /// Claim path to accepted values: the claim must be one of them, or a list that holds one.
    pub claims: BTreeMap<String, Box<[serde_json::Value]>>,
}

impl Policy {
    /// The policy of a route that its owner opened: everyone may pass. Not a default, and never the result of a defect.
    pub fn anyone() -> Self {
        Self::of_one_rule("access:public", PrincipalMatch::Anyone)
    }

    /// The policy of a route for everyone who is signed in.
    pub fn authenticated() -> Self {
        Self::of_one_rule("access:authenticated", PrincipalMatch::Authenticated)
    }

    /// Whether somebody who is not signed in may get past with some request. A Deny for every request lets nobody past who
    /// is nobody yet.
    pub fn lets_strangers_pass(&self) -> bool {
        let allows = |rule: &Rule| rule.effect == Effect::Allow && rule.principal == PrincipalMatch::Anyone;
        let denies = |rule: &Rule| rule.effect == Effect::Deny && rule.request == RequestMatch::default();
        self.rules.iter().any(allows) && !self.rules.iter().any(denies)
    }

    fn of_one_rule(name: &str, principal: PrincipalMatch) -> Self {
        let rule = Rule { name: name.into(), effect: Effect::Allow, request: RequestMatch::default(), principal };
        Self { rules: Box::new([rule]) }
    }
}
