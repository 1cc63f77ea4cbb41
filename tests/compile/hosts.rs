//! What a good world means: hosts, paths, default backends, and which certificate a host shows.

use insta::assert_snapshot;
use portcullis::controller::compile::{Defaults, compile};
use portcullis::controller::world::ObjectName;
use serde_json::{Value, json};

use super::world::{Cases, Objects, defaults, good, ingress, lines, pair, service, tell_difference, tls_secret};

/// The routes, as text, of the good world with these Ingresses and nothing else of its own.
fn routes_of(ingresses: impl IntoIterator<Item = Value>) -> String {
    let bare = good().without("Ingress shop/web").without("Ingress team/site").without("Policy shop/backoffice");
    let world = ingresses.into_iter().fold(bare, Objects::with).with(service("team", "web", 80));
    let compiled = world.compiled();
    let findings = tell_difference(&compiled, &compiled);
    let mut lines = lines(&compiled);
    let of_the_installation = ["provider", "IdentityProvider", "Portcullis"];
    lines.retain(|line| !of_the_installation.iter().any(|kind| line.starts_with(kind)));
    format!("{}\n{findings}", lines.join("\n"))
}

fn set(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[field] = value;
    object
}

fn default_backend(object: Value) -> Value {
    set(object, "/spec/defaultBackend", json!({"service": {"name": "web", "port": {"number": 80}}}))
}

#[test]
fn a_default_backend_answers_for_the_hosts_on_which_its_ingress_is_the_oldest() {
    let first = default_backend(ingress("shop/first", "01-01", "a.example.com"));
    let second = default_backend(ingress("shop/second", "01-02", "b.example.com"));
    let younger = default_backend(set(
        ingress("shop/younger", "01-03", "a.example.com"),
        "/spec/rules/0/http/paths/0/path",
        json!("/younger"),
    ));
    assert_snapshot!(routes_of([first, second, younger]));
}

#[test]
fn an_ingress_without_rules_answers_every_host() {
    let rule_less = set(ingress("shop/all", "01-01", ""), "/spec/rules", json!([]));
    let foreign = default_backend(set(ingress("team/all", "01-02", ""), "/spec/rules", json!([])));
    assert_snapshot!(routes_of([default_backend(rule_less), foreign]));
}

#[test]
fn paths_become_matches_by_their_type() {
    let paths = [
        ("/", "Prefix"),
        ("/a/", "Exact"),
        ("/a/", "Prefix"),
        ("/a", "ImplementationSpecific"),
        ("", "ImplementationSpecific"),
    ];
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let paths: Vec<_> =
        paths.iter().map(|(path, kind)| json!({"path": path, "pathType": kind, "backend": backend})).collect();
    let object = set(ingress("shop/paths", "01-01", "*.example.com"), "/spec/rules/0/http/paths", json!(paths));
    assert_snapshot!(routes_of([object]));
}

#[test]
fn a_pattern_is_closed_whatever_its_type() {
    let mut told = Cases::default();
    let routes = |path: &str, kind: &str| {
        let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
        let paths = json!([{"path": path, "pathType": kind, "backend": backend}]);
        routes_of([set(ingress("shop/paths", "01-01", "a.example.com"), "/spec/rules/0/http/paths", paths)])
    };
    for path in ["/files/*", "/api(/|$)(.*)", "/v[0-9]+/users", "/adm*", "/a{2}", "/x^", r"/~user/.*\.png$"] {
        let closed = routes(path, "ImplementationSpecific");
        assert_eq!([routes(path, "Prefix"), routes(path, "Exact")], [closed.clone(), closed.clone()]);
        told.case(path, closed);
    }
    told.case("no pattern", routes("/a+b.c", "ImplementationSpecific"));
    assert_snapshot!(told);
}

#[test]
fn exact_and_wildcard_hosts_are_owned_apart() {
    let wildcard = ingress("shop/wildcard", "01-01", "*.example.com");
    assert_snapshot!(routes_of([wildcard, ingress("team/exact", "01-02", "a.example.com")]));
}

#[test]
fn shared_hosts_take_paths_of_several_namespaces() {
    let later =
        set(ingress("team/more", "01-03", "shop.example.com"), "/spec/rules/0/http/paths/0/path", json!("/more"));
    let shared = good().with(service("team", "web", 80)).with(later);
    let shared = shared.set("Portcullis default", "/spec/hosts/ownership", json!("Shared"));
    assert_snapshot!(shared.told());
}

#[test]
fn the_most_specific_claim_decides() {
    let claims = json!([
        {"pattern": "*", "namespaces": ["platform"]},
        {"pattern": "*.example.com", "namespaces": ["team"]},
        {"pattern": "shop.example.com", "namespaces": ["shop"]},
    ]);
    let claimed = good().with(ingress("shop/all", "01-01", "")).with(ingress("team/x", "01-01", "x.y.example.com"));
    assert_snapshot!(claimed.set("Portcullis default", "/spec/hosts/claims", claims).told());
}

#[test]
fn a_certificate_is_shown_for_the_hosts_of_its_own_ingress() {
    let mut told = Cases::default();
    let tls = |hosts: Value| json!([{"hosts": hosts, "secretName": "wild"}]);
    let wild = tls_secret("team", "wild", &pair(&["*.example.com", "*.team.example.com", "shop.example.com"]));
    let with = |hosts| good().with(wild.clone()).set("Ingress team/site", "/spec/tls", tls(hosts)).told();
    told.case("tls without hosts", with(json!([])));
    told.case("tls wildcard", with(json!(["*.team.example.com"])));
    told.case("tls foreign", with(json!(["shop.example.com"])));
    let any =
        set(ingress("team/any", "01-03", ""), "/spec/tls", tls(json!(["x.example.com", "shop.example.com", "?"])));
    let any = good().with(wild).with(service("team", "web", 80)).with(any);
    told.case("tls of every host", any.told());
    assert_snapshot!(told);
}

#[test]
fn the_oldest_certificate_of_a_host_is_shown() {
    let later =
        set(ingress("shop/later", "01-03", "shop.example.com"), "/spec/rules/0/http/paths/0/path", json!("/later"));
    let later = set(later, "/spec/tls", json!([{"secretName": "other"}]));
    assert_snapshot!(good().with(tls_secret("shop", "other", &pair(&["shop.example.com"]))).with(later).told());
}

#[test]
fn the_default_certificate_is_the_given_one_else_the_last_resort() {
    let own =
        std::sync::Arc::clone(good().world().certificates[&ObjectName::new("shop", "web-tls")].certificate().unwrap());
    let given = Defaults { default_certificate: Some(ObjectName::new("shop", "web-tls")), ..defaults() };
    assert_eq!(compile(&good().world(), &given).snapshot.certificates.find(None), Some(&own));
    let missing = Defaults {
        default_certificate: Some(ObjectName::new("shop", "gone")),
        self_signed: Some(std::sync::Arc::clone(&own)),
        ..defaults()
    };
    let compiled = compile(&good().world(), &missing);
    assert_eq!(compiled.snapshot.certificates.find(None), Some(&own));
    assert_snapshot!(tell_difference(&compiled, &compiled));
}

#[test]
fn an_http01_solver_is_closed_and_named() {
    let solver = set(
        ingress("shop/solver", "01-03", "shop.example.com"),
        "/metadata/labels",
        json!({"acme.cert-manager.io/http01-solver": "true"}),
    );
    let solver = set(solver, "/spec/rules/0/http/paths/0/path", json!("/.well-known/acme-challenge/token"));
    assert_snapshot!(good().with(solver).told());
}
