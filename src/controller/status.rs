//! What people see of a compile in the cluster: statuses and Events, written by the leader alone.
//!
//! A status is written only when it differs from the live object, times aside, and only after the snapshot that it speaks of
//! is published. Serving never waits for it. Nothing is cleared on shutdown or when leadership is lost.

mod event;
mod issuer;
mod wanted;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Api, Patch, PatchParams, Resource};
use kube::core::NamespaceResourceScope;
use kube::{Client, Error};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Live;
use super::publish::Addresses;
use super::report::{Finding, Kind, ObjectRef};
use crate::api::{IdentityProvider, Policy, Portcullis};
use crate::clock::Clock;
use crate::oidc::Oidc;
use event::Announcer;
use wanted::{Here, Wanted};

/// The longest a call to the API server may take.
const CALL: Duration = Duration::from_secs(5);

/// The pause after the API server did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// How often to look at what changes without a compile: the health of issuers, the ends of certificates.
const LOOK: Duration = Duration::from_secs(5);

/// The writer of statuses and Events.
pub struct StatusWriter {
    /// How to reach the API server.
    pub client: Client,
    /// What is known of issuers.
    pub oidc: Oidc,
    /// The time of conditions and Events, and what ends of certificates are compared with.
    pub clock: Clock,
    /// The field manager of our statuses; no other installation may have the same.
    pub field_manager: String,
    /// Who reports, in Events: this process.
    pub identity: String,
    /// The addresses that an Ingress gets.
    pub addresses: Addresses,
    /// What is wrong with the installation itself, as long as something is.
    pub trouble: watch::Receiver<Option<Finding>>,
}

/// What the writer remembers between two looks.
struct Writing {
    writer: StatusWriter,
    announcer: Announcer,
    /// What was written over which version of an object: the watch has not told of it yet.
    written: HashMap<ObjectRef, Wanted>,
    /// What the API server refused, until it is tried again.
    refused: HashMap<ObjectRef, Wanted>,
    /// Findings whose Event is written.
    announced: BTreeSet<Finding>,
    /// Whether the API server has not answered the last call.
    silent: bool,
}

/// How a call ended.
enum Answer {
    Done,
    /// The API server said no, to this object alone.
    Refused(String),
    /// Nothing useful came back.
    Silent(String),
}

impl StatusWriter {
    /// Writes whatever `live` brings while `leading`, until either is gone.
    pub async fn run(self, mut live: watch::Receiver<Option<Arc<Live>>>, mut leading: watch::Receiver<bool>) {
        let announcer = Announcer::new(&self);
        let mut writing = Writing {
            writer: self,
            announcer,
            written: HashMap::new(),
            refused: HashMap::new(),
            announced: BTreeSet::new(),
            silent: false,
        };
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let open = tokio::select! {
                changed = live.changed() => changed.is_ok(),
                changed = leading.changed() => changed.is_ok(),
                () = writing.writer.addresses.changed() => true,
                _ = look.tick() => {
                    writing.refused.clear();
                    true
                }
            };
            if !open {
                return;
            }
            if *leading.borrow_and_update() {
                writing.write(&mut live, &leading).await;
            } else {
                writing.announced.clear();
            }
        }
    }
}

impl Writing {
    /// Writes what there is to write, newest objects first; begins again when something newer is live.
    async fn write(&mut self, live: &mut watch::Receiver<Option<Arc<Live>>>, leading: &watch::Receiver<bool>) {
        'newest: loop {
            let Some(now) = live.borrow_and_update().clone() else { return };
            self.written.retain(|object, written| wanted::version(&now.world, object) == written.over);
            for wanted in self.wanted(&now) {
                if !*leading.borrow() {
                    return;
                }
                if live.has_changed().unwrap_or(false) {
                    continue 'newest;
                }
                if !self.write_status(wanted).await {
                    tokio::time::sleep(PAUSE).await;
                    continue 'newest;
                }
            }
            let StatusWriter { oidc, clock, trouble, addresses, .. } = &self.writer;
            let mut findings = wanted::findings(&now.report, &|issuer| oidc.health(issuer), clock.now());
            findings.extend(trouble.borrow().clone().into_iter().chain(addresses.finding()));
            self.announced.retain(|finding| findings.contains(finding));
            for finding in findings {
                if live.has_changed().unwrap_or(false) {
                    continue 'newest;
                }
                if !*leading.borrow() || !self.announce(&now, finding).await {
                    return;
                }
            }
            return;
        }
    }

    fn wanted(&self, live: &Live) -> Vec<Wanted> {
        let StatusWriter { oidc, clock, field_manager, addresses, .. } = &self.writer;
        let addresses = &addresses.now();
        let here = Here { addresses, field_manager, health: &|issuer| oidc.health(issuer), now: clock.now() };
        wanted::statuses(here, live)
    }

    /// Writes one status, unless that was done or refused already; `false` where the API server does not answer.
    async fn write_status(&mut self, wanted: Wanted) -> bool {
        let object = wanted.object.clone();
        let same = |held: Option<&Wanted>| held.is_some_and(|held| held.over == wanted.over && held.same(&wanted));
        if same(self.written.get(&object)) || same(self.refused.get(&object)) {
            return true;
        }
        match self.writer.apply(&wanted).await {
            Answer::Done => {
                self.written.insert(object, wanted);
            }
            Answer::Refused(why) => {
                tracing::warn!(object = ?object.kind, name = %object.name, why, "a status was refused");
                self.refused.insert(object, wanted);
            }
            Answer::Silent(why) => return self.is_silent(&why),
        }
        self.silent = false;
        true
    }

    /// One line for each time that the API server stops to answer; always `false`.
    fn is_silent(&mut self, why: &str) -> bool {
        if !std::mem::replace(&mut self.silent, true) {
            tracing::warn!(why, "cannot write statuses, trying again");
        }
        false
    }

    /// Writes the Event of a finding, once while it lasts; `false` where the API server does not answer.
    async fn announce(&mut self, live: &Live, finding: Finding) -> bool {
        if self.announced.contains(&finding) {
            return true;
        }
        if finding.reason == wanted::EXPIRED {
            tracing::warn!(secret = %finding.object.name, problem = finding.message, remedy = finding.remedy, "finding");
        }
        let uid = wanted::uid(&live.world, &finding.object);
        match self.announcer.announce(&finding, uid, self.writer.clock.now()).await {
            Answer::Done => {}
            Answer::Refused(why) => tracing::warn!(why, "an Event was refused"),
            Answer::Silent(why) => return self.is_silent(&why),
        }
        self.silent = false;
        self.announced.insert(finding);
        true
    }
}

impl StatusWriter {
    async fn apply(&self, wanted: &Wanted) -> Answer {
        match wanted.object.kind {
            Kind::Ingress => self.apply_in::<Ingress>(wanted).await,
            Kind::Policy => self.apply_in::<Policy>(wanted).await,
            Kind::IdentityProvider => self.apply_to(&Api::<IdentityProvider>::all(self.client.clone()), wanted).await,
            Kind::Portcullis => self.apply_to(&Api::<Portcullis>::all(self.client.clone()), wanted).await,
            kind => Answer::Refused(format!("a {kind:?} has no status")),
        }
    }

    async fn apply_in<K>(&self, wanted: &Wanted) -> Answer
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + std::fmt::Debug,
    {
        self.apply_to(&Api::<K>::namespaced(self.client.clone(), &wanted.object.name.namespace), wanted).await
    }

    /// By server-side apply: what we no longer say is taken back, and nothing of anybody else is touched.
    async fn apply_to<K>(&self, api: &Api<K>, wanted: &Wanted) -> Answer
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug,
    {
        let params = PatchParams::apply(&self.field_manager).force();
        let body = serde_json::json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {"name": &*wanted.object.name.name},
            "status": wanted.status,
        });
        Answer::of(timeout(CALL, api.patch_status(&wanted.object.name.name, &params, &Patch::Apply(&body))).await)
    }
}

impl Answer {
    fn of<T>(answer: Result<Result<T, Error>, tokio::time::error::Elapsed>) -> Self {
        match answer {
            Ok(Ok(_)) => Self::Done,
            // It is gone; the watch will tell.
            Ok(Err(Error::Api(status))) if status.code == 404 => Self::Done,
            Ok(Err(Error::Api(status))) if status.code < 500 && status.code != 429 => {
                Self::Refused(status.message.clone())
            }
            Ok(Err(error)) => Self::Silent(error.to_string()),
            Err(_) => Self::Silent("the API server does not answer".to_owned()),
        }
    }
}
