//! Bad input, by name: what is closed or not served for it, and what the admin reads. Neighbours stay as they were.

use insta::assert_snapshot;
use portcullis::controller::compile::compile;
use portcullis::controller::report::IngressState;
use portcullis::controller::world::{ObjectName, Stored, StoredCertificate, World};
use portcullis::host::Host;
use portcullis::path::Target;
use portcullis::tls::BadCertificate;
use serde_json::{Value, json};

use super::world::{Cases, Objects, Pair, defaults, good, ingress, lines, pair, tell_difference, tls_secret};

const WEB: &str = "Ingress shop/web";
const BACKOFFICE: &str = "Policy shop/backoffice";
const RULE: &str = "/spec/rules/0";

/// The good world with another value in the first rule of the policy.
fn with_rule(field: &str, value: Value) -> String {
    good().set(BACKOFFICE, &format!("{RULE}{field}"), value).told()
}

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

#[test]
fn a_misspelt_annotation_closes_the_ingress() {
    let mut told = Cases::default();
    told.case("unknown annotation", good().annotate("shop/web", "alowed-groups", "staff").told());
    told.case("bad access", good().annotate("shop/web", "access", "open").told());
    told.case("bad timeout", good().annotate("shop/web", "request-timeout", "soon").told());
    assert_snapshot!(told);
}

#[test]
fn contradictions_about_access_close_the_ingress() {
    let mut told = Cases::default();
    told.case("public with policy", good().annotate("shop/web", "access", "public").told());
    let site = good().annotate("team/site", "access", "authenticated").annotate("team/site", "allowed-groups", "staff");
    told.case("authenticated with allowed", site.told());
    told.case("policy without any", good().annotate("team/site", "access", "policy").told());
    let forbidden = good().set("Portcullis default", "/spec/access/public", json!("Forbidden"));
    told.case("public forbidden", forbidden.clone().told());
    told.case("preflight forbidden", forbidden.annotate("shop/web", "cors-preflight", "true").told());
    assert_snapshot!(told);
}

#[test]
fn entries_of_allowed_annotations_are_checked() {
    let mut told = Cases::default();
    let site = good().set("Ingress team/site", "/metadata/annotations", json!({}));
    told.case("allowed emails", site.clone().annotate("team/site", "allowed-emails", "bob").told());
    told.case("allowed domains", site.annotate("team/site", "allowed-email-domains", "*.example.com").told());
    assert_snapshot!(told);
}

#[test]
fn a_policy_that_does_not_exist_closes_who_names_it() {
    let site = good().set("Ingress team/site", "/metadata/annotations", json!({}));
    assert_snapshot!(site.annotate("team/site", "policies", "backoffice").told());
}

#[test]
fn an_unknown_field_anywhere_in_a_policy_closes_its_routes() {
    let mut told = Cases::default();
    for (name, pointer) in [
        ("policy_unknown_in_spec", "/spec/mode"),
        ("policy_unknown_in_target", "/spec/targetRefs/0/sectionName"),
        ("policy_unknown_in_rule", "/spec/rules/0/require"),
        ("policy_unknown_in_request", "/spec/rules/0/request/method"),
        ("policy_unknown_in_principal", "/spec/rules/0/principal/grups"),
    ] {
        told.case(name, good().set(BACKOFFICE, pointer, json!("x")).told());
    }
    let subjects = json!([{"issuer": "https://id.example.com", "subject": "7", "sub": "8"}]);
    told.case("policy unknown in subject", with_rule("/principal/subjects", subjects));
    assert_snapshot!(told);
}

#[test]
fn an_allow_must_say_whom() {
    let mut told = Cases::default();
    let rule = |rule: Value| with_rule("", rule);
    told.case("allow without principal", rule(json!({"name": "all", "effect": "Allow"})));
    told.case("empty principal", with_rule("/principal", json!({})));
    told.case("null principal", with_rule("/principal", json!(null)));
    told.case("empty request", with_rule("/request", json!({})));
    told.case("null groups", with_rule("/principal/groups", json!(null)));
    told.case("empty paths", with_rule("/request/paths", json!([])));
    assert_snapshot!(told);
}

#[test]
fn a_policy_without_rules_is_refused() {
    let mut told = Cases::default();
    told.case("empty rules", good().set(BACKOFFICE, "/spec/rules", json!([])).told());
    told.case("absent rules", good().set(BACKOFFICE, "/spec", json!({})).told());
    assert_snapshot!(told);
}

#[test]
fn values_of_rules_are_checked() {
    let mut told = Cases::default();
    for (name, field, value) in [
        ("rule_name_missing", "/name", json!("")),
        ("rule_name_twice", "/name", json!("outsiders")),
        ("rule_name_odd", "/name", json!("a b")),
        ("rule_effect", "/effect", json!("allow")),
        ("rule_effect_null", "/effect", json!(null)),
        ("rule_method", "/request/methods", json!(["get"])),
        ("rule_path", "/request/paths", json!(["reports", "/a%2fb"])),
        ("rule_host", "/request/hosts", json!(["", "*"])),
        ("rule_range", "/request/sourceRanges", json!(["10.9.0.1/16", "10.0.0.0/33", "here"])),
        ("rule_group", "/principal/groups", json!([""])),
        ("rule_email", "/principal/emails", json!(["Bob <bob@example.com>"])),
        ("rule_domain", "/principal/emailDomains", json!(["@example.com", "10.0.0.1"])),
        ("rule_subject", "/principal/subjects", json!([{"subject": "7"}])),
        ("rule_claims", "/principal/claims", json!({"a..b": ["x"], "c": [], "d": null, "e": [{"f": 1}]})),
        ("rule_no_claims", "/principal/claims", json!({})),
        ("rule_anyone_beside", "/principal/anyone", json!(true)),
        ("rule_anyone_false", "/principal/anyone", json!(false)),
        ("rule_anyone_authenticated", "/principal", json!({"anyone": true, "authenticated": true})),
    ] {
        told.case(name, with_rule(field, value));
    }
    assert_snapshot!(told);
}

#[test]
fn a_target_that_does_not_exist_is_said_on_the_policy() {
    let mut told = Cases::default();
    told.case("dangling target", good().set(BACKOFFICE, "/spec/targetRefs/0/name", json!("wbe")).told());
    told.case("foreign target", good().set(BACKOFFICE, "/spec/targetRefs/0/kind", json!("HTTPRoute")).told());
    told.case("nameless target", good().set(BACKOFFICE, "/spec/targetRefs/0/name", json!(null)).told());
    assert_snapshot!(told);
}

#[test]
fn a_policy_that_cannot_be_read_closes_its_namespace() {
    let mut world = good()
        .with(ingress("shop/open", "01-03", "other.example.com"))
        .annotate("shop/open", "access", "public")
        .world();
    let before = compile(&world, &defaults());
    world.policies.insert(ObjectName::new("shop", "broken"), Stored::Undecodable("rules: expected a list".into()));
    assert_snapshot!(tell_difference(&before, &compile(&world, &defaults())));
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
