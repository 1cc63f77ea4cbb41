//! What a good world means: classes, policies, annotations, settings.

use std::time::Duration;

use http::HeaderValue;
use insta::assert_snapshot;
use portcullis::controller::compile::{Defaults, compile};
use portcullis::controller::report::Kind;
use portcullis::controller::world::ObjectName;
use portcullis::route::{Access, IdentityHeader, RouteSettings, SessionLimits};
use serde_json::json;

use super::world::{Cases, Objects, defaults, good, ingress, pair, route, tell_difference};

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
