//! The committed definitions, in `crds/` and in the chart, are the generated ones, and their schemas keep every promise that compile
//! leans on.

#![expect(clippy::unwrap_used, reason = "helpers of tests stop where a test would")]

use std::collections::BTreeMap;
use std::fs;

use portcullis::api::{Policy, crd_files, crds};
use serde_json::{Value, json};

#[test]
fn the_committed_definitions_are_the_generated_ones() {
    let generated: BTreeMap<String, String> = crd_files().into_iter().collect();
    for folder in ["crds", "charts/portcullis/crds"] {
        let committed: BTreeMap<String, String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.ends_with("kustomization.yaml"))
            .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
            .collect();
        assert!(committed == generated, "{folder} is not what the code says: run `make crds` and commit the result");
    }
}

#[test]
fn every_object_inside_spec_keeps_unknown_fields() {
    let mut pruned = Vec::new();
    for (kind, spec) in specs() {
        visit(&spec, &format!("{kind}/spec"), &mut |path, schema| {
            let is_object = schema.get("properties").is_some();
            if is_object && schema.get("x-kubernetes-preserve-unknown-fields") != Some(&json!(true)) {
                pruned.push(path.to_owned());
            }
        });
    }
    assert_eq!(pruned, Vec::<String>::new());
}

#[test]
fn every_list_and_text_inside_spec_is_bounded() {
    let mut unbounded = Vec::new();
    for (kind, spec) in specs() {
        visit(&spec, &format!("{kind}/spec"), &mut |path, schema| {
            let bound = match schema.get("type").and_then(Value::as_str) {
                Some("array") => "maxItems",
                Some("string") => "maxLength",
                _ => return,
            };
            if schema.get(bound).is_none() {
                unbounded.push(format!("{path}: {bound}"));
            }
        });
    }
    assert_eq!(unbounded, Vec::<String>::new());
}

#[test]
fn null_reaches_compile_instead_of_being_pruned() {
    let mut not_nullable = Vec::new();
    for (kind, spec) in specs() {
        visit(&spec, &format!("{kind}/spec"), &mut |path, schema| {
            for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if field.get("nullable") != Some(&json!(true)) {
                    not_nullable.push(format!("{path}/{name}"));
                }
            }
        });
    }
    assert_eq!(not_nullable, Vec::<String>::new());
}

#[test]
fn every_rule_says_what_to_do_and_no_list_may_be_empty() {
    let mut wrong = Vec::new();
    for (kind, spec) in specs() {
        visit(&spec, &format!("{kind}/spec"), &mut |path, schema| {
            let rules: Vec<&Value> = schema["x-kubernetes-validations"].as_array().into_iter().flatten().collect();
            let remedied = |rule: &&Value| rule["message"].as_str().is_some_and(|message| message.contains("; "));
            let filled = schema["minItems"] == 1 || rules.iter().any(|rule| rule["rule"] == "size(self) > 0");
            if !rules.iter().all(remedied) || (schema["type"] == "array" && !filled) {
                wrong.push(path.to_owned());
            }
        });
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_written_field_with_nothing_behind_it_is_not_an_absent_one() {
    let policy: Policy = serde_json::from_value(json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Policy", "metadata": {},
        "spec": {"rules": [{"principal": {"groups": null, "grups": ["x"]}, "request": null}]},
    }))
    .unwrap();
    let rule = &policy.spec.rules.unwrap()[0];
    let principal = rule.principal.as_ref().unwrap();
    assert_eq!(principal.groups, Some(vec![]));
    assert_eq!(principal.emails, None);
    assert_eq!(principal.unknown, BTreeMap::from([("grups".to_owned(), json!(["x"]))]));
    assert_eq!(rule.request, Some(Default::default()));
}

/// The schema of `spec` of every kind.
fn specs() -> Vec<(String, Value)> {
    let spec = |crd| {
        let crd = serde_json::to_value(crd).unwrap();
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        (kind, crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone())
    };
    let specs: Vec<_> = crds().into_iter().map(spec).collect();
    assert!(specs.iter().all(|(_, spec)| spec.is_object()));
    specs
}

/// Every schema below, with its path.
fn visit(schema: &Value, path: &str, seen: &mut impl FnMut(&str, &Value)) {
    seen(path, schema);
    for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        visit(field, &format!("{path}/{name}"), seen);
    }
    for below in ["items", "additionalProperties"] {
        if let Some(schema) = schema.get(below) {
            visit(schema, &format!("{path}/{below}"), seen);
        }
    }
}
