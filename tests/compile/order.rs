//! The same world gives the same result, in whatever order its objects came, with equal ages and conflicting owners.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use data_encoding::BASE64;
use portcullis::controller::compile::{Compiled, compile};
use portcullis::controller::world::{Change, Keeper, ObjectName, Stored};
use portcullis::route::BackendKey;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::world::{Pair, defaults, ingress, pair, service, tls_secret};

const NAMESPACES: [&str; 3] = ["n0", "n1", "n2"];
const NAMES: [&str; 3] = ["x", "y", "z"];
const HOSTS: [&str; 5] = ["a.example.com", "*.example.com", "b.example.com", "", "b.example.com:80"];
const PATTERNS: [&str; 4] = ["*.example.com", "a.example.com", "*", "*.*"];
const PATHS: [&str; 4] = ["/", "/x", "/x/", "/x*"];
const CLASSES: [&str; 3] = ["first", "second", "bare"];

static PAIRS: LazyLock<[Pair; 2]> = LazyLock::new(|| ["a", "b"].map(|it| pair(&[&format!("{it}.example.com")])));

/// Ingresses that fight over few hosts, paths and certificates, most of them of one age.
fn one_ingress() -> impl Strategy<Value = Value> {
    let place = (select(&NAMESPACES[..]), select(&NAMES[..]), select(&HOSTS[..]), select(&PATHS[..]));
    let rest = (select(&CLASSES[..]), select(&NAMES[..]), any::<bool>(), 0..8usize, 0..4usize);
    (place, rest).prop_map(|((namespace, name, host, path), (class, other, default, age, access))| {
        let age = if age == 0 { "01-01" } else { "01-02" };
        let mut object = ingress(&format!("{namespace}/{name}"), age, host);
        object["spec"]["ingressClassName"] = json!(class);
        object["spec"]["rules"][0]["http"]["paths"][0]["path"] = json!(path);
        object["spec"]["tls"] = json!([{"secretName": other}]);
        if default {
            object["spec"]["defaultBackend"] = json!({"service": {"name": "web", "port": {"number": 80}}});
        }
        object["metadata"]["annotations"] = match access {
            0 => json!({"portcullis.dev/access": "public"}),
            1 => json!({"portcullis.dev/policies": format!("{other}, x")}),
            2 => json!({"portcullis.dev/provider": other}),
            _ => json!({}),
        };
        object
    })
}

/// Policies on the same targets: good, with an unknown field, or not to be decoded.
fn one_policy() -> impl Strategy<Value = Value> {
    let draft = (select(&NAMESPACES[..]), select(&NAMES[..]), select(&NAMES[..]), 0..6usize);
    draft.prop_map(|(namespace, name, target, form)| {
        let rule = match form {
            0 => json!({"name": "r", "effect": "Allow", "principal": {"grups": ["x"]}}),
            1 => json!("no rule"),
            2 => json!({"name": "r", "effect": "Deny", "request": {"paths": ["/x"]}}),
            _ => json!({"name": "r", "effect": "Allow", "principal": {"claims": {name: [target]}}}),
        };
        let targets = json!([{"group": "networking.k8s.io", "kind": "Ingress", "name": target}]);
        object("Policy", namespace, name, &json!({"targetRefs": targets, "rules": [rule]}))
    })
}

/// Settings that keep the same hosts for different namespaces.
fn one_portcullis() -> impl Strategy<Value = Value> {
    let claim = (select(&PATTERNS[..]), select(&NAMESPACES[..]));
    let draft = (select(&NAMES[..]), vec(claim, 0..3), select(&NAMES[..]), any::<bool>(), 0..6usize);
    draft.prop_map(|(name, claims, provider, shared, form)| {
        let claim = |(pattern, namespace)| json!({"pattern": pattern, "namespaces": [namespace]});
        let claims: Vec<_> = claims.into_iter().map(claim).collect();
        let ownership = if shared { "Shared" } else { "FirstNamespace" };
        let mut spec = json!({"providers": [provider], "hosts": {"ownership": ownership}});
        if !claims.is_empty() {
            spec["hosts"]["claims"] = json!(claims);
        }
        if form == 0 {
            spec["providers"] = json!("no list");
        }
        object("Portcullis", "", name, &spec)
    })
}

fn one_provider() -> impl Strategy<Value = Value> {
    (select(&NAMES[..]), select(&NAMES[..]), any::<bool>()).prop_map(|(name, secret, good)| {
        let issuer = if good { "https://id.example.com" } else { "http://id.example.com" };
        object("IdentityProvider", "", name, &json!({"issuer": issuer, "clientSecretRef": {"name": secret}}))
    })
}

/// TLS Secrets, one of them with a key that does not fit, and client secrets.
fn one_secret() -> impl Strategy<Value = Value> {
    (select(&NAMESPACES[..]), select(&NAMES[..]), 0..4usize).prop_map(|(namespace, name, form)| {
        let [a, b] = &*PAIRS;
        match form {
            0 => tls_secret(namespace, name, a),
            1 => tls_secret(namespace, name, b),
            2 => tls_secret(namespace, name, &Pair { chain: a.chain.clone(), key: b.key.clone() }),
            _ => json!({
                "kind": "Secret", "metadata": {"namespace": "portcullis-system", "name": name},
                "stringData": {"client_id": "id", "client_secret": namespace},
            }),
        }
    })
}

/// Slices of one Service that tell different things of the same endpoints, some of which no slice may lead to.
fn one_slice() -> impl Strategy<Value = Value> {
    let address = select(&["10.0.0.1", "10.0.0.2", "127.0.0.1"][..]);
    let draft = (select(&NAMESPACES[..]), select(&NAMES[..]), address, any::<bool>(), any::<bool>());
    draft.prop_map(|(namespace, name, address, ready, ending)| {
        let conditions = json!({"ready": ready, "serving": true, "terminating": ending});
        json!({
            "kind": "EndpointSlice", "addressType": "IPv4", "ports": [{"port": 8080}],
            "metadata": {"namespace": namespace, "name": name, "labels": {"kubernetes.io/service-name": "web"}},
            "endpoints": [{"addresses": [address], "conditions": conditions}],
        })
    })
}

/// An object of a kind of ours; all are of one age.
fn object(kind: &str, namespace: &str, name: &str, spec: &Value) -> Value {
    let age = "2026-01-02T00:00:00Z";
    json!({"kind": kind, "metadata": {"namespace": namespace, "name": name, "creationTimestamp": age}, "spec": spec})
}

fn fixed() -> Vec<Value> {
    let class = |(name, parameters): (&str, Option<&str>)| {
        let parameters = parameters.map(|it| json!({"apiGroup": "portcullis.dev", "kind": "Portcullis", "name": it}));
        let spec = json!({"controller": "portcullis.dev/ingress-controller", "parameters": parameters});
        json!({"kind": "IngressClass", "metadata": {"name": name}, "spec": spec})
    };
    let classes = CLASSES.into_iter().zip([Some("x"), Some("y"), None]).map(class);
    classes.chain(NAMESPACES.map(|namespace| service(namespace, "web", 80))).collect()
}

/// The objects of a world, each name once, and the same in another order.
fn worlds() -> impl Strategy<Value = (Vec<Value>, Vec<Value>)> {
    let ours = (vec(one_policy(), 0..6), vec(one_portcullis(), 0..4), vec(one_provider(), 0..4));
    let drafts = (vec(one_ingress(), 1..12), ours, vec(one_secret(), 0..6), vec(one_slice(), 0..6));
    drafts.prop_flat_map(|(ingresses, (policies, portcullises, providers), secrets, slices)| {
        let all = [fixed(), ingresses, policies, portcullises, providers, secrets, slices].concat();
        let named = |object: Value| ((object["kind"].to_string(), name(&object)), object);
        let objects: Vec<_> = all.into_iter().map(named).collect::<BTreeMap<_, _>>().into_values().collect();
        (Just(objects.clone()), Just(objects).prop_shuffle())
    })
}

fn name(object: &Value) -> ObjectName {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    ObjectName::new(text("namespace"), text("name"))
}

fn change(object: &Value) -> Change {
    fn stored<T: DeserializeOwned>(object: &Value) -> Option<Stored<T>> {
        let decoded = serde_json::from_value(object.clone());
        Some(decoded.map_or(Stored::Undecodable("it does not decode".into()), |it| Stored::Decoded(Arc::new(it))))
    }
    let mut object = object.clone();
    if let Value::Object(texts) = object["stringData"].take() {
        let data =
            texts.iter().map(|(key, text)| (key.clone(), BASE64.encode(text.as_str().unwrap().as_bytes()).into()));
        object["data"] = Value::Object(data.collect());
    }
    let name = name(&object);
    match object["kind"].as_str().unwrap() {
        "Ingress" => Change::Ingress(name, stored(&object)),
        "IngressClass" => Change::Class(name, stored(&object)),
        "Service" => Change::Service(name, stored(&object)),
        "EndpointSlice" => Change::Slice(name, stored(&object)),
        "Secret" => Change::secret(name, stored(&object)),
        "Policy" => Change::Policy(name, stored(&object)),
        "IdentityProvider" => Change::Provider(name, stored(&object)),
        "Portcullis" => Change::portcullis(name, stored(&object)),
        kind => panic!("no {kind}"),
    }
}

/// What comes of objects that come one after the other: snapshot, report, and the endpoints beside them.
fn compiled_in_order(objects: &[Value]) -> (Compiled, BTreeMap<BackendKey, Vec<SocketAddr>>) {
    let mut keeper = Keeper::default();
    for object in objects {
        keeper.apply(change(object));
    }
    let endpoints = keeper.world().endpoints.iter().map(|(key, set)| (key.clone(), set.load().to_vec())).collect();
    (compile(keeper.world(), &defaults()), endpoints)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn any_order_gives_the_same_result((objects, shuffled) in worlds()) {
        prop_assert_eq!(compiled_in_order(&objects), compiled_in_order(&shuffled));
    }
}
