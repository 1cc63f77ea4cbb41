//! What the audit trail must tell of a request, whatever comes of it, and what every answer of ours gets on its way out.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY};
use http::{Method, Request, Response};

use crate::audit::{Event, Kind, Outcome, RequestId, Slot};
use crate::identity::Identity;
use crate::metrics::{Decision, RequestCounts};

use super::admit::{CanonicalRequest, Conn};
use super::body::{ProxyBody, own};
use super::endpoints::Answer;
use super::negotiation::Form;
use super::pages::Page;
use super::rejection::{Refusal, Rejection};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is known of a request so far, with the reserved place of its record. `'s` is the snapshot.
pub struct Trail<'s> {
    /// Its id.
    pub id: RequestId,
    /// The generation of its snapshot.
    pub generation: u64,
    /// The reserved place, until the decision is recorded.
    pub slot: Option<Slot>,
    /// The request, from admission on.
    pub request: Option<CanonicalRequest>,
    /// The route's `namespace/ingress`, where one was found.
    pub ingress: Option<&'s str>,
    /// `Strict-Transport-Security` of the host, over HTTPS.
    pub hsts: Option<&'s HeaderValue>,
    /// Why it is answered as it is, by stable name.
    pub reason: &'static str,
    /// Where it is counted, where a route was found.
    pub counts: Option<&'s RequestCounts>,
    /// What was decided of it.
    pub decision: Decision,
    peer: IpAddr,
    accept: Option<HeaderValue>,
    head: bool,
}

impl<'s> Trail<'s> {
    /// The trail of a request that has just come in.
    pub fn new<B>(slot: Slot, request: &Request<B>, conn: &Conn, generation: u64) -> Self {
        Self {
            id: slot.id(),
            generation,
            slot: Some(slot),
            request: None,
            ingress: None,
            hsts: None,
            reason: Refusal::Internal.reason(),
            counts: None,
            decision: Decision::None,
            peer: conn.peer.ip(),
            accept: request.headers().get(ACCEPT).cloned(),
            head: *request.method() == Method::HEAD,
        }
    }

    /// The form in which an answer of ours is wanted.
    pub fn form(&self) -> Form {
        Form::of(self.accept.as_ref().and_then(|accept| accept.to_str().ok()))
    }

    /// Records an answer of ours and sends it.
    pub fn answer(&mut self, answer: Answer) -> Response<ProxyBody> {
        self.reason = answer.reason;
        self.decision = decision(answer.kind);
        let outcome = self.slot.take().map(|slot| {
            let (rule, subject) = (answer.rule.as_deref(), answer.subject.as_ref().map(Identity::told));
            slot.decided(Event { rule, subject: subject.as_ref(), ..self.event(answer.kind, answer.reason) })
        });
        self.send(answer.response, outcome)
    }

    /// Records a refusal and sends its page.
    pub fn refuse(&mut self, rejection: &Rejection) -> Response<ProxyBody> {
        tracing::debug!(id = %self.id, reason = rejection.name, detail = %rejection.detail, "request refused");
        self.answer(Answer::refusal(rejection, &Page::refusal(&rejection.notice(), self.id), self.form()))
    }

    /// Sends the page of a request whose decision is recorded already.
    pub fn fail(&mut self, rejection: &Rejection, mut outcome: Outcome) -> Response<ProxyBody> {
        outcome.note(|event| event.error = Some(rejection.name));
        tracing::debug!(id = %self.id, reason = rejection.name, detail = %rejection.detail, "no upstream answered");
        self.reason = rejection.name;
        self.send(Page::refusal(&rejection.notice(), self.id).respond(self.form()), Some(outcome))
    }

    /// An event with what is known of the request so far.
    fn event<'e>(&'e self, kind: Kind, reason: &'e str) -> Event<'e> {
        let request = self.request.as_ref();
        Event {
            kind,
            reason,
            rule: None,
            subject: None,
            method: request.map_or("", |request| request.method().as_str()),
            host: request.map_or("", |request| request.host().as_str()),
            path: request.map_or("", |request| request.target().path().as_str()),
            ingress: self.ingress,
            peer: Some(self.peer),
            generation: self.generation,
        }
    }

    fn send(&self, mut response: Response<Bytes>, outcome: Option<Outcome>) -> Response<ProxyBody> {
        let length = response.body().len();
        if self.head {
            *response.body_mut() = Bytes::new();
        }
        let id = HeaderValue::from_bytes(&self.id.digits()).expect("an id is hex digits");
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(X_REQUEST_ID, id);
        self.add_hsts(&mut response);
        own(response, outcome)
    }

    /// Every answer of a guarded host has it, in place of what the upstream says.
    pub fn add_hsts<B>(&self, response: &mut Response<B>) {
        if let Some(hsts) = self.hsts {
            response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
    }
}

fn decision(kind: Kind) -> Decision {
    match kind {
        Kind::AuthorizationAllowed => Decision::Allowed,
        Kind::AuthorizationChallenged => Decision::Challenged,
        Kind::AuthorizationDenied => Decision::Denied,
        _ => Decision::None,
    }
}

/// Its client went away before an answer.
impl Drop for Trail<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            let Event { kind, reason, .. } = Event::abandoned();
            drop(slot.decided(self.event(kind, reason)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::super::admit::{Transport, admit};
    use super::super::headers::Pseudonym;
    use super::*;
    use crate::audit::Audit;
    use crate::budget::Limits;
    use crate::clock::Clock;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_request_that_its_client_gives_up_leaves_what_was_known() {
        let lines = Lines::default();
        let audit = Audit::with_sink(Box::new(lines.clone()), RequestId(1), Clock::system()).unwrap();
        let address = "192.0.2.7:1".parse().unwrap();
        let conn = Conn::new(address, address, Transport::Plain, Pseudonym::new());
        let request = Request::get("/a?b").header("host", "app.test").body(()).unwrap();
        let mut trail = Trail::new(audit.reserve(RequestId(2)).unwrap(), &request, &conn, 7);
        trail.request = Some(admit(request.into_parts().0, &conn, &Limits::default()).unwrap());
        trail.ingress = Some("shop/web");
        drop(trail);
        drop(audit);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let told = ["kind", "reason", "method", "host", "path", "ingress", "peer"].map(|name| lines[0][name].clone());
        assert_eq!(told, ["Abandoned", "abandoned", "GET", "app.test", "/a", "shop/web", "192.0.2.7"]);
        assert_eq!((&lines[1]["kind"], &lines[1]["status"], lines.len()), (&"Outcome".into(), &0.into(), 2));
    }
}
