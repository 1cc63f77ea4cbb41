//! The text format from before OpenMetrics (Prometheus exposition format 0.0.4), for scrapers that ask for no other: there a
//! counter is called as its samples are, and the end is not said.

/// The same in the older format.
pub(super) fn classic(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len() + 256);
    let mut lines = openmetrics.lines().peekable();
    while let Some(line) = lines.next() {
        // `# HELP name …` stands directly before `# TYPE name counter`.
        let is_counter = |line: &str| line.starts_with("# TYPE ") && line.ends_with(" counter");
        let of_counter = is_counter(line)
            || line.starts_with("# HELP ") && lines.peek().is_some_and(|following| is_counter(following));
        match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
            ["#", "EOF"] => continue,
            ["#", word, name, rest] if of_counter => text.extend(["# ", word, " ", name, "_total ", rest]),
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::classic;

    #[test]
    fn a_counter_is_called_as_its_samples_and_all_else_stays() {
        let open = "# HELP a_b Some help.\n# TYPE a_b counter\na_b_total{x=\"y z\"} 1\n# HELP c Help.\n# TYPE c gauge\nc 2\n# EOF\n";
        let old = "# HELP a_b_total Some help.\n# TYPE a_b_total counter\na_b_total{x=\"y z\"} 1\n# HELP c Help.\n# TYPE c gauge\nc 2\n";
        assert_eq!(classic(open), old);
    }
}
