//! The order of a decision and the corners of a match, one by one.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::host::{Host, HostMatch};
use crate::identity::{Email, Groups, Identity, Issuer, Subject};
use crate::path::{RequestPath, Target};
use crate::policy::{RequestMatch, Verdict};

fn alice() -> Principal {
    Principal {
        identity: Identity { issuer: Issuer("https://id.test".into()), subject: Subject("1".into()) },
        email: Email::parse("alice@example.com"),
        name: None,
        preferred_username: None,
        groups: Groups::new(["staff", "finance"]),
        claims: [("tier".to_owned(), json!(["gold", 7]))].into(),
    }
}

fn staff() -> PrincipalMatch {
    described(Description { groups: Groups::new(["staff"]), ..Description::default() })
}

fn described(description: Description) -> PrincipalMatch {
    PrincipalMatch::Described(Box::new(description))
}

fn rule(name: &str, effect: Effect, principal: PrincipalMatch) -> Rule {
    Rule { name: name.into(), effect, request: RequestMatch::default(), principal }
}

fn on(paths: &[&str], rule: Rule) -> Rule {
    let paths = paths.iter().map(|path| PathMatch::parse(path).unwrap()).collect();
    Rule { request: RequestMatch { paths, ..rule.request }, ..rule }
}

fn path(raw: &str) -> RequestPath {
    Target::parse(raw).unwrap().path().clone()
}

/// What is decided on `GET https://app.test` and the path, from 192.0.2.7.
fn ask(rules: Vec<Rule>, raw: &str, principal: Option<&Principal>) -> (&'static str, Verdict) {
    let (host, path) = (Host::parse("app.test").unwrap(), path(raw));
    let request = AccessRequest { method: "GET", host: &host, path: &path, peer: [192, 0, 2, 7].into(), principal };
    told(decide("slot", &Policy { rules: rules.into() }, &request))
}

fn told(decision: Decision<&str>) -> (&'static str, Verdict) {
    match decision {
        Decision::Allow(permit) => ("allow", permit.spend().1),
        Decision::Challenge(challenge) => ("challenge", challenge.spend().1),
        Decision::Deny(denial) => ("deny", denial.spend().1),
    }
}

fn because(reason: Reason, rule: &str) -> Verdict {
    Verdict { reason, rule: Some(Arc::from(rule)) }
}

/// Whether a rule for whom is described lets alice pass.
fn lets_pass(description: Description) -> bool {
    ask(vec![rule("r", Effect::Allow, described(description))], "/", Some(&alice())).0 == "allow"
}

#[test]
fn without_rules_everything_is_denied() {
    let nothing = Verdict { reason: Reason::NoRuleAllows, rule: None };
    assert_eq!(ask(vec![], "/", None), ("deny", nothing.clone()));
    assert_eq!(ask(vec![], "/", Some(&alice())), ("deny", nothing));
}

#[test]
fn deny_wins_over_allow_in_any_order() {
    let rules = || vec![rule("allow", Effect::Allow, staff()), rule("deny", Effect::Deny, PrincipalMatch::Anyone)];
    let denied = ("deny", because(Reason::RuleDenies, "deny"));
    assert_eq!(ask(rules(), "/", Some(&alice())), denied);
    assert_eq!(ask(rules().into_iter().rev().collect(), "/", Some(&alice())), denied);
}

#[test]
fn signing_out_does_not_evade_a_deny() {
    let rules = || vec![rule("open", Effect::Allow, PrincipalMatch::Anyone), rule("not-staff", Effect::Deny, staff())];
    assert_eq!(ask(rules(), "/", None), ("challenge", because(Reason::SignInRequired, "not-staff")));
    assert_eq!(ask(rules(), "/", Some(&alice())), ("deny", because(Reason::RuleDenies, "not-staff")));
}

#[test]
fn an_anonymous_caller_is_asked_to_sign_in_only_where_that_could_help() {
    let rules = || vec![on(&["/a"], rule("staff", Effect::Allow, staff()))];
    assert_eq!(ask(rules(), "/a", None), ("challenge", because(Reason::SignInRequired, "staff")));
    assert_eq!(ask(rules(), "/b", None), ("deny", Verdict { reason: Reason::NoRuleAllows, rule: None }));
}

#[test]
fn an_open_allow_goes_before_a_sign_in() {
    let rules = vec![rule("staff", Effect::Allow, staff()), rule("open", Effect::Allow, PrincipalMatch::Anyone)];
    assert_eq!(ask(rules, "/", None), ("allow", because(Reason::RuleAllows, "open")));
}

#[test]
fn a_preflight_passes_whoever_would_be_asked_but_no_rule_that_denies_everybody() {
    let denied = |name, principal| on(&["/no"], rule(name, Effect::Deny, principal));
    let ask = |raw: &str| {
        let rules = vec![
            on(&["/staff"], rule("staff", Effect::Allow, staff())),
            on(&["/open"], rule("open", Effect::Allow, PrincipalMatch::Anyone)),
            rule("not-staff", Effect::Deny, PrincipalMatch::Authenticated),
            denied("nobody", PrincipalMatch::Anyone),
        ];
        let (host, path) = (Host::parse("app.test").unwrap(), path(raw));
        let peer = [192, 0, 2, 7].into();
        let request = AccessRequest { method: "OPTIONS", host: &host, path: &path, peer, principal: None };
        told(decide_preflight("slot", &Policy { rules: rules.into() }, &request))
    };
    let passed = ("allow", Verdict { reason: Reason::CorsPreflight, rule: None });
    assert_eq!(["/staff", "/open", "/elsewhere"].map(ask), [passed.clone(), passed.clone(), passed]);
    assert_eq!(ask("/no"), ("deny", because(Reason::RuleDenies, "nobody")));
    assert_eq!(ask("/no%2fx"), ("deny", because(Reason::AmbiguousPath, "nobody")));
}

#[test]
fn the_ready_policies_let_everyone_and_the_signed_in_pass() {
    let [anyone, authenticated] = [Policy::anyone(), Policy::authenticated()].map(|policy| policy.rules.into_vec());
    assert_eq!(ask(anyone, "/", None), ("allow", because(Reason::RuleAllows, "access:public")));
    assert_eq!(
        ask(authenticated.clone(), "/", None),
        ("challenge", because(Reason::SignInRequired, "access:authenticated"))
    );
    assert_eq!(ask(authenticated, "/", Some(&alice())), ("allow", because(Reason::RuleAllows, "access:authenticated")));
}

#[test]
fn the_slash_at_the_end_of_an_exact_path_counts_in_an_allow_and_not_in_a_deny() {
    let open = || rule("open", Effect::Allow, PrincipalMatch::Anyone);
    let deny = |path| vec![open(), on(&[path], rule("deny", Effect::Deny, PrincipalMatch::Anyone))];
    let denied = ("deny", because(Reason::RuleDenies, "deny"));
    for (path, raw) in [("exact:/x", "/x"), ("exact:/x", "/x/"), ("exact:/x/", "/x"), ("exact:/x/", "/%78")] {
        assert_eq!(ask(deny(path), raw, None), denied, "{path} and {raw}");
    }
    assert_eq!(ask(deny("exact:/x"), "/x/;v", None), ("deny", because(Reason::AmbiguousPath, "deny")));
    assert_eq!(ask(deny("exact:/x"), "/x/y", None), ("allow", because(Reason::RuleAllows, "open")));
    let allow = || vec![on(&["exact:/x"], open())];
    assert_eq!(ask(allow(), "/x", None), ("allow", because(Reason::RuleAllows, "open")));
    assert_eq!(ask(allow(), "/x/", None), ("deny", Verdict { reason: Reason::NoRuleAllows, rule: None }));
}

#[test]
fn a_path_of_which_a_rule_means_one_reading_is_refused() {
    let open = || rule("open", Effect::Allow, PrincipalMatch::Anyone);
    let guard = || on(&["/reports"], rule("guard", Effect::Deny, PrincipalMatch::Anyone));
    let ambiguous = ("deny", because(Reason::AmbiguousPath, "guard"));
    for raw in ["/reports%2Fsecret", "/reports;x", "//reports", "/%2Freports", "/reports%5Cx", "/%2572eports"] {
        assert_eq!(ask(vec![open(), guard()], raw, None), ambiguous, "{raw}");
    }
    for raw in ["/group%2Freports", "/a//b", "/other;x", "/reportsx%2Fy"] {
        assert_eq!(ask(vec![open(), guard()], raw, None), ("allow", because(Reason::RuleAllows, "open")), "{raw}");
    }
    let inside = on(&["/reports"], rule("in", Effect::Allow, PrincipalMatch::Anyone));
    assert_eq!(ask(vec![inside], "/reports/a%2Fb", None), ("allow", because(Reason::RuleAllows, "in")));
}

#[test]
fn a_rule_that_speaks_of_other_requests_makes_no_path_ambiguous() {
    let mut other = on(&["/reports"], rule("post", Effect::Deny, PrincipalMatch::Anyone));
    other.request.methods = [Box::from("POST")].into();
    let open = rule("open", Effect::Allow, PrincipalMatch::Anyone);
    assert_eq!(ask(vec![other, open], "/reports%2Fx", None), ("allow", because(Reason::RuleAllows, "open")));
}

#[test]
fn one_list_of_paths_may_mean_each_reading_by_another_entry() {
    let both = on(&["/a/b", "/"], rule("both", Effect::Allow, PrincipalMatch::Anyone));
    assert_eq!(ask(vec![both], "/a%2Fb", None), ("allow", because(Reason::RuleAllows, "both")));
}

#[test]
fn all_lists_of_a_request_must_hold() {
    let whole = RequestMatch {
        methods: [Box::from("POST"), Box::from("GET")].into(),
        paths: [PathMatch::prefix("/a").unwrap()].into(),
        hosts: [HostMatch::parse("*.test").unwrap()].into(),
        source_ranges: ["192.0.2.0/24".parse().unwrap()].into(),
    };
    let allows = |request| {
        let rule = Rule { request, ..rule("r", Effect::Allow, PrincipalMatch::Anyone) };
        ask(vec![rule], "/a/x", None).0 == "allow"
    };
    assert!(allows(whole.clone()));
    assert!(!allows(RequestMatch { methods: [Box::from("get")].into(), ..whole.clone() }));
    assert!(!allows(RequestMatch { paths: [PathMatch::exact("/a").unwrap()].into(), ..whole.clone() }));
    assert!(!allows(RequestMatch { hosts: [HostMatch::parse("test").unwrap()].into(), ..whole.clone() }));
    assert!(!allows(RequestMatch { source_ranges: ["198.51.100.0/24".parse().unwrap()].into(), ..whole }));
}

#[test]
fn a_mapped_address_is_the_address() {
    let [plain, mapped, other] = ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1"].map(|peer| peer.parse().unwrap());
    let range = |range: &str| range.parse().unwrap();
    for peer in [plain, mapped] {
        assert!(covers(&range("192.0.2.0/24"), peer) && covers(&range("::ffff:192.0.2.0/120"), peer));
        assert!(!covers(&range("198.51.100.0/24"), peer) && !covers(&range("::/0"), peer));
    }
    assert!(covers(&range("::/0"), other) && !covers(&range("0.0.0.0/0"), other));
}

#[test]
fn all_of_a_description_must_hold() {
    let subject = alice().identity;
    let whole = || Description {
        groups: Groups::new(["staff", "x"]),
        emails: [Email::parse("ALICE@example.com").unwrap()].into(),
        email_domains: [Box::from("example.com")].into(),
        subjects: [subject.clone()].into(),
        claims: [("tier".to_owned(), Box::from([json!("silver"), json!("gold")]))].into(),
    };
    let other_issuer = Identity { issuer: Issuer("https://id.test/".into()), ..subject.clone() };
    assert!(lets_pass(whole()));
    assert!(!lets_pass(Description { groups: Groups::new(["Staff"]), ..whole() }));
    assert!(!lets_pass(Description { emails: [Email::parse("bob@example.com").unwrap()].into(), ..whole() }));
    assert!(!lets_pass(Description { email_domains: [Box::from("com")].into(), ..whole() }));
    assert!(!lets_pass(Description { subjects: [other_issuer].into(), ..whole() }));
    assert!(!lets_pass(Description { claims: [("tier".to_owned(), Box::from([json!("7")]))].into(), ..whole() }));
    assert!(!lets_pass(Description { claims: [("rank".to_owned(), Box::from([json!("gold")]))].into(), ..whole() }));
}

#[test]
fn a_claim_is_a_value_or_a_list_that_holds_one() {
    let accepts = |value| {
        lets_pass(Description { claims: [("tier".to_owned(), Box::from([value]))].into(), ..Description::default() })
    };
    assert!(accepts(json!("gold")) && accepts(json!(7)) && accepts(json!(["gold", 7])));
    assert!(!accepts(json!("7")) && !accepts(json!(["gold"])) && !accepts(json!(null)));
}

#[test]
fn somebody_without_an_address_has_no_domain() {
    let nameless = Principal { email: None, ..alice() };
    let by_domain = described(Description { email_domains: [Box::from("")].into(), ..Description::default() });
    let rules = vec![rule("r", Effect::Allow, by_domain)];
    assert_eq!(ask(rules, "/", Some(&nameless)), ("deny", Verdict { reason: Reason::NoRuleAllows, rule: None }));
}
