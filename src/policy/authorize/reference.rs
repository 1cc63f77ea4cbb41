//! `decide` against a naive reference that shares no code with it: rules and requests in words, answered by the
//! sentences of the documentation. Mutants of the reference show that the cases can tell right from wrong.

use std::net::{IpAddr, Ipv4Addr};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::*;
use crate::host::{Host, HostMatch};
use crate::identity::{Email, Groups, Identity, Issuer, Subject};
use crate::path::Target;
use crate::policy::{RequestMatch, Verdict};

const CASES: usize = 10_000;

const METHODS: &[&str] = &["GET", "HEAD", "POST"];
const HOSTS: &[&str] = &["app.example.com", "a.b.example.com", "example.com", "other.test"];
const HOST_RULES: &[&str] = &["app.example.com", "*.example.com", "*.b.example.com", ""];
const PATH_RULES: &[&str] = &["/", "/reports", "/reports/secret", "exact:/reports", "exact:/reports/", "/a/reports/"];
const PEERS: &[[u8; 4]] = &[[10, 9, 1, 1], [10, 1, 1, 1], [192, 0, 2, 7]];
const RANGES: &[&str] = &["10.0.0.0/8", "10.9.0.0/16", "192.0.2.7/32"];
const GROUPS: &[&str] = &["staff", "finance", "Staff"];
const EMAILS: &[&str] = &["alice@example.com", "bob@lab.example.com", "eve@badexample.com"];
const DOMAINS: &[&str] = &["example.com", "lab.example.com"];
const SUBJECTS: &[(&str, &str)] = &[("https://a.test", "1"), ("https://a.test", "2"), ("https://b.test", "1")];
const CLAIM_VALUES: &[&str] = &["gold", "silver"];

/// How a request spells its path, and how it is read: canonical, then lenient.
const PATHS: &[(&str, &str, &str)] = &[
    ("/", "/", "/"),
    ("/reports", "/reports", "/reports"),
    ("/reports/", "/reports/", "/reports/"),
    ("/reports/secret/x", "/reports/secret/x", "/reports/secret/x"),
    ("/reportsold", "/reportsold", "/reportsold"),
    ("/%72eports", "/reports", "/reports"),
    ("/a/reports?/reports", "/a/reports", "/a/reports"),
    ("/reports%2fsecret", "/reports%2Fsecret", "/reports/secret"),
    ("/a//reports", "/a//reports", "/a/reports"),
    ("/reports;v=1", "/reports;v=1", "/reports"),
];

#[derive(Debug, Default)]
struct RuleInWords {
    denies: bool,
    methods: Vec<&'static str>,
    paths: Vec<&'static str>,
    hosts: Vec<&'static str>,
    ranges: Vec<&'static str>,
    who: Who,
}

#[derive(Debug, Default)]
enum Who {
    #[default]
    Anyone,
    SignedIn,
    Described(DescriptionInWords),
}

#[derive(Debug, Default)]
struct DescriptionInWords {
    groups: Vec<&'static str>,
    emails: Vec<&'static str>,
    domains: Vec<&'static str>,
    subjects: Vec<(&'static str, &'static str)>,
    tiers: Vec<&'static str>,
}

#[derive(Debug)]
struct RequestInWords {
    method: &'static str,
    host: &'static str,
    path: (&'static str, &'static str, &'static str),
    peer: [u8; 4],
    person: Option<Person>,
}

#[derive(Debug)]
struct Person {
    subject: (&'static str, &'static str),
    email: Option<&'static str>,
    groups: Vec<&'static str>,
    tier: Option<Value>,
}

/// What can be wrong with a decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mutant {
    DenyDoesNotWin,
    AnonymousEvadesDeny,
    AnonymousIsDeniedOutright,
    DomainsMatchSubdomains,
    PrefixesMatchText,
    WildcardsMatchDeep,
    OneReadingIsEnough,
    EmptyListsMatchNothing,
    ExactDeniesCountTheSlash,
    ExactAllowsForgetTheSlash,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Allow,
    Challenge,
    Deny,
}

type Answer = (Outcome, Verdict);

// The reference.

fn expected(rules: &[RuleInWords], request: &RequestInWords, mutant: Option<Mutant>) -> Answer {
    let is = |wanted| mutant == Some(wanted);
    let first = |test: &dyn Fn(&RuleInWords) -> bool| rules.iter().position(test);
    let speaks = |rule: &RuleInWords| speaks_of(rule, request, mutant) && is_path_listed(rule, request.path.1, mutant);
    let fits = |rule: &RuleInWords| fits_person(&rule.who, request.person.as_ref(), mutant);

    let ambiguous = first(&|rule| {
        speaks_of(rule, request, mutant)
            && is_path_listed(rule, request.path.1, mutant) != is_path_listed(rule, request.path.2, mutant)
    });
    let denying = first(&|rule| rule.denies && speaks(rule) && fits(rule) == Some(true));
    let denying_somebody = first(&|rule| rule.denies && speaks(rule) && fits(rule).is_none());
    let allowing = first(&|rule| !rule.denies && speaks(rule) && fits(rule) == Some(true));
    let allowing_somebody = first(&|rule| !rule.denies && speaks(rule) && fits(rule).is_none());

    let by_rule = |outcome, reason, rule: usize| (outcome, Verdict { reason, rule: Some(name_of(rule)) });
    if let Some(rule) = ambiguous.filter(|_| !is(Mutant::OneReadingIsEnough)) {
        return by_rule(Outcome::Deny, Reason::AmbiguousPath, rule);
    }
    if let Some(rule) = allowing.filter(|_| is(Mutant::DenyDoesNotWin)) {
        return by_rule(Outcome::Allow, Reason::RuleAllows, rule);
    }
    if let Some(rule) = denying {
        return by_rule(Outcome::Deny, Reason::RuleDenies, rule);
    }
    if let Some(rule) = denying_somebody.filter(|_| !is(Mutant::AnonymousEvadesDeny)) {
        let outcome = if is(Mutant::AnonymousIsDeniedOutright) { Outcome::Deny } else { Outcome::Challenge };
        return by_rule(outcome, Reason::SignInRequired, rule);
    }
    if let Some(rule) = allowing {
        return by_rule(Outcome::Allow, Reason::RuleAllows, rule);
    }
    if let Some(rule) = allowing_somebody {
        return by_rule(Outcome::Challenge, Reason::SignInRequired, rule);
    }
    (Outcome::Deny, Verdict { reason: Reason::NoRuleAllows, rule: None })
}

/// All of the rule's request but its paths.
fn speaks_of(rule: &RuleInWords, request: &RequestInWords, mutant: Option<Mutant>) -> bool {
    if mutant == Some(Mutant::EmptyListsMatchNothing) && rule.methods.is_empty() {
        return false;
    }
    (rule.methods.is_empty() || rule.methods.contains(&request.method))
        && (rule.hosts.is_empty() || rule.hosts.iter().any(|pattern| is_host(pattern, request.host, mutant)))
        && (rule.ranges.is_empty() || rule.ranges.iter().any(|range| is_in(range, request.peer)))
}

fn is_path_listed(rule: &RuleInWords, path: &str, mutant: Option<Mutant>) -> bool {
    let elements = |path: &str| path.split('/').skip(1).map(str::to_owned).collect::<Vec<_>>();
    rule.paths.is_empty()
        || rule.paths.iter().any(|pattern| match pattern.strip_prefix("exact:") {
            Some(exact) if exact == path => true,
            Some(exact) => {
                let forgets_the_slash = match rule.denies {
                    true => mutant != Some(Mutant::ExactDeniesCountTheSlash),
                    false => mutant == Some(Mutant::ExactAllowsForgetTheSlash),
                };
                forgets_the_slash && (format!("{exact}/") == path || format!("{path}/") == exact)
            }
            None if mutant == Some(Mutant::PrefixesMatchText) => path.starts_with(pattern.trim_end_matches('/')),
            None => elements(path).starts_with(&elements(pattern.trim_end_matches('/'))),
        })
}

fn is_host(pattern: &str, host: &str, mutant: Option<Mutant>) -> bool {
    let labels = |host: &str| host.split('.').count();
    match pattern.strip_prefix('*') {
        None => pattern.is_empty() || pattern == host,
        Some(end) if mutant == Some(Mutant::WildcardsMatchDeep) => host.ends_with(end),
        Some(end) => host.ends_with(end) && labels(host) == labels(pattern),
    }
}

fn is_in(range: &str, peer: [u8; 4]) -> bool {
    let (address, bits) = range.split_once('/').unwrap();
    let number = |octets: &[u8]| octets.iter().fold(0_u64, |number, octet| number * 256 + u64::from(*octet));
    let address: Vec<u8> = address.split('.').map(|octet| octet.parse().unwrap()).collect();
    let rest = 32 - bits.parse::<u32>().unwrap();
    number(&address) >> rest == number(&peer) >> rest
}

/// None where that depends on who asks, and nobody knows.
fn fits_person(who: &Who, person: Option<&Person>, mutant: Option<Mutant>) -> Option<bool> {
    match (who, person) {
        (Who::Anyone, _) => Some(true),
        (_, None) => None,
        (Who::SignedIn, Some(_)) => Some(true),
        (Who::Described(words), Some(person)) => Some(
            (words.groups.is_empty() || words.groups.iter().any(|group| person.groups.contains(group)))
                && (words.emails.is_empty() || words.emails.iter().any(|email| person.email == Some(email)))
                && (words.domains.is_empty() || words.domains.iter().any(|domain| is_domain(domain, person, mutant)))
                && (words.subjects.is_empty() || words.subjects.contains(&person.subject))
                && (words.tiers.is_empty() || words.tiers.iter().any(|tier| is_tier(tier, person))),
        ),
    }
}

fn is_domain(domain: &str, person: &Person, mutant: Option<Mutant>) -> bool {
    let end = format!("@{domain}");
    let below = format!(".{domain}");
    let deep = mutant == Some(Mutant::DomainsMatchSubdomains);
    person.email.is_some_and(|email| email.ends_with(&end) || deep && email.ends_with(&below))
}

fn is_tier(tier: &str, person: &Person) -> bool {
    match &person.tier {
        Some(Value::String(claim)) => claim == tier,
        Some(Value::Array(claims)) => claims.iter().any(|claim| claim == tier),
        _ => false,
    }
}

// From words to what `decide` takes.

fn name_of(rule: usize) -> std::sync::Arc<str> {
    format!("shop/policy:{rule}").into()
}

fn compiled(rules: &[RuleInWords]) -> Policy {
    let rules = rules.iter().enumerate().map(|(at, words)| Rule {
        name: name_of(at),
        effect: if words.denies { Effect::Deny } else { Effect::Allow },
        request: RequestMatch {
            methods: words.methods.iter().map(|method| Box::from(*method)).collect(),
            paths: words.paths.iter().map(|path| PathMatch::parse(path).unwrap()).collect(),
            hosts: words.hosts.iter().map(|host| HostMatch::parse(host).unwrap()).collect(),
            source_ranges: words.ranges.iter().map(|range| range.parse().unwrap()).collect(),
        },
        principal: match &words.who {
            Who::Anyone => PrincipalMatch::Anyone,
            Who::SignedIn => PrincipalMatch::Authenticated,
            Who::Described(words) => PrincipalMatch::Described(Box::new(description(words))),
        },
    });
    Policy { rules: rules.collect() }
}

fn description(words: &DescriptionInWords) -> Description {
    let tiers: Box<[Value]> = words.tiers.iter().map(|tier| json!(tier)).collect();
    Description {
        groups: Groups::new(words.groups.iter().copied()),
        emails: words.emails.iter().map(|email| Email::parse(email).unwrap()).collect(),
        email_domains: words.domains.iter().map(|domain| Box::from(*domain)).collect(),
        subjects: words.subjects.iter().map(|subject| identity(*subject)).collect(),
        claims: (!tiers.is_empty()).then(|| ("tier".to_owned(), tiers)).into_iter().collect(),
    }
}

fn identity((issuer, subject): (&str, &str)) -> Identity {
    Identity { issuer: Issuer(issuer.into()), subject: Subject(subject.into()) }
}

fn principal(person: &Person) -> Principal {
    Principal {
        identity: identity(person.subject),
        email: person.email.and_then(Email::parse),
        name: None,
        preferred_username: None,
        groups: Groups::new(person.groups.iter().copied()),
        claims: person.tier.iter().map(|tier| ("tier".to_owned(), tier.clone())).collect(),
    }
}

fn decided(rules: &[RuleInWords], request: &RequestInWords) -> Answer {
    let principal = request.person.as_ref().map(principal);
    let peer = Ipv4Addr::from(request.peer);
    let is_mapped = request.method == "POST";
    let decision = decide(
        (),
        &compiled(rules),
        &AccessRequest {
            method: request.method,
            host: &Host::parse(request.host).unwrap(),
            path: Target::parse(request.path.0).unwrap().path(),
            peer: if is_mapped { IpAddr::V6(peer.to_ipv6_mapped()) } else { IpAddr::V4(peer) },
            principal: principal.as_ref(),
        },
    );
    match decision {
        Decision::Allow(permit) => (Outcome::Allow, permit.spend().1),
        Decision::Challenge(challenge) => (Outcome::Challenge, challenge.spend().1),
        Decision::Deny(denial) => (Outcome::Deny, denial.spend().1),
    }
}

// The cases.

/// Mostly nothing, else one or two entries.
fn some<T: Copy>(rng: &mut StdRng, pool: &[T]) -> Vec<T> {
    let length = if rng.random_bool(0.3) { rng.random_range(1..=2) } else { 0 };
    (0..length).map(|_| one(rng, pool)).collect()
}

fn one<T: Copy>(rng: &mut StdRng, pool: &[T]) -> T {
    *pool.choose(rng).unwrap()
}

fn random_rule(rng: &mut StdRng) -> RuleInWords {
    RuleInWords {
        denies: rng.random_bool(0.3),
        methods: some(rng, METHODS),
        paths: some(rng, PATH_RULES),
        hosts: some(rng, HOST_RULES),
        ranges: some(rng, RANGES),
        who: match rng.random_range(0..6) {
            0 => Who::Anyone,
            1 => Who::SignedIn,
            _ => Who::Described(DescriptionInWords {
                groups: some(rng, GROUPS),
                emails: some(rng, EMAILS),
                domains: some(rng, DOMAINS),
                subjects: some(rng, SUBJECTS),
                tiers: some(rng, CLAIM_VALUES),
            }),
        },
    }
}

fn random_request(rng: &mut StdRng) -> RequestInWords {
    let person = rng.random_bool(0.7).then(|| Person {
        subject: one(rng, SUBJECTS),
        email: rng.random_bool(0.8).then(|| one(rng, EMAILS)),
        groups: some(rng, GROUPS),
        tier: match rng.random_range(0..4) {
            0 => Some(json!(one(rng, CLAIM_VALUES))),
            1 => Some(json!(["bronze", one(rng, CLAIM_VALUES)])),
            2 => Some(json!({"gold": true})),
            _ => None,
        },
    });
    RequestInWords {
        method: one(rng, METHODS),
        host: one(rng, HOSTS),
        path: one(rng, PATHS),
        peer: one(rng, PEERS),
        person,
    }
}

fn cases() -> impl Iterator<Item = (Vec<RuleInWords>, RequestInWords)> {
    let mut rng = StdRng::seed_from_u64(20);
    (0..CASES).map(move |_| {
        let length = rng.random_range(0..8);
        ((0..length).map(|_| random_rule(&mut rng)).collect(), random_request(&mut rng))
    })
}

#[test]
fn decide_equals_the_reference() {
    let mut counts = [0; 3];
    let mut anonymous = 0;
    for (rules, request) in cases() {
        let answer = expected(&rules, &request, None);
        assert_eq!(decided(&rules, &request), answer, "{request:?} by {rules:#?}");
        counts[answer.0 as usize] += 1;
        anonymous += usize::from(request.person.is_none());
    }
    assert!(counts.iter().all(|count| *count >= CASES / 10), "allow, challenge, deny: {counts:?}");
    assert!(anonymous >= CASES / 10);
}

#[test]
fn every_mutant_is_caught() {
    for mutant in [
        Mutant::DenyDoesNotWin,
        Mutant::AnonymousEvadesDeny,
        Mutant::AnonymousIsDeniedOutright,
        Mutant::DomainsMatchSubdomains,
        Mutant::PrefixesMatchText,
        Mutant::WildcardsMatchDeep,
        Mutant::OneReadingIsEnough,
        Mutant::EmptyListsMatchNothing,
        Mutant::ExactDeniesCountTheSlash,
        Mutant::ExactAllowsForgetTheSlash,
    ] {
        let differs = |(rules, request): (Vec<_>, RequestInWords)| {
            decided(&rules, &request).0 != expected(&rules, &request, Some(mutant)).0
        };
        assert!(cases().any(differs), "{mutant:?} is not caught");
    }
}
