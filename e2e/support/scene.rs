//! What each journey begins with: an installation, its provider, an app and a running Portcullis.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::app::App;
use super::bed::Bed;
use super::client::{Ask, Client};
use super::eventually::{SOON, eventually};
use super::objects;
use super::portcullis::{HERE, PUBLISHED, Place, Portcullis};
use super::provider::{Person, Provider, STAFF};
use super::redis::Redis;
use super::replicas::{ADDRESSES, Beside, Replicas};

/// The guarded app of most journeys.
pub const HOST: &str = "app.localhost";

/// Its neighbour.
pub const NEIGHBOUR: &str = "other.localhost";

/// The hosts of `docs/tasks.md`.
pub const TASKS: [&str; 2] = ["backoffice.localhost", "reports.localhost"];

/// Where the guarded app answers.
pub const APP: &str = "https://app.localhost:8443";

/// Where its neighbour answers.
pub const NEIGHBOUR_APP: &str = "https://other.localhost:8443";

/// Where apps listen.
pub const ENDPOINT: &str = "10.244.1.1";

/// Where one replica alone is.
const LOCALHOST: &str = "127.0.0.1";

/// Until somebody leads where the leader before was killed, and a while.
const LED: Duration = Duration::from_secs(150);

/// One journey's world. Its namespace has the journey's name.
pub struct Scene<'a> {
    /// The test bed.
    pub bed: &'a Bed,
    /// The namespace of the app team.
    pub namespace: &'static str,
    /// The files of the journey.
    pub folder: PathBuf,
    /// The provider.
    pub provider: Provider,
    /// The app.
    pub app: App,
    /// The program under test.
    pub portcullis: Portcullis,
    /// The other replica, where there are two.
    pub beside: Option<Beside>,
}

impl<'a> Scene<'a> {
    /// Sets it up in a cleared cluster; access tokens live for so many seconds.
    pub async fn open(bed: &'a Bed, journey: &'static str, access_token_seconds: u32) -> Self {
        Self::open_at(bed, journey, access_token_seconds, &HERE).await
    }

    /// The same with Portcullis at a place.
    pub async fn open_at(bed: &'a Bed, journey: &'static str, access_token_seconds: u32, place: &Place<'_>) -> Self {
        let start = |folder: &Path| Portcullis::start_at(place, folder, &bed.cluster.portcullis, &bed.authority);
        Self::set(bed, journey, access_token_seconds, start).await
    }

    /// The same with some replicas; the name of the journey ends with their suffix.
    pub async fn open_on(replicas: Replicas, bed: &'a Bed, journey: &'static str, access_token_seconds: u32) -> Self {
        assert!(journey.ends_with(replicas.suffix()), "{journey} is not the name of a journey on these replicas");
        let folder = bed.folder(journey);
        let redis = replicas.store(bed, &folder).await;
        let start = |folder: &Path| replicas.start(bed, folder, 0);
        let scene = Self::set(bed, journey, access_token_seconds, start).await;
        Self { beside: replicas.beside(bed, &folder, redis).await, ..scene }
    }

    async fn set(
        bed: &'a Bed,
        journey: &'static str,
        access_token_seconds: u32,
        start: impl FnOnce(&Path) -> Portcullis,
    ) -> Self {
        bed.clear();
        let folder = bed.folder(journey);
        let hosts = [&[HOST, NEIGHBOUR][..], &TASKS].concat();
        let provider = Provider::start(&folder, &bed.authority, &hosts, access_token_seconds).await;
        bed.cluster.apply(&objects::installation(&bed.authority.pem));
        bed.cluster.apply(&[objects::namespace(journey)]);
        let app = App::start(&format!("{ENDPOINT}:{}", objects::APP_PORT)).await;
        let mut portcullis = start(&folder);
        portcullis.ready().await;
        Self { bed, namespace: journey, folder, provider, app, portcullis, beside: None }
    }

    /// Ends all replicas, and sees that they end well.
    pub async fn stop(self) {
        self.portcullis.stop().await;
        if let Some(beside) = self.beside {
            beside.portcullis.stop().await;
        }
    }

    /// What all replicas have logged.
    pub fn log(&self) -> String {
        self.replicas().map(Portcullis::log).collect()
    }

    /// The audit events of all replicas.
    pub fn audit(&self) -> Vec<Value> {
        self.replicas().flat_map(Portcullis::audit).collect()
    }

    fn replicas(&self) -> impl Iterator<Item = &Portcullis> {
        [&self.portcullis].into_iter().chain(self.beside.as_ref().map(|beside| &beside.portcullis))
    }

    /// Applies the app `name` at `host`, with its certificate, Service, endpoints and Ingress, and waits until it is live at each
    /// replica.
    pub async fn publish(&self, name: &str, host: &str, annotations: Value) {
        let pair = self.bed.authority.issue(&[host]);
        self.bed.cluster.apply(&[
            objects::tls_secret(self.namespace, name, &pair),
            objects::service(self.namespace, name),
            objects::endpoints(self.namespace, name, &[ENDPOINT]),
            objects::ingress(self.namespace, name, host, &annotations),
        ]);
        self.live(name).await;
        // That is the leader's word, about the Ingress alone.
        for replica in self.at_each(&self.visitor()) {
            eventually(&format!("{host} at each replica, with all that belongs to it"), SOON, async || {
                let answer = replica.try_send(Ask::get(&format!("https://{host}:8443"))).await;
                answer.is_ok_and(|answer| !matches!(answer.status, 404 | 502..)).then_some(())
            })
            .await;
        }
    }

    /// Applies the app that the staff alone may use, and waits until it is live.
    pub async fn publish_for_staff(&self) {
        self.bed.cluster.apply(&[objects::policy(self.namespace, "staff", &objects::allow_group("staff"))]);
        self.publish("app", HOST, json!({"portcullis.dev/policies": "staff"})).await;
    }

    /// Waits until an Ingress has its address, which says that it is served.
    pub async fn live(&self, ingress: &str) {
        eventually(&format!("the address of Ingress {ingress}"), LED, async || {
            let object = self.bed.cluster.read(&["ingress", ingress, "--namespace", self.namespace]);
            (object["status"]["loadBalancer"]["ingress"][0]["ip"] == PUBLISHED).then_some(())
        })
        .await;
    }

    /// Waits until an Event about an object says `text`.
    pub async fn event(&self, object: &str, text: &str) {
        eventually(&format!("an Event about {object} with `{text}`"), SOON, async || {
            let events = self.bed.cluster.read(&["events", "--namespace", self.namespace]);
            let mut all = events["items"].as_array().expect("a list").iter();
            all.any(|event| {
                event["involvedObject"]["name"] == object
                    && event["message"].as_str().is_some_and(|message| message.contains(text))
            })
            .then_some(())
        })
        .await;
    }

    /// The names under which sessions rest, wherever they do.
    pub fn stored_sessions(&self) -> Vec<String> {
        let redis = self.beside.as_ref().and_then(|beside| beside.redis.as_ref());
        redis.map_or_else(|| self.session_secrets(), Redis::keys)
    }

    /// The names of the Secrets in which sessions rest.
    pub fn session_secrets(&self) -> Vec<String> {
        let secrets = self.bed.cluster.read(&["secrets", "--namespace", objects::INSTALLATION]);
        let names =
            secrets["items"].as_array().expect("a list").iter().filter_map(|item| item["metadata"]["name"].as_str());
        names.filter(|name| name.starts_with("pcs-")).map(str::to_owned).collect()
    }

    /// Waits until an address answers somebody with a status at each replica.
    pub async fn comes_to(&self, person: &Client, url: &str, status: u16) {
        for replica in self.at_each(person) {
            replica.comes_to(url, status).await;
        }
    }

    /// Somebody without a session.
    pub fn visitor(&self) -> Client {
        Client::new(&self.bed.authority)
    }

    /// The same person at each replica.
    pub fn at_each(&self, person: &Client) -> Vec<Client> {
        let all = self.beside.as_ref().map_or(&[LOCALHOST][..], |_| &ADDRESSES);
        all.iter().map(|address| person.at(address.parse().expect("an address"))).collect()
    }

    /// Waits until somebody counts as signed out at each replica.
    pub async fn signed_out(&self, person: &Client, url: &str, limit: Duration) {
        eventually("nobody's session at any replica", limit, async || {
            for replica in self.at_each(person) {
                if replica.status(url).await != 401 {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// Somebody who came to an address and signed in.
    pub async fn signed_in(&self, url: &str, person: &Person) -> Client {
        let visitor = self.visitor();
        assert_eq!(visitor.sign_in(url, person).await.status, 200);
        visitor
    }

    /// One of the staff who signed in at the app, and the Secret in which that rests.
    pub async fn signed_in_with_secret(&self) -> (Client, String) {
        let before = self.session_secrets();
        let person = self.signed_in(APP, &STAFF).await;
        let secret = self.session_secrets().into_iter().find(|name| !before.contains(name));
        (person, secret.expect("a session rests in a Secret"))
    }
}
