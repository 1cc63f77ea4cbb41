use super::*;

#[test]
fn what_was_counted_is_in_the_exposition() {
    let metrics = Metrics::new();
    metrics.request("rule_allows", 200, Duration::from_millis(2));
    metrics.clone().request("rule_allows", 200, Duration::from_millis(2));
    metrics.connection(true);
    metrics.compiled(Duration::from_millis(1), 3);
    metrics.sessions("redis", 2);
    let text = metrics.encode();
    for line in [
        "portcullis_requests_total{reason=\"rule_allows\",code=\"200\"} 2",
        "portcullis_request_duration_seconds_count 2",
        "portcullis_client_connections 1",
        "portcullis_snapshot_generation 3",
        "portcullis_sessions{store=\"redis\"} 2",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "`{line}` is not in\n{text}");
    }
}

#[test]
fn no_upstream_makes_series_without_end() {
    let metrics = Metrics::new();
    (100..1000).for_each(|code| metrics.request("rule_allows", code, Duration::ZERO));
    let text = metrics.encode();
    assert!(text.contains("code=\"0\"} ") && text.contains("code=\"404\"} 1\n"));
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series < 120, "{series} series");
}

#[test]
fn a_watch_ages_from_its_first_failure_until_it_is_up_again() {
    let metrics = Metrics::new();
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let ages = |seconds, age: &str| {
        let line = format!("portcullis_watch_age_seconds{{kind=\"Ingress\"}} {age}\n");
        let text = metrics.encode_at(at(seconds));
        assert!(text.contains(&line), "`{line}` is not in\n{text}");
    };
    metrics.watch_synced_at("Ingress", true, at(0));
    ages(10, "0.0");
    metrics.watch_synced_at("Ingress", false, at(20));
    metrics.watch_synced_at("Ingress", false, at(60));
    ages(110, "90.0");
    metrics.watch_synced_at("Ingress", true, at(120));
    ages(130, "0.0");
}
