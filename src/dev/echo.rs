//! The echo upstream: answers every request with what it received, so that a person sees what an app would see.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::serve;

/// What an app would see.
#[derive(Serialize)]
struct Received {
    method: String,
    target: String,
    headers: BTreeMap<String, Vec<String>>,
    body_bytes: usize,
}

/// Serves.
pub async fn run(listener: TcpListener) {
    serve::serve(listener, |_: SocketAddr, request: Request<Bytes>| async move { answer(&request) }).await;
}

fn answer(request: &Request<Bytes>) -> Response<Full<Bytes>> {
    let received = Received {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        headers: texts(request.headers()),
        body_bytes: request.body().len(),
    };
    if accepts_html(request.headers()) {
        return serve::typed(StatusCode::OK, "text/html; charset=utf-8", page(&received));
    }
    let json = serde_json::to_string_pretty(&received).expect("plain data");
    serve::typed(StatusCode::OK, "application/json", json + "\n")
}

fn texts(fields: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut texts = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in fields {
        texts.entry(name.to_string()).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    texts
}

fn accepts_html(fields: &HeaderMap) -> bool {
    fields
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

fn page(received: &Received) -> String {
    let mut rows = String::new();
    for (name, values) in &received.headers {
        let class = if name.starts_with("x-auth-request-") { " class=ours" } else { "" };
        for value in values {
            writeln!(rows, "<tr{class}><th scope=row>{}<td>{}", escaped(name), escaped(value))
                .expect("a string takes everything");
        }
    }
    let (method, target) = (escaped(&received.method), escaped(&received.target));
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>Echo</title>\
         <style>:root{{color-scheme:light dark}}body{{font:1rem/1.5 system-ui;max-width:48rem;margin:2rem auto;padding:0 1rem}}\
         th{{text-align:left;vertical-align:top;padding-right:1rem;font-weight:normal}}td{{overflow-wrap:anywhere}}\
         .ours{{font-weight:bold}}</style><h1>You reached the app</h1><p>It received <code>{method} {target}</code> with these \
         fields; the bold ones say who you are. Sign out, or see who you are: <a href=\"/.portcullis/\">/.portcullis/</a></p>\
         <table>{rows}</table></html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_what_was_sent_and_runs_none_of_it() {
        let request = Request::get("/deep?link=1").header("x-a", "<script>").body(Bytes::new()).unwrap();
        let page = page(&Received {
            method: "GET".into(),
            target: request.uri().to_string(),
            headers: texts(request.headers()),
            body_bytes: 0,
        });
        assert!(page.contains("/deep?link=1") && page.contains("&lt;script&gt;") && !page.contains("<script>"));
    }
}
