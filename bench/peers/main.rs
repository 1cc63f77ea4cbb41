//! CPU per request, side by side in one run: Portcullis with sign-in and policy, nginx and HAProxy without.
//!
//! CPU time is what the scheduler counted for all threads of a proxy (`/proc/PID/task/*/schedstat`), which every machine
//! has; hardware counters it need not have. Sessions of Portcullis rest in memory: a request whose session is cached asks no
//! store, whichever it is. Every proxy has one worker on core 0; load and upstream have the other cores. Rounds are interleaved, every body is
//! checked, any error fails the run. `bench/run` builds what this needs and calls it.

mod load;
mod proxies;
mod upstream;

use std::fmt::Write as _;
use std::time::Duration;

use load::{Load, Protocol};
use proxies::Proxy;

/// Rounds of each proxy and protocol; the best and the median are told.
const ROUNDS: usize = 5;

/// How long a round loads.
const ROUND: Duration = Duration::from_secs(3);

/// What is told of one proxy and protocol: CPU in nanoseconds a request, by round.
struct Row {
    proxy: &'static str,
    protocol: Protocol,
    cpu: Vec<f64>,
    requests: u64,
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("installed once, here");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let upstream = upstream::start().await;
        let proxies = proxies::start(folder.path(), upstream);
        let rows = measure(&proxies).await;
        println!("{}", table(&rows));
    });
}

async fn measure(proxies: &[Proxy]) -> Vec<Row> {
    let mut rows = Vec::new();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let first = rows.len();
        rows.extend(proxies.iter().map(|proxy| Row { proxy: proxy.name, protocol, cpu: Vec::new(), requests: 0 }));
        for round in 0..=ROUNDS {
            for (proxy, row) in proxies.iter().zip(&mut rows[first..]) {
                let before = proxy.cpu();
                let requests = Load::new(proxy, protocol).run(ROUND).await;
                let cpu = (proxy.cpu() - before).as_nanos() as f64 / requests as f64;
                // The first round warms up.
                if round > 0 {
                    row.cpu.push(cpu);
                    row.requests += requests;
                }
                eprintln!(
                    "{:10} {protocol:?} round {round}: {:6.2} µs CPU a request, {requests} requests",
                    proxy.name,
                    cpu / 1e3
                );
            }
        }
    }
    rows
}

fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| proxy | protocol | CPU µs a request, best | median | ÷ nginx, median | requests, all checked |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let nginx = rows.iter().find(|other| other.proxy == "nginx" && other.protocol == row.protocol);
        let ratio = median(&row.cpu) / nginx.map_or(f64::NAN, |nginx| median(&nginx.cpu));
        let best = row.cpu.iter().copied().fold(f64::INFINITY, f64::min);
        writeln!(
            out,
            "| {} | {:?} | {:.2} | {:.2} | {ratio:.2} | {} |",
            row.proxy,
            row.protocol,
            best / 1e3,
            median(&row.cpu) / 1e3,
            row.requests
        )
        .expect("a string takes everything");
    }
    out
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
