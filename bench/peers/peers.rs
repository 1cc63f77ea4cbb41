//! nginx and HAProxy: each a program with one worker on core 0, which forwards without sign-in and policy.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use crate::Proxy;
use crate::portcullis::Ground;
use crate::support::eventually::{SOON, eventually};
use crate::support::program::Program;

/// Whom the others are compared with.
pub const NGINX: &str = "nginx";

/// Starts nginx.
pub async fn nginx(ground: &Ground, upstream: SocketAddr) -> (Proxy, Program) {
    start(NGINX, 18444, include_str!("../nginx.conf"), &["nginx", "-c"], ground, upstream).await
}

/// Starts HAProxy.
pub async fn haproxy(ground: &Ground, upstream: SocketAddr) -> (Proxy, Program) {
    start("haproxy", 18445, include_str!("../haproxy.cfg"), &["haproxy", "-db", "-f"], ground, upstream).await
}

async fn start(
    name: &'static str,
    port: u16,
    config: &str,
    command: &[&str],
    ground: &Ground,
    upstream: SocketAddr,
) -> (Proxy, Program) {
    let folder = ground.folder();
    let config = config
        .replace("UPSTREAM", &upstream.to_string())
        .replace("PORT", &port.to_string())
        .replace("FOLDER", &folder.display().to_string());
    let file = folder.join(format!("{name}.conf"));
    fs::write(&file, config).expect("the folder is there");
    fs::write(folder.join("cert.pem"), &ground.pair.certificate).expect("the folder is there");
    fs::write(folder.join("key.pem"), &ground.pair.key).expect("the folder is there");
    fs::write(folder.join("both.pem"), format!("{}{}", ground.pair.certificate, ground.pair.key))
        .expect("the folder is there");
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", "0"]).args(command).arg(file);
    let program = Program::start(name, &mut pinned, &folder.join(format!("{name}.log")));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    eventually(&format!("{name} on {address}"), SOON, async || {
        tokio::net::TcpStream::connect(address).await.ok().map(drop)
    })
    .await;
    (Proxy { name, address, process: program.id() }, program)
}
