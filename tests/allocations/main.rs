//! Allocations per proxied request, over TLS, in the steady state: counted for the whole process, which is listeners,
//! audit writer and an upstream that allocates nothing. The client is a process of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/anyone.rs"]
mod anyone;
mod client;
#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/plane.rs"]
mod plane;

use std::alloc::System;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use portcullis::budget::Limits;
use portcullis::host::Host;
use portcullis::identity::{Email, Groups, Identity, Issuer, Principal, Subject};
use portcullis::oidc::{ClaimPaths, Provider};
use portcullis::policy::{Description, Effect, Policy, PrincipalMatch, RequestMatch, Rule};
use portcullis::route::{Access, IdentityHeader, Route, RouteSettings};
use portcullis::secret::Secret;
use portcullis::session::{Lifetimes, NewSession, Tokens};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use client::Client;
use plane::{Plane, certificate, open, open_with, snapshot_of};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests between two looks at the counter.
const REQUESTS: usize = 2000;

/// Allocations of one request to an open route, over HTTP/1.1. Lower it when you can; raise it only with a reason.
const OPEN: usize = 15;

/// What being signed in may add.
const SIGNED_IN_MORE: usize = 2;

#[test]
fn a_signed_in_request_allocates_little_more_than_an_open_one() {
    if client::is_asked_for() {
        return client::run();
    }
    let plane = Plane::start(
        snapshot_of(vec![open("open.test", &[upstream()]), guarded(upstream())], &[certificate(&["*.test"])]),
        Limits::default(),
    );
    let cookie = plane.block_on(async {
        let begun = plane.sessions.begin(jane()).await.unwrap();
        plane.sessions.cookie(&begun.session, &begun.ticket).split(';').next().unwrap().to_owned()
    });
    let open = per_request(plane.https, "open.test", "theme=dark");
    let signed_in = per_request(plane.https, "app.test", &format!("theme=dark; {cookie}"));
    println!("allocations per request: open {open}, signed in {signed_in}");
    assert!(open <= OPEN, "{open} allocations, committed are {OPEN}");
    assert!(signed_in <= open + SIGNED_IN_MORE, "signed in {signed_in}, open {open}");
}

/// Allocations of one request, rounded.
fn per_request(address: SocketAddr, host: &str, cookie: &str) -> usize {
    let mut client = Client::start(address, host, cookie);
    client.ask(200);
    let region = Region::new(ALLOCATOR);
    client.ask(REQUESTS);
    let stats = region.change();
    (stats.allocations + stats.reallocations + REQUESTS / 2) / REQUESTS
}

/// Answers every head with the same kibibyte, and allocates nothing once a connection is open.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1024\r\n\r\n{}", "x".repeat(1024));
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            thread::spawn(move || {
                let mut head = [0; 8192];
                let mut length = 0;
                while let Ok(count @ 1..) = stream.read(&mut head[length..]) {
                    length += count;
                    if head[..length].ends_with(b"\r\n\r\n") {
                        stream.write_all(answer.as_bytes()).unwrap();
                        length = 0;
                    }
                }
            });
        }
    });
    address
}

/// A route for one group, which is told who asks.
fn guarded(upstream: SocketAddr) -> Route {
    let identity_headers = [IdentityHeader::User, IdentityHeader::Email, IdentityHeader::Groups].into();
    let settings = RouteSettings { identity_headers, ..RouteSettings::default() };
    let staff = Description { groups: Groups::new(["staff"]), ..Description::default() };
    let rule = Rule {
        name: "test/policy:staff".into(),
        effect: Effect::Allow,
        request: RequestMatch::default(),
        principal: PrincipalMatch::Described(Box::new(staff)),
    };
    let access =
        Access::Guarded { policy: Arc::new(Policy { rules: [rule].into() }), provider: Some(Arc::new(provider())) };
    Route { access, ..open_with("app.test", &[upstream], settings) }
}

fn provider() -> Provider {
    Provider {
        name: "test".into(),
        display_name: "Test".into(),
        issuer: Issuer("https://issuer.test".into()),
        client_id: "portcullis".into(),
        client_secret: Secret::new("secret".to_owned()),
        scopes: ["openid".into()].into(),
        claims: ClaimPaths {
            email: "email".into(),
            groups: "groups".into(),
            name: "name".into(),
            username: "preferred_username".into(),
        },
        kept_claims: BTreeSet::new(),
        ca_bundle: None,
        loopback_http: false,
        require_verified_email: true,
        allowed_email_domains: [].into(),
        rp_initiated_logout: false,
    }
}

fn jane() -> NewSession {
    NewSession {
        principal: Principal {
            identity: Identity { issuer: Issuer("https://issuer.test".into()), subject: Subject("jane".into()) },
            email: Email::parse("jane@example.com"),
            name: Some("Jane".into()),
            preferred_username: Some("jane".into()),
            groups: Groups::new(["staff", "finance"]),
            claims: BTreeMap::new(),
        },
        provider: "test".to_owned(),
        host: Host::parse("app.test").unwrap(),
        lifetimes: Lifetimes { absolute: Duration::from_secs(3600), idle: Duration::from_secs(600) },
        sid: None,
        acr: None,
        amr: Vec::new(),
        auth_time: None,
        nonce: Secret::new(String::new()),
        tokens: Tokens::default(),
    }
}
