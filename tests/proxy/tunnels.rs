//! WebSocket: tunnels open only between a client that asked and an upstream that agreed.

use std::time::Duration;

use portcullis::budget::Limits;
use portcullis::route::RouteSettings;

use crate::plane::{Client, Plane, open_with, snapshot_of};
use crate::upstream::{Reply, Upstream};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-accept: x\r\n\r\n";

fn upgrade(extra: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nhost: app.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n{extra}\r\n"
    )
}

fn echo() -> Upstream {
    Upstream::scripted(|_| Reply::SendThenEcho(SWITCH.into()))
}

fn echoes(client: &mut Client, text: &str) -> bool {
    use std::io::Read;
    client.send(text);
    let mut back = vec![0; text.len()];
    client.stream.read_exact(&mut back).is_ok() && back == text.as_bytes()
}

#[test]
fn bytes_go_both_ways_after_the_switch() {
    let upstream = echo();
    let plane = Plane::of(&[upstream.address]);
    let mut client = plane.client();
    let answer = client.ask(upgrade(""));
    assert_eq!(answer.status, 101);
    assert_eq!((answer.values("upgrade"), answer.values("sec-websocket-accept")), (vec!["websocket"], vec!["x"]));
    assert!(echoes(&mut client, "hello") && echoes(&mut client, "again"));
    let seen = upstream.seen().remove(0);
    assert_eq!((seen.values("upgrade"), seen.values("connection")), (vec!["websocket"], vec!["upgrade"]));
    assert_eq!(seen.values("sec-websocket-key"), ["dGhlIHNhbXBsZSBub25jZQ=="]);
}

#[test]
fn bytes_behind_the_request_wait_for_the_switch() {
    let upstream = Upstream::ok();
    let plane = Plane::of(&[upstream.address]);
    let mut client = plane.client();
    client.send(format!("{}GET /second HTTP/1.1\r\nhost: app.test\r\n\r\n", upgrade("")));
    assert_eq!(client.answer().map(|answer| answer.status), Some(200));
    assert_eq!(client.answer().map(|answer| answer.status), Some(200));
    let lines: Vec<_> = upstream.seen().iter().map(|seen| seen.line().to_owned()).collect();
    assert_eq!(lines, ["GET /ws HTTP/1.1", "GET /second HTTP/1.1"]);
}

#[test]
fn bytes_behind_the_request_go_through_the_tunnel() {
    let upstream = echo();
    let plane = Plane::of(&[upstream.address]);
    let mut client = plane.client();
    client.send(upgrade("") + "early");
    assert_eq!(client.answer().map(|answer| answer.status), Some(101));
    // They may come together with the switch.
    assert_eq!(client.exactly(5), b"early");
    assert!(echoes(&mut client, "later"));
}

#[test]
fn other_upgrades_are_not_seen() {
    let upstream = Upstream::ok();
    let plane = Plane::of(&[upstream.address]);
    let request = "GET / HTTP/1.1\r\nhost: app.test\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
        http2-settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert_eq!(plane.client().ask(request).status, 200);
    let seen = upstream.seen().remove(0);
    for name in ["upgrade", "connection", "http2-settings"] {
        assert_eq!(seen.values(name), Vec::<&str>::new(), "{name}");
    }
}

#[test]
fn an_upgrade_with_a_body_is_refused() {
    let upstream = echo();
    let plane = Plane::of(&[upstream.address]);
    assert_eq!(plane.client().ask(upgrade("content-length: 1\r\n") + "x").status, 400);
    assert_eq!(upstream.bytes(), 0);
}

#[test]
fn a_switch_to_something_else_is_502() {
    let upstream = Upstream::scripted(|_| {
        Reply::SendThenEcho(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: tls/1.2\r\n\r\n".to_vec(),
        )
    });
    let plane = Plane::of(&[upstream.address]);
    assert_eq!(plane.client().ask(upgrade("")).status, 502);
}

#[test]
fn a_route_that_forwards_no_websocket_refuses() {
    let upstream = echo();
    let settings = RouteSettings { websocket: false, ssl_redirect: false, ..RouteSettings::default() };
    let plane =
        Plane::start(snapshot_of(vec![open_with("app.test", &[upstream.address], settings)], &[]), Limits::default());
    assert_eq!(plane.client().ask(upgrade("")).status, 403);
    assert_eq!(upstream.bytes(), 0);
}

#[test]
fn an_address_has_as_many_tunnels_as_are_granted() {
    let upstream = echo();
    let limits = Limits { tunnels: 2, ..Limits::default() };
    let settings = RouteSettings { ssl_redirect: false, ..RouteSettings::default() };
    // More clients than two data threads would have places if each counted for itself.
    let plane = Plane::start(snapshot_of(vec![open_with("app.test", &[upstream.address], settings)], &[]), limits);
    let mut clients: Vec<_> = (0..9).map(|_| plane.client()).collect();
    let statuses: Vec<_> = clients.iter_mut().map(|client| client.ask(upgrade("")).status).collect();
    assert_eq!(statuses, [[101; 2].as_slice(), &[503; 7]].concat());
}

#[test]
fn a_quiet_tunnel_is_closed() {
    let upstream = echo();
    let limits = Limits { tunnel_idle: Duration::from_millis(200), ..Limits::default() };
    let settings = RouteSettings { ssl_redirect: false, ..RouteSettings::default() };
    let plane = Plane::start(snapshot_of(vec![open_with("app.test", &[upstream.address], settings)], &[]), limits);
    let mut client = plane.client();
    assert_eq!(client.ask(upgrade("")).status, 101);
    assert!(client.is_closed());
}

/// A plane with a tunnel through it that has echoed five bytes.
fn with_tunnel(upstream: &Upstream, limits: Limits) -> (Plane, Client) {
    let settings = RouteSettings { ssl_redirect: false, ..RouteSettings::default() };
    let plane = Plane::start(snapshot_of(vec![open_with("app.test", &[upstream.address], settings)], &[]), limits);
    let mut client = plane.client();
    assert_eq!(client.ask(upgrade("")).status, 101);
    assert!(echoes(&mut client, "hello"));
    (plane, client)
}

/// The outcome of a tunnel that has ended, as bytes sent, bytes received and whether it came to its end.
fn outcome(plane: &Plane) -> (u64, u64, bool) {
    let line = plane.trail.until(2).remove(1);
    (line["sent"].as_u64().unwrap(), line["received"].as_u64().unwrap(), line["complete"].as_bool().unwrap())
}

#[test]
fn a_tunnel_keeps_its_place_among_the_connections() {
    let upstream = echo();
    let (plane, mut tunnel) = with_tunnel(&upstream, Limits { connections: 1, ..Limits::default() });
    let mut waiting = plane.client();
    waiting.send(upgrade(""));
    assert!((0..10).all(|_| echoes(&mut tunnel, "still")));
    assert_eq!(upstream.seen().len(), 1);
    drop(tunnel);
    assert_eq!(waiting.answer().map(|answer| answer.status), Some(101));
}

#[test]
fn a_drain_waits_for_tunnels() {
    let upstream = echo();
    let (mut plane, mut tunnel) = with_tunnel(&upstream, Limits::default());
    let drained = plane.drain();
    // The sockets close once their queues are empty; the tunnel goes on.
    while std::net::TcpStream::connect(plane.http).is_ok() {}
    assert!(echoes(&mut tunnel, "still") && !drained.is_finished());
    drop(tunnel);
    plane.block_on(async { tokio::time::timeout(Duration::from_secs(25), drained).await }).unwrap().unwrap();
    assert_eq!(outcome(&plane), (10, 10, true));
}

#[test]
fn a_tunnel_cut_by_the_end_of_a_drain_leaves_its_outcome() {
    let upstream = echo();
    let (mut plane, mut tunnel) =
        with_tunnel(&upstream, Limits { drain: Duration::from_millis(200), ..Limits::default() });
    let drained = plane.drain();
    plane.block_on(drained).unwrap();
    assert!(tunnel.is_closed());
    assert_eq!(outcome(&plane), (5, 5, false));
}
