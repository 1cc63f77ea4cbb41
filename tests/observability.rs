//! The dashboard and the alerts speak of metrics that there are, and the alerts fire when they should.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use portcullis::metrics::{Decision, Metrics};
use serde_json::Value;

/// The exposition of a process in which everything that is counted has happened.
fn exposition() -> String {
    let metrics = Metrics::new();
    metrics.request("rule_allows", 200, Duration::from_millis(3));
    metrics.sign_in("success");
    metrics.refresh("success");
    metrics.sessions("secrets", 1);
    metrics.ingresses().counts_of(&"shop/web".into()).count(Decision::Allowed, 200);
    metrics.upstream_failure("bad_gateway");
    metrics.upstream_connect(([10, 0, 0, 1], 80).into(), Some("refused"));
    metrics.backends(1, 0, 2);
    metrics.connection(true);
    metrics.tunnel(true);
    metrics.handshake_failure();
    metrics.panic();
    metrics.compiled(Duration::from_millis(3), 1);
    metrics.routes("open", 1);
    metrics.findings("Ingress", "error", 1);
    metrics.certificates(vec![("shop/tls".into(), 1_800_000_000)]);
    metrics.watch_synced("Ingress", true);
    metrics.watch_restart("Ingress");
    metrics.leader(true);
    metrics.spans("exported", 2);
    metrics.encode()
}

/// The names of its samples.
fn exposed() -> BTreeSet<String> {
    names(&exposition().lines().filter(|line| !line.starts_with('#')).collect::<String>())
}

/// A row of the table for each metric: name, type, labels, and what it says.
fn table() -> String {
    let text = exposition();
    let words =
        |kind: &str| text.lines().filter_map(|line| line.strip_prefix(kind)?.split_once(' ')).collect::<Vec<_>>();
    let row = |((name, says), (_, kind)): (&(&str, &str), &(&str, &str))| {
        let is_sample = |line: &&str| line.strip_prefix(name).is_some_and(|rest| !rest.starts_with(' '));
        let sample = text.lines().find(is_sample).unwrap_or_default();
        let labels = sample.split(['{', ',']).skip(1).filter_map(|label| label.split_once('=').map(|(label, _)| label));
        let labels: Vec<_> = labels.filter(|label| *label != "le").map(|label| format!("`{label}`")).collect();
        let total = if *kind == "counter" { "_total" } else { "" };
        format!("| `{name}{total}` | {kind} | {} | {says} |\n", labels.join(", "))
    };
    words("# HELP ").iter().zip(&words("# TYPE ")).map(row).collect()
}

#[test]
fn the_documentation_has_each_metric_as_it_is_exposed() {
    let documented = fs::read_to_string("docs/metrics.md").unwrap();
    let table = table();
    assert!(documented.ends_with(&format!("|---|---|---|---|\n{table}")), "write this into docs/metrics.md:\n{table}");
}

/// Everything in a text that is named as our metrics are.
fn names(text: &str) -> BTreeSet<String> {
    let name = |rest: &str| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>();
    text.split("portcullis_").skip(1).map(name).collect()
}

#[test]
fn every_metric_of_the_dashboard_and_of_the_alerts_is_exposed() {
    let exposed = exposed();
    for (file, at_least) in [("dashboard.json", 16), ("alerts.yaml", 7)] {
        let named = names(&fs::read_to_string(format!("observability/{file}")).unwrap());
        assert!(named.len() >= at_least, "{file} names {named:?}");
        let missing: Vec<_> = named.difference(&exposed).collect();
        assert!(missing.is_empty(), "{file} names {missing:?}, exposed are {exposed:?}");
    }
}

#[test]
fn each_panel_asks_something_and_has_a_place_of_its_own() {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string("observability/dashboard.json").unwrap()).unwrap();
    let mut places = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let asked = panel["targets"].as_array().unwrap().iter().map(|target| target["expr"].as_str().unwrap());
        assert!(asked.clone().count() > 0 && asked.clone().all(|expr| expr.contains("portcullis_")), "{panel}");
        assert!(places.insert(panel["gridPos"].to_string()), "{panel}");
    }
}

#[test]
fn alerts_fire_when_they_should_and_else_not() {
    let promtool =
        Command::new("promtool").args(["test", "rules", "alerts_test.yaml"]).current_dir("observability").output();
    let output = promtool.expect("promtool is installed, see `scripts/needs base`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
