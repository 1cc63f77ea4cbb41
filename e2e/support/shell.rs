//! The shell of somebody who follows a document: a folder of files, with `kubectl` and `portcullis` as an administrator.
//!
//! Where pods run, their logs have the audit trail; here one program writes it into a file, which `kubectl logs` prints.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::task::block_in_place;

use super::eventually::{SOON, eventually};
use super::portcullis::PROGRAM;
use super::program::output;
use super::scene::Scene;

/// The shell.
pub struct Shell {
    folder: PathBuf,
    kubeconfig: PathBuf,
}

impl Shell {
    /// A shell in a folder of the scene's.
    pub fn open(scene: &Scene<'_>) -> Self {
        let folder = scene.folder.join("reader");
        fs::create_dir_all(folder.join("bin")).expect("the folder can be made");
        let (kubectl, audit) = (scene.bed.cluster.kubectl_program(), scene.folder.join("audit.jsonl"));
        let (kubectl, audit) = (kubectl.display(), audit.display());
        let script = format!(
            "#!/bin/sh\ncase \" $* \" in *' logs '*) exec cat '{audit}';; esac\nPATH=${{PATH#*:}} exec '{kubectl}' \"$@\"\n"
        );
        let path = folder.join("bin/kubectl");
        fs::write(&path, script).expect("the folder is there");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("it is ours");
        Self { folder, kubeconfig: scene.bed.cluster.admin.clone() }
    }

    /// Saves a file.
    pub fn save(&self, file: &str, text: &str) {
        let path = self.folder.join(file);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder can be made");
        fs::write(path, text).expect("the folder is there");
    }

    /// What commands print.
    pub fn run(&self, commands: &str) -> String {
        output(&mut self.command(commands))
    }

    /// Runs a command that only looks, until it prints what is expected; till then it may fail, as `grep` does.
    pub async fn prints(&self, command: &str, expected: &str) {
        let printed = async || {
            let result = block_in_place(|| self.command(command).output()).expect("there is a shell");
            let text = String::from_utf8_lossy(&result.stdout);
            (result.status.success() && text.contains(expected)).then_some(())
        };
        eventually(&format!("`{expected}` from `{command}`"), SOON, printed).await;
    }

    fn command(&self, commands: &str) -> Command {
        let programs = Path::new(PROGRAM).parent().expect("it is in a folder").display();
        let script = format!("PATH={}/bin:{programs}:$PATH\n{commands}", self.folder.display());
        let mut shell = Command::new("sh");
        shell.args(["-euc", &script]).current_dir(&self.folder);
        shell.env("KUBECONFIG", &self.kubeconfig).env("HOME", &self.folder);
        shell
    }
}
