//! `docs/tasks.md` as its reader follows it: files are saved, commands are run, and what is printed is what is written there.

use std::fs;
use std::path::Path;
use std::process::Command;

use portcullis::cli;

use crate::steps::{Step, steps};

#[test]
fn the_tasks_do_what_they_say() {
    let text = fs::read_to_string("docs/tasks.md").unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("apps")).unwrap();
    let (mut saved, mut run) = (0, 0);
    for step in steps(&text) {
        match step {
            Step::Save { file, text } => {
                fs::write(folder.path().join(file), text).unwrap();
                saved += 1;
            }
            Step::Run { commands, printed } => {
                let said = said(folder.path(), commands);
                if let Some(printed) = printed {
                    assert_eq!(said, printed, "{commands}");
                }
                run += 1;
            }
            Step::Cluster(_) => {}
        }
    }
    assert_eq!((saved, run), (5, 5));
}

#[test]
fn every_command_of_a_document_is_one() {
    let mut checked = 0;
    for document in super::documents() {
        let text = fs::read_to_string(&document).unwrap();
        let blocks = steps(&text).into_iter().filter_map(|step| match step {
            Step::Run { commands, .. } | Step::Cluster(commands) => Some(commands),
            Step::Save { .. } => None,
        });
        for line in blocks.flat_map(str::lines).filter(|line| line.starts_with("portcullis ")) {
            let alone = line.split(" | ").next().unwrap_or_default();
            let parsed = cli::command().try_get_matches_from(alone.split(' '));
            assert!(parsed.is_ok(), "{}: `{line}`: {}", document.display(), parsed.unwrap_err());
            checked += 1;
        }
    }
    assert!(checked >= 10, "only {checked} commands were found");
}

#[test]
fn the_ingress_of_the_readme_is_guarded_as_it_says() {
    let text = fs::read_to_string("README.md").unwrap();
    let (_, example) = text.split_once("```yaml\n").unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.yaml"), example.split("```").next().unwrap()).unwrap();
    let told = said(folder.path(), "portcullis routes --dev app.yaml");
    let who = "guarded  group staff, for GET or HEAD; group finance";
    assert!(told.contains(who) && told.contains("shop/backoffice"), "{told}");
}

/// What the commands print on standard output, run one by one.
fn said(folder: &Path, commands: &str) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_portcullis")).parent().unwrap();
    let script = format!("PATH={}:$PATH\n{commands}", binary.display());
    let output = Command::new("sh").args(["-euc", &script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{commands}{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
