//! What a scrape of a process with a hundred Ingresses says: little enough, and as Prometheus wants it.

use std::fmt::Write as _;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::plane::Client;
use crate::process::Dev;
use crate::save;
use crate::upstream::refusing;

/// Ingresses, each with a route of its own.
const INGRESSES: usize = 100;

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: NAME}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: NAME-1, labels: {kubernetes.io/service-name: NAME}}
addressType: IPv4
ports: [{name: http, port: PORT}]
endpoints: [ENDPOINT]
---";

const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  namespace: shop
  name: app-NUMBER
  creationTimestamp: '2026-01-01T00:00:NUMBERZ'
  annotations: {portcullis.dev/ssl-redirect: 'false', ACCESS}
spec:
  ingressClassName: portcullis
  tls: [{secretName: tls-NUMBER}]
  rules:
  - host: app-NUMBER.localhost
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: SERVICE, port: {number: 80}}}}]}
---";

const POLICY: &str = "
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {namespace: shop, name: lab}
spec:
  rules:
  - {name: all, effect: Allow, principal: {anyone: true}}
  - {name: not-from-here, effect: Deny, request: {sourceRanges: [127.0.0.0/8]}}
---";

/// A service as `name` that leads to a port, or nowhere.
fn service(name: &str, port: Option<u16>) -> String {
    let endpoint = if port.is_some() { "{addresses: [127.0.0.1]}" } else { "" };
    let port = port.unwrap_or(1).to_string();
    SERVICE.replace("NAME", name).replace("PORT", &port).replace("ENDPOINT", endpoint)
}

/// The Secret of a number, with a certificate that ends on the first of January of a year after it.
fn secret(number: usize) -> String {
    let mut params = rcgen::CertificateParams::new(vec![format!("app-{number:02}.localhost")]).unwrap();
    params.not_after = rcgen::date_time_ymd(2100 + i32::try_from(number).unwrap(), 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let encoded = |pem: String| data_encoding::BASE64.encode(pem.as_bytes());
    let (chain, key) = (encoded(params.self_signed(&key).unwrap().pem()), encoded(key.serialize_pem()));
    format!(
        "
apiVersion: v1
kind: Secret
metadata: {{namespace: shop, name: tls-{number:02}}}
type: kubernetes.io/tls
data: {{tls.crt: {chain}, tls.key: {key}}}
---"
    )
}

/// Open ones, guarded ones, some that lead to an endpoint that refuses, and some that lead to none.
fn world(echo: u16, refusing: u16) -> String {
    let mut world =
        POLICY.to_owned() + &service("echo", Some(echo)) + &service("gone", Some(refusing)) + &service("empty", None);
    for number in 0..INGRESSES {
        let access = ["access: public", "access: authenticated", "policies: lab"][number % 3];
        let to = ["echo", "gone", "empty", "echo"][number % 4];
        let ingress = INGRESS.replace("NUMBER", &format!("{number:02}")).replace("SERVICE", to);
        world += &ingress.replace("ACCESS", &format!("portcullis.dev/{access}"));
        // Sixty seconds are in a minute, and no more Ingresses are told apart by their age.
        world = world.replace("00:00:6", "00:01:0").replace("00:00:7", "00:01:1");
        world = world.replace("00:00:8", "00:01:2").replace("00:00:9", "00:01:3");
        world += &secret(number);
    }
    world
}

/// Asks for all addresses that a pattern stands for.
fn ask_all(pattern: &str) {
    let arguments = ["--silent", "--insecure", "--max-time", "60", "--output", "/dev/null", pattern];
    assert!(Command::new("curl").args(arguments).status().expect("curl is installed").success(), "{pattern}");
}

/// The metrics, in the format that `accept` asks for.
pub fn scrape(dev: &Dev, accept: &str) -> String {
    let request = format!("GET /metrics HTTP/1.1\r\nhost: admin\r\naccept: {accept}\r\n\r\n");
    let answer = Client::connect(dev.admin()).ask(request);
    assert_eq!(answer.status, 200);
    String::from_utf8(answer.body).unwrap()
}

/// The value of a series; nothing where it is not there.
pub fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn a_hundred_routes_make_fewer_than_300_series_and_promtool_has_nothing_to_say() {
    let refusing = refusing().port();
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(Some(folder.path()));
    save(&folder.path().join("shop.yaml"), &world(dev.echo_port(), refusing));
    dev.await_line("live: generation 2");
    for path in ["", "a%2Fb", "?x=1"] {
        ask_all(&format!("http://app-[00-99].localhost:{}/{path}", dev.http().port()));
        ask_all(&format!("https://app-[00-99].localhost:{}/{path}", dev.https().port()));
    }
    let text = scrape(&dev, "*/*");
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series < 300, "{series} series:\n{text}");

    let requests = |ingress: &str| {
        let of = |line: &&str| line.starts_with(&format!("portcullis_ingress_requests_total{{ingress=\"{ingress}\""));
        text.lines().filter(of).map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum::<usize>()
    };
    // The ten oldest have counts of their own, and no request is lost.
    let own: Vec<_> = (0..INGRESSES).map(|number| requests(&format!("shop/app-{number:02}"))).collect();
    assert_eq!(own, [vec![6; 10], vec![0; INGRESSES - 10]].concat());
    assert_eq!(requests("other"), 6 * (INGRESSES - 10));
    let series = |number: usize, decision: &str, code: &str| {
        let labels = format!("ingress=\"shop/app-{number:02}\",decision=\"{decision}\",code=\"{code}\"");
        value(&text, &format!("portcullis_ingress_requests_total{{{labels}}}"))
    };
    assert_eq!((series(0, "allowed", "2xx"), series(0, "allowed", "5xx")), (Some(6.0), None), "{text}");
    assert_eq!((series(1, "none", "3xx"), series(1, "challenged", "4xx")), (Some(3.0), Some(3.0)), "{text}");
    assert_eq!((series(2, "none", "3xx"), series(2, "denied", "4xx")), (Some(3.0), Some(3.0)), "{text}");
    assert_eq!((series(6, "allowed", "5xx"), series(9, "allowed", "5xx")), (Some(6.0), Some(6.0)), "{text}");

    let ends =
        |number: usize| format!("portcullis_certificate_expiry_timestamp_seconds{{secret=\"shop/tls-{number:02}\"}}");
    assert_eq!(value(&text, &ends(0)), Some(4_102_444_800.0), "{text}");
    assert!(value(&text, &ends(9)).is_some() && value(&text, &ends(10)).is_none(), "{text}");

    assert_eq!(value(&text, "portcullis_backends{state=\"ready\"}"), Some(2.0));
    assert_eq!(value(&text, "portcullis_backends{state=\"empty\"}"), Some(1.0));
    assert_eq!(value(&text, "portcullis_endpoints"), Some(2.0));
    assert_eq!(value(&text, "portcullis_endpoints_failing"), Some(1.0));
    assert!(value(&text, "portcullis_upstream_connects_total{result=\"refused\"}") > Some(0.0));
    assert!(value(&text, "portcullis_upstream_connects_total{result=\"success\"}") > Some(0.0));

    assert_eq!(promtool(&text), "");
    assert!(scrape(&dev, "application/openmetrics-text").ends_with("# EOF\n"));
}

/// What `promtool check metrics` finds wrong.
fn promtool(text: &str) -> String {
    let mut command = Command::new("promtool");
    let command =
        command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool is installed, see `scripts/needs base`");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let mut said = String::from_utf8(output.stdout).unwrap();
    said += &String::from_utf8(output.stderr).unwrap();
    if !output.status.success() {
        writeln!(said, "{}", output.status).unwrap();
    }
    said
}
