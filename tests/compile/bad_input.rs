//! Bad input, by name: what is closed or not served for it, and what the admin reads. Neighbours stay as they were.

use insta::assert_snapshot;
use portcullis::controller::compile::compile;
use portcullis::controller::world::{ObjectName, Stored, StoredCertificate};
use portcullis::tls::BadCertificate;
use serde_json::json;

use super::world::{Cases, Pair, defaults, good, lines, pair, tell_difference, tls_secret};

const WEB: &str = "Ingress shop/web";

#[test]
fn the_good_world_has_no_findings() {
    let compiled = good().compiled();
    assert_eq!(compiled.report.findings, []);
    assert_snapshot!(lines(&compiled).join("\n"));
}

#[test]
fn a_missing_service_gives_503_behind_the_decision() {
    assert_snapshot!(good().without("Service shop/web").told());
}

#[test]
fn a_missing_port_gives_503_behind_the_decision() {
    let at = "/spec/rules/0/http/paths/1/backend/service/port";
    assert_snapshot!(good().set(WEB, at, json!({"name": "metrics"})).told());
}

#[test]
fn what_is_no_plain_http_service_is_named_and_not_guessed() {
    let mut told = Cases::default();
    let backend = "/spec/rules/0/http/paths/0/backend";
    let bucket = json!({"resource": {"kind": "Bucket", "name": "static"}});
    told.case("resource backend", good().set(WEB, backend, bucket).told());
    let external = good().set("Service shop/web", "/spec/type", json!("ExternalName"));
    told.case("external name", external.told());
    let grpc = good().set("Service shop/web", "/spec/ports/0/appProtocol", json!("kubernetes.io/h2c"));
    told.case("app protocol", grpc.clone().told());
    told.case("app protocol overruled", grpc.annotate("shop/web", "backend-protocol", "HTTP").told());
    let sticky = good().set("Service shop/web", "/spec/sessionAffinity", json!("ClientIP"));
    told.case("session affinity", sticky.told());
    told.case("backend protocol", good().annotate("shop/web", "backend-protocol", "GRPC").told());
    assert_snapshot!(told);
}

#[test]
fn what_is_wrong_with_endpoints_is_said_where_a_route_needs_them() {
    let slice = |namespace: &str| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": namespace, "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"name": "http", "port": 8080}], "endpoints": [{"addresses": ["169.254.169.254"]}],
        })
    };
    let unused = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "other", "name": "web"},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    });
    assert_snapshot!(good().with(slice("shop")).with(unused).with(slice("other")).told());
}

#[test]
fn a_missing_secret_shows_the_default_certificate_and_waits_with_the_address() {
    assert_snapshot!(good().without("Secret shop/web-tls").told());
}

#[test]
fn a_key_that_does_not_fit_breaks_the_secret_alone() {
    let pair = Pair { key: pair(&["shop.example.com"]).key, ..pair(&["shop.example.com"]) };
    assert_snapshot!(good().with(tls_secret("shop", "web-tls", &pair)).told());
}

#[test]
fn an_unparsable_certificate_breaks_the_secret_alone() {
    let pair = Pair { chain: "no certificate".to_owned(), ..pair(&["shop.example.com"]) };
    assert_snapshot!(good().with(tls_secret("shop", "web-tls", &pair)).told());
}

#[test]
fn the_last_good_certificate_stays() {
    let (mut world, before) = (good().world(), good().compiled());
    let name = ObjectName::new("shop", "web-tls");
    let last = world.certificates[&name].certificate().unwrap().clone();
    world.certificates.insert(name, StoredCertificate::LastGood(last, BadCertificate::KeyMismatch));
    assert_snapshot!(tell_difference(&before, &compile(&world, &defaults())));
}

#[test]
fn a_certificate_for_other_hosts_is_shown_and_said() {
    assert_snapshot!(good().with(tls_secret("shop", "web-tls", &pair(&["other.example.com"]))).told());
}

#[test]
fn a_class_that_nobody_made_is_said_on_the_ingress() {
    assert_snapshot!(good().set(WEB, "/spec/ingressClassName", json!("portcullsi")).told());
}

#[test]
fn parameters_that_lead_nowhere_close_the_class() {
    let mut told = Cases::default();
    let class = "IngressClass portcullis";
    told.case("missing portcullis", good().without("Portcullis default").told());
    told.case("foreign kind", good().set(class, "/spec/parameters/kind", json!("ConfigMap")).told());
    told.case("scope", good().set(class, "/spec/parameters/scope", json!("Namespace")).told());
    assert_snapshot!(told);
}

#[test]
fn a_portcullis_with_a_defect_closes_its_class() {
    let mut told = Cases::default();
    let portcullis = "Portcullis default";
    let set = |pointer: &str, value| good().set(portcullis, pointer, value).told();
    told.case("portcullis unknown", set("/spec/access/required", json!([{"name": "baseline"}])));
    told.case("portcullis word", set("/spec/access/default", json!("Open")));
    told.case("portcullis duration", set("/spec/session/lifetime", json!("twelve hours")));
    told.case("portcullis no time", set("/spec/session/idleTimeout", json!("0s")));
    told.case("portcullis claim", set("/spec/hosts/claims/0", json!({"pattern": "*.*"})));
    told.case("portcullis empty list", set("/spec/providers", json!([])));
    assert_snapshot!(told);
}

#[test]
fn other_objects_that_cannot_be_read_are_said_and_not_served() {
    fn undecodable<T>() -> Stored<T> {
        Stored::Undecodable("spec: expected an object".into())
    }
    let mut world = good().world();
    world.ingresses.insert(ObjectName::new("shop", "web"), undecodable());
    world.portcullises.insert(ObjectName::new("", "default"), undecodable());
    world.providers.insert(ObjectName::new("", "corp"), undecodable());
    world.classes.insert(ObjectName::new("", "other"), undecodable());
    world.services.insert(ObjectName::new("team", "site"), undecodable());
    assert_snapshot!(tell_difference(&good().compiled(), &compile(&world, &defaults())));
}

#[test]
fn a_provider_with_a_defect_closes_the_routes_that_need_it() {
    let mut told = Cases::default();
    let provider = "IdentityProvider corp";
    for (name, pointer, value) in [
        ("provider_http", "/spec/issuer", json!("http://id.example.com")),
        ("provider_query", "/spec/issuer", json!("https://id.example.com?x")),
        ("provider_no_issuer", "/spec/issuer", json!(null)),
        ("provider_unknown", "/spec/bearer", json!({})),
        ("provider_no_client", "/spec/clientSecretRef", json!(null)),
        ("provider_foreign_secret", "/spec/clientSecretRef/namespace", json!("shop")),
        ("provider_missing_secret", "/spec/clientSecretRef/name", json!("gone")),
        ("provider_bundle", "/spec/caBundleRef", json!({"name": "corp-client"})),
        ("provider_scope", "/spec/scopes", json!(["a b"])),
        ("provider_claim", "/spec/claims", json!({"email": "", "mail": "x"})),
        ("provider_domain", "/spec/allowedEmailDomains", json!(["example", " "])),
        ("provider_logout", "/spec/logout", json!({"backChannel": true})),
        ("provider_name", "/spec/displayName", json!("")),
    ] {
        told.case(name, good().set(provider, pointer, value).told());
    }
    let secret = "Secret portcullis-system/corp-client";
    let without = json!({"client_id": "portcullis"});
    told.case("client secret missing", good().set(secret, "/stringData", without).told());
    let broken = good().set(secret, "/stringData/client_secret", json!("hunter2\n"));
    told.case("client secret line break", broken.told());
    let bundle = json!({"ca.crt": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"});
    let bundle =
        good().set(secret, "/stringData", bundle).set(provider, "/spec/caBundleRef", json!({"name": "corp-client"}));
    told.case("provider bad bundle", bundle.told());
    assert_snapshot!(told);
}

#[test]
fn a_provider_that_does_not_exist_or_is_not_offered_closes() {
    let mut told = Cases::default();
    told.case("provider missing", good().without("IdentityProvider corp").told());
    told.case("provider not offered", good().annotate("shop/web", "provider", "other").told());
    let none = good().set("Portcullis default", "/spec", json!({}));
    told.case("provider none", none.told());
    assert_snapshot!(told);
}

#[test]
fn findings_never_hold_a_secret() {
    let secret = "Secret portcullis-system/corp-client";
    let told = good().set(secret, "/stringData/client_secret", json!("hunter2\n")).told();
    assert!(told.contains("client_secret") && !told.contains("hunter2"), "{told}");
    let good = format!("{:?}", good().compiled());
    assert!(good.contains("corp") && !good.contains("hunter2") && !good.contains("PRIVATE KEY"));
}

#[test]
fn the_snapshot_is_told_without_a_secret() {
    let told = portcullis::admin::told(&good().compiled().snapshot);
    assert_eq!(told["routes"][0]["host"], "shop.example.com");
    assert_eq!(told["providers"][0], json!({"name": "corp", "issuer": "https://id.example.com"}));
    assert_eq!(
        (&told["certificates"][0]["host"], told["certificates"][0]["sha256"].as_str().unwrap().len()),
        (&json!("shop.example.com"), 64)
    );
    let text = told.to_string();
    assert!(!text.contains("hunter2") && !text.contains("PRIVATE KEY"), "{text}");
}
