//! As much of an API server as Secrets of one namespace need, in memory: for the tests of this room and of sessions.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The server. Cheap to clone; every clone is the same one.
#[derive(Clone, Default)]
pub(crate) struct FakeApi(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    secrets: BTreeMap<String, Value>,
    version: u64,
    requests: Vec<String>,
    /// What the next requests get in place of an answer.
    refusals: VecDeque<Refusal>,
    watchers: Vec<mpsc::UnboundedSender<Value>>,
}

/// How a request goes wrong.
#[derive(Clone, Copy)]
pub(crate) enum Refusal {
    /// A status of this code and message.
    Status(u16, &'static str),
    /// The connection breaks.
    Reset,
    /// The request is carried out, and its answer is lost.
    Lost,
    /// No answer ever comes.
    Silence,
    /// Nothing goes wrong: for requests before one that does.
    None,
}

impl FakeApi {
    /// A client of this server.
    pub(crate) fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request| {
            let api = api.clone();
            async move { api.answer(request).await }
        });
        kube::Client::new(service, "portcullis")
    }

    /// The next requests go wrong in these ways.
    pub(crate) fn refuse(&self, refusals: impl IntoIterator<Item = Refusal>) {
        self.0.lock().unwrap().refusals.extend(refusals);
    }

    /// All Secrets.
    pub(crate) fn secrets(&self) -> Vec<Value> {
        self.0.lock().unwrap().secrets.values().cloned().collect()
    }

    /// Puts a Secret in past every check.
    pub(crate) fn put(&self, secret: Value) {
        let mut state = self.0.lock().unwrap();
        let name = secret["metadata"]["name"].as_str().unwrap().to_owned();
        let known = state.secrets.contains_key(&name);
        state.write(&name, secret, if known { "MODIFIED" } else { "ADDED" });
    }

    /// Method and path of every request so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap().requests.clone()
    }

    /// Tells every watch an event; a watch that began before hears it.
    pub(crate) fn tell(&self, kind: &str, object: &Value) {
        self.0.lock().unwrap().tell(kind, object);
    }

    /// Ends every watch, as the server does when its time is up.
    pub(crate) fn end_watches(&self) {
        self.0.lock().unwrap().watchers.clear();
    }

    async fn answer(&self, request: Request<Body>) -> Result<Answer, &'static str> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await.map_err(|_| "the request has a body")?;
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let refusal = {
            let mut state = self.0.lock().unwrap();
            let query = head.uri.query().unwrap_or_default();
            state.requests.push(format!("{} {}?{query}", head.method, head.uri.path()));
            state.refusals.pop_front().unwrap_or(Refusal::None)
        };
        match refusal {
            Refusal::None => Ok(self.0.lock().unwrap().serve(&head, body)),
            Refusal::Status(404, _) => Ok(not_found()),
            Refusal::Status(code, message) => Ok(status(code, "", message)),
            Refusal::Reset => Err("connection reset"),
            Refusal::Lost => {
                self.0.lock().unwrap().serve(&head, body);
                Err("connection reset")
            }
            Refusal::Silence => std::future::pending().await,
        }
    }
}

impl State {
    fn serve(&mut self, head: &http::request::Parts, body: Value) -> Answer {
        let query = head.uri.query().unwrap_or_default();
        let name = head.uri.path().strip_prefix("/api/v1/namespaces/portcullis/secrets").unwrap();
        let name = name.trim_start_matches('/').to_owned();
        match (&head.method, name.is_empty()) {
            (&Method::GET, true) if query.contains("watch=true") => self.watch(),
            (&Method::GET, true) => self.list(query),
            (&Method::GET, false) => self.secrets.get(&name).map_or_else(not_found, ok),
            (&Method::POST, _) => {
                let name = body["metadata"]["name"].as_str().unwrap().to_owned();
                if self.secrets.contains_key(&name) {
                    return status(409, "AlreadyExists", "it exists");
                }
                ok(&self.write(&name, body, "ADDED"))
            }
            (&Method::PUT, _) => match self.check(&name, &body["metadata"]) {
                Some(refused) => refused,
                None => ok(&self.write(&name, body, "MODIFIED")),
            },
            (&Method::DELETE, _) => match self.check(&name, &body["preconditions"]) {
                Some(refused) => refused,
                None => {
                    self.version += 1;
                    let mut gone = self.secrets.remove(&name).unwrap();
                    gone["metadata"]["resourceVersion"] = json!(self.version.to_string());
                    self.tell("DELETED", &gone);
                    ok(&json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
                }
            },
            _ => status(405, "MethodNotAllowed", "not here"),
        }
    }

    /// What stands against a write of an object on these terms.
    fn check(&self, name: &str, terms: &Value) -> Option<Answer> {
        let Some(there) = self.secrets.get(name) else { return Some(not_found()) };
        let fits = |field: &str| terms[field].is_null() || terms[field] == there["metadata"][field];
        let all = fits("resourceVersion") && fits("uid");
        (!all).then(|| status(409, "Conflict", "the object has been modified"))
    }

    fn write(&mut self, name: &str, mut secret: Value, kind: &str) -> Value {
        self.version += 1;
        let uid = self
            .secrets
            .get(name)
            .map_or_else(|| json!(format!("uid-{}", self.version)), |s| s["metadata"]["uid"].clone());
        secret["metadata"]["namespace"] = json!("portcullis");
        secret["metadata"]["uid"] = uid;
        secret["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.secrets.insert(name.to_owned(), secret.clone());
        self.tell(kind, &secret);
        secret
    }

    fn list(&self, query: &str) -> Answer {
        let label = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "labelSelector");
        let label = label.map(|(_, label)| label.into_owned());
        let wanted = |s: &&Value| label.as_ref().is_none_or(|label| !s["metadata"]["labels"][label].is_null());
        let items: Vec<_> = self.secrets.values().filter(wanted).collect();
        ok(&json!({
            "kind": "SecretList", "apiVersion": "v1",
            "metadata": {"resourceVersion": self.version.to_string()}, "items": items,
        }))
    }

    fn watch(&mut self) -> Answer {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.watchers.push(sender);
        let lines = futures_util::stream::unfold(receiver, |mut receiver| async {
            let event: Value = receiver.recv().await?;
            Some((Ok(http_body::Frame::data(Bytes::from(format!("{event}\n")))), receiver))
        });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }

    fn tell(&mut self, kind: &str, object: &Value) {
        self.watchers.retain(|watcher| watcher.send(json!({"type": kind, "object": object})).is_ok());
    }
}

fn ok(body: &Value) -> Answer {
    Response::new(Full::new(Bytes::from(body.to_string())).boxed_unsync())
}

fn not_found() -> Answer {
    status(404, "NotFound", "not found")
}

fn status(code: u16, reason: &str, message: &str) -> Answer {
    let mut answer = ok(&json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
    }));
    *answer.status_mut() = code.try_into().unwrap();
    answer
}
