//! The two readings bound every reading between them: shown on servers that take any of the steps that servers take,
//! in any order, as often as they like.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// One thing that a server may do to a path before it looks at it.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Decodes every escape of this character, once.
    Decode(&'static str, &'static str),
    /// Decodes the first escape of this character alone.
    DecodeFirst(&'static str, &'static str),
    /// Takes `%25` before two hex digits for a `%`, once.
    DecodePercent,
    /// Takes a backslash for a slash.
    TurnBackslashes,
    /// Takes `//` for `/`.
    MergeSlashes,
    /// Drops `;` and what follows in every segment, or in the last one alone.
    DropParameters { last_only: bool },
}

const ESCAPES: &[(&str, &str)] =
    &[("%2F", "/"), ("%5C", "\\"), ("%3B", ";"), ("%40", "@"), ("%61", "a"), ("%2E", "."), ("%2f", "/"), ("%2e", ".")];

impl Step {
    fn take(self, path: &str) -> String {
        match self {
            Self::Decode(escape, character) => path.replace(escape, character),
            Self::DecodeFirst(escape, character) => path.replacen(escape, character, 1),
            Self::DecodePercent => {
                let mut parts = path.split("%25");
                let mut decoded = parts.next().unwrap().to_owned();
                for part in parts {
                    let begins_escape = part.len() >= 2 && part.bytes().take(2).all(|octet| octet.is_ascii_hexdigit());
                    decoded += if begins_escape { "%" } else { "%25" };
                    decoded += part;
                }
                decoded
            }
            Self::TurnBackslashes => path.replace('\\', "/"),
            Self::MergeSlashes => path.replace("//", "/"),
            Self::DropParameters { last_only } => {
                let last = path.matches('/').count();
                let kept = path.split('/').enumerate().map(|(at, segment)| match segment.split_once(';') {
                    Some((named, _)) if !last_only || at == last => named,
                    _ => segment,
                });
                kept.collect::<Vec<_>>().join("/")
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => select(ESCAPES).prop_map(|(escape, character)| Step::Decode(escape, character)),
        1 => select(ESCAPES).prop_map(|(escape, character)| Step::DecodeFirst(escape, character)),
        2 => Just(Step::DecodePercent),
        1 => Just(Step::TurnBackslashes),
        1 => Just(Step::MergeSlashes),
        1 => any::<bool>().prop_map(|last_only| Step::DropParameters { last_only }),
    ]
}

/// Raw paths of the pieces that servers disagree on.
fn raw_path() -> impl Strategy<Value = String> {
    let pieces = &[
        "/", "/", "/", "a", "a", "b", "/a", "/a/b", "%2F", "%2f", "%5C", "%252F", "%25252f", ";", ";x", "%3B", "%253b",
        "%25", "2F", "2e", "%40", "@", "%61", "%2561", "%20", "%7C", "|", "%c3%a9", ".", "..", "%2E", "%252e", "%",
    ][..];
    vec(select(pieces), 0..8).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// How a rule's path is held against a reading: as in an Allow, or as in a Deny.
type Matching = fn(&PathMatch, &str) -> bool;

/// The plain paths that a server's reading lies at or below.
fn rules_that_match(matches: Matching, reading: &str) -> Vec<PathMatch> {
    let ends = reading.match_indices('/').map(|(at, _)| at).skip(1).chain([reading.len()]);
    let prefixes = ends.filter_map(|end| PathMatch::prefix(&reading[..end]).ok());
    let exact = [reading, reading.trim_end_matches('/'), &format!("{reading}/")].map(PathMatch::exact);
    prefixes.chain(exact.into_iter().flatten()).filter(|path| matches(path, reading)).collect()
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

#[test]
fn no_server_reads_more_than_the_lenient_reading_or_less_than_the_canonical_one() {
    let between = Cell::new(0);
    let outcome = runner(20_000).run(&(raw_path(), vec(step(), 0..10)), |(raw, steps)| {
        let Ok(target) = Target::parse(&raw) else { return Ok(()) };
        let canonical = target.path.as_str();
        let lenient = target.path.lenient().unwrap_or(canonical);
        let reading = steps.iter().fold(canonical.to_owned(), |path, step| step.take(&path));
        between.set(between.get() + u32::from(reading != canonical && reading != lenient));

        for matches in [PathMatch::matches as Matching, PathMatch::matches_loosely] {
            for rule in rules_that_match(matches, &reading) {
                prop_assert!(matches(&rule, lenient), "{rule} matches {reading} and not {lenient}");
            }
            for rule in rules_that_match(matches, canonical) {
                prop_assert!(matches(&rule, &reading), "{rule} matches {canonical} and not {reading}");
            }
        }
        let elements = reading.split(['/', '\\']).map(|segment| segment.split(';').next().unwrap());
        prop_assert!(
            elements.into_iter().all(|element| element != "." && element != ".."),
            "{reading} leaves its place"
        );
        Ok(())
    });
    outcome.unwrap();
    assert!(between.get() > 2_000, "only {} readings between", between.get());
}

#[test]
fn the_canonical_path_is_canonical_and_what_is_matched_is_what_is_sent() {
    let outcome = runner(10_000).run(&(raw_path(), proptest::option::of("[!-~]{0,5}")), |(path, query)| {
        let raw = query.map_or(path.clone(), |query| format!("{path}?{query}"));
        let Ok(target) = Target::parse(&raw) else { return Ok(()) };
        let sent = target.to_string();
        prop_assert_eq!(sent.split('?').next(), Some(target.path.as_str()));
        prop_assert_eq!(Target::parse(&sent), Ok(target));
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn the_lenient_reading_is_its_own() {
    let outcome = runner(10_000).run(&raw_path(), |raw| {
        let Ok(target) = Target::parse(&raw) else { return Ok(()) };
        let Some(lenient) = target.path.lenient() else { return Ok(()) };
        prop_assert_eq!(PathMatch::exact(lenient).map(|path| path.matches(lenient)), Ok(true));
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn any_text_is_refused_or_read() {
    let outcome = runner(10_000).run(&"/?[ -~]{0,12}|\\PC{0,8}", |raw| {
        let readable = raw.starts_with('/') && raw.bytes().all(|octet| octet.is_ascii_graphic());
        prop_assert!(Target::parse(&raw).is_err() || readable);
        Ok(())
    });
    outcome.unwrap();
}
