//! CPU per request, side by side in one run: Portcullis with sign-in and policy, nginx and HAProxy without, and what people
//! sign in with today: nginx that asks oauth2-proxy, and oauth2-proxy by itself.
//!
//! Portcullis runs as in a cluster: on a real control plane, with a session from a real sign-in, which rests in a Secret.
//! Every proxy has one worker on core 0; load, upstream and control plane have the other cores. Rounds are interleaved,
//! every body is checked, any error fails the run. `bench/run` builds what this needs and calls it.

mod load;
mod meter;
mod oauth2;
mod peers;
mod portcullis;
#[allow(dead_code, reason = "the journeys use all of it")]
#[path = "../../e2e/support"]
mod support {
    pub mod authority;
    pub mod bed;
    pub mod client;
    pub mod cluster;
    pub mod eventually;
    pub mod objects;
    pub mod portcullis;
    pub mod program;
    pub mod provider;
}
mod upstream;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use load::{Load, Protocol, Visitor};
use meter::Meter;
use portcullis::Ground;

/// Rounds of each proxy and protocol; the best and the median are told.
const ROUNDS: usize = 5;

/// How long a round loads.
const ROUND: Duration = Duration::from_secs(3);

/// At most so much of what nginx uses, by protocol.
const GOALS: [(Protocol, f64); 2] = [(Protocol::Http1, 1.00), (Protocol::Http2, 1.15)];

/// A proxy under load.
pub struct Proxy {
    /// Its name.
    pub name: &'static str,
    /// Where it serves HTTPS.
    pub address: SocketAddr,
    /// The first process of each program that it is made of.
    pub processes: Vec<u32>,
    /// Who asks it.
    pub visitor: Visitor,
    /// Whether it speaks no HTTP/2.
    pub only_http1: bool,
}

/// What is told of one proxy and protocol: what was counted for a request, by round.
struct Row {
    proxy: &'static str,
    protocol: Protocol,
    cost: Vec<f64>,
    requests: u64,
}

#[tokio::main]
async fn main() {
    let folder = |name| std::env::var_os(name).map(PathBuf::from);
    let folders = folder("PORTCULLIS_CONTROL_PLANE").zip(folder("PORTCULLIS_OAUTH2_PROXY"));
    let Some((programs, oauth2_proxy)) = folders else {
        println!("the comparison needs a control plane and oauth2-proxy: run it with `make bench`");
        return;
    };
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("installed once, here");
    let upstream = upstream::start().await;
    let ground = Ground::start(&programs).await;
    let visitor = ground.visitor().await;
    let (nginx, _nginx) = peers::nginx(&ground, &visitor, upstream).await;
    let (haproxy, _haproxy) = peers::haproxy(&ground, &visitor, upstream).await;
    let (asking, _asking) = oauth2::behind_nginx(&ground, &oauth2_proxy, upstream).await;
    let (alone, _alone) = oauth2::alone(&ground, &oauth2_proxy, upstream).await;
    let meter = Meter::of_this_machine();
    let rows = measure(&[ground.proxy(visitor), nginx, haproxy, asking, alone], meter).await;
    println!("{}{}", table(&rows, meter), verdict(&rows, meter));
}

async fn measure(proxies: &[Proxy], meter: Meter) -> Vec<Row> {
    let mut rows = Vec::new();
    for (protocol, _) in GOALS {
        let first = rows.len();
        let proxies: Vec<_> = proxies.iter().filter(|proxy| protocol == Protocol::Http1 || !proxy.only_http1).collect();
        rows.extend(proxies.iter().map(|proxy| Row { proxy: proxy.name, protocol, cost: Vec::new(), requests: 0 }));
        for round in 0..=ROUNDS {
            for (proxy, row) in proxies.iter().zip(&mut rows[first..]) {
                let reading = meter.start(&proxy.processes).await;
                let requests = Load::new(proxy, protocol).run(ROUND).await;
                let cost = reading.end().await / requests as f64;
                // The first round warms up.
                if round > 0 {
                    row.cost.push(cost);
                    row.requests += requests;
                }
                eprintln!("{:20} {protocol} round {round}: {cost:6.2} {meter}, {requests} requests", proxy.name);
            }
        }
    }
    rows
}

fn table(rows: &[Row], meter: Meter) -> String {
    let mut out = format!(
        "| proxy | protocol | {meter}, best | median | ÷ nginx, median | requests, all checked |\n|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let best = row.cost.iter().copied().fold(f64::INFINITY, f64::min);
        let Row { proxy, protocol, cost, requests } = row;
        let (median, ratio) = (median(cost), ratio(rows, proxy, *protocol));
        writeln!(out, "| {proxy} | {protocol} | {best:.2} | {median:.2} | {ratio:.2} | {requests} |")
            .expect("a string takes everything");
    }
    out
}

/// Whether the goals are reached, and by what was counted.
fn verdict(rows: &[Row], meter: Meter) -> String {
    let judged = GOALS.map(|(protocol, goal)| {
        let ratio = ratio(rows, portcullis::NAME, protocol);
        let reached = if ratio <= goal { "reached" } else { "not reached" };
        format!("{protocol} {ratio:.2} × nginx, goal at most {goal:.2}: {reached}")
    });
    format!("\nverdict: {}; {}", judged.join("; "), meter.why())
}

/// The median of a proxy over that of nginx.
fn ratio(rows: &[Row], proxy: &str, protocol: Protocol) -> f64 {
    let of = |name: &str| {
        let row = rows.iter().find(|row| row.proxy == name && row.protocol == protocol);
        median(&row.expect("every proxy has a row for every protocol").cost)
    };
    of(proxy) / of(peers::NGINX)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
