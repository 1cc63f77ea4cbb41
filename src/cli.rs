//! The command line: what can be asked of the binary, and the exit code of each answer (0 done, 1 failed, 2 misused).

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{Cluster, Laptop, NAMESPACE, Process};
use crate::inspect::Scope;
use crate::logging::LogFormat;
use crate::output::Choice;
use crate::{api, check, dev, keys, logging, routes, run, sessions};

/// Identity-aware ingress controller for Kubernetes: sign-in, policy and proxy in one process.
#[derive(Parser, Debug)]
#[command(name = "portcullis", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve the Ingresses of a cluster
    Run {
        #[command(flatten)]
        cluster: Cluster,
        #[command(flatten)]
        process: Process,
    },
    /// Serve a folder of YAML on this machine, with a demo identity provider to sign in at; no cluster needed
    Dev {
        #[command(flatten)]
        laptop: Laptop,
        #[command(flatten)]
        process: Process,
    },
    /// Say what is wrong with the objects of a folder, a file or the cluster; exit code 1 where something would be closed
    Check {
        #[command(flatten)]
        scope: Scope,
        #[command(flatten)]
        choice: Choice,
    },
    /// List every host and path of a folder, a file or the cluster, with who may pass
    Routes {
        #[command(flatten)]
        scope: Scope,
        /// Only those where somebody who is not signed in may pass
        #[arg(long)]
        unprotected: bool,
        #[command(flatten)]
        choice: Choice,
    },
    /// Show, rotate and retire the keys that seal sessions and sign cookies
    Keys {
        /// The namespace of the installation
        #[arg(long, value_name = "NAMESPACE", default_value = NAMESPACE, env = "PORTCULLIS_NAMESPACE")]
        namespace: String,
        #[command(subcommand)]
        action: keys::Action,
    },
    /// Show who is signed in, and end sessions
    Sessions {
        #[command(flatten)]
        place: sessions::Place,
        #[command(subcommand)]
        action: sessions::Action,
    },
    /// Print the CustomResourceDefinitions, or write each to a file of a folder
    Crds {
        /// The folder to write to
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
}

/// The command line, for its reference.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    let format = match &command {
        Command::Run { process, .. } | Command::Dev { process, .. } => process.log,
        _ => LogFormat::Text,
    };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::failed(&error, format);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run { cluster, process } => run::main(&cluster, &process),
        Command::Dev { laptop, process } => dev::main(&laptop, &process),
        Command::Check { scope, choice } => check::main(&scope, choice),
        Command::Routes { scope, unprotected, choice } => routes::main(&scope, unprotected, choice),
        Command::Keys { namespace, action } => keys::main(&namespace, action),
        Command::Sessions { place, action } => sessions::main(&place, &action),
        Command::Crds { output } => crds(output.as_deref()),
    }
}

fn crds(output: Option<&Path>) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    for (name, yaml) in api::crd_files() {
        match output {
            Some(folder) => fs::write(folder.join(&name), yaml).with_context(|| format!("cannot write `{name}`"))?,
            None => write!(stdout, "---\n{yaml}")?,
        }
    }
    Ok(())
}
