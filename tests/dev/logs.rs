//! `--log json`: whatever happens, every line is one object with a static message, and a request is told of in the audit trail alone.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Map, Value};

use crate::process::Dev;
use crate::upstream::refusing;
use crate::{GUARDED, save};

/// Three apps: one for everybody, one to sign in for, one without a living endpoint.
fn apps(echo: u16) -> String {
    let gone = refusing().port();
    let app = |name: &str, access: &str, port: u16| {
        let text = GUARDED.replace("ECHO", &port.to_string()).replace("access: public", access);
        text.replace("name: echo", &format!("name: {name}"))
            .replace("name: shop", &format!("name: {name}"))
            .replace("shop.localhost", &format!("{name}.localhost"))
    };
    let apps =
        [("open", "access: public", echo), ("team", "access: authenticated", echo), ("gone", "access: public", gone)];
    apps.map(|(name, access, port)| app(name, access, port)).join("\n---")
}

/// The status and the id of a request.
fn ask(dev: &Dev, url: &str) -> (u16, String) {
    let written = "%{http_code} %header{x-request-id}";
    let arguments = ["--silent", "--insecure", "--max-time", "60", "--output", "/dev/null", "--write-out", written];
    let output = Command::new("curl").args(arguments).args(["--path-as-is", &dev.url(url)]).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let (status, id) = told.split_once(' ').unwrap();
    (status.parse().unwrap(), id.to_owned())
}

/// A line, which has to be one object.
fn object(line: &str) -> Map<String, Value> {
    match serde_json::from_str(line) {
        Ok(Value::Object(object)) => object,
        read => panic!("`{line}` is no object but {read:?}"),
    }
}

/// Log lines by message; each has what every line has.
fn by_message(lines: &[String]) -> BTreeMap<String, Vec<Map<String, Value>>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for line in lines {
        let object = object(line);
        let text =
            |name: &str| object[name].as_str().unwrap_or_else(|| panic!("no text `{name}` in {line}")).to_owned();
        assert!(["ERROR", "WARN", "INFO"].contains(&&*text("level")) && !text("target").is_empty(), "{line}");
        text("timestamp").parse::<jiff::Timestamp>().unwrap();
        let message = text("message");
        assert!(message.chars().all(|c| c.is_ascii_alphabetic() || " ,;".contains(c)), "`{message}` is not static");
        found.entry(message).or_default().push(object);
    }
    found
}

#[test]
fn every_line_is_an_object_with_a_static_message_and_no_request_is_told_of_twice() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("apps.yaml");
    let dev = Dev::start_logging_json(folder.path());
    let text = apps(dev.echo_port());
    save(&file, &text);
    dev.await_error(&["\"published\"", "\"generation\":2"]);
    let asked = [
        ("https://open.localhost/", 200, "AuthorizationAllowed"),
        ("https://team.localhost/", 401, "AuthorizationChallenged"),
        ("https://gone.localhost/", 502, "AuthorizationAllowed"),
        ("https://nobody.localhost/", 404, "RequestRejected"),
        ("https://open.localhost/..%2fa/../b", 400, "RequestRejected"),
        ("https://open.localhost/.portcullis/style.css", 200, "Answered"),
    ];
    let ids = asked.map(|(url, expected, _)| {
        let (status, id) = ask(&dev, url);
        assert_eq!(status, expected, "{url}");
        id
    });
    save(&file, &format!("{text}  - host: [b.localhost\n"));
    dev.await_error(&["\"finding\"", "apps.yaml:"]);
    save(&file, &text.replace("access: authenticated", "acess: authenticated"));
    dev.await_error(&["\"finding\"", "portcullis.dev/acess"]);
    save(&file, &text);
    dev.await_error(&["\"finding resolved\"", "portcullis.dev/acess"]);
    dev.terminate();
    let (printed, logged) = dev.ends_having_said();

    let log = by_message(&logged);
    let once = |message: &str| log.get(message).map_or(0, Vec::len);
    assert_eq!(["serving", "ready", "draining"].map(once), [1; 3], "{logged:#?}");
    let generations: Vec<_> = log["published"].iter().map(|line| line["generation"].as_u64().unwrap()).collect();
    assert_eq!(generations, [1, 2, 3, 4]);
    // What cannot be read, and what is misspelt, with the class that then lacks a rule; and that both are well again.
    assert_eq!(once("finding"), once("finding resolved"), "{logged:#?}");
    assert!(log["finding"].iter().all(|line| line["problem"].is_string() && line["remedy"].is_string()));

    let trail: Vec<_> = printed.iter().map(|line| object(line)).collect();
    for ((url, status, kind), id) in asked.into_iter().zip(ids) {
        // The response of an upstream has no id of ours.
        let of_host =
            || trail.iter().find(|line| line.get("host").is_some_and(|host| url.contains(host.as_str().unwrap())));
        let id = if id.is_empty() { of_host().unwrap()["id"].as_str().unwrap() } else { &id };
        assert!(!logged.iter().any(|line| line.contains(id)), "{url} is in the log");
        let lines: Vec<_> = trail.iter().filter(|line| line["id"] == *id).collect();
        let told: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
        assert_eq!(told, [kind, "Outcome"], "{url}");
        assert_eq!(lines[1]["status"], status, "{url}");
        assert_eq!(lines[1].get("error").and_then(Value::as_str), (status == 502).then_some("bad_gateway"), "{url}");
    }
}

#[test]
fn the_end_of_a_process_that_fails_is_an_object_too() {
    let dev = Dev::start(None);
    let said = dev.second_on_the_same_ports(&["--log", "json"]);
    let log = by_message(&said.lines().map(str::to_owned).collect::<Vec<_>>());
    let error = log["failed"][0]["error"].as_str().unwrap();
    assert!(log.len() == 1 && error.contains("cannot listen") && error.contains("--http"), "{said}");
}
