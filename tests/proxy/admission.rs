//! The corpus of malformed and ambiguous requests: each is refused before any byte goes upstream, or reaches it as one
//! clean message.

use crate::plane::Plane;
use crate::upstream::{Reply, Upstream};

/// What comes of a request.
#[derive(Clone, Copy)]
enum Then {
    /// Refused with this status; no byte goes upstream.
    Refused(u16),
    /// The upstream gets one clean message: this request line, this body.
    Clean(&'static str, &'static str),
}

use Then::{Clean, Refused};

/// Runs rows, each followed by a control request that must arrive.
fn run(rows: &[(&str, &str, Then)]) {
    let upstream = Upstream::ok();
    let plane = Plane::of(&[upstream.address]);
    let mut wrong = Vec::new();
    for (name, request, then) in rows {
        let (before, bytes) = (upstream.seen().len(), upstream.bytes());
        let mut client = plane.client();
        let answer = client.send(request).answer();
        let status = answer.map(|answer| answer.status);
        let new = upstream.seen().split_off(before);
        let right = match then {
            Refused(expected) => status == Some(*expected) && client.is_closed() && upstream.bytes() == bytes,
            Clean(line, body) => {
                let [seen] = new.as_slice() else {
                    wrong.push(format!("{name}: {status:?}, {} requests upstream", new.len()));
                    continue;
                };
                let framed = seen.values("transfer-encoding").len() + seen.values("content-length").len();
                let ours = ["expect", "connection", "keep-alive", "trailer", "x_forwarded_user", "x-user"];
                status == Some(200)
                    && seen.line() == *line
                    && seen.body == body.as_bytes()
                    && framed == usize::from(!body.is_empty())
                    && seen.values("host") == ["app.test"]
                    && ours.iter().all(|name| seen.values(name).is_empty())
            }
        };
        if !right {
            wrong.push(format!("{name}: {status:?}, upstream got {new:#?}"));
        }
        let control = plane.client().ask("GET /control HTTP/1.1\r\nhost: app.test\r\n\r\n");
        assert_eq!(control.status, 200, "control after {name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hosts_are_one_and_agree() {
    run(&[
        ("no host", "GET / HTTP/1.1\r\n\r\n", Refused(400)),
        ("no host, HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", Refused(400)),
        ("empty host", "GET / HTTP/1.1\r\nhost:\r\n\r\n", Refused(400)),
        ("two hosts", "GET / HTTP/1.1\r\nhost: app.test\r\nhost: b\r\n\r\n", Refused(400)),
        ("two equal hosts", "GET / HTTP/1.1\r\nhost: app.test\r\nhost: app.test\r\n\r\n", Refused(400)),
        ("a list", "GET / HTTP/1.1\r\nhost: app.test, b\r\n\r\n", Refused(400)),
        ("user information", "GET / HTTP/1.1\r\nhost: u@app.test\r\n\r\n", Refused(400)),
        ("a path", "GET / HTTP/1.1\r\nhost: app.test/x\r\n\r\n", Refused(400)),
        ("absolute form, other host", "GET http://b/ HTTP/1.1\r\nhost: app.test\r\n\r\n", Refused(400)),
        ("absolute form", "GET http://app.test/x?y HTTP/1.1\r\nhost: app.test\r\n\r\n", Clean("GET /x?y HTTP/1.1", "")),
        ("absolute form, other scheme", "GET ftp://app.test/ HTTP/1.1\r\nhost: app.test\r\n\r\n", Refused(400)),
        ("upper case", "GET / HTTP/1.1\r\nHOST: APP.test\r\n\r\n", Clean("GET / HTTP/1.1", "")),
        ("final full stop", "GET / HTTP/1.1\r\nhost: app.test.\r\n\r\n", Clean("GET / HTTP/1.1", "")),
        ("blanks around", "GET / HTTP/1.1\r\nhost: \t app.test \t\r\n\r\n", Clean("GET / HTTP/1.1", "")),
        ("blank before the colon", "GET / HTTP/1.1\r\nhost : app.test\r\n\r\n", Refused(400)),
    ]);
}

#[test]
fn targets_are_canonical() {
    let rows = [
        ("no slash", "admin", Refused(400)),
        ("asterisk", "*", Refused(400)),
        ("two slashes", "//evil/x", Clean("GET //evil/x HTTP/1.1", "")),
        ("backslash", "/a\\b", Refused(400)),
        ("raw UTF-8", "/ä", Refused(400)),
        ("broken encoding", "/%zz", Refused(400)),
        ("encoded NUL", "/%00", Refused(400)),
        ("encoded slash", "/a%2fb", Clean("GET /a%2Fb HTTP/1.1", "")),
        ("encoded dots", "/a/%2e%2e/b", Refused(400)),
        ("dots", "/a/../b", Refused(400)),
        ("a fragment, which no target has", "/a#b?c", Clean("GET /a HTTP/1.1", "")),
        ("unreserved, encoded", "/%61?%61", Clean("GET /a?%61 HTTP/1.1", "")),
        ("dots behind an encoded slash", "/a%2f..%2fb", Refused(400)),
    ];
    let requests: Vec<_> = rows
        .into_iter()
        .map(|(name, target, then)| (name, format!("GET {target} HTTP/1.1\r\nhost: app.test\r\n\r\n"), then))
        .collect();
    let rows: Vec<_> = requests.iter().map(|(name, request, then)| (*name, request.as_str(), *then)).collect();
    run(&rows);
}

#[test]
fn methods_are_upper_case_and_served() {
    let request = |method: &str| format!("{method} / HTTP/1.1\r\nhost: app.test\r\n\r\n");
    run(&[
        ("TRACE", &request("TRACE"), Refused(501)),
        ("CONNECT, origin form", &request("CONNECT"), Refused(501)),
        ("CONNECT", "CONNECT app.test:443 HTTP/1.1\r\nhost: app.test:443\r\n\r\n", Refused(501)),
        ("lower case", &request("get"), Refused(501)),
        ("mixed case", &request("Get"), Refused(501)),
        ("extension", &request("PROPFIND"), Clean("PROPFIND / HTTP/1.1", "")),
        ("symbol", &request("GET!"), Refused(501)),
    ]);
}

#[test]
fn framing_is_one_thing() {
    let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nhost: app.test\r\n{fields}\r\n{body}");
    let chunked = "transfer-encoding: chunked\r\n";
    run(&[
        ("length with zeros", &post("content-length: 002\r\n", "he"), Refused(400)),
        ("length with a sign", &post("content-length: +2\r\n", "he"), Refused(400)),
        ("negative zero", &post("content-length: -0\r\n", ""), Refused(400)),
        ("hexadecimal length", &post("content-length: 0x2\r\n", "he"), Refused(400)),
        ("a list of lengths", &post("content-length: 2, 2\r\n", "he"), Refused(400)),
        ("two numbers", &post("content-length: 2 2\r\n", "he"), Refused(400)),
        ("two lengths", &post("content-length: 2\r\ncontent-length: 3\r\n", "he"), Refused(400)),
        ("one length", &post("content-length: 2\r\n", "he"), Clean("POST / HTTP/1.1", "he")),
        ("a length twice", &post("content-length: 2\r\ncontent-length: 2\r\n", "he"), Clean("POST / HTTP/1.1", "he")),
        ("a length that is too short", &post("content-length: 2\r\n", "hello\r\n\r\n"), Clean("POST / HTTP/1.1", "he")),
        (
            "GET with a body",
            "GET / HTTP/1.1\r\nhost: app.test\r\ncontent-length: 2\r\n\r\nhe",
            Clean("GET / HTTP/1.1", "he"),
        ),
        ("chunks", &post(chunked, "2\r\nhe\r\n0\r\n\r\n"), Clean("POST / HTTP/1.1", "he")),
        ("gzip, chunked", &post("transfer-encoding: gzip, chunked\r\n", "0\r\n\r\n"), Refused(400)),
        ("identity, chunked", &post("transfer-encoding: identity, chunked\r\n", "0\r\n\r\n"), Refused(400)),
        ("chunked, chunked", &post("transfer-encoding: chunked, chunked\r\n", "0\r\n\r\n"), Refused(400)),
        (
            "chunked twice",
            &post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
            Refused(400),
        ),
        ("identity", &post("transfer-encoding: identity\r\n", ""), Refused(400)),
        (
            "length and chunks",
            &post("content-length: 4\r\ntransfer-encoding: chunked\r\n", "2\r\nhe\r\n0\r\n\r\n"),
            Clean("POST / HTTP/1.1", "he"),
        ),
        (
            "chunks and length",
            &post("transfer-encoding: chunked\r\ncontent-length: 4\r\n", "2\r\nhe\r\n0\r\n\r\n"),
            Clean("POST / HTTP/1.1", "he"),
        ),
        (
            "HTTP/1.0 with chunks",
            "POST / HTTP/1.0\r\nhost: app.test\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        ("blank behind a chunk size", &post(chunked, "2 \r\nhe\r\n0\r\n\r\n"), Clean("POST / HTTP/1.1", "he")),
        ("chunk extension", &post(chunked, "2;a=\"b\"\r\nhe\r\n0\r\n\r\n"), Clean("POST / HTTP/1.1", "he")),
        (
            "trailers",
            &post(chunked, "2\r\nhe\r\n0\r\nhost: b\r\ncontent-length: 9\r\nx-user: a\r\n\r\n"),
            Clean("POST / HTTP/1.1", "he"),
        ),
        ("line feeds alone", "GET /lf HTTP/1.1\nhost: app.test\n\n", Clean("GET /lf HTTP/1.1", "")),
        ("folded line", "GET / HTTP/1.1\r\nhost: app.test\r\nx-a: b\r\n c\r\n\r\n", Refused(400)),
        ("no name", "GET / HTTP/1.1\r\nhost: app.test\r\n: x\r\n\r\n", Refused(400)),
        ("NUL in a value", "GET / HTTP/1.1\r\nhost: app.test\r\nx-a: b\0c\r\n\r\n", Refused(400)),
        ("no HTTP", "\u{16}\u{3}\u{1}\r\n\r\n", Refused(400)),
    ]);
}

#[test]
fn broken_chunks_close_the_exchange() {
    let upstream = Upstream::ok();
    let plane = Plane::of(&[upstream.address]);
    for chunk in [
        "FFFFFFFFFFFFFFFF1\r\n",
        "5;\n",
        "5\nhello",
        "2\r\nhelp\r\n",
        "-1\r\n",
        "2;a\rb\r\nhe\r\n",
        "2\r\nhe\r\n0\r\n\n",
    ] {
        let head = "POST / HTTP/1.1\r\nhost: app.test\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut client = plane.client();
        let answer =
            client.send(format!("{head}{chunk}0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: app.test\r\n\r\n")).answer();
        assert_eq!(answer.map(|answer| answer.status), Some(400), "{chunk:?}");
        assert!(client.is_closed(), "{chunk:?}");
    }
    let complete: Vec<_> = upstream.seen().iter().map(|seen| seen.line().to_owned()).collect();
    assert!(!complete.iter().any(|line| line.contains("smuggled")), "{complete:?}");
}

#[test]
fn expectations_are_ours_to_meet() {
    let expecting =
        |value: &str| format!("POST / HTTP/1.1\r\nhost: app.test\r\nexpect: {value}\r\ncontent-length: 2\r\n\r\n");
    run(&[
        ("another expectation", &expecting("y 100-continue"), Refused(417)),
        ("a list", &expecting("100-continue, x"), Refused(417)),
    ]);
    let upstream = Upstream::ok();
    let plane = Plane::of(&[upstream.address]);
    let mut client = plane.client();
    assert_eq!(client.ask(expecting("100-Continue")).status, 100);
    assert_eq!(client.ask("he").status, 200);
    let seen = upstream.seen();
    assert_eq!((seen[0].values("expect"), seen[0].body.as_slice()), (vec![], &b"he"[..]));
}

#[test]
fn too_large_heads_are_refused() {
    let with = |fields: String| format!("GET / HTTP/1.1\r\nhost: app.test\r\n{fields}\r\n");
    let lines = |count| (0..count).map(|number| format!("x-{number}: y\r\n")).collect::<String>();
    run(&[
        ("99 lines", &with(lines(98)), Clean("GET / HTTP/1.1", "")),
        ("101 lines", &with(lines(100)), Refused(431)),
        ("17 KiB", &with(format!("x-a: {}\r\n", "y".repeat(17 * 1024))), Refused(431)),
        ("cookies of 9 KiB", &with(format!("cookie: a={}\r\n", "y".repeat(9 * 1024))), Refused(431)),
        ("33 cookie fields", &with("cookie: a=b\r\n".repeat(33)), Refused(431)),
        (
            "a target of 9 KiB",
            &format!("GET /{} HTTP/1.1\r\nhost: app.test\r\n\r\n", "y".repeat(9 * 1024)),
            Refused(431),
        ),
        ("two authorizations", &with("authorization: a\r\n".repeat(2)), Refused(400)),
    ]);
}

#[test]
fn what_is_no_http_leaves_one_event() {
    let plane = Plane::of(&[]);
    let mut client = plane.client();
    assert_eq!(client.ask("\u{16}\u{3}\u{1}\r\n\r\n").status, 400);
    assert!(client.is_closed());
    let events = plane.trail.until(2);
    let (decision, outcome) = (&events[0], &events[1]);
    assert_eq!((&decision["kind"], &decision["reason"]), (&"RequestRejected".into(), &"bad_request".into()));
    assert_eq!(outcome["status"], 400);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::ok();
    let plane = Plane::of(&[upstream.address]);
    let mut client = plane.client();
    client.send("GET /1 HTTP/1.1\r\nhost: app.test\r\n\r\nGET /2 HTTP/1.1\r\nhost: app.test\r\n\r\n");
    assert_eq!(client.answer().map(|answer| answer.status), Some(200));
    assert_eq!(client.answer().map(|answer| answer.status), Some(200));
    let lines: Vec<_> = upstream.seen().iter().map(|seen| seen.line().to_owned()).collect();
    assert_eq!(lines, ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1"]);
}

#[test]
fn what_is_pipelined_waits_for_the_request_before_it() {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::scripted(move |seen| {
        if seen.line().starts_with("GET /slow") {
            let _ = wait.lock().unwrap().recv();
        }
        Reply::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec())
    });
    let plane = Plane::of(&[upstream.address]);
    let lines = || upstream.seen().iter().map(|seen| seen.line().to_owned()).collect::<Vec<_>>();
    let mut client = plane.client();
    client.send(format!(
        "GET /slow HTTP/1.1\r\nhost: app.test\r\n\r\n{}",
        "GET /behind HTTP/1.1\r\nhost: app.test\r\n\r\n".repeat(9)
    ));
    while lines().is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(plane.client().ask("GET /control HTTP/1.1\r\nhost: app.test\r\n\r\n").status, 200);
    assert_eq!(lines(), ["GET /slow HTTP/1.1", "GET /control HTTP/1.1"]);
    release.send(()).unwrap();
    for _ in 0..10 {
        assert_eq!(client.answer().map(|answer| answer.status), Some(200));
    }
    assert_eq!(lines().len(), 11);
}

#[test]
fn length_and_chunks_together_end_the_connection() {
    let upstream = Upstream::ok();
    let plane = Plane::of(&[upstream.address]);
    let mut client = plane.client();
    let body = "2\r\nhe\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: app.test\r\n\r\n";
    client.send(format!(
        "POST / HTTP/1.1\r\nhost: app.test\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n{body}"
    ));
    assert_eq!(client.answer().map(|answer| answer.status), Some(200));
    assert!(client.is_closed());
    assert_eq!(upstream.seen().len(), 1);
}
