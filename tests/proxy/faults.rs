//! Upstreams that refuse, reset, stall, babble or switch unasked: the client gets a clear status, its neighbours go on.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use portcullis::budget::Limits;

use crate::plane::{Plane, certificate, open, snapshot_of};
use crate::upstream::{Reply, Upstream, refusing};

const GET: &str = "GET / HTTP/1.1\r\nhost: app.test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: app.test\r\ncontent-length: 2\r\n\r\nhe";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The status of one request to an upstream that always does the same, while its neighbour's is 200.
fn status_of(reply: Reply) -> u16 {
    status_within(Limits::default(), reply)
}

fn status_within(limits: Limits, reply: Reply) -> u16 {
    let upstream = Upstream::scripted(move |_| reply.clone());
    let neighbour = Upstream::ok();
    let routes = vec![open("app.test", &[upstream.address]), open("other.test", &[neighbour.address])];
    let plane = Plane::start(snapshot_of(routes, &[certificate(&["app.test"])]), limits);
    let status = plane.client().ask(GET).status;
    assert_eq!(plane.client().ask("GET / HTTP/1.1\r\nhost: other.test\r\n\r\n").status, 200);
    status
}

#[test]
fn a_backend_without_endpoints_is_503() {
    let plane = Plane::of(&[]);
    assert_eq!(plane.client().ask(GET).status, 503);
}

#[test]
fn an_unknown_host_is_404() {
    let plane = Plane::of(&[]);
    assert_eq!(plane.client().ask("GET / HTTP/1.1\r\nhost: nobody.test\r\n\r\n").status, 404);
}

#[test]
fn a_refused_connection_is_502() {
    let plane = Plane::of(&[refusing()]);
    assert_eq!(plane.client().ask(GET).status, 502);
}

#[test]
fn a_reset_before_the_response_is_502() {
    assert_eq!(status_of(Reply::Reset), 502);
}

#[test]
fn an_end_before_the_response_is_502() {
    assert_eq!(status_of(Reply::SendAndClose(Vec::new())), 502);
    assert_eq!(status_of(Reply::SendAndClose(b"HTTP/1.1 200 OK\r\nconte".to_vec())), 502);
}

#[test]
fn a_stall_before_the_response_is_504() {
    let limits = Limits { response_head: Duration::from_secs(2), ..Limits::default() };
    assert_eq!(status_within(limits, Reply::SendAndStall(Vec::new())), 504);
}

#[test]
fn a_client_that_goes_away_before_the_response_leaves_its_outcome() {
    let upstream = Upstream::scripted(|_| Reply::SendAndStall(Vec::new()));
    let plane = Plane::of(&[upstream.address]);
    let mut client = plane.client();
    client.send(GET);
    let decision = plane.trail.until(1).remove(0);
    drop(client);
    let outcome = plane.trail.until(2).remove(1);
    assert_eq!((&decision["kind"], &decision["path"]), (&"AuthorizationAllowed".into(), &"/".into()));
    assert_eq!((&outcome["of"], &outcome["status"], &outcome["complete"]), (&0.into(), &0.into(), &false.into()));
}

#[test]
fn garbage_is_502() {
    for garbage in [
        "SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno chunk\r\n",
    ] {
        assert_eq!(status_of(Reply::SendAndClose(garbage.into())), 502, "{garbage:?}");
    }
}

#[test]
fn switching_protocols_unasked_is_502() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    assert_eq!(status_of(Reply::SendAndClose(switch.into())), 502);
}

#[test]
fn informational_responses_are_not_final() {
    let early = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(status_of(Reply::Send(early.into())), 200);
}

#[test]
fn a_flood_of_informational_responses_is_502() {
    assert_eq!(status_of(Reply::Send("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100).into())), 502);
}

#[test]
fn a_head_that_is_too_large_is_502() {
    let large = format!("HTTP/1.1 200 OK\r\nx-large: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(70_000));
    assert_eq!(status_of(Reply::Send(large.into())), 502);
    let many = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x-many: x\r\n".repeat(200));
    assert_eq!(status_of(Reply::Send(many.into())), 502);
}

#[test]
fn an_old_upstream_is_understood() {
    let upstream = Upstream::scripted(|_| Reply::SendAndClose(b"HTTP/1.0 200 OK\n\nold".to_vec()));
    let plane = Plane::of(&[upstream.address]);
    for _ in 0..2 {
        assert_eq!(plane.client().ask(GET).body, b"old");
    }
}

#[test]
fn a_body_that_breaks_off_ends_the_connection_unfinished() {
    for reply in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nok",
    ] {
        let upstream = Upstream::scripted(move |_| Reply::SendAndClose(reply.into()));
        let plane = Plane::of(&[upstream.address]);
        let mut client = plane.client();
        assert_eq!(client.send(GET).answer(), None, "{reply:?}");
    }
}

#[test]
fn a_body_that_stalls_ends_at_its_deadline() {
    let upstream =
        Upstream::scripted(|_| Reply::SendAndStall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok".to_vec()));
    let limits = Limits { body_idle: Duration::from_millis(200), ..Limits::default() };
    let plane = Plane::start(snapshot_of(vec![open("app.test", &[upstream.address])], &[]), limits);
    let mut client = plane.client();
    let text = String::from_utf8(client.send(GET).rest()).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("\r\n\r\nok"), "{text}");
}

#[test]
fn a_response_that_was_not_asked_for_reaches_nobody() {
    let upstream = Upstream::scripted(|seen| {
        let second = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen";
        let extra = if seen.line().contains("/twice") { second } else { "" };
        Reply::Send(format!("{OK}{extra}").into())
    });
    let plane = Plane::of(&[upstream.address]);
    let mut client = plane.client();
    for path in ["/twice", "/a", "/twice", "/b"] {
        let answer = client.ask(format!("GET {path} HTTP/1.1\r\nhost: app.test\r\n\r\n"));
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]), "{path}");
    }
}

#[test]
fn bodies_where_none_may_be_do_not_shift_the_answers() {
    let upstream = Upstream::scripted(|seen| {
        let status = if seen.line().starts_with("HEAD") { "200 OK" } else { "204 No Content" };
        Reply::Send(format!("HTTP/1.1 {status}\r\ncontent-length: 6\r\n\r\nstolen").into())
    });
    let neighbour = Upstream::ok();
    let routes = vec![open("app.test", &[upstream.address]), open("other.test", &[neighbour.address])];
    let plane = Plane::start(snapshot_of(routes, &[]), Limits::default());
    let mut client = plane.client();
    client.send(
        "HEAD / HTTP/1.1\r\nhost: app.test\r\n\r\nGET / HTTP/1.1\r\nhost: other.test\r\nconnection: close\r\n\r\n",
    );
    let text = String::from_utf8(client.rest()).unwrap();
    assert!(
        text.contains("content-length: 6\r\n") && text.ends_with("\r\n\r\nok") && !text.contains("stolen"),
        "{text}"
    );
    let mut client = plane.client();
    assert_eq!(client.ask(GET).status, 204);
    let answer = client.ask("GET / HTTP/1.1\r\nhost: other.test\r\n\r\n");
    assert_eq!(answer.body, b"ok");
}

#[test]
fn connections_are_kept_and_used_again() {
    let upstream = Upstream::ok();
    let plane = Plane::of(&[upstream.address]);
    let mut client = plane.client();
    for _ in 0..5 {
        assert_eq!(client.ask(GET).status, 200);
    }
    assert_eq!((upstream.seen().len(), upstream.connections()), (5, 1));
}

#[test]
fn a_connection_is_used_again_behind_a_body_that_was_sent_whole() {
    let upstream = Upstream::ok();
    let plane = Plane::of(&[upstream.address]);
    let mut client = plane.client();
    for (framing, body) in
        [("transfer-encoding: chunked", "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"), ("content-length: 4", "abcd")]
    {
        assert_eq!(client.ask(format!("POST / HTTP/1.1\r\nhost: app.test\r\n{framing}\r\n\r\n{body}")).status, 200);
    }
    assert!(upstream.seen().iter().all(|seen| seen.body == b"abcd"));
    assert_eq!((upstream.seen().len(), upstream.connections()), (2, 1));
}

#[test]
fn an_endpoint_that_refuses_is_passed_over() {
    let upstream = Upstream::ok();
    let plane = Plane::of(&[upstream.address, refusing()]);
    let mut client = plane.client();
    for _ in 0..8 {
        assert_eq!(client.ask(POST).status, 200);
    }
    assert_eq!(upstream.seen().len(), 8);
}

#[test]
fn endpoints_share_the_work() {
    let (one, two) = (Upstream::ok(), Upstream::ok());
    let mut addresses = [one.address, two.address];
    addresses.sort();
    let plane = Plane::of(&addresses);
    let mut client = plane.client();
    for _ in 0..20 {
        assert_eq!(client.ask(GET).status, 200);
    }
    assert!(one.seen().len() >= 8 && two.seen().len() >= 8, "{} and {}", one.seen().len(), two.seen().len());
}

/// An upstream that closes each connection instead of answering its second request.
fn forgetful(count: &'static AtomicUsize) -> Upstream {
    Upstream::scripted(move |seen| {
        let first = seen.connection > count.fetch_max(seen.connection, SeqCst);
        if first { Reply::Send(OK.into()) } else { Reply::Reset }
    })
}

#[test]
fn a_stale_connection_costs_no_request_that_may_be_repeated() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    let upstream = forgetful(&SEEN);
    let plane = Plane::of(&[upstream.address]);
    let mut client = plane.client();
    assert_eq!(client.ask(GET).status, 200);
    assert_eq!(client.ask(GET).status, 200);
    assert_eq!((upstream.seen().len(), upstream.connections()), (3, 2));
}

#[test]
fn a_request_that_may_not_be_repeated_is_not() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    let upstream = forgetful(&SEEN);
    let plane = Plane::of(&[upstream.address]);
    let mut client = plane.client();
    assert_eq!(client.ask(GET).status, 200);
    assert_eq!(client.ask(POST).status, 502);
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn a_route_without_backend_is_503() {
    let mut route = open("app.test", &[]);
    route.backend = None;
    let plane = Plane::start(snapshot_of(vec![route], &[]), Limits::default());
    assert_eq!(plane.client().ask(GET).status, 503);
}
