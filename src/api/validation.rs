//! What the API server refuses itself: bounds and rules (CEL) in the definitions of our kinds.
//!
//! None refuses what compile takes, so that whoever is refused has a defect to mend. What they let pass, or a server that
//! has older definitions, compile closes. Texts say what is wrong, then what to do.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};

/// Kind, path from `spec` on (`*` descends into a list or map), name of a field there that must be written.
const MISSING: &[(&str, &str, &str, &str)] = &[
    ("Policy", "", "rules", "write a rule; to let nobody pass, one with `effect: Deny`"),
    ("Policy", "rules/*", "name", "name the rule, for audit and denied page"),
    ("Policy", "rules/*", "effect", "write `Allow` or `Deny`"),
    ("Policy", "rules/*/principal/subjects/*", "issuer", "write the issuer, for a subject is one only there"),
    ("Policy", "rules/*/principal/subjects/*", "subject", "write the subject (`sub`)"),
    ("Policy", "targetRefs/*", "group", "write `networking.k8s.io`"),
    ("Policy", "targetRefs/*", "kind", "write `Ingress`"),
    ("Policy", "targetRefs/*", "name", "name an Ingress of this namespace"),
    ("IdentityProvider", "", "issuer", "write the issuer identifier, such as `https://id.example.com`"),
    ("IdentityProvider", "", "clientSecretRef", "name the Secret with `client_id` and `client_secret`"),
    ("IdentityProvider", "clientSecretRef", "name", "name a Secret"),
    ("IdentityProvider", "caBundleRef", "name", "name a Secret"),
    (
        "Portcullis",
        "hosts/claims/*",
        "pattern",
        "write a host, `*.suffix` for all hosts below a suffix, or `*` for all",
    ),
    ("Portcullis", "hosts/claims/*", "namespaces", "name the namespaces that may serve the hosts"),
];

/// Kind, path, what must hold of the value there, and what is said where it does not.
const WRONG: &[(&str, &str, &str, &str)] = &[
    ("Policy", "rules", NOT_NONE, "there are no rules; write a rule; to let nobody pass, one with `effect: Deny`"),
    (
        "Policy",
        "rules",
        "self.all(rule, !has(rule.name) || self.exists_one(other, has(other.name) && other.name == rule.name))",
        "two rules have one name; give each rule a name of its own",
    ),
    (
        "Policy",
        "rules/*",
        "!has(self.effect) || self.effect != 'Allow' || has(self.principal)",
        "an Allow without `principal` does not say whom it lets pass; name groups or people, or write `anyone: true`",
    ),
    (
        "Policy",
        "rules/*/name",
        "self.matches('^[A-Za-z0-9_.-]+$')",
        "a rule's name is of letters, digits, `-`, `_` and `.`; write another name",
    ),
    ("Policy", "rules/*/effect", "self in ['Allow', 'Deny']", "it is no effect; write `Allow` or `Deny`"),
    (
        "Policy",
        "rules/*/request/methods",
        "self.all(method, method.matches('^[A-Z-]+$'))",
        "one is not a method; write a method such as `GET`, in upper case",
    ),
    (
        "Policy",
        "rules/*/request/paths",
        "self.all(path, path.startsWith('/') || path.startsWith('exact:/'))",
        "one is not a path; write a plain path such as `/reports` or `exact:/report`",
    ),
    ("Policy", "rules/*/request/hosts", HOSTS, "one is not a host; write a host such as `app.example.com`"),
    (
        "Policy",
        "rules/*/request/sourceRanges",
        "self.all(range, range.matches('^[0-9a-fA-F.:/]+$'))",
        "one is not an address range; write a range such as `10.9.0.0/16`",
    ),
    (
        "Policy",
        "rules/*/principal",
        "!has(self.anyone) || !(has(self.groups) || has(self.emails) || has(self.emailDomains) || \
         has(self.subjects) || has(self.authenticated))",
        "`anyone` stands beside a description of people; remove one of them",
    ),
    ("Policy", "rules/*/principal/anyone", "self", ONLY_TRUE),
    ("Policy", "rules/*/principal/authenticated", "self", ONLY_TRUE),
    (
        "Policy",
        "rules/*/principal/groups",
        "self.all(group, group != '')",
        "the name of a group is empty; write a group as the provider does",
    ),
    ("Policy", "rules/*/principal/emailDomains", DOMAINS, DOMAIN),
    ("Policy", "targetRefs/*/group", "self == 'networking.k8s.io'", "it cannot be a target; write `networking.k8s.io`"),
    ("Policy", "targetRefs/*/kind", "self == 'Ingress'", "it cannot be a target; write `Ingress`"),
    ("Policy", "targetRefs/*/name", "self != ''", "the name is empty; name an Ingress of this namespace"),
    (
        "IdentityProvider",
        "issuer",
        "isURL(self) && url(self).getScheme() == 'https' && !self.contains('?') && !self.contains('#')",
        "it is not an https URL without query and fragment; write the issuer identifier, such as `https://id.example.com`",
    ),
    ("IdentityProvider", "displayName", "self != ''", "the name is empty; write a name, or remove the field"),
    (
        "IdentityProvider",
        "scopes",
        r#"self.all(scope, scope.matches('^[!#-\\[\\]-~]+$'))"#,
        "one is not a scope; write a scope such as `groups`",
    ),
    ("IdentityProvider", "allowedEmailDomains", DOMAINS, DOMAIN),
    ("IdentityProvider", "clientSecretRef/name", "self != ''", "the name is empty; name a Secret"),
    ("IdentityProvider", "caBundleRef/name", "self != ''", "the name is empty; name a Secret"),
    ("IdentityProvider", "claims/email", CLAIM_PATH, CLAIM),
    ("IdentityProvider", "claims/groups", CLAIM_PATH, CLAIM),
    ("IdentityProvider", "claims/name", CLAIM_PATH, CLAIM),
    ("IdentityProvider", "claims/username", CLAIM_PATH, CLAIM),
    ("Portcullis", "providers", "self.all(name, name != '')", "a name is empty; name an IdentityProvider"),
    (
        "Portcullis",
        "access/default",
        "self in ['Deny', 'Authenticated', 'Public']",
        "it is none of the values of this field; write `Deny` or `Authenticated` or `Public`",
    ),
    (
        "Portcullis",
        "access/public",
        "self in ['Allowed', 'Forbidden']",
        "it is none of the values of this field; write `Allowed` or `Forbidden`",
    ),
    (
        "Portcullis",
        "hosts/ownership",
        "self in ['FirstNamespace', 'Shared']",
        "it is none of the values of this field; write `FirstNamespace` or `Shared`",
    ),
    (
        "Portcullis",
        "hosts/claims/*/pattern",
        "self == '*' || self.matches('^([*][.])?[a-zA-Z0-9_.-]+$') || self.startsWith('[')",
        "it is no pattern of hosts; write a host, `*.suffix` for all hosts below a suffix, or `*` for all",
    ),
    ("Portcullis", "session/lifetime", SPAN, NO_SPAN),
    ("Portcullis", "session/lifetime", "self.matches('[1-9]')", NO_TIME),
    ("Portcullis", "session/idleTimeout", SPAN, NO_SPAN),
    ("Portcullis", "session/idleTimeout", "self.matches('[1-9]')", NO_TIME),
    ("Portcullis", "tls/hsts/maxAge", SPAN, NO_SPAN),
];

/// Objects that say nothing where nothing is in them: a bound, for rules do not see fields that they do not know.
const NOT_EMPTY: &[(&str, &str)] =
    &[("Policy", "rules/*/request"), ("Policy", "rules/*/principal"), ("Policy", "rules/*/principal/claims")];

const NOT_NONE: &str = "size(self) > 0";
const ONLY_TRUE: &str = "the field can only be `true`; write `true`, or remove it";
const EMPTY_LIST: &str = "the list is empty; name an entry, or remove the field";
const HOSTS: &str = "self.all(host, host != '' && !host.contains('/'))";
const DOMAINS: &str = "self.all(domain, domain != '' && !domain.contains('@'))";
const DOMAIN: &str = "one is not a domain; write a domain such as `example.com`";
const CLAIM_PATH: &str = "self.matches('^[^.]+([.][^.]+)*$')";
const CLAIM: &str = "the claim's path has an empty part; write a path such as `a.b`";
const SPAN: &str = "self.matches('^[0-9].*[:a-zA-Zµμ]') && !self.endsWith('ago')";
const NO_SPAN: &str = "it is not a span of time such as `30s`, `15m` or `12h`; write hours, minutes or seconds";
const NO_TIME: &str = "a session cannot last no time; write a span such as `1h`";

/// The definition of a kind with all that is said of it here.
pub(super) fn validated(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let kind = crd.spec.names.kind.clone();
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let spec = schema.and_then(|schema| schema.properties.as_mut()?.get_mut("spec"));
        let spec = spec.expect("each kind has a spec");
        for (_, path, field, remedy) in MISSING.iter().filter(|(of, ..)| *of == kind) {
            let message = format!("the field is missing; {remedy}");
            let required = ValidationRule {
                field_path: Some(format!(".{field}")),
                reason: Some("FieldValueRequired".to_owned()),
                ..rule(&format!("has(self.{field})"), &message)
            };
            add(at(spec, path), required);
        }
        for (_, path, holds, message) in WRONG.iter().filter(|(of, ..)| *of == kind) {
            add(at(spec, path), rule(holds, message));
        }
        for (_, path) in NOT_EMPTY.iter().filter(|(of, _)| *of == kind) {
            at(spec, path).min_properties = Some(1);
        }
        lists_have_entries(spec);
    }
    crd
}

fn rule(holds: &str, message: &str) -> ValidationRule {
    ValidationRule { rule: holds.to_owned(), message: Some(message.to_owned()), ..ValidationRule::default() }
}

fn add(schema: &mut JSONSchemaProps, rule: ValidationRule) {
    schema.x_kubernetes_validations.get_or_insert_default().push(rule);
}

fn at<'s>(schema: &'s mut JSONSchemaProps, path: &str) -> &'s mut JSONSchemaProps {
    path.split('/').filter(|name| !name.is_empty()).fold(schema, |schema, name| {
        let below =
            if name == "*" { entry(schema) } else { schema.properties.as_mut().and_then(|all| all.get_mut(name)) };
        below.unwrap_or_else(|| panic!("the tables above name fields that there are: `{path}` is none"))
    })
}

/// The schema of the entries of a list or map.
fn entry(schema: &mut JSONSchemaProps) -> Option<&mut JSONSchemaProps> {
    match (&mut schema.items, &mut schema.additional_properties) {
        (Some(JSONSchemaPropsOrArray::Schema(entry)), _) | (_, Some(JSONSchemaPropsOrBool::Schema(entry))) => {
            Some(entry)
        }
        _ => None,
    }
}

/// No list is empty. One whose entries are of any type cannot have a rule; it has a bound.
fn lists_have_entries(schema: &mut JSONSchemaProps) {
    let told = |rule: &ValidationRule| rule.rule == NOT_NONE;
    if schema.type_.as_deref() == Some("array") && !schema.x_kubernetes_validations.iter().flatten().any(told) {
        if entry(schema).is_some_and(|entry| entry.type_.is_none()) {
            schema.min_items = Some(1);
        } else {
            add(schema, rule(NOT_NONE, EMPTY_LIST));
        }
    }
    schema.properties.iter_mut().flatten().for_each(|(_, field)| lists_have_entries(field));
    if let Some(entry) = entry(schema) {
        lists_have_entries(entry);
    }
}
