//! The RBAC in `manifests/`, verb by verb: with all of it everything works, and without any one verb something fails.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use kube::Client;
use portcullis::controller::Live;
use portcullis::controller::world::ObjectName;
use portcullis::session::{RecordKey, SecretStore, Store, StoreError};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::bed::Bed;
use crate::support::controller::{InProcess, client};
use crate::support::eventually::SOON;
use crate::support::objects::{self, INSTALLATION, WATCHED};
use crate::support::portcullis::PUBLISHED;

/// How long to look, at least, for what must not come, where nothing tells that it never will.
const NEVER: Duration = Duration::from_secs(3);

/// What a verb is for.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Use {
    /// The first compile waits for a list of each kind.
    GoesLive,
    /// A change is seen.
    Follows,
    /// A status or an Event is written.
    Writes,
    /// Somebody leads.
    Leads,
    /// Sessions are stored.
    Stores,
}

/// Every verb of the manifests, on what, and what fails without it.
const VERBS: &[(&str, &[&str], Use)] = &[
    ("list", WATCHED, Use::GoesLive),
    ("watch", WATCHED, Use::Follows),
    ("patch", WRITTEN, Use::Writes),
    ("create", &["events"], Use::Writes),
    ("create", &["leases"], Use::Leads),
    ("get", &["leases"], Use::Leads),
    ("update", &["leases"], Use::Leads),
    ("get", &["secrets"], Use::Stores),
    ("create", &["secrets"], Use::Stores),
    ("update", &["secrets"], Use::Stores),
    ("delete", &["secrets"], Use::Stores),
];

const WRITTEN: &[&str] =
    &["ingresses/status", "policies/status", "identityproviders/status", "portcullises/status", "events"];

/// A user, and the verb that he lacks.
struct User {
    name: String,
    client: Client,
    lacks: Option<(&'static str, &'static str)>,
}

pub async fn journey(bed: &Bed) {
    bed.clear();
    let all = User::new(bed, None).await;
    let mut never = NEVER;
    for it in [Use::GoesLive, Use::Follows, Use::Writes, Use::Leads, Use::Stores] {
        let from = Instant::now();
        assert!(all.can(bed, it, SOON).await, "with every verb it works: {it:?}");
        // On a slow machine, what takes long for who may must not pass for what never comes.
        never = never.max(2 * from.elapsed());
    }
    let granted = granted();
    let table: BTreeSet<_> = VERBS
        .iter()
        .flat_map(|(verb, resources, _)| resources.iter().map(|resource| ((*verb).to_owned(), (*resource).to_owned())))
        .collect();
    assert_eq!(granted, table, "the table above says what each verb is for");

    for (verb, resources, it) in VERBS {
        let cases = resources.iter().map(async |resource| {
            let user = User::new(bed, Some((verb, resource))).await;
            assert!(!user.can(bed, *it, never).await, "without {verb} {resource} it still works: {it:?}");
        });
        // Those who write would write each other's statuses.
        if *it == Use::Writes {
            for case in cases {
                case.await;
            }
        } else {
            join_all(cases).await;
        }
    }
    // Who may not delete has left a session behind.
    bed.cluster.kubectl(&[
        "delete",
        "secrets",
        "--namespace",
        INSTALLATION,
        "--selector",
        "portcullis.dev/session-ends",
    ]);
}

impl User {
    async fn new(bed: &Bed, lacks: Option<(&'static str, &'static str)>) -> Self {
        let name = lacks.map_or("everything".to_owned(), |(verb, on)| format!("no-{verb}-{}", on.replace('/', "-")));
        bed.cluster.apply(&roles(&name, lacks));
        bed.cluster.apply(&[objects::namespace(&name), objects::namespace(&format!("{name}-ending"))]);
        Self { client: client(&bed.cluster, &name).await, name, lacks }
    }

    async fn can(&self, bed: &Bed, it: Use, limit: Duration) -> bool {
        match it {
            Use::GoesLive => self.follow().within(limit, |_| Some(())).await.is_some(),
            Use::Follows => self.follows(bed, limit).await,
            Use::Writes => self.writes(bed, limit).await,
            Use::Leads => self.leads(bed, limit).await,
            Use::Stores => self.stores().await.is_ok(),
        }
    }

    fn follow(&self) -> InProcess {
        InProcess::follow(&self.client, &[&self.name])
    }

    /// Whether it sees what is applied, or deleted, after it is live: of all kinds, or of the one that it may not watch.
    async fn follows(&self, bed: &Bed, limit: Duration) -> bool {
        let mut following = self.follow();
        following.until("a first compile", |_| Some(())).await;
        self.apply_all(bed);
        bed.cluster.kubectl(&["delete", "namespace", &format!("{}-ending", self.name), "--wait=false"]);
        let kinds: Vec<_> = WATCHED.iter().filter(|kind| self.lacks.is_none_or(|(_, on)| on == **kind)).collect();
        within(limit, async || {
            let live = following.live.borrow().clone();
            live.is_some_and(|live| kinds.iter().all(|kind| sees(&live, kind, &self.name)))
        })
        .await
    }

    fn apply_all(&self, bed: &Bed) {
        let name = &*self.name;
        // The class, its settings and its provider, each under the name of the user.
        let installation = objects::installation("").into_iter().take(3);
        let mut applied: Vec<_> = installation.collect();
        for object in &mut applied {
            object["metadata"]["name"] = json!(name);
        }
        applied[0]["spec"]["parameters"]["name"] = json!(name);
        let mut ingress =
            objects::ingress(name, "web", &format!("{name}.localhost"), &json!({"portcullis.dev/access": "public"}));
        ingress["spec"]["ingressClassName"] = json!(name);
        applied.extend([
            objects::tls_secret(name, "web", &bed.authority.issue(&[&format!("{name}.localhost")])),
            objects::service(name, "web"),
            objects::endpoints(name, "web", &["10.244.1.1"]),
            objects::policy(name, "web", &json!([{"name": "nobody", "effect": "Deny", "unknown": true}])),
            ingress,
        ]);
        bed.cluster.apply(&applied);
    }

    /// Whether every status and Event is written, and an Event that is there counted up.
    async fn writes(&self, bed: &Bed, limit: Duration) -> bool {
        self.apply_all(bed);
        let mut first = InProcess::start_leading(&self.client, &[&self.name], "first");
        first.until("a first compile", |_| Some(())).await;
        let name = &*self.name;
        let read = |kind: &str, object: &str| bed.cluster.read(&[kind, object, "--namespace", name]);
        let written = within(limit, async || {
            let ingress = read("ingress", "web");
            let conditions =
                [("policies", "web"), ("identityproviders", name), ("portcullises", name)].map(|(kind, object)| {
                    read(&format!("{kind}.portcullis.dev"), object)["status"]["conditions"][0].clone()
                });
            ingress["status"]["loadBalancer"]["ingress"][0]["ip"] == PUBLISHED
                && conditions.iter().all(Value::is_object)
                && events(bed, name).iter().any(|event| event["regarding"]["kind"] == "Policy")
        })
        .await;
        first.end().await;
        if !written {
            return false;
        }
        let second = InProcess::start_leading(&self.client, &[name], "second");
        let again = within(limit, async || events(bed, name).iter().any(|event| event["series"]["count"] == 2)).await;
        second.end().await;
        again
    }

    /// Whether it takes a lease that is not there, and one that was given back.
    async fn leads(&self, bed: &Bed, limit: Duration) -> bool {
        let delete = || {
            bed.cluster.kubectl(&["delete", "lease", "portcullis", "--namespace", INSTALLATION, "--ignore-not-found"])
        };
        if self.lacks.is_none_or(|(verb, _)| verb == "create") {
            delete();
        }
        for _ in ["not there", "given back"] {
            let mut candidate = InProcess::candidate(&self.client, &self.name);
            let led = tokio::time::timeout(limit, candidate.leading.wait_for(|leading| *leading)).await.is_ok();
            candidate.end().await;
            if !led {
                return false;
            }
        }
        true
    }

    /// A session from its beginning to its end.
    async fn stores(&self) -> Result<(), StoreError> {
        let store = SecretStore::new(self.client.clone(), INSTALLATION, 1);
        let key = RecordKey(blake3::hash(self.name.as_bytes()).into());
        let ends = Timestamp::from_second(4_000_000_000).expect("it is in range");
        let version = store.create(key, vec![1], ends).await?;
        store.replace(key, version, vec![2], ends).await?;
        let read = store.read(key).await?;
        store.remove(key).await?;
        read.map(|_| ()).ok_or(StoreError::Conflict)
    }
}

/// Whether what [`User::apply_all`] applied of a kind is there.
fn sees(live: &Live, kind: &str, user: &str) -> bool {
    let world = &live.world;
    let (web, own) = (ObjectName::new(user, "web"), ObjectName::new("", user));
    match kind {
        "namespaces" => world.terminating.contains(&*format!("{user}-ending")),
        "secrets" => world.secrets.contains_key(&web),
        "services" => world.services.contains_key(&web),
        "endpointslices" => world.endpoints.values().any(|set| !set.load().is_empty()),
        "ingressclasses" => world.classes.contains_key(&own),
        "ingresses" => world.ingresses.contains_key(&web),
        "identityproviders" => world.providers.contains_key(&own),
        "policies" => world.policies.contains_key(&web),
        "portcullises" => world.portcullises.contains_key(&own),
        other => panic!("{other} is not watched"),
    }
}

fn events(bed: &Bed, namespace: &str) -> Vec<Value> {
    let events = bed.cluster.read(&["events.events.k8s.io", "--namespace", namespace]);
    events["items"].as_array().cloned().unwrap_or_default()
}

/// Whether it comes true in time.
async fn within(limit: Duration, mut look: impl AsyncFnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if look().await {
            return true;
        }
        sleep(Duration::from_millis(50)).await;
    }
    false
}

/// The objects of `manifests/rbac.yaml`.
fn manifest() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/rbac.yaml");
    serde_saphyr::from_multiple(&fs::read_to_string(path).expect("the manifest is there")).expect("it is YAML")
}

/// Every verb that the manifest grants, with the resource. One that is granted twice could be taken away once and nothing
/// would fail.
fn granted() -> BTreeSet<(String, String)> {
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut granted = BTreeSet::new();
    for rule in manifest().iter().filter_map(|object| object["rules"].as_array()).flatten() {
        for verb in texts(&rule["verbs"]) {
            for resource in texts(&rule["resources"]) {
                assert!(granted.insert((verb.clone(), resource.clone())), "{verb} {resource} is granted twice");
            }
        }
    }
    granted
}

/// The roles of the manifest without one verb, and bound to a user of this name.
fn roles(user: &str, lacks: Option<(&str, &str)>) -> Vec<Value> {
    let mut objects: Vec<_> = manifest().into_iter().filter(|object| object["kind"] != "ServiceAccount").collect();
    for object in &mut objects {
        object["metadata"]["name"] = json!(user);
        if object["roleRef"].is_object() {
            object["roleRef"]["name"] = json!(user);
            object["subjects"] = json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}]);
        }
        if let Some(rules) = object["rules"].as_array() {
            object["rules"] = rules.iter().flat_map(|rule| without(rule, lacks)).collect();
        }
    }
    objects
}

/// A rule without a verb on a resource: that resource gets a rule of its own.
fn without(rule: &Value, lacks: Option<(&str, &str)>) -> Vec<Value> {
    let Some((verb, resource)) = lacks else { return vec![rule.clone()] };
    let keep = |list: &Value, out: &str| -> Value {
        list.as_array().into_iter().flatten().filter(|it| *it != out).cloned().collect()
    };
    if rule["resources"] == keep(&rule["resources"], resource) || rule["verbs"] == keep(&rule["verbs"], verb) {
        return vec![rule.clone()];
    }
    let (mut others, mut one) = (rule.clone(), rule.clone());
    others["resources"] = keep(&rule["resources"], resource);
    one["resources"] = json!([resource]);
    one["verbs"] = keep(&rule["verbs"], verb);
    // A rule that grants nothing is refused by the API server.
    let grants = |rule: &Value| ["resources", "verbs"].iter().all(|list| rule[list] != json!([]));
    [others, one].into_iter().filter(grants).collect()
}
