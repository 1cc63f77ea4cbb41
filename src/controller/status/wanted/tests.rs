use std::sync::Arc;

use k8s_openapi::api::networking::v1::Ingress as IngressObject;

use super::*;
use crate::api::{IdentityProvider, Policy, Portcullis};
use crate::controller::publish::Addresses;
use crate::controller::world::Stored;
use crate::oidc::{IssuerFailure, IssuerFault};

const MANAGER: &str = "portcullis.dev/ingress-controller";

fn name(text: &str) -> ObjectName {
    ObjectName::new("shop", text)
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn live(world: World, report: Report) -> Live {
    Live { generation: 1, report: Arc::new(report), complaints: [].into(), world: Arc::new(world) }
}

/// What is wanted of a world by somebody with the address 203.0.113.1.
fn wanted(live: &Live, health: &IssuerHealth, now: &str) -> Vec<Wanted> {
    let addresses = Addresses::given(&["203.0.113.1".to_owned(), "lb.example".to_owned()]).now();
    let health = |_: &Issuer| health.clone();
    statuses(Here { addresses: &addresses, field_manager: MANAGER, health: &health, now: at(now) }, live)
}

fn said(live: &Live) -> Vec<(String, Value)> {
    let all = wanted(live, &IssuerHealth::Unknown, "2026-01-02T03:04:05.6Z");
    all.into_iter().map(|wanted| (wanted.object.name.name.to_string(), wanted.status)).collect()
}

fn ingress(name: &str, created: &str, managers: &Value, status: &Value) -> (ObjectName, Stored<IngressObject>) {
    let metadata = json!({"namespace": "shop", "name": name, "creationTimestamp": created, "managedFields": managers});
    let object = serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap();
    (super::tests::name(name), Stored::Decoded(Arc::new(object)))
}

fn ours() -> Value {
    json!([{"manager": MANAGER, "operation": "Apply", "subresource": "status"}])
}

fn with_addresses(entries: &Value) -> Value {
    json!({"loadBalancer": {"ingress": entries}})
}

#[test]
fn who_is_served_gets_the_addresses_and_the_newest_gets_them_first() {
    let whole = json!([{"ip": "203.0.113.1"}, {"hostname": "lb.example"}]);
    let world = World {
        ingresses: [
            ingress("old", "2025-01-01T00:00:00Z", &json!([]), &json!({})),
            ingress("new", "2026-01-01T00:00:00Z", &json!([]), &with_addresses(&json!([{"ip": "192.0.2.9"}]))),
            ingress("done", "2026-01-01T00:00:00Z", &ours(), &with_addresses(&whole)),
        ]
        .into(),
        ..World::default()
    };
    let states = ["old", "new", "done"].map(|ingress| (name(ingress), IngressState::Served));
    let live = live(world, Report { ingresses: states.into(), ..Report::default() });
    let entries = with_addresses(&whole);
    assert_eq!(said(&live), [("new".to_owned(), entries.clone()), ("old".to_owned(), entries)]);
}

#[test]
fn an_address_is_taken_back_only_from_who_is_no_longer_ours_and_has_it_from_us() {
    let held = with_addresses(&json!([{"ip": "203.0.113.1"}]));
    let world = World {
        ingresses: [
            ingress("left", "2026-01-01T00:00:00Z", &ours(), &held),
            ingress("foreign", "2026-01-01T00:00:00Z", &json!([{"manager": "nginx", "subresource": "status"}]), &held),
            ingress("refused", "2026-01-01T00:00:00Z", &ours(), &held),
            ingress("waiting", "2026-01-01T00:00:00Z", &json!([]), &json!({})),
        ]
        .into(),
        ..World::default()
    };
    let states = [(name("refused"), IngressState::Refused), (name("waiting"), IngressState::Incomplete)];
    let live = live(world, Report { ingresses: states.into(), ..Report::default() });
    assert_eq!(said(&live), [("left".to_owned(), json!({"loadBalancer": {}}))]);
}

fn policy(status: &Value, managers: &Value) -> World {
    let metadata = json!({"namespace": "shop", "name": "staff", "generation": 3, "managedFields": managers});
    let policy: Policy = serde_json::from_value(json!({"metadata": metadata, "spec": {}, "status": status})).unwrap();
    World { policies: [(name("staff"), Stored::Decoded(Arc::new(policy)))].into(), ..World::default() }
}

fn policy_report(targets: &[&str], findings: Vec<Finding>) -> Report {
    let state = PolicyState {
        observed_generation: Some(3),
        targets: targets.iter().map(|target| name(target)).collect(),
        elsewhere: vec![],
        accepted: findings.is_empty(),
    };
    Report { policies: [(name("staff"), state)].into(), findings, ..Report::default() }
}

fn no_principal() -> Finding {
    Finding {
        object: ObjectRef { kind: Kind::Policy, name: name("staff") },
        field: "/spec/rules/0".to_owned(),
        reason: "PolicyInvalid",
        severity: Severity::Error,
        message: "an `Allow` says whom it allows".to_owned(),
        remedy: "write `principal`".to_owned(),
    }
}

/// Conditions as `type=status reason`.
fn conditions(status: &Value) -> Vec<String> {
    let text = |condition: &Value, key: &str| condition[key].as_str().unwrap_or_default().to_owned();
    let list = status["conditions"].as_array().unwrap().iter();
    list.map(|it| format!("{}={} {}", text(it, "type"), text(it, "status"), text(it, "reason"))).collect()
}

#[test]
fn a_policy_says_whether_it_is_accepted_and_decides_over_anything() {
    let cases = [
        (policy_report(&["api", "web"], vec![]), "api,web", ["Accepted=True Accepted", "Programmed=True Programmed"]),
        (policy_report(&[], vec![]), "", ["Accepted=True Accepted", "Programmed=False NoTargets"]),
        (
            policy_report(&["web"], vec![no_principal()]),
            "web",
            ["Accepted=False PolicyInvalid", "Programmed=False Invalid"],
        ),
    ];
    for (report, targets, expected) in cases {
        let [(_, status)] = &said(&live(policy(&json!(null), &json!([])), report))[..] else { panic!("one status") };
        assert_eq!(conditions(status), expected);
        assert_eq!((&status["targets"], &status["observedGeneration"]), (&json!(targets), &json!(3)));
        assert_eq!(status["conditions"][0]["observedGeneration"], 3);
        assert_eq!(status["conditions"][0]["lastTransitionTime"], "2026-01-02T03:04:05Z");
    }
    let broken = said(&live(policy(&json!(null), &json!([])), policy_report(&["web"], vec![no_principal()])));
    let message = "spec.rules[0]: an `Allow` says whom it allows; write `principal`";
    assert_eq!(broken[0].1["conditions"][0]["message"], message);
}

#[test]
fn a_portcullis_that_a_class_names_says_whether_it_is_accepted() {
    let object: Portcullis =
        serde_json::from_value(json!({"metadata": {"name": "default", "generation": 4}, "spec": {}})).unwrap();
    let default = ObjectName::new("", "default");
    let world =
        World { portcullises: [(default.clone(), Stored::Decoded(Arc::new(object)))].into(), ..World::default() };
    assert_eq!(said(&live(world.clone(), Report::default())), [], "nobody names it");
    let finding = Finding {
        object: ObjectRef { kind: Kind::Portcullis, name: default.clone() },
        reason: "ParametersInvalid",
        ..no_principal()
    };
    for (findings, expected) in
        [(vec![], "Accepted=True Accepted"), (vec![finding], "Accepted=False ParametersInvalid")]
    {
        let state = PortcullisState { observed_generation: Some(4), accepted: findings.is_empty() };
        let report = Report { portcullises: [(default.clone(), state)].into(), findings, ..Report::default() };
        let [(_, status)] = &said(&live(world.clone(), report))[..] else { panic!("one status") };
        assert_eq!(conditions(status), [expected]);
        assert_eq!(
            (&status["observedGeneration"], &status["conditions"][0]["observedGeneration"]),
            (&json!(4), &json!(4))
        );
    }
}

#[test]
fn a_status_that_says_the_same_is_not_written_again_and_keeps_its_times() {
    let report = || policy_report(&["web"], vec![]);
    let [(_, first)] = &said(&live(policy(&json!(null), &json!([])), report()))[..] else { panic!("one status") };
    let later = live(policy(first, &ours()), report());
    assert_eq!(wanted(&later, &IssuerHealth::Unknown, "2027-01-01T00:00:00Z"), []);
    let broken = live(policy(first, &ours()), policy_report(&["web"], vec![no_principal()]));
    let [written] = &wanted(&broken, &IssuerHealth::Unknown, "2027-01-01T00:00:00Z")[..] else { panic!("one status") };
    assert_eq!(written.status["conditions"][0]["lastTransitionTime"], "2027-01-01T00:00:00Z");
}

#[test]
fn the_policy_of_another_installation_is_left_to_it() {
    let theirs = json!({"conditions": []});
    assert_eq!(said(&live(policy(&theirs, &json!([])), policy_report(&[], vec![]))), []);
    assert_eq!(said(&live(policy(&theirs, &ours()), policy_report(&[], vec![]))).len(), 1);
    assert_eq!(said(&live(policy(&theirs, &json!([])), policy_report(&["web"], vec![]))).len(), 1);
    // Whoever wrote first, or whatever was said before its Ingress was there.
    let elsewhere = |targets: &[&str]| {
        let mut report = policy_report(targets, vec![]);
        report.policies.values_mut().for_each(|state| state.elsewhere = vec![name("api")]);
        report
    };
    assert_eq!(said(&live(policy(&theirs, &ours()), elsewhere(&[]))), []);
    assert_eq!(said(&live(policy(&json!(null), &json!([])), elsewhere(&[]))), []);
    // Two that have an Ingress each say the same.
    let [(_, status)] = &said(&live(policy(&theirs, &ours()), elsewhere(&["web"])))[..] else { panic!("one status") };
    assert_eq!(status["targets"], "api,web");
}

fn failure(fault: IssuerFault) -> IssuerFailure {
    IssuerFailure { fault, detail: "what the issuer said".into() }
}

/// A report on the provider `corp`.
fn provider_report(accepted: bool) -> Report {
    let issuer = Some(Issuer("https://id.example".into()));
    let state = ProviderState { observed_generation: Some(1), issuer, accepted };
    Report { providers: [(ObjectName::new("", "corp"), state)].into(), ..Report::default() }
}

#[test]
fn an_issuer_that_cannot_be_used_is_a_finding_with_field_and_remedy() {
    let now = at("2026-01-01T00:00:00Z");
    for (fault, field, reason, remedy) in [
        (IssuerFault::Unreachable, "/spec/issuer", "IssuerUnreachable", "may reach it"),
        (IssuerFault::NotTrusted, "/spec/caBundleRef", "IssuerNotTrusted", "`ca.crt`"),
        (IssuerFault::TrustAnchors, "/spec/caBundleRef", "TrustAnchorsInvalid", "`ca.crt`"),
        (IssuerFault::Identifier, "/spec/issuer", "IssuerInvalid", "`https`"),
        (IssuerFault::Status, "/spec/issuer", "IssuerRefuses", "`/.well-known/openid-configuration`"),
        (IssuerFault::TooLarge, "/spec/issuer", "DocumentTooLarge", "publish less"),
        (IssuerFault::Mismatch, "/spec/issuer", "IssuerMismatch", "as its metadata has it"),
        (IssuerFault::Document, "/spec/issuer", "DocumentInvalid", "mended"),
        (IssuerFault::Unsupported, "/spec/issuer", "IssuerUnsupported", "another issuer"),
        (IssuerFault::NoUsableKeys, "/spec/issuer", "NoUsableKeys", "`jwks_uri`"),
    ] {
        let health = |_: &Issuer| IssuerHealth::Failed { failure: failure(fault), read_at: Some(now) };
        let found: Vec<_> = findings(&provider_report(true), &health, now).into_iter().collect();
        let [finding] = &found[..] else { panic!("one finding: {found:?}") };
        assert_eq!((finding.object.kind, &*finding.object.name.name), (Kind::IdentityProvider, "corp"));
        assert_eq!((&*finding.field, finding.reason, &*finding.message), (field, reason, "what the issuer said"));
        assert!(finding.remedy.contains(remedy), "{}", finding.remedy);
        assert_eq!(findings(&provider_report(false), &health, now), [].into(), "it is refused for another reason");
    }
    let well = |_: &Issuer| IssuerHealth::Ready { read_at: now };
    assert_eq!(findings(&provider_report(true), &well, now), [].into());
}

#[test]
fn a_provider_is_ready_once_its_issuer_has_answered() {
    let provider: IdentityProvider =
        serde_json::from_value(json!({"metadata": {"name": "corp", "generation": 1}, "spec": {}})).unwrap();
    let corp = ObjectName::new("", "corp");
    let world = World { providers: [(corp, Stored::Decoded(Arc::new(provider)))].into(), ..World::default() };
    let read_at = at("2026-01-01T00:00:00Z");
    let failed = |read_at| IssuerHealth::Failed { failure: failure(IssuerFault::Mismatch), read_at };
    let mismatch =
        "spec.issuer: what the issuer said; write the issuer as its metadata has it, to the slash at its end";
    let cases = [
        (true, IssuerHealth::Unknown, "Ready=Unknown Pending", "the issuer has not been asked yet"),
        (true, IssuerHealth::Ready { read_at }, "Ready=True Ready", "metadata and keys of the issuer are there"),
        (true, failed(None), "Ready=False IssuerMismatch", mismatch),
        (
            true,
            failed(Some(read_at)),
            "Ready=False IssuerMismatch",
            &format!("{mismatch}; what was read at 2026-01-01T00:00:00Z is still used"),
        ),
        (false, IssuerHealth::Ready { read_at }, "Ready=False Invalid", "nobody can sign in here"),
    ];
    for (accepted, health, expected, message) in cases {
        let live = live(world.clone(), provider_report(accepted));
        let [wanted] = &wanted(&live, &health, "2026-01-02T00:00:00Z")[..] else { panic!("one status") };
        assert_eq!(conditions(&wanted.status)[1], expected);
        assert_eq!(wanted.status["conditions"][1]["message"], message);
    }
}

#[test]
fn an_ended_certificate_is_a_finding_from_the_second_it_ends() {
    let ends = at("2026-01-01T00:00:00Z");
    let report = Report { certificates: [(name("web"), ends)].into(), ..Report::default() };
    let health = |_: &Issuer| IssuerHealth::Unknown;
    assert_eq!(findings(&report, &health, ends), [].into());
    let found: Vec<_> = findings(&report, &health, at("2026-01-01T00:00:01Z")).into_iter().collect();
    let [finding] = &found[..] else { panic!("one finding: {found:?}") };
    assert_eq!((finding.reason, &finding.object.name), (EXPIRED, &name("web")));
    assert!(finding.message.contains("2026-01-01T00:00:00Z"), "{}", finding.message);
}

#[test]
fn a_long_message_is_cut_between_characters() {
    assert_eq!(cut("aéé".to_owned(), 4), "aé");
    assert_eq!(cut("short".to_owned(), 40), "short");
}
