//! What people sign in with today, by the same provider as Portcullis: oauth2-proxy, asked by nginx or by itself. Its sessions
//! are in its cookie, as it comes; it lets the group of the staff pass, and hands on who they are.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use crate::Proxy;
use crate::peers::start;
use crate::portcullis::{Ground, HOST};
use crate::support::program::Program;
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, ISSUER};

/// Where nginx is that asks, and the oauth2-proxy that is asked, and the one by itself.
const NGINX: u16 = 18446;
const ASKED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 18447);
const ALONE: u16 = 18448;

/// The addresses to which the provider sends people back.
pub fn callbacks() -> Vec<String> {
    [NGINX, ALONE].map(|port| format!("https://{HOST}:{port}/oauth2/callback")).into()
}

/// Starts nginx that asks an oauth2-proxy about each request, on a connection that is kept.
pub async fn behind_nginx(ground: &Ground, programs: &Path, upstream: SocketAddr) -> (Proxy, [Program; 2]) {
    let listens = format!("http_address = \"{ASKED}\"\nreverse_proxy = true\nupstreams = [\"static://202\"]\n");
    let asked = oauth2_proxy("oauth2-proxy-asked", ASKED, NGINX, &listens, ground, programs).await;
    let name = "nginx + oauth2-proxy";
    let address = SocketAddr::from(([127, 0, 0, 1], NGINX));
    let config = include_str!("../nginx-auth.conf")
        .replace("UPSTREAM", &upstream.to_string())
        .replace("AUTH", &ASKED.to_string());
    let nginx = start("nginx-auth", address, &config, &["nginx", "-c"], ground).await;
    let (processes, visitor) = (vec![nginx.id(), asked.id()], ground.signed_in(NGINX).await);
    (Proxy { name, address, processes, visitor, only_http1: false }, [nginx, asked])
}

/// Starts an oauth2-proxy that forwards by itself. It speaks HTTP/1.1 alone.
pub async fn alone(ground: &Ground, programs: &Path, upstream: SocketAddr) -> (Proxy, Program) {
    let address = SocketAddr::from(([127, 0, 0, 1], ALONE));
    let listens = format!(
        "http_address = \"\"\nhttps_address = \"{address}\"\ntls_cert_file = \"FOLDER/cert.pem\"\n\
         tls_key_file = \"FOLDER/key.pem\"\nupstreams = [\"http://{upstream}/\"]\npass_user_headers = true\n"
    );
    let name = "oauth2-proxy";
    let program = oauth2_proxy(name, address, ALONE, &listens, ground, programs).await;
    let (processes, visitor) = (vec![program.id()], ground.signed_in(ALONE).await);
    (Proxy { name, address, processes, visitor, only_http1: true }, program)
}

async fn oauth2_proxy(
    name: &str,
    address: SocketAddr,
    callback: u16,
    listens: &str,
    ground: &Ground,
    programs: &Path,
) -> Program {
    let config = include_str!("../oauth2-proxy.cfg")
        .replace("CLIENT_ID", CLIENT_ID)
        .replace("CLIENT_SECRET", CLIENT_SECRET)
        .replace("ISSUER", ISSUER)
        .replace("AUTHORITY", &ground.authority().display().to_string())
        .replace("CALLBACK", &callback.to_string());
    let program = programs.join("oauth2-proxy").display().to_string();
    start(name, address, &format!("{config}{listens}"), &[&program, "--config"], ground).await
}
