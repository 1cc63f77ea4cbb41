//! `portcullis dev` as a person meets it: the binary, its output, and curl.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod process;

use std::fs;

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
fn the_wrong_group_is_denied_and_told_who_they_are() {
    let dev = Dev::start(None);
    let mut browser = Browser::new(&dev);
    let form = browser.get("https://finance.localhost/.portcullis/login?return=/");
    let denied = browser.post(&form.url, "persona=sam");
    assert_eq!(denied.status, 403);
    assert!(denied.body.contains("sam"), "{}", denied.body);
    let mut other = Browser::new(&dev);
    let form = other.get("https://finance.localhost/.portcullis/login?return=/");
    assert_eq!(other.post(&form.url, "persona=fiona").status, 200);
}

#[test]
fn a_saved_file_is_live_and_a_broken_one_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.yaml");
    let dev = Dev::start(Some(folder.path()));
    let text = GUARDED.replace("ECHO", &dev.echo_port().to_string());
    fs::write(&file, &text).unwrap();
    dev.await_line("live: generation 2");
    let mut browser = Browser::new(&dev);
    assert_eq!(browser.get("https://shop.localhost/").status, 200);

    fs::write(folder.path().join("broken.yaml"), "apiVersion: v1\nkind: [Service\n").unwrap();
    dev.await_error("broken.yaml:");
    assert_eq!(browser.get("https://shop.localhost/").status, 200);

    fs::write(&file, text.replace("access: public", "acess: public")).unwrap();
    dev.await_line("live: generation 3");
    dev.await_error("portcullis.dev/acess");
    assert_eq!(browser.get("https://shop.localhost/").status, 503);
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_its_flag() {
    let dev = Dev::start(None);
    let error = dev.second_on_the_same_ports();
    assert!(error.contains("cannot listen") && error.contains("--http"), "{error}");
}
