//! What a request costs: instructions, where the machine counts them, else the CPU time that the scheduler counted.

use std::fmt;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Until `perf` counts, which it does not tell.
const ATTACHES: Duration = Duration::from_millis(300);

/// What is counted, for all threads of some processes and their children.
#[derive(Clone, Copy)]
pub enum Meter {
    /// Thousands of instructions, of kernel and program.
    Instructions,
    /// Microseconds on a CPU.
    CpuTime,
}

/// A count under way.
pub enum Reading {
    /// `perf stat`, which prints what it has counted when it is interrupted.
    Instructions(Child),
    /// The processes, and nanoseconds that they had run before.
    CpuTime(Vec<u32>, u64),
}

impl Meter {
    /// Instructions where `perf` counts them: many a virtual machine has no counter, many a system no `perf`.
    pub fn of_this_machine() -> Self {
        let probe = Command::new("perf").args(["stat", "-x", ",", "-e", "instructions", "true"]).output();
        match probe.ok().and_then(|output| counted(&output.stderr)) {
            Some(_) => Self::Instructions,
            None => Self::CpuTime,
        }
    }

    /// What is counted on this machine, and why.
    pub fn why(self) -> &'static str {
        match self {
            Self::Instructions => "instructions were counted",
            Self::CpuTime => "CPU time was counted, since `perf` counts no instructions here",
        }
    }

    /// Begins to count what some processes and their children do.
    pub async fn start(self, processes: &[u32]) -> Reading {
        let family: Vec<_> = processes.iter().copied().flat_map(family).collect();
        match self {
            Self::CpuTime => Reading::CpuTime(family.clone(), ran(&family)),
            Self::Instructions => {
                let family = family.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
                let mut perf = Command::new("perf");
                perf.args(["stat", "-x", ",", "-e", "instructions", "-p", &family]).stderr(Stdio::piped());
                let perf = perf.spawn().expect("it was there a moment ago");
                tokio::time::sleep(ATTACHES).await;
                Reading::Instructions(perf)
            }
        }
    }
}

impl Reading {
    /// What was counted, in thousands of instructions or in microseconds.
    pub async fn end(self) -> f64 {
        let thousandths = match self {
            Self::CpuTime(family, before) => ran(&family) - before,
            Self::Instructions(perf) => {
                kill(Pid::from_raw(perf.id().try_into().expect("the kernel's own range")), Signal::SIGINT)
                    .expect("it is our child");
                let output = perf.wait_with_output().expect("it is our child");
                counted(&output.stderr).expect("what was counted at the start is counted")
            }
        };
        thousandths as f64 / 1e3
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instructions => "thousand instructions a request",
            Self::CpuTime => "CPU µs a request",
        })
    }
}

/// The number in what `perf stat -x ,` prints; none where there is `<not supported>`.
fn counted(printed: &[u8]) -> Option<u64> {
    String::from_utf8_lossy(printed).lines().find_map(|line| line.split(',').next()?.parse().ok())
}

/// A process and its children.
fn family(process: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok()).flat_map(family);
    std::iter::once(process).chain(children.collect::<Vec<_>>()).collect()
}

/// Nanoseconds that all threads of some processes ran.
fn ran(processes: &[u32]) -> u64 {
    let threads = processes.iter().filter_map(|process| fs::read_dir(format!("/proc/{process}/task")).ok()).flatten();
    let ran = |thread: fs::DirEntry| {
        fs::read_to_string(thread.path().join("schedstat")).ok()?.split(' ').next()?.parse::<u64>().ok()
    };
    threads.flatten().filter_map(ran).sum()
}
