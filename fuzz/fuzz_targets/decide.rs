//! No spelling slips past a rule: what is allowed beside a Deny on a path lies below that path in no reading.
//! The input is the path of the rule, a line feed, and the target of the request.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::host::Host;
use portcullis::path::{PathMatch, Target};
use portcullis::policy::{AccessRequest, Decision, Effect, Policy, PrincipalMatch, RequestMatch, Rule, decide};

fuzz_target!(|input: &str| {
    let Some((path, target)) = input.split_once('\n') else { return };
    let (Ok(path), Ok(target), Ok(host)) = (PathMatch::parse(path), Target::parse(target), Host::parse("app.test"))
    else {
        return;
    };
    let deny = Rule {
        name: "deny".into(),
        effect: Effect::Deny,
        request: RequestMatch { paths: [path.clone()].into(), ..RequestMatch::default() },
        principal: PrincipalMatch::Anyone,
    };
    let policy = Policy { rules: Policy::anyone().rules.into_iter().chain([deny]).collect() };
    let request =
        AccessRequest { method: "GET", host: &host, path: target.path(), peer: [192, 0, 2, 7].into(), principal: None };
    if let Decision::Allow(_) = decide((), &policy, &request) {
        assert!(!path.matches(target.path().as_str()));
        assert!(!target.path().lenient().is_some_and(|lenient| path.matches(lenient)));
    }
});
