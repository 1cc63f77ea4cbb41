//! The commands that look at a folder and serve nothing: `check` and `routes`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::GUARDED;

/// What a command printed, on standard output and error, with its exit code.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn portcullis(folder: &Path, arguments: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis")).args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A folder `apps` with the one file `shop.yaml`.
fn folder(text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("apps")).unwrap();
    fs::write(folder.path().join("apps/shop.yaml"), text).unwrap();
    folder
}

/// The app of everybody, a part of it for the staff, and rules that open another part.
fn three_apps() -> String {
    let staff = "
---
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {namespace: shop, name: mixed}
spec:
  rules:
  - {name: staff, effect: Allow, principal: {groups: [staff]}}
  - {name: health, effect: Allow, request: {methods: [GET], paths: ['exact:/healthz']}, principal: {anyone: true}}
  - {name: lab, effect: Deny, request: {sourceRanges: [10.9.0.0/16]}}";
    let ingress = |name: &str, annotations: &str| {
        let (_, ingress) = GUARDED.rsplit_once("---").unwrap();
        format!("\n---{ingress}")
            .replace("name: shop\n", &format!("name: {name}\n"))
            .replace("shop.localhost", &format!("{name}.localhost"))
            .replace("portcullis.dev/access: public", annotations)
    };
    let mixed = ingress("mixed", "portcullis.dev/policies: mixed");
    let team = ingress("team", "portcullis.dev/allowed-groups: 'a,b', portcullis.dev/cors-preflight: 'true'");
    GUARDED.replace("ECHO", "8080") + staff + &mixed + &team
}

#[test]
fn check_is_content_with_what_is_right() {
    let folder = folder(&three_apps());
    let said = portcullis(folder.path(), &["check", "--dev", "apps"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "", "3 routes, no errors, 0 warnings\n"));
}

#[test]
fn check_tells_place_object_field_and_remedy_and_fails() {
    let folder = folder(&three_apps().replace("groups: [staff]", "gruops: [staff]"));
    let said = portcullis(folder.path(), &["check", "--dev", "apps"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    let first = said.out.lines().next().unwrap();
    assert!(first.starts_with("apps/shop.yaml:32:46: error: Policy shop/mixed: spec.rules[0].principal"), "{first}");
    assert!(said.err.contains("findings close something or leave it out"), "{}", said.err);

    let file = portcullis(folder.path(), &["check", "--dev", "--output", "json", "apps/shop.yaml"]);
    let all: Vec<Value> = serde_json::from_str(&file.out).unwrap();
    let mut first = all[0].clone();
    let [message, remedy] = ["message", "remedy"].map(|name| first.as_object_mut().unwrap().remove(name).unwrap());
    let expected = json!({
        "severity": "error", "file": "apps/shop.yaml", "line": 32, "column": 46,
        "kind": "Policy", "namespace": "shop", "name": "mixed", "field": "spec.rules[0].principal.gruops",
    });
    assert_eq!((file.code, first), (Some(1), expected));
    assert!(message.as_str().unwrap().contains("not known") && !remedy.as_str().unwrap().is_empty(), "{message}");
}

#[test]
fn check_reads_the_default_certificate_that_run_is_given() {
    let made = rcgen::generate_simple_self_signed(["shop.localhost".to_owned()]).unwrap();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": "shop", "name": "default"},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem()},
    });
    let folder = folder(&format!("{}\n---\n{secret}", three_apps()));
    let check = |name| portcullis(folder.path(), &["check", "--dev", "--default-certificate", name, "apps"]);
    let said = check("shop/default");
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{}", said.err);
    let said = check("shop/gone");
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.out.starts_with("error: Secret shop/gone: there is no TLS Secret `shop/gone`"), "{}", said.out);
}

#[test]
fn check_names_a_path_that_is_not_there() {
    let folder = folder("");
    let said = portcullis(folder.path(), &["check", "elsewhere"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    assert!(said.err.contains("cannot read `elsewhere`"), "{}", said.err);
}

#[test]
fn routes_tell_who_may_pass() {
    let folder = folder(&three_apps());
    let said = portcullis(folder.path(), &["routes", "--dev", "apps"]);
    let cells = |line| str::split(line, "  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>();
    let rows: Vec<_> = said.out.lines().map(cells).collect();
    assert_eq!(
        rows,
        [
            vec!["HOST", "PATH", "ACCESS", "WHO MAY PASS", "BACKEND", "INGRESS"],
            vec![
                "mixed.localhost",
                "/",
                "guarded",
                "group staff; anyone, for GET on exact:/healthz; not anyone, from 10.9.0.0/16",
                "shop/echo:80",
                "shop/mixed"
            ],
            vec!["shop.localhost", "/", "open", "anyone", "shop/echo:80", "shop/shop"],
            vec![
                "team.localhost",
                "/",
                "guarded",
                "group a or b; anyone, for CORS preflights",
                "shop/echo:80",
                "shop/team"
            ],
        ]
    );
}

#[test]
fn unprotected_routes_are_those_where_a_stranger_may_pass() {
    let folder = folder(&three_apps());
    let said = portcullis(folder.path(), &["routes", "--dev", "--unprotected", "--output", "yaml", "apps"]);
    let rows: Vec<Value> = serde_saphyr::from_str(&said.out).unwrap();
    let ingresses: Vec<_> = rows.iter().map(|row| row["ingress"].as_str().unwrap()).collect();
    assert_eq!((said.code, ingresses), (Some(0), vec!["shop/mixed", "shop/shop", "shop/team"]));
    // Nobody who is nobody yet gets past a Deny for every request.
    let closed = three_apps().replace("request: {sourceRanges: [10.9.0.0/16]}", "principal: {groups: [lab]}");
    fs::write(folder.path().join("apps/shop.yaml"), closed).unwrap();
    let said = portcullis(folder.path(), &["routes", "--dev", "--unprotected", "apps"]);
    assert!(said.out.contains("shop/shop") && !said.out.contains("shop/mixed"), "{}", said.out);
}
