//! `portcullis run`: the process in a cluster, wired together.

use crate::config::{Cluster, Process};

/// Runs until told to stop.
pub fn main(cluster: &Cluster, process: &Process) -> anyhow::Result<()> {
    let _ = (cluster, process);
    todo!()
}
