//! A rule on the wire to a [`policy::Rule`](Rule). Openness is written, never left out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::fields::{Fields, Pointer};
use crate::api::{PrincipalSpec, RequestSpec, RuleSpec, SubjectSpec};
use crate::controller::world::ObjectName;
use crate::host::{Host, HostMatch};
use crate::identity::{Email, Groups, Identity};
use crate::path::PathMatch;
use crate::policy::{Description, Effect, PrincipalMatch, RequestMatch, Rule};

/// Reads the rules of a policy; unless the fields are broken afterwards, they are what is written.
pub(super) fn rules(policy: &ObjectName, specs: &Option<Vec<RuleSpec>>, fields: &mut Fields<'_>) -> Box<[Rule]> {
    let at = Pointer::spec().to("rules");
    let specs = specs.as_deref().unwrap_or_default();
    if specs.is_empty() {
        fields.wrong(at.clone(), "there are no rules", "write a rule; to let nobody pass, one with `effect: Deny`");
    }
    let mut names = BTreeSet::new();
    let mut rules = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let at = at.to(index);
        if spec.name.as_ref().is_some_and(|name| !names.insert(name)) {
            fields.wrong(at.to("name"), "an earlier rule has this name", "give each rule a name of its own");
        }
        rules.extend(rule(policy, spec, &at, fields));
    }
    rules.into()
}

fn rule(policy: &ObjectName, spec: &RuleSpec, at: &Pointer, fields: &mut Fields<'_>) -> Option<Rule> {
    let RuleSpec { name, effect, request, principal, unknown } = spec;
    fields.unknown(at, unknown);
    let name = fields.text(at.to("name"), name, "name the rule, for audit and denied page");
    if name.is_some_and(|name| !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))) {
        fields.wrong(at.to("name"), "a rule's name is of letters, digits, `-`, `_` and `.`", "write another name");
    }
    let words = [("Allow", Effect::Allow), ("Deny", Effect::Deny)];
    if effect.is_none() {
        fields.wrong(at.to("effect"), "the field is missing", "write `Allow` or `Deny`");
    }
    let effect = fields.word(at.to("effect"), effect, &words, Effect::Deny);
    let request = request.as_ref().map(|spec| request_match(spec, &at.to("request"), fields)).unwrap_or_default();
    let at = at.to("principal");
    let principal = match principal {
        Some(spec) => principal_match(spec, &at, fields)?,
        None if effect == Effect::Deny => PrincipalMatch::Anyone,
        None => {
            fields.wrong(at, "an Allow must say whom it lets pass", "name groups or people, or write `anyone: true`");
            return None;
        }
    };
    Some(Rule { name: format!("{policy}:{}", name?).into(), effect, request, principal })
}

fn request_match(spec: &RequestSpec, at: &Pointer, fields: &mut Fields<'_>) -> RequestMatch {
    let RequestSpec { methods, paths, hosts, source_ranges, unknown } = spec;
    fields.unknown(at, unknown);
    if *spec == RequestSpec::default() {
        fields.wrong(at.clone(), "the request is empty", "name methods, paths, hosts or source ranges, or remove it");
    }
    RequestMatch {
        methods: fields
            .parsed(&at.to("methods"), methods, method, "write a method such as `GET`, in upper case")
            .into(),
        paths: fields
            .parsed(
                &at.to("paths"),
                paths,
                PathMatch::parse,
                "write a plain path such as `/reports` or `exact:/report`",
            )
            .into(),
        hosts: fields.parsed(&at.to("hosts"), hosts, host, "write a host such as `app.example.com`").into(),
        source_ranges: fields
            .parsed(&at.to("sourceRanges"), source_ranges, range, "write a range such as `10.9.0.0/16`")
            .into(),
    }
}

fn principal_match(spec: &PrincipalSpec, at: &Pointer, fields: &mut Fields<'_>) -> Option<PrincipalMatch> {
    let PrincipalSpec { groups, emails, email_domains, subjects, claims, anyone, authenticated, unknown } = spec;
    fields.unknown(at, unknown);
    if *spec == PrincipalSpec::default() {
        fields.wrong(at.clone(), "the principal is empty", "name groups or people, or write `anyone: true`");
        return None;
    }
    for (name, flag) in [("anyone", anyone), ("authenticated", authenticated)] {
        if *flag == Some(false) {
            fields.wrong(at.to(name), "the field can only be `true`", "write `true`, or remove it");
        }
    }
    let described = Description {
        groups: Groups::new(fields.parsed(&at.to("groups"), groups, group, "write a group as the provider does")),
        emails: fields.parsed(&at.to("emails"), emails, email, "write one address such as `a@example.com`").into(),
        email_domains: fields
            .parsed(&at.to("emailDomains"), email_domains, domain, "write a domain such as `example.com`")
            .into(),
        subjects: people(&at.to("subjects"), subjects, fields),
        claims: claim_values(&at.to("claims"), claims, fields),
    };
    let describes = described != Description::default();
    match (anyone, authenticated) {
        (Some(true), Some(true)) => {
            fields.wrong(at.to("anyone"), "`anyone` and `authenticated` contradict each other", "remove one of them");
            None
        }
        (Some(true), _) if describes => {
            fields.wrong(at.to("anyone"), "`anyone` stands beside a description of people", "remove one of them");
            None
        }
        (Some(true), _) => Some(PrincipalMatch::Anyone),
        (_, Some(true)) if !describes => Some(PrincipalMatch::Authenticated),
        _ => Some(PrincipalMatch::Described(Box::new(described))),
    }
}

fn people(at: &Pointer, subjects: &Option<Vec<SubjectSpec>>, fields: &mut Fields<'_>) -> Box<[Identity]> {
    let mut people = Vec::new();
    for (index, SubjectSpec { issuer, subject, unknown }) in fields.list(at, subjects).iter().enumerate() {
        let at = at.to(index);
        fields.unknown(&at, unknown);
        let issuer = fields.text(at.to("issuer"), issuer, "write the issuer, for a subject is one only there");
        let subject = fields.text(at.to("subject"), subject, "write the subject (`sub`)");
        if let (Some(issuer), Some(subject)) = (issuer, subject) {
            people.push(Identity { issuer: issuer.to_owned().into(), subject: subject.to_owned().into() });
        }
    }
    people.into()
}

fn claim_values(
    at: &Pointer,
    claims: &Option<BTreeMap<String, Option<Vec<Value>>>>,
    fields: &mut Fields<'_>,
) -> BTreeMap<String, Box<[Value]>> {
    if claims.as_ref().is_some_and(BTreeMap::is_empty) {
        fields.wrong(at.clone(), "there are no claims", "name a claim, or remove the field");
    }
    let mut accepted = BTreeMap::new();
    for (path, values) in claims.iter().flatten() {
        let at = at.to(path);
        if path.split('.').any(str::is_empty) {
            fields.wrong(at.clone(), "the claim's path has an empty part", "write a path such as `address.country`");
        }
        let values = fields.list(&at, &Some(values.clone().unwrap_or_default())).to_vec();
        for (index, value) in values.iter().enumerate() {
            if matches!(value, Value::Null | Value::Array(_) | Value::Object(_)) {
                fields.wrong(at.to(index), "a value is neither text nor number nor boolean", "write a plain value");
            }
        }
        accepted.insert(path.clone(), values.into());
    }
    accepted
}

/// Methods are case-sensitive tokens (RFC 9110 section 9.1); every one that is registered is upper case.
fn method(text: &str) -> Result<Box<str>, String> {
    let is_token = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    if is_token { Ok(text.into()) } else { Err(format!("`{}` is not a method", text.escape_debug())) }
}

fn host(text: &str) -> Result<HostMatch, String> {
    if text.is_empty() {
        Err("the host is empty".to_owned())
    } else {
        HostMatch::parse(text).map_err(|it| it.to_string())
    }
}

/// A range, or one address. Bits beyond the prefix are refused: they say something else than the prefix does.
fn range(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match net {
        Ok(net) if net.trunc() == net => Ok(net),
        Ok(net) => Err(format!("`{text}` has bits beyond its prefix, `{}` has not", net.trunc())),
        Err(_) => Err(format!("`{}` is not an address range", text.escape_debug())),
    }
}

pub(super) fn group(text: &str) -> Result<Box<str>, &'static str> {
    if text.is_empty() { Err("the name of the group is empty") } else { Ok(text.into()) }
}

pub(super) fn email(text: &str) -> Result<Email, String> {
    Email::parse(text).ok_or_else(|| format!("`{}` is not one plain e-mail address", text.escape_debug()))
}

/// A domain of e-mail addresses, lower case.
pub(super) fn domain(text: &str) -> Result<Box<str>, String> {
    let domain = Host::parse(text).ok().filter(|host| !host.is_ip() && !text.ends_with('.'));
    domain.map(|host| host.as_str().into()).ok_or_else(|| format!("`{}` is not a domain", text.escape_debug()))
}
