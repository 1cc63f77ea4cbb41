//! The journeys: the program itself, as an unprivileged user of a real API server, with a real provider and a real browser.
//!
//! `scripts/e2e` builds what they need and runs them in a network namespace of their own, one after another, since each has
//! the ports and the cluster to itself. Arguments choose journeys by a part of their name.

mod journeys;
mod support;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use journeys::{JOURNEYS, Journey, Needs};
use support::app;
use support::bed::Bed;
use support::cluster::Ground;

/// How long one journey may take, on a machine that is busy: whatever it waits for has a limit of its own.
const LIMIT: Duration = Duration::from_secs(1200);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [command, address] = &arguments[..]
        && command == app::COMMAND
    {
        app::run(address).await;
        return ExitCode::SUCCESS;
    }
    let [given, programs] = ["PORTCULLIS_CLUSTER", "PORTCULLIS_CONTROL_PLANE"].map(std::env::var_os);
    let ground = match (&given, &programs) {
        (Some(kubeconfig), _) => Ground::Given(Path::new(kubeconfig)),
        (None, Some(programs)) => Ground::Bare(Path::new(programs)),
        (None, None) => {
            println!("the journeys need a control plane: run them with `make test-e2e`");
            return ExitCode::SUCCESS;
        }
    };
    let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let chosen = |journey: &&Journey| filters.is_empty() || filters.iter().any(|part| journey.name.contains(&***part));
    let bed = Bed::start(ground, "e2e").await;
    let mut failed = Vec::new();
    for journey in JOURNEYS.iter().filter(chosen) {
        if journey.needs == Needs::OwnControlPlane && !bed.cluster.is_bare() {
            println!("journey {} ... left out: it needs a control plane of its own", journey.name);
        } else if !passes(journey, &bed).await {
            failed.push(journey.name);
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {}", failed.join(", "));
    ExitCode::FAILURE
}

async fn passes(journey: &Journey, bed: &Bed) -> bool {
    let from = Instant::now();
    let result = timeout(LIMIT, AssertUnwindSafe((journey.run)(bed)).catch_unwind()).await;
    let result = match result {
        Ok(Ok(())) => "ok".to_owned(),
        // The panic has said why.
        Ok(Err(_)) => format!("FAILED, see {}", bed.folder(journey.name).display()),
        Err(_) => format!("FAILED: not over after {LIMIT:?}, see {}", bed.folder(journey.name).display()),
    };
    println!("journey {} ... {result} ({:.1} s)", journey.name, from.elapsed().as_secs_f64());
    result == "ok"
}
