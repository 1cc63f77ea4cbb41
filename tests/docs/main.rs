//! The documents say what is there, and every test that one names exists.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod reference;
#[path = "../support/steps.rs"]
mod steps;
mod tasks;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_test_that_a_document_names_exists() {
    let (mut missing, mut named) = (Vec::new(), 0);
    for document in documents() {
        let rooms = ["src/", "tests/", "e2e/"];
        let texts = code(&document).into_iter().filter(|text| rooms.iter().any(|room| text.starts_with(room)));
        for (file, name) in texts.collect::<Vec<_>>().iter().filter_map(|text| text.split_once(".rs::")) {
            named += 1;
            let source = fs::read_to_string(format!("{file}.rs")).unwrap_or_default();
            if !source.contains(&format!("fn {name}(")) {
                missing.push(format!("{}: {file}.rs::{name}", document.display()));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
    assert!(named > 50, "only {named} tests were found in the documents");
}

#[test]
fn every_make_target_that_a_document_names_exists() {
    let makefile = fs::read_to_string("Makefile").unwrap();
    let missing: Vec<String> = documents()
        .iter()
        .flat_map(|document| code(document))
        .filter(|text| {
            text.strip_prefix("make ").is_some_and(|rest| !makefile.contains(&format!("\n{}: ", first(rest))))
        })
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_command_is_in_the_table_of_the_readme() {
    let readme = fs::read_to_string("README.md").unwrap();
    let command = portcullis::cli::command();
    let named: BTreeSet<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    let listed = readme.lines().filter_map(|line| line.strip_prefix("| `portcullis ")).map(first);
    assert_eq!(listed.collect::<BTreeSet<_>>(), named);
}

#[test]
fn the_security_model_answers_every_claim_once() {
    let model = fs::read_to_string("docs/security-model.md").unwrap();
    let rows: Vec<Vec<&str>> = model
        .lines()
        .filter(|line| line.starts_with("| R-"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let ids: Vec<&str> = rows.iter().map(|row| row[1]).collect();
    let every: Vec<String> = (1..=56).map(|number| format!("R-{number:02}")).collect();
    assert_eq!(ids, every);
    for row in &rows {
        assert!(["met", "partly", "not yet"].contains(&row[3]), "{}: `{}`", row[1], row[3]);
        // Below `| id | claim | state | how | test |` whoever says `met` names a test; the process of releases has none.
        let shown = row.len() < 7 || row[3] != "met" || row[5].contains(".rs::");
        assert!(shown, "{} is met, and no test shows it", row[1]);
    }
}

/// Every document of the repository for readers.
fn documents() -> Vec<PathBuf> {
    let mut documents = vec![PathBuf::from("README.md"), PathBuf::from("SECURITY.md")];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                documents.push(path);
            }
        }
    }
    documents
}

/// What stands between single backticks.
fn code(document: &Path) -> Vec<String> {
    let text = fs::read_to_string(document).unwrap();
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The first word of it.
fn first(text: &str) -> &str {
    text.split([' ', '`']).next().unwrap_or_default()
}
