//! Hosts and paths that cannot be served, or not to whoever wrote them: nothing of them reaches anybody else.

use insta::assert_snapshot;
use portcullis::controller::compile::compile;
use portcullis::controller::report::IngressState;
use portcullis::controller::world::{ObjectName, Stored, World};
use portcullis::host::Host;
use portcullis::path::Target;
use serde_json::{Value, json};

use super::world::{Cases, Objects, defaults, good, ingress};

const WEB: &str = "Ingress shop/web";

/// A second class of ours, without parameters, and an Ingress of it.
fn of_another_class(name: &str, created: &str, host: &str) -> [Value; 2] {
    let class = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "bare"},
        "spec": {"controller": "portcullis.dev/ingress-controller"},
    });
    let mut object = ingress(name, created, host);
    object["spec"]["ingressClassName"] = json!("bare");
    [class, object]
}

#[test]
fn the_hosts_of_a_class_without_parameters_stay_its_own() {
    let other = of_another_class("team/copy", "01-03", "shop.example.com");
    assert_snapshot!(other.into_iter().fold(good().without("Portcullis default"), Objects::with).told());
}

#[test]
fn no_slip_in_class_or_portcullis_gives_claimed_hosts_to_another_class() {
    let early = of_another_class("shop/early", "01-01", "site.team.example.com");
    let refused = |world: &World| {
        let report = compile(world, &defaults()).report;
        report.findings.iter().any(|it| it.message.contains("kept for other namespaces by the claim on `*.team"))
            && report.ingresses[&ObjectName::new("shop", "early")] == IngressState::Refused
    };
    let name = ObjectName::new("", "default");
    let world = early.into_iter().fold(good(), Objects::with);
    assert!(refused(&world.world()), "in good order");
    let class = "IngressClass portcullis";
    for (field, value) in [("kind", "ConfigMap"), ("scope", "Namespace"), ("name", "defautl")] {
        let slip = world.clone().set(class, &format!("/spec/parameters/{field}"), json!(value));
        assert!(refused(&slip.world()), "{field}: {value}");
    }
    assert!(refused(&world.clone().set("Portcullis default", "/spec/sesion", json!({})).world()), "a defect");
    let mut undecodable = world.world();
    undecodable.portcullises.insert(name.clone(), Stored::Undecodable("spec: expected an object".into()));
    assert!(refused(&undecodable), "undecodable");
    let mut gone = world.world();
    gone.portcullises.remove(&name);
    assert!(refused(&gone), "gone, and named");
    gone.classes.remove(&ObjectName::new("", "portcullis"));
    assert!(!refused(&gone), "gone, and named by nobody");
    let foreign = world.set(class, "/spec/controller", json!("example.com/other"));
    assert!(!refused(&foreign.world()), "the settings of another installation");
}

#[test]
fn a_portcullis_that_never_decoded_gives_no_host_to_another_class() {
    let early = of_another_class("shop/early", "01-01", "site.team.example.com");
    let free = of_another_class("shop/free", "01-01", "free.example.com");
    let named = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Portcullis", "metadata": {"name": "second"},
        "spec": {"hosts": {"claims": [{"pattern": "kept.example.com", "namespaces": ["shop"]}]}},
    });
    let kept = of_another_class("shop/kept", "01-01", "kept.example.com");
    let world = [early, free, kept].into_iter().flatten().chain([named]).fold(good(), Objects::with);
    let refused = |field: &str, value: Value| {
        let world = world.clone().set("Portcullis default", field, value).world();
        let name = ObjectName::new("", "default");
        assert!(
            world.portcullises[&name].decoded().is_none() && !world.last_portcullises.contains_key(&name),
            "{field}"
        );
        let report = compile(&world, &defaults()).report;
        let is_refused = |name| report.ingresses[&ObjectName::new("shop", name)] == IngressState::Refused;
        let words =
            report.findings.iter().filter(|it| it.message.contains("kept for other namespaces by the claim on"));
        (["early", "free", "kept"].map(is_refused), words.count())
    };
    for (field, value) in [("/spec/providers", json!("corp")), ("/spec/hosts/ownership", json!(7))] {
        assert_eq!(refused(field, value), ([true, false, false], 1), "its claims can be read: {field}");
    }
    let unclear = refused("/spec/hosts/claims/0/namespaces", json!("team"));
    assert_eq!(unclear, ([true, false, false], 2), "kept from everybody, the team too");
    for (field, value) in [
        ("/spec", json!("none")),
        ("/spec/hosts", json!([])),
        ("/spec/hosts/claims", json!("*.team.example.com")),
        ("/spec/hosts/claims/0", json!("*.team.example.com")),
        ("/spec/hosts/claims/0/pattern", json!(7)),
    ] {
        let (refused, words) = refused(field, value);
        assert_eq!(refused, [true, true, false], "what it claims cannot be told: {field}");
        assert!(words >= 2, "{field}");
    }
}

#[test]
fn two_namespaces_cannot_have_one_host() {
    let later = ingress("team/copy", "01-03", "shop.example.com");
    assert_snapshot!(good().with(later).told());
}

#[test]
fn a_claimed_host_is_refused_to_others_whatever_their_age() {
    assert_snapshot!(good().with(ingress("shop/early", "01-01", "a.b.team.example.com")).told());
}

#[test]
fn no_wildcard_answers_for_a_host_that_others_own_or_that_is_kept_for_them() {
    let mut bare = ingress("team/bare", "01-04", "");
    bare["spec"]["rules"] = json!([{"host": "bare.example.com"}]);
    let claims = json!([
        {"pattern": "one.example.com", "namespaces": ["team"]},
        {"pattern": "mine.example.com", "namespaces": ["shop"]},
        {"pattern": "*.kept.example.com", "namespaces": ["team"]},
        {"pattern": "*.mine.kept.example.com", "namespaces": ["shop"]},
    ]);
    let world = good().with(bare).set("Portcullis default", "/spec/hosts/claims", claims);
    for wildcard in ["*.example.com", ""] {
        let compiled = world.clone().with(ingress("shop/all", "01-03", wildcard)).compiled();
        let answering = |host: &str| {
            let path = Target::parse("/").unwrap();
            let found = compiled.snapshot.routes.find(&Host::parse(host).unwrap(), path.path());
            found.map(|found| found.route.ingress.to_string()).ok()
        };
        for host in ["bare.example.com", "one.example.com", "a.kept.example.com", "a.b.kept.example.com"] {
            assert_eq!(answering(host), None, "{host} beside `{wildcard}`");
        }
        for host in ["other.example.com", "mine.example.com"] {
            assert_eq!(answering(host).as_deref(), Some("shop/all"), "{host} beside `{wildcard}`");
        }
        let mine = answering("a.mine.kept.example.com");
        assert_eq!(mine.as_deref(), wildcard.is_empty().then_some("shop/all"), "what is kept for it, `{wildcard}`");
    }
}

#[test]
fn the_older_of_two_ingresses_keeps_a_path() {
    let later = ingress("shop/later", "01-03", "shop.example.com");
    assert_snapshot!(good().with(later).told());
}

#[test]
fn hosts_and_paths_that_are_none_take_only_their_rule() {
    let mut told = Cases::default();
    let path = "/spec/rules/0/http/paths/1/path";
    told.case("bad host", good().set(WEB, "/spec/rules/0/host", json!("shop_.example.com")).told());
    told.case("no paths", good().set(WEB, "/spec/rules/0", json!({"host": "shop.example.com"})).told());
    told.case("bad path", good().set(WEB, path, json!("/a/../b")).told());
    told.case("not plain", good().set(WEB, path, json!("/a//b")).told());
    told.case("path type", good().set(WEB, "/spec/rules/0/http/paths/1/pathType", json!("Regex")).told());
    told.case("reserved path", good().set(WEB, path, json!("/.portcullis/x")).told());
    told.case("solver path", good().set(WEB, path, json!("/.well-known/acme-challenge/x")).told());
    assert_snapshot!(told);
}

#[test]
fn a_rule_whose_host_cannot_be_read_leaves_its_requests_to_nobody() {
    let mut told = Cases::default();
    let host = |host: &str| {
        let bad =
            good().set(WEB, "/spec/rules/0/host", json!(host)).with(ingress("shop/wild", "01-01", "*.example.com"));
        bad.set(WEB, "/spec/defaultBackend", json!({"service": {"name": "web", "port": {"number": 80}}})).told()
    };
    for text in ["shop.example.com:443", "https://shop.example.com/", "*", "shop.*.com"] {
        told.case(text, host(text));
    }
    assert_snapshot!(told);
}

#[test]
fn a_path_that_cannot_be_served_closes_its_place_for_the_whole_namespace() {
    let mut told = Cases::default();
    let broken = |name: &str, path: &str| {
        let mut object = ingress(name, "01-03", "shop.example.com");
        object["spec"]["rules"][0]["http"]["paths"][0]["path"] = json!(path);
        object["spec"]["rules"][0]["http"]["paths"][0]["pathType"] = json!("ImplementationSpecific");
        object
    };
    told.case("older route of the namespace", good().with(broken("shop/later", "/*")).told());
    told.case("a place of its own", good().with(broken("shop/later", "/admin/*")).told());
    let shared = good().set("Portcullis default", "/spec/hosts/ownership", json!("Shared"));
    told.case("older route of another namespace", shared.with(broken("team/later", "/*")).told());
    assert_snapshot!(told);
}
