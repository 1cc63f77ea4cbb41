//! What a good world means: classes, hosts, paths, default backends, policies, annotations, settings.

use std::time::Duration;

use http::HeaderValue;
use insta::assert_snapshot;
use portcullis::controller::compile::{Defaults, compile};
use portcullis::controller::report::Kind;
use portcullis::controller::world::ObjectName;
use portcullis::route::{Access, IdentityHeader, RouteSettings, SessionLimits};
use serde_json::{Value, json};

use super::world::{Cases, Objects, defaults, good, ingress, lines, pair, route, service, tell_difference, tls_secret};

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

/// The class, settings and provider of another installation, with an Ingress of it, and a Policy for it alone and one for
/// both.
fn with_another_installation() -> Objects {
    let policy = |name: &str, targets: &[&str]| {
        let target = |name: &&str| json!({"group": "networking.k8s.io", "kind": "Ingress", "name": name});
        let rule = json!({"name": "staff", "effect": "Allow", "principal": {"groups": ["staff"]}});
        json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "Policy", "metadata": {"namespace": "shop", "name": name},
            "spec": {"targetRefs": targets.iter().map(target).collect::<Vec<_>>(), "rules": [rule]},
        })
    };
    let mut inner = ingress("shop/inner", "01-03", "inner.example.com");
    inner["spec"]["ingressClassName"] = json!("second");
    inner["metadata"]["annotations"] = json!({"portcullis.dev/policies": "named"});
    let objects = [
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "second"},
            "spec": {
                "controller": "example.com/second",
                "parameters": {"apiGroup": "portcullis.dev", "kind": "Portcullis", "name": "second"},
            },
        }),
        json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "Portcullis", "metadata": {"name": "second"},
            "spec": {"providers": ["partner"]},
        }),
        json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "IdentityProvider", "metadata": {"name": "partner"},
            "spec": {
                "issuer": "https://partner.example.com",
                "clientSecretRef": {"namespace": "second-system", "name": "client"},
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "second-system", "name": "client"},
            "stringData": {"client_id": "portcullis", "client_secret": "hunter2"},
        }),
        inner,
        policy("theirs", &["inner"]),
        policy("both", &["inner", "web"]),
        policy("named", &[]),
    ];
    objects.into_iter().fold(good(), Objects::with)
}

#[test]
fn what_is_of_another_installation_is_left_to_it() {
    let world = with_another_installation().world();
    let names = |namespace: &str, names: &[&str]| -> Vec<_> {
        names.iter().map(|name| ObjectName::new(namespace, name)).collect()
    };
    let second = Defaults {
        controller: "example.com/second".to_owned(),
        installation_namespace: "second-system".to_owned(),
        ..defaults()
    };
    for (defaults, provider, own, other) in [(defaults(), "corp", "web", "inner"), (second, "partner", "inner", "web")]
    {
        let report = compile(&world, &defaults).report;
        let findings: Vec<_> = report.findings.iter().filter(|it| it.object.kind == Kind::IdentityProvider).collect();
        assert!(findings.is_empty(), "{findings:?}");
        let providers: Vec<_> = report.providers.iter().map(|(name, state)| (&*name.name, state.accepted)).collect();
        assert_eq!(providers, [(provider, true)]);
        let both = &report.policies[&ObjectName::new("shop", "both")];
        assert_eq!((&both.targets, &both.elsewhere), (&names("shop", &[own]), &names("shop", &[other])));
        for policy in ["theirs", "named"] {
            let it = &report.policies[&ObjectName::new("shop", policy)];
            let expected =
                if own == "inner" { (names("shop", &["inner"]), vec![]) } else { (vec![], names("shop", &["inner"])) };
            assert_eq!((it.targets.clone(), it.elsewhere.clone()), expected, "{policy}");
        }
    }
    // One that nobody else offers is ours to complain about.
    let slip = good().set("IdentityProvider corp", "/spec/clientSecretRef/namespace", json!("second-system"));
    assert!(slip.told().contains("clientSecretRef"));
}

#[test]
fn ownership_goes_by_the_controller_of_the_class() {
    let mut told = Cases::default();
    let foreign = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "portcullis"},
        "spec": {"controller": "example.com/other"},
    });
    told.case("foreign class", good().with(foreign).told());
    let annotated = good().set("Ingress shop/web", "/spec/ingressClassName", json!(null)).set(
        "Ingress shop/web",
        "/metadata/annotations",
        json!({"kubernetes.io/ingress.class": "portcullis"}),
    );
    told.case("legacy annotation", annotated.told());
    let both = good().set("Ingress shop/web", "/metadata/annotations", json!({"kubernetes.io/ingress.class": "nginx"}));
    told.case("field wins", both.told());
    let neither = good().set("Ingress shop/web", "/spec/ingressClassName", json!(null));
    told.case("without class", neither.told());
    let watched = compile(&neither.world(), &Defaults { without_class: true, ..defaults() });
    told.case("without class watched", tell_difference(&good().compiled(), &watched));
    let marked = json!({"name": "portcullis", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}});
    let marked = neither.set("IngressClass portcullis", "/metadata", marked);
    let watched = compile(&marked.world(), &Defaults { without_class: true, ..defaults() });
    told.case("without class default", tell_difference(&good().compiled(), &watched));
    assert_snapshot!(told);
}

#[test]
fn an_ingress_that_names_no_class_opens_itself_in_dev_alone() {
    let mut told = Cases::default();
    let nameless = good().set("Ingress team/site", "/spec/ingressClassName", json!(null)).world();
    for dev in [false, true] {
        let watched = compile(&nameless, &Defaults { without_class: true, dev, ..defaults() });
        let neighbour = compile(&good().world(), &Defaults { dev, ..defaults() });
        told.case(if dev { "dev" } else { "cluster" }, tell_difference(&neighbour, &watched));
    }
    assert_snapshot!(told);
}

#[test]
fn a_class_without_parameters_lets_nobody_pass() {
    let class = json!({"controller": "portcullis.dev/ingress-controller"});
    assert_snapshot!(good().set("IngressClass portcullis", "/spec", class).without("Policy shop/backoffice").told());
}

#[test]
fn what_is_on_its_way_out_is_not_served() {
    let mut told = Cases::default();
    let deleted = good().set("Ingress shop/web", "/metadata/deletionTimestamp", json!("2026-02-01T00:00:00Z"));
    told.case("deleted", deleted.told());
    let mut world = good().world();
    world.terminating.insert("shop".into());
    told.case("terminating", tell_difference(&good().compiled(), &compile(&world, &defaults())));
    assert_snapshot!(told);
}

#[test]
fn what_no_policy_covers_gets_the_default_of_the_class() {
    let mut told = Cases::default();
    let bare = good().without("Policy shop/backoffice");
    told.case("default deny", bare.told());
    for word in ["Authenticated", "Public"] {
        let world = bare.clone().set("Portcullis default", "/spec/access/default", json!(word));
        told.case(word, world.told());
    }
    assert_snapshot!(told);
}

#[test]
fn annotations_say_who_may_pass() {
    let mut told = Cases::default();
    let site = good().set("Ingress team/site", "/metadata/annotations", json!({}));
    told.case("authenticated", site.clone().annotate("team/site", "access", "authenticated").told());
    let allowed =
        site.annotate("team/site", "allowed-groups", "b, a").annotate("team/site", "allowed-emails", "A@b.cc");
    told.case("allowed", allowed.told());
    let both = good().annotate("shop/web", "allowed-groups", "staff").annotate("shop/web", "access", "policy");
    told.case("allowed beside policy", both.told());
    assert_snapshot!(told);
}

#[test]
fn rules_of_several_policies_count_together() {
    let mut told = Cases::default();
    let second = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Policy",
        "metadata": {"namespace": "shop", "name": "admins"},
        "spec": {"rules": [{"name": "all", "effect": "Allow", "principal": {"groups": ["admins"]}}]},
    });
    let unattached = good().with(second);
    told.case("unattached", unattached.told());
    told.case("attached", unattached.annotate("shop/web", "policies", "admins, backoffice").told());
    assert_snapshot!(told);
}

#[test]
fn every_field_of_a_rule_is_compiled() {
    let compiled = good().compiled();
    let Access::Guarded { policy, .. } = route(&compiled, "shop/web", "exact:/healthz").access.clone() else {
        panic!("guarded")
    };
    insta::assert_debug_snapshot!(policy.rules);
}

#[test]
fn annotations_and_class_make_the_settings() {
    let compiled = good()
        .annotate("shop/web", "identity-headers", "email,user")
        .annotate("shop/web", "websocket", "false")
        .annotate("shop/web", "ssl-redirect", "false")
        .annotate("shop/web", "cors-allow-origin", "https://app.example.com")
        .annotate("shop/web", "cors-preflight", "true")
        .annotate("shop/web", "connect-timeout", "1s")
        .annotate("shop/web", "request-timeout", "2s")
        .annotate("shop/web", "idle-timeout", "3s")
        .annotate("shop/web", "request-body-limit", "4Ki")
        .compiled();
    let session = SessionLimits { lifetime: Duration::from_secs(36_000), idle: Duration::from_secs(1800) };
    let expected = RouteSettings {
        identity_headers: [IdentityHeader::User, IdentityHeader::Email].into(),
        ssl_redirect: false,
        websocket: false,
        allowed_origins: ["https://app.example.com".into()].into(),
        cors_preflight: true,
        connect_timeout: Some(Duration::from_secs(1)),
        request_timeout: Some(Duration::from_secs(2)),
        idle_timeout: Some(Duration::from_secs(3)),
        request_body_limit: Some(4096),
        hsts: Some(HeaderValue::from_static("max-age=31536000; includeSubDomains")),
        session,
        ..RouteSettings::default()
    };
    assert_eq!(*route(&compiled, "shop/web", "exact:/healthz").settings, expected);
    let open = RouteSettings { ssl_redirect: false, session, ..RouteSettings::default() };
    assert_eq!(*route(&compiled, "team/site", "/").settings, open);
}

#[test]
fn every_field_of_a_provider_is_compiled() {
    let secret = json!({"client_id": "id", "client_secret": "hunter2", "ca.crt": pair(&["ca.example.com"]).chain});
    let spec = json!({
        "issuer": "https://id.example.com/", "displayName": "Corp", "clientSecretRef": {"name": "corp-client"},
        "scopes": ["groups", "offline_access"], "claims": {"email": "mail", "groups": "realm.groups"},
        "requireVerifiedEmail": false, "allowedEmailDomains": ["Example.com"],
        "caBundleRef": {"name": "corp-client"}, "logout": {"rpInitiated": false},
    });
    let compiled = good()
        .set("Secret portcullis-system/corp-client", "/stringData", secret)
        .set("IdentityProvider corp", "/spec", spec)
        .compiled();
    let mut provider = portcullis::oidc::Provider::clone(&compiled.snapshot.providers["corp"]);
    assert!(provider.ca_bundle.take().is_some_and(|bundle| bundle.starts_with(b"-----BEGIN CERTIFICATE-----")));
    insta::assert_debug_snapshot!(provider);
}

#[test]
fn dev_sends_no_hsts_and_takes_issuers_on_loopback() {
    let objects = good().set("IdentityProvider corp", "/spec/issuer", json!("http://127.0.0.1:9000"));
    let dev = compile(&objects.world(), &Defaults { dev: true, ..defaults() });
    assert_snapshot!(tell_difference(&good().compiled(), &dev));
    assert!(dev.snapshot.providers["corp"].loopback_http);
    assert_eq!(route(&dev, "shop/web", "/").settings.hsts, None);
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
