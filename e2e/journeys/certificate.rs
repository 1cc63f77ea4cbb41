//! A certificate is rotated under an open WebSocket; then a broken one changes nothing.

use futures_util::{SinkExt, StreamExt};
use http::{Request, header};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};

use crate::support::authority::Pair;
use crate::support::bed::Bed;
use crate::support::client::{Client, presented_serial};
use crate::support::eventually::{SOON, eventually};
use crate::support::objects;
use crate::support::provider::STAFF;
use crate::support::replicas::Replicas;
use crate::support::scene::{APP, HOST, Scene};

pub async fn journey(bed: &Bed, name: &'static str, replicas: Replicas) {
    let scene = Scene::open_on(replicas, bed, name, 300).await;
    scene.publish_for_staff().await;
    let person = scene.visitor();
    assert_eq!(person.sign_in(APP, &STAFF).await.status, 200);
    let first = served(&person).await;
    let mut socket = open_socket(&person).await;
    echoes(&mut socket, "before").await;

    let next = bed.authority.issue(&[HOST]);
    bed.cluster.apply(&[objects::tls_secret(scene.namespace, "app", &next)]);
    eventually("the new certificate in a handshake", SOON, async || {
        (served(&person).await == next.serial).then_some(())
    })
    .await;
    assert_ne!(first, next.serial);
    echoes(&mut socket, "after the rotation").await;

    let other = bed.authority.issue(&[HOST]);
    let broken = Pair { key: next.key.clone(), ..other };
    bed.cluster.apply(&[objects::tls_secret(scene.namespace, "app", &broken)]);
    scene.event("app", "key").await;
    assert_eq!(served(&person).await, next.serial);
    assert_eq!(person.browse(APP).await.status, 200);
    echoes(&mut socket, "after the broken pair").await;
    scene.stop().await;
}

/// The serial number that a new handshake shows.
async fn served(client: &Client) -> u64 {
    presented_serial(&client.tls(HOST, 8443, &[b"http/1.1"]).await.expect("the handshake succeeds"))
}

async fn open_socket(person: &Client) -> WebSocketStream<TlsStream<TcpStream>> {
    let mut request: Request<()> = "wss://app.localhost:8443/socket".into_client_request().expect("a sound request");
    let cookies = person.cookies(HOST).expect("signed in");
    request.headers_mut().insert(header::COOKIE, cookies.parse().expect("a field value"));
    request.headers_mut().insert(header::ORIGIN, APP.parse().expect("a field value"));
    let stream = person.tls(HOST, 8443, &[b"http/1.1"]).await.expect("the handshake succeeds");
    client_async(request, stream).await.expect("the WebSocket opens").0
}

async fn echoes(socket: &mut WebSocketStream<TlsStream<TcpStream>>, text: &str) {
    socket.send(tungstenite::Message::text(text)).await.expect("the WebSocket is open");
    let answer = timeout(SOON, socket.next()).await.expect("it answers").expect("it is open").expect("it is sound");
    assert_eq!(answer.into_text().expect("text").as_str(), text);
}
