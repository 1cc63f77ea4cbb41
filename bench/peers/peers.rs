//! nginx and HAProxy: each a program with one worker on core 0, which forwards without sign-in and policy.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use crate::Proxy;
use crate::load::Visitor;
use crate::portcullis::Ground;
use crate::support::eventually::{SOON, eventually};
use crate::support::program::Program;

/// Whom the others are compared with.
pub const NGINX: &str = "nginx";

/// Starts nginx.
pub async fn nginx(ground: &Ground, visitor: &Visitor, upstream: SocketAddr) -> (Proxy, Program) {
    let config = include_str!("../nginx.conf");
    forwarding(NGINX, 18444, config, &["nginx", "-c"], ground, visitor, upstream).await
}

/// Starts HAProxy.
pub async fn haproxy(ground: &Ground, visitor: &Visitor, upstream: SocketAddr) -> (Proxy, Program) {
    let config = include_str!("../haproxy.cfg");
    forwarding("haproxy", 18445, config, &["haproxy", "-db", "-f"], ground, visitor, upstream).await
}

async fn forwarding(
    name: &'static str,
    port: u16,
    config: &str,
    command: &[&str],
    ground: &Ground,
    visitor: &Visitor,
    upstream: SocketAddr,
) -> (Proxy, Program) {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let config = config.replace("UPSTREAM", &upstream.to_string());
    let program = start(name, address, &config, command, ground).await;
    let (processes, visitor) = (vec![program.id()], visitor.clone());
    (Proxy { name, address, processes, visitor, only_http1: false }, program)
}

/// Starts a program by a command to which its configuration is added, and waits until it listens.
pub async fn start(name: &str, address: SocketAddr, config: &str, command: &[&str], ground: &Ground) -> Program {
    let folder = ground.folder();
    let config = config.replace("PORT", &address.port().to_string()).replace("FOLDER", &folder.display().to_string());
    let file = folder.join(format!("{name}.conf"));
    fs::write(&file, config).expect("the folder is there");
    fs::write(folder.join("cert.pem"), &ground.pair.certificate).expect("the folder is there");
    fs::write(folder.join("key.pem"), &ground.pair.key).expect("the folder is there");
    fs::write(folder.join("both.pem"), format!("{}{}", ground.pair.certificate, ground.pair.key))
        .expect("the folder is there");
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", "0"]).args(command).arg(file);
    // One worker of a program in Go is one thread that runs its code.
    pinned.env("GOMAXPROCS", "1");
    let program = Program::start(name, &mut pinned, &folder.join(format!("{name}.log")));
    eventually(&format!("{name} on {address}"), SOON, async || {
        tokio::net::TcpStream::connect(address).await.ok().map(drop)
    })
    .await;
    program
}
