//! What one decision costs: 20 rules, a principal with 50 groups.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::host::Host;
use portcullis::identity::{Email, Groups, Identity, Issuer, Principal, Subject};
use portcullis::path::{PathMatch, Target};
use portcullis::policy::{AccessRequest, Description, Effect, Policy, PrincipalMatch, RequestMatch, Rule, decide};

const RULES: usize = 20;
const GROUPS: usize = 50;

/// A rule for two groups on one path; all rules but the last speak of groups that the principal is not in.
fn rule(at: usize) -> Rule {
    let groups = if at + 1 == RULES { ["group-7", "group-49"] } else { ["elsewhere", "nowhere"] };
    let description = Description { groups: Groups::new(groups), ..Description::default() };
    Rule {
        name: format!("shop/policy:{at}").into(),
        effect: if at.is_multiple_of(5) { Effect::Deny } else { Effect::Allow },
        request: RequestMatch {
            methods: [Box::from("GET"), Box::from("HEAD")].into(),
            paths: [PathMatch::prefix("/reports").expect("a plain path")].into(),
            ..RequestMatch::default()
        },
        principal: PrincipalMatch::Described(Box::new(description)),
    }
}

fn principal() -> Principal {
    Principal {
        identity: Identity { issuer: Issuer("https://id.example.com".into()), subject: Subject("alice".into()) },
        email: Email::parse("alice@example.com"),
        name: None,
        preferred_username: None,
        groups: Groups::new((0..GROUPS).map(|at| format!("group-{at}"))),
        claims: [].into(),
    }
}

fn decisions(criterion: &mut Criterion) {
    let policy = Policy { rules: (0..RULES).map(rule).collect() };
    let principal = principal();
    let host = Host::parse("app.example.com").expect("a host");
    for (name, target) in [("plain path", "/reports/2026/q3"), ("two readings", "/reports/2026%2Fq3")] {
        let target = Target::parse(target).expect("a target");
        for (who, principal) in [("signed in", Some(&principal)), ("anonymous", None)] {
            let peer = [192, 0, 2, 7].into();
            let request = AccessRequest { method: "GET", host: &host, path: target.path(), peer, principal };
            criterion.bench_function(&format!("decide/{name}/{who}"), |bencher| {
                bencher.iter(|| decide((), black_box(&policy), black_box(&request)));
            });
        }
    }
}

criterion_group!(benches, decisions);
criterion_main!(benches);
