//! What the API server itself refuses of our kinds: for each rule of the definitions an object that it refuses, with field
//! and remedy, and a neighbour that it takes.

mod cases;

use std::collections::BTreeSet;

use portcullis::api::crds;
use serde_json::{Value, json};

use crate::support::bed::Bed;
use crate::support::objects;

use cases::{GONE, policies, portcullises, providers};

const NAMESPACE: &str = "validation";

pub fn journey(bed: &Bed) {
    bed.clear();
    bed.cluster.apply(&[objects::namespace(NAMESPACE)]);
    let cases: Vec<_> = policies().into_iter().chain(providers()).chain(portcullises()).collect();
    let name = |index: usize| format!("bad-{index}");
    let bad: Vec<_> =
        cases.iter().enumerate().map(|(index, case)| object(case.kind, &name(index), &[case.change()])).collect();
    let answer = bed.cluster.refuses(&bad);
    for (index, case) in cases.iter().enumerate() {
        let about = answer.split_once(&format!("\"{}\" is invalid", name(index))).map(|(_, after)| after);
        let about = about.unwrap_or_else(|| panic!("{} with a bad {} is taken:\n{answer}", case.kind, case.pointer));
        let about = about.split("\" is invalid").next().unwrap_or_default();
        let (field, message) = case.parts();
        let told = about.contains(&format!("spec.{field}: ")) && about.contains(message);
        assert!(told, "{} with a bad {} is refused otherwise:\n{about}", case.kind, case.pointer);
    }
    bed.cluster.apply(&good());
    let kinds = "policies.portcullis.dev,identityproviders.portcullis.dev,portcullises.portcullis.dev";
    let stored = bed.cluster.kubectl(&["get", kinds, "--namespace", NAMESPACE, "--output", "name"]);
    assert!(!stored.contains("/bad-") && stored.lines().count() == good().len(), "{stored}");
    what_is_not_known_is_kept(bed);
    let provoked: BTreeSet<_> = cases.iter().map(|case| (case.kind.to_owned(), case.parts().1.to_owned())).collect();
    assert_eq!(told(), provoked, "each message of the definitions is provoked above");
    bed.clear();
}

/// A field that this version does not know is kept, beside all the rules: what reads the object closes on it.
fn what_is_not_known_is_kept(bed: &Bed) {
    let unknown = [
        ("Policy", "/rules/0/request/mehtods"),
        ("Policy", "/rules/0/principal/gruops"),
        ("Policy", "/later"),
        ("IdentityProvider", "/claims/later"),
        ("Portcullis", "/access/required"),
    ];
    for (index, (kind, pointer)) in unknown.iter().enumerate() {
        let object = object(kind, &format!("unknown-{index}"), &[(pointer, json!(["GET"]))]);
        bed.cluster.apply_with(&["--validate=warn"], &[object]);
        let kind = format!("{}.portcullis.dev", kind.to_lowercase());
        let read = bed.cluster.read(&[&kind, &format!("unknown-{index}"), "--namespace", NAMESPACE]);
        assert_eq!(read["spec"].pointer(pointer), Some(&json!(["GET"])), "{kind} {pointer}");
    }
}

/// The messages of all rules of the definitions, by kind.
fn told() -> BTreeSet<(String, String)> {
    let mut told = BTreeSet::new();
    for crd in crds() {
        let crd = json!(crd);
        let kind = crd["spec"]["names"]["kind"].as_str().expect("kinds have names");
        visit(&crd["spec"]["versions"][0]["schema"], &mut |schema| {
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                told.insert((kind.to_owned(), rule["message"].as_str().expect("rules have messages").to_owned()));
            }
            for bound in
                [("minItems", "should have at least 1 items"), ("minProperties", "should have at least 1 properties")]
            {
                if schema[bound.0] == json!(1) {
                    told.insert((kind.to_owned(), bound.1.to_owned()));
                }
            }
        });
    }
    told
}

fn visit(value: &Value, seen: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(fields) => {
            seen(value);
            fields.values().for_each(|field| visit(field, seen));
        }
        Value::Array(values) => values.iter().for_each(|value| visit(value, seen)),
        _ => {}
    }
}

/// Objects that are as they should be, each in its own way.
fn good() -> Vec<Value> {
    let anyone = json!([{"name": "open", "effect": "Allow", "principal": {"anyone": true}}]);
    let nobody = json!([{"name": "closed", "effect": "Deny"}]);
    let odd = json!({
        "methods": ["M-SEARCH"],
        "paths": ["exact:/report", "/"],
        "hosts": ["*.example.com", "[2001:db8::1]"],
        "sourceRanges": ["2001:db8::/32", "192.0.2.1", "::1"],
    });
    let claims = json!([{"pattern": "*", "namespaces": ["edge"]}, {"pattern": "*.a.example.com", "namespaces": ["a"]}]);
    vec![
        object("Policy", "whole", &[]),
        object("Policy", "anyone", &[("/rules", anyone)]),
        object("Policy", "nobody", &[("/rules", nobody), ("/targetRefs", json!(GONE))]),
        object("Policy", "odd", &[("/rules/0/request", odd)]),
        object("IdentityProvider", "whole", &[]),
        object("IdentityProvider", "realm", &[("/issuer", json!("https://id.example.com:8443/realms/@corp/"))]),
        object("IdentityProvider", "least", &[("/claims", json!(GONE)), ("/scopes", json!(GONE))]),
        object("Portcullis", "whole", &[]),
        object("Portcullis", "spans", &[("/session/lifetime", json!("1h 30m")), ("/tls/hsts/maxAge", json!("0s"))]),
        object("Portcullis", "claims", &[("/hosts/claims", claims), ("/session/idleTimeout", json!("90 minutes"))]),
        object(
            "Portcullis",
            "least",
            &["/providers", "/access", "/hosts", "/session", "/tls"].map(|it| (it, json!(GONE))),
        ),
    ]
}

/// An object of a kind, with other values at some places of its spec.
fn object(kind: &str, name: &str, changes: &[(&str, Value)]) -> Value {
    let mut spec = match kind {
        "Policy" => policy(),
        "IdentityProvider" => provider(),
        _ => portcullis(),
    };
    for (pointer, value) in changes {
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
        let parent = spec.pointer_mut(parent).expect("it is there");
        if *value == json!(GONE) {
            parent.as_object_mut().expect("fields go").remove(field);
        } else {
            parent[field] = value.clone();
        }
    }
    let mut metadata = json!({"name": name});
    if kind == "Policy" {
        metadata["namespace"] = json!(NAMESPACE);
    }
    json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

fn policy() -> Value {
    json!({
        "targetRefs": [{"group": "networking.k8s.io", "kind": "Ingress", "name": "web"}],
        "rules": [
            {
                "name": "staff",
                "effect": "Allow",
                "request": {
                    "methods": ["GET", "HEAD"],
                    "paths": ["/reports"],
                    "hosts": ["web.example.com"],
                    "sourceRanges": ["10.9.0.0/16"],
                },
                "principal": {
                    "groups": ["staff"],
                    "emails": ["a@example.com"],
                    "emailDomains": ["example.com"],
                    "subjects": [{"issuer": "https://id.example.com", "subject": "1"}],
                    "claims": {"country": ["DE", 1, true]},
                    "authenticated": true,
                },
            },
            {"name": "all", "effect": "Deny"},
            {"name": "others", "effect": "Deny"},
        ],
    })
}

fn provider() -> Value {
    json!({
        "issuer": "https://id.example.com",
        "displayName": "Corp",
        "clientSecretRef": {"name": "corp-client"},
        "scopes": ["openid", "groups", "https://graph.example.com/.default"],
        "claims": {"email": "email", "groups": "realm.groups", "name": "name", "username": "preferred_username"},
        "allowedEmailDomains": ["example.com"],
        "caBundleRef": {"namespace": "portcullis-system", "name": "corp-ca"},
    })
}

fn portcullis() -> Value {
    json!({
        "providers": ["corp"],
        "access": {"default": "Deny", "public": "Forbidden"},
        "hosts": {"ownership": "Shared", "claims": [{"pattern": "a.example.com", "namespaces": ["a"]}]},
        "session": {"lifetime": "12h", "idleTimeout": "1h"},
        "tls": {"hsts": {"maxAge": "8760h"}},
    })
}
