//! The decision itself, pure: no clock, no I/O, no allocation.

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    AccessRequest, Challenge, Decision, Denial, Description, Effect, Permit, Policy, PrincipalMatch, Reason, Rule,
};
use crate::identity::Principal;
use crate::path::PathMatch;

/// Decides over one request.
///
/// In this order: a rule of whose paths only one reading is meant denies; a Deny that matches denies; a Deny that would
/// need to know who asks, caller anonymous, challenges; an Allow that matches allows; an Allow that needs to know
/// challenges; else denied. Of several rules that say the same, the first is named.
pub fn decide<S>(slot: S, policy: &Policy, request: &AccessRequest<'_>) -> Decision<S> {
    let mut strongest: Option<(Voice, &Rule)> = None;
    for rule in &policy.rules {
        let Some(voice) = voice(rule, request) else { continue };
        if strongest.is_none_or(|(strongest, _)| voice > strongest) {
            strongest = Some((voice, rule));
        }
    }
    let Some((voice, rule)) = strongest else { return Decision::Deny(Denial::new(slot, Reason::NoRuleAllows, None)) };
    let name = Some(rule.name.clone());
    match voice {
        Voice::AmbiguousPath => Decision::Deny(Denial::new(slot, Reason::AmbiguousPath, name)),
        Voice::Denies => Decision::Deny(Denial::new(slot, Reason::RuleDenies, name)),
        Voice::DeniesSomebody | Voice::AllowsSomebody => {
            Decision::Challenge(Challenge::new(slot, Reason::SignInRequired, name))
        }
        Voice::Allows => Decision::Allow(Permit::new(slot, Reason::RuleAllows, name)),
    }
}

/// Decides over a CORS preflight on a route that lets them pass: browsers send no credentials along, so that whoever would
/// be asked to sign in may pass, and whom no rule allows too. A rule that denies without asking who it is holds.
pub fn decide_preflight<S>(slot: S, policy: &Policy, request: &AccessRequest<'_>) -> Decision<S> {
    let slot = match decide(slot, policy, request) {
        Decision::Challenge(challenge) => challenge.spend().0,
        Decision::Deny(denial) if denial.verdict().reason == Reason::NoRuleAllows => denial.spend().0,
        decided => return decided,
    };
    Decision::Allow(Permit::new(slot, Reason::CorsPreflight, None))
}

/// What one rule says of a request, weakest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Voice {
    /// Allows people, and the caller is nobody yet.
    AllowsSomebody,
    Allows,
    /// Denies people, and the caller is nobody yet: else signing out would evade the rule.
    DeniesSomebody,
    Denies,
    AmbiguousPath,
}

/// Whether something is meant, where a request or its sender is known only in part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meant {
    Yes,
    No,
    Unknown,
}

fn voice(rule: &Rule, request: &AccessRequest<'_>) -> Option<Voice> {
    match is_request_meant(rule, request) {
        Meant::No => return None,
        Meant::Unknown => return Some(Voice::AmbiguousPath),
        Meant::Yes => {}
    }
    match (is_principal_meant(&rule.principal, request.principal), rule.effect) {
        (Meant::No, _) => None,
        (Meant::Yes, Effect::Allow) => Some(Voice::Allows),
        (Meant::Yes, Effect::Deny) => Some(Voice::Denies),
        (Meant::Unknown, Effect::Allow) => Some(Voice::AllowsSomebody),
        (Meant::Unknown, Effect::Deny) => Some(Voice::DeniesSomebody),
    }
}

/// Unknown where only one reading of the path is meant. In a Deny the slash at the end of an exact path does not count, for
/// behind us it may not count either; what an Allow opens is one path and no other.
fn is_request_meant(rule: &Rule, request: &AccessRequest<'_>) -> Meant {
    let (effect, rule) = (rule.effect, &rule.request);
    let rest_is_meant = any_or_empty(&rule.methods, |method| **method == *request.method)
        && any_or_empty(&rule.hosts, |host| host.matches(request.host))
        && any_or_empty(&rule.source_ranges, |range| covers(range, request.peer));
    if !rest_is_meant {
        return Meant::No;
    }
    let is_path_meant = |path: &str| {
        any_or_empty(&rule.paths, |rule: &PathMatch| match effect {
            Effect::Allow => rule.matches(path),
            Effect::Deny => rule.matches_loosely(path),
        })
    };
    let canonical = is_path_meant(request.path.as_str());
    match request.path.lenient() {
        Some(lenient) if is_path_meant(lenient) != canonical => Meant::Unknown,
        _ if canonical => Meant::Yes,
        _ => Meant::No,
    }
}

/// Unknown where the rule speaks of people and the caller is nobody yet.
fn is_principal_meant(rule: &PrincipalMatch, principal: Option<&Principal>) -> Meant {
    match (rule, principal) {
        (PrincipalMatch::Anyone, _) | (PrincipalMatch::Authenticated, Some(_)) => Meant::Yes,
        (PrincipalMatch::Authenticated | PrincipalMatch::Described(_), None) => Meant::Unknown,
        (PrincipalMatch::Described(description), Some(principal)) if describes(description, principal) => Meant::Yes,
        (PrincipalMatch::Described(_), Some(_)) => Meant::No,
    }
}

fn describes(description: &Description, principal: &Principal) -> bool {
    any_or_empty(description.groups.keys(), |group| principal.groups.contains(*group))
        && any_or_empty(&description.emails, |email| principal.email.as_ref() == Some(email))
        && any_or_empty(&description.email_domains, |domain| {
            principal.email.as_ref().is_some_and(|email| *email.domain() == **domain)
        })
        && any_or_empty(&description.subjects, |subject| principal.identity == *subject)
        && description.claims.iter().all(|(path, accepted)| {
            principal.claims.get(path).is_some_and(|claim| {
                let listed = claim.as_array().map_or(&[][..], Vec::as_slice);
                accepted.iter().any(|value| value == claim || listed.contains(value))
            })
        })
}

/// A list that is not empty must have an entry that is meant.
fn any_or_empty<T>(list: &[T], is_meant: impl Fn(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(is_meant)
}

/// Whether a range has the peer. A version 4 address is the same address when it is mapped into version 6, as a
/// dual-stack socket reports it and as a range may be written.
fn covers(range: &IpNet, peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    match (range, peer) {
        (IpNet::V6(range), IpAddr::V4(peer)) if range.prefix_len() >= 96 => range.contains(&peer.to_ipv6_mapped()),
        _ => range.contains(&peer),
    }
}
