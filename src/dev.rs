//! `portcullis dev`: the real proxy on one machine, from a folder of YAML, with a demo provider and an echo upstream.

mod authority;
mod echo;
mod personas;
mod provider;

use crate::config::{Laptop, Process};

/// Runs until told to stop.
pub fn main(laptop: &Laptop, process: &Process) -> anyhow::Result<()> {
    let _ = (laptop, process);
    todo!()
}
