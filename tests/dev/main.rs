//! `portcullis dev` as a person meets it: the binary, its output, and curl.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod commands;
mod drain;
mod logs;
mod metrics;
#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/plane.rs"]
mod plane;
mod process;
mod traces;
#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/upstream.rs"]
mod upstream;

use std::fs;
use std::path::Path;
use std::process::Command;

use process::{Browser, Dev};

const GUARDED: &str = "
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: echo}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: echo-1, labels: {kubernetes.io/service-name: echo}}
addressType: IPv4
ports: [{name: http, port: ECHO}]
endpoints: [{addresses: [127.0.0.1]}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  namespace: shop
  name: shop
  annotations: {portcullis.dev/access: public}
spec:
  ingressClassName: portcullis
  rules:
  - host: shop.localhost
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: echo, port: {number: 80}}}}]}
";

#[test]
fn the_demo_says_where_to_go_and_the_public_app_answers() {
    let dev = Dev::start(None);
    let page = Browser::new(&dev).get("https://public.localhost/hello?x=1");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("\"target\": \"/hello?x=1\""), "{}", page.body);
}

#[test]
fn a_person_signs_in_lands_where_they_wanted_and_signs_out() {
    let dev = Dev::start(None);
    let mut browser = Browser::new(&dev);
    let form = browser.get("https://team.localhost/.portcullis/login?return=/reports%3Fmonth%3D7");
    assert!(form.body.contains("Who are you today?"), "{}", form.body);
    let app = browser.post(&form.url, "persona=sam");
    assert_eq!((app.status, app.url.as_str()), (200, dev.url("https://team.localhost/reports?month=7").as_str()));
    assert!(app.body.contains("\"x-auth-request-user\": [\n      \"sam\"\n    ]"), "{}", app.body);
    assert!(app.body.contains("sam@example.com") && !app.body.contains("__Host-portcullis"), "{}", app.body);
    let out = browser.post("https://team.localhost/.portcullis/logout", "");
    assert_eq!(out.status, 200, "{}", out.body);
    assert_eq!(browser.get("https://team.localhost/reports").status, 401);
}

#[test]
fn the_wrong_group_is_told_who_they_are_which_decision_it_was_and_what_to_do() {
    let dev = Dev::start(None);
    let mut browser = Browser::new(&dev);
    let form = browser.get("https://finance.localhost/.portcullis/login?return=/");
    let denied = browser.post(&form.url, "persona=sam");
    assert_eq!(denied.status, 403);
    let lines: Vec<_> = denied.body.lines().collect();
    assert!(lines.contains(&"Signed in as: sam@example.com"), "{}", denied.body);
    assert!(denied.body.contains("ask the people who run this site, and give them the request number"));
    assert!(lines.contains(&"Sign out: POST /.portcullis/logout"), "{}", denied.body);
    let id = lines.iter().find_map(|line| line.strip_prefix("Request: ")).unwrap();
    let decision = dev.decision(id);
    assert_eq!((&decision["kind"], &decision["subject"]["sub"]), (&"AuthorizationDenied".into(), &"sam".into()));
}

#[test]
fn the_printed_lines_sign_in_as_they_are_and_as_each_persona() {
    for (persona, told) in [
        ("fiona", &["\"target\": \"/again\"", "fiona@example.com", "\"finance"][..]),
        ("sam", &["No access", "Signed in as: sam@example.com"]),
        ("otto", &["No access", "Signed in as: otto@elsewhere.example"]),
    ] {
        let dev = Dev::start(None);
        let lines = dev.curl_lines();
        assert_eq!(lines.matches("persona=fiona").count(), 1, "{lines}");
        let printed = shell(&lines.replace("persona=fiona", &format!("persona={persona}")));
        assert!(printed.contains("\"host\": [\n      \"public.localhost"), "{printed}");
        for part in told {
            assert!(printed.contains(part), "as {persona} without `{part}`: {printed}");
        }
    }
}

/// Saves a file in one step, as careful editors do.
fn save(file: &Path, text: &str) {
    let whole = file.with_file_name(".whole");
    fs::write(&whole, text).unwrap();
    fs::rename(whole, file).unwrap();
}

/// What a person's shell prints for lines that are pasted into it.
fn shell(lines: &str) -> String {
    let output = Command::new("bash").args(["-e", "-c", lines]).output().unwrap();
    assert!(output.status.success(), "{lines}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_saved_file_is_live_and_a_broken_one_is_told_with_place_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.yaml");
    let dev = Dev::start(Some(folder.path()));
    let text = GUARDED.replace("ECHO", &dev.echo_port().to_string());
    save(&file, &text);
    dev.await_line("live: generation 2");
    let mut browser = Browser::new(&dev);
    assert_eq!(browser.get("https://shop.localhost/").status, 200);

    // Of what is no YAML, nothing changes.
    save(&file, &format!("{text}  - host: [b.localhost\n"));
    dev.await_error(&["shop.yaml:25:11", "what was last read from it stays in force"]);
    assert_eq!(browser.get("https://shop.localhost/").status, 200);

    // What is meant for access and misspelt closes.
    save(&file, &text.replace("access: public", "acess: public"));
    dev.await_line("live: generation 3");
    dev.await_error(&[
        "shop.yaml:19:17",
        "Ingress shop/shop: metadata.annotations[portcullis.dev/acess]",
        "correct its name or remove it",
    ]);
    assert_eq!(browser.get("https://shop.localhost/").status, 503);

    save(&file, &text);
    dev.await_line("live: generation 4");
    assert_eq!(browser.get("https://shop.localhost/").status, 200);
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_its_flag() {
    let dev = Dev::start(None);
    let error = dev.second_on_the_same_ports(&[]);
    assert!(error.contains("cannot listen") && error.contains("--http"), "{error}");
}
