//! The same over HTTP/2: cookies that come in crumbs, and heads without bodies.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::browser::{Browser, SESSION};
use crate::house::House;

/// Sends one request over a connection of its own.
fn ask(house: &House, browser: &Browser, mut request: Request<Empty<Bytes>>) -> Response<Bytes> {
    let mut tls = (*browser.tls).clone();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let host = request.uri().host().unwrap().to_owned();
    *request.version_mut() = http::Version::HTTP_2;
    house.block_on(async {
        let stream = TcpStream::connect(house.https).await.unwrap();
        let stream = TlsConnector::from(Arc::new(tls)).connect(host.try_into().unwrap(), stream).await.unwrap();
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let running = tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        running.abort();
        Response::from_parts(head, body)
    })
}

#[test]
fn a_session_cookie_in_crumbs_counts_and_stays_here() {
    let house = House::new();
    let browser = house.signed_in();
    let session = format!("{SESSION}={}", browser.session("app.test").unwrap());
    let request = Request::get("https://app.test/crumbs")
        .header(header::COOKIE, "theme=dark")
        .header(header::COOKIE, &session)
        .header(header::COOKIE, "lang=de")
        .body(Empty::new())
        .unwrap();
    assert_eq!(ask(&house, &browser, request).status(), 200);
    let seen = house.upstream.seen().pop().unwrap();
    assert_eq!((seen.line(), seen.values("cookie")), ("GET /crumbs HTTP/1.1", vec!["theme=dark; lang=de"]));
}

#[test]
fn two_crumbs_of_our_name_are_no_session() {
    let house = House::new();
    let browser = house.signed_in();
    let session = format!("{SESSION}={}", browser.session("app.test").unwrap());
    let request = Request::get("https://app.test/")
        .header(header::COOKIE, &session)
        .header(header::COOKIE, &session)
        .body(Empty::new())
        .unwrap();
    let answer = house.nothing_upstream(|| ask(&house, &browser, request));
    assert_eq!(answer.status(), 401);
}

#[test]
fn head_gets_the_head_alone() {
    let house = House::new();
    let browser = house.browser();
    let request = Request::head("https://app.test/.portcullis/").body(Empty::new()).unwrap();
    let answer = ask(&house, &browser, request);
    assert_eq!((answer.status().as_u16(), answer.body().len()), (200, 0));
    assert_ne!(answer.headers()[header::CONTENT_LENGTH], "0");
}
