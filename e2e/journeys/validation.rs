//! What the API server itself refuses of our kinds: for each rule of the definitions an object that it refuses, with field
//! and remedy, and a neighbour that it takes.

use std::collections::BTreeSet;

use portcullis::api::crds;
use serde_json::{Value, json};

use crate::support::bed::Bed;
use crate::support::objects;

const NAMESPACE: &str = "validation";

/// A value that is taken away.
const GONE: &str = "(gone)";

/// An object that is as it should be, but for one value.
struct Case {
    kind: &'static str,
    /// The value, as a JSON pointer below `spec`.
    pointer: &'static str,
    bad: Value,
    /// What the API server says: the field, and the message.
    said: &'static str,
}

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

impl Case {
    fn change(&self) -> (&str, Value) {
        (self.pointer, self.bad.clone())
    }

    fn parts(&self) -> (&'static str, &'static str) {
        self.said.split_once(": ").expect("a field stands before its message")
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

fn policies() -> Vec<Case> {
    let case = |pointer, bad, said| Case { kind: "Policy", pointer, bad, said };
    vec![
        case(
            "/rules",
            json!(GONE),
            "rules: the field is missing; write a rule; to let nobody pass, one with `effect: Deny`",
        ),
        case(
            "/rules",
            json!([]),
            "rules: there are no rules; write a rule; to let nobody pass, one with `effect: Deny`",
        ),
        case("/rules/2/name", json!("all"), "rules: two rules have one name; give each rule a name of its own"),
        case(
            "/rules/0/name",
            json!(GONE),
            "rules[0].name: the field is missing; name the rule, for audit and denied page",
        ),
        case(
            "/rules/0/name",
            json!("two words"),
            "rules[0].name: a rule's name is of letters, digits, `-`, `_` and `.`; write another name",
        ),
        case("/rules/0/effect", json!(GONE), "rules[0].effect: the field is missing; write `Allow` or `Deny`"),
        case("/rules/0/effect", json!("allow"), "rules[0].effect: it is no effect; write `Allow` or `Deny`"),
        case(
            "/rules/0/principal",
            json!(GONE),
            "rules[0]: an Allow without `principal` does not say whom it lets pass; name groups or people, or write `anyone: true`",
        ),
        case("/rules/0/principal", json!({}), "rules[0].principal: should have at least 1 properties"),
        case("/rules/0/request", json!({}), "rules[0].request: should have at least 1 properties"),
        case("/rules/0/principal/claims", json!({}), "rules[0].principal.claims: should have at least 1 properties"),
        case(
            "/rules/0/principal/claims/country",
            json!([]),
            "rules[0].principal.claims.country: should have at least 1 items",
        ),
        case(
            "/rules/0/principal/anyone",
            json!(true),
            "rules[0].principal: `anyone` stands beside a description of people; remove one of them",
        ),
        case(
            "/rules/0/principal/authenticated",
            json!(false),
            "rules[0].principal.authenticated: the field can only be `true`; write `true`, or remove it",
        ),
        case(
            "/rules/0/principal/groups",
            json!([]),
            "rules[0].principal.groups: the list is empty; name an entry, or remove the field",
        ),
        case(
            "/rules/0/principal/groups",
            json!([""]),
            "rules[0].principal.groups: the name of a group is empty; write a group as the provider does",
        ),
        case(
            "/rules/0/principal/emailDomains",
            json!(["a@example.com"]),
            "rules[0].principal.emailDomains: one is not a domain; write a domain such as `example.com`",
        ),
        case(
            "/rules/0/principal/subjects/0/issuer",
            json!(GONE),
            "rules[0].principal.subjects[0].issuer: the field is missing; write the issuer, for a subject is one only there",
        ),
        case(
            "/rules/0/principal/subjects/0/subject",
            json!(GONE),
            "rules[0].principal.subjects[0].subject: the field is missing; write the subject (`sub`)",
        ),
        case(
            "/rules/0/request/methods",
            json!(["get"]),
            "rules[0].request.methods: one is not a method; write a method such as `GET`, in upper case",
        ),
        case(
            "/rules/0/request/paths",
            json!(["reports"]),
            "rules[0].request.paths: one is not a path; write a plain path such as `/reports` or `exact:/report`",
        ),
        case(
            "/rules/0/request/hosts",
            json!(["https://a.example.com"]),
            "rules[0].request.hosts: one is not a host; write a host such as `app.example.com`",
        ),
        case(
            "/rules/0/request/sourceRanges",
            json!(["the office"]),
            "rules[0].request.sourceRanges: one is not an address range; write a range such as `10.9.0.0/16`",
        ),
        case(
            "/targetRefs/0/group",
            json!(GONE),
            "targetRefs[0].group: the field is missing; write `networking.k8s.io`",
        ),
        case(
            "/targetRefs/0/group",
            json!("gateway.networking.k8s.io"),
            "targetRefs[0].group: it cannot be a target; write `networking.k8s.io`",
        ),
        case("/targetRefs/0/kind", json!(GONE), "targetRefs[0].kind: the field is missing; write `Ingress`"),
        case("/targetRefs/0/kind", json!("Service"), "targetRefs[0].kind: it cannot be a target; write `Ingress`"),
        case(
            "/targetRefs/0/name",
            json!(GONE),
            "targetRefs[0].name: the field is missing; name an Ingress of this namespace",
        ),
        case(
            "/targetRefs/0/name",
            json!(""),
            "targetRefs[0].name: the name is empty; name an Ingress of this namespace",
        ),
    ]
}

fn providers() -> Vec<Case> {
    let case = |pointer, bad, said| Case { kind: "IdentityProvider", pointer, bad, said };
    vec![
        case(
            "/issuer",
            json!(GONE),
            "issuer: the field is missing; write the issuer identifier, such as `https://id.example.com`",
        ),
        case(
            "/issuer",
            json!("http://id.example.com"),
            "issuer: it is not an https URL without query and fragment; write the issuer identifier, such as `https://id.example.com`",
        ),
        case(
            "/clientSecretRef",
            json!(GONE),
            "clientSecretRef: the field is missing; name the Secret with `client_id` and `client_secret`",
        ),
        case("/clientSecretRef/name", json!(GONE), "clientSecretRef.name: the field is missing; name a Secret"),
        case("/caBundleRef/name", json!(""), "caBundleRef.name: the name is empty; name a Secret"),
        case("/displayName", json!(""), "displayName: the name is empty; write a name, or remove the field"),
        case("/scopes", json!(["two scopes"]), "scopes: one is not a scope; write a scope such as `groups`"),
        case("/scopes", json!([]), "scopes: the list is empty; name an entry, or remove the field"),
        case(
            "/allowedEmailDomains",
            json!([""]),
            "allowedEmailDomains: one is not a domain; write a domain such as `example.com`",
        ),
        case(
            "/claims/groups",
            json!("realm..groups"),
            "claims.groups: the claim's path has an empty part; write a path such as `a.b`",
        ),
    ]
}

fn portcullises() -> Vec<Case> {
    let case = |pointer, bad, said| Case { kind: "Portcullis", pointer, bad, said };
    vec![
        case("/providers", json!([]), "providers: the list is empty; name an entry, or remove the field"),
        case("/providers", json!([""]), "providers: a name is empty; name an IdentityProvider"),
        case(
            "/access/default",
            json!("Open"),
            "access.default: it is none of the values of this field; write `Deny` or `Authenticated` or `Public`",
        ),
        case(
            "/access/public",
            json!("No"),
            "access.public: it is none of the values of this field; write `Allowed` or `Forbidden`",
        ),
        case(
            "/hosts/ownership",
            json!("Anybody"),
            "hosts.ownership: it is none of the values of this field; write `FirstNamespace` or `Shared`",
        ),
        case(
            "/hosts/claims/0/pattern",
            json!(GONE),
            "hosts.claims[0].pattern: the field is missing; write a host, `*.suffix` for all hosts below a suffix, or `*` for all",
        ),
        case(
            "/hosts/claims/0/pattern",
            json!("a*.example.com"),
            "hosts.claims[0].pattern: it is no pattern of hosts; write a host, `*.suffix` for all hosts below a suffix, or `*` for all",
        ),
        case(
            "/hosts/claims/0/namespaces",
            json!(GONE),
            "hosts.claims[0].namespaces: the field is missing; name the namespaces that may serve the hosts",
        ),
        case(
            "/session/lifetime",
            json!("12"),
            "session.lifetime: it is not a span of time such as `30s`, `15m` or `12h`; write hours, minutes or seconds",
        ),
        case(
            "/session/idleTimeout",
            json!("0s"),
            "session.idleTimeout: a session cannot last no time; write a span such as `1h`",
        ),
        case(
            "/tls/hsts/maxAge",
            json!("a year"),
            "tls.hsts.maxAge: it is not a span of time such as `30s`, `15m` or `12h`; write hours, minutes or seconds",
        ),
    ]
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
