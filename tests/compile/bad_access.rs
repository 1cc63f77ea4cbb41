//! Annotations and policies that say nothing, something else or two things at once: what they cover is closed.

use insta::assert_snapshot;
use portcullis::controller::compile::compile;
use portcullis::controller::world::{ObjectName, Stored};
use serde_json::{Value, json};

use super::world::{Cases, defaults, good, ingress, tell_difference};

const BACKOFFICE: &str = "Policy shop/backoffice";
const RULE: &str = "/spec/rules/0";

/// The good world with another value in the first rule of the policy.
fn with_rule(field: &str, value: Value) -> String {
    good().set(BACKOFFICE, &format!("{RULE}{field}"), value).told()
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
