//! For each rule of the definitions, what an object has that is refused for it, and the words of the refusal.

use serde_json::{Value, json};

/// A value that is taken away.
pub const GONE: &str = "(gone)";

/// An object that is as it should be, but for one value.
pub struct Case {
    pub kind: &'static str,
    /// The value, as a JSON pointer below `spec`.
    pub pointer: &'static str,
    pub bad: Value,
    /// What the API server says: the field, and the message.
    pub said: &'static str,
}

impl Case {
    pub fn change(&self) -> (&str, Value) {
        (self.pointer, self.bad.clone())
    }

    pub fn parts(&self) -> (&'static str, &'static str) {
        self.said.split_once(": ").expect("a field stands before its message")
    }
}

pub fn policies() -> Vec<Case> {
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

pub fn providers() -> Vec<Case> {
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

pub fn portcullises() -> Vec<Case> {
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
