//! What `kubectl` shows of a compile: the address once route and certificate are live, conditions, Events; who writes it;
//! and that nothing is taken away by a process that ends.

use std::time::Duration;

use portcullis::controller::world::ObjectName;
use serde_json::{Value, json};

use crate::support::bed::Bed;
use crate::support::controller::{InProcess, PORTCULLIS, client};
use crate::support::eventually::{SOON, eventually};
use crate::support::objects::{self, INSTALLATION};
use crate::support::portcullis::PUBLISHED;

const NAMESPACE: &str = "statuses";

const HOST: &str = "status.localhost";

/// Until somebody leads where the leader was killed, and a while.
const HAND_OVER: Duration = Duration::from_secs(120);

pub async fn journey(bed: &Bed) {
    bed.clear();
    bed.cluster.apply(&objects::installation(&bed.authority.pem));
    bed.cluster.apply(&[objects::namespace(NAMESPACE), objects::namespace("elsewhere")]);
    let client = client(&bed.cluster, PORTCULLIS).await;
    let mut first = InProcess::start(&client, &[], "first");
    first.until("a first compile", |_| Some(())).await;
    first.leading.wait_for(|leading| *leading).await.expect("it runs");

    the_address_waits_for_the_certificate(bed, &mut first).await;
    an_expired_certificate_is_told_and_stays(bed, &mut first).await;
    an_address_that_somebody_removes_comes_back(bed).await;
    a_policy_says_what_became_of_it(bed).await;
    a_portcullis_says_whether_it_can_be_used(bed).await;
    a_provider_says_why_nobody_can_sign_in(bed).await;
    of_two_that_claim_a_host_the_younger_is_told(bed, &mut first).await;
    let second = who_ends_gives_the_lease_back_and_takes_nothing_away(bed, &client, first).await;
    let third = who_is_killed_is_followed_soon(&client, second).await;
    third.end().await;
    the_addresses_of_a_service_come_and_stay(bed, &client).await;
}

async fn the_address_waits_for_the_certificate(bed: &Bed, first: &mut InProcess) {
    let public = json!({"portcullis.dev/access": "public"});
    bed.cluster.apply(&[
        objects::service(NAMESPACE, "web"),
        objects::endpoints(NAMESPACE, "web", &["10.244.1.1"]),
        objects::ingress(NAMESPACE, "web", HOST, &public),
    ]);
    event(bed, NAMESPACE, "web", "spec.tls[0]").await;
    assert_eq!(addresses(bed, "web"), json!(null), "no address before the certificate is there");
    bed.cluster.apply(&[objects::tls_secret(NAMESPACE, "web", &bed.authority.issue(&[HOST]))]);
    has_address(bed, "web").await;
    let reader = first.pending.clone().first().await.expect("it runs");
    let snapshot = reader.load();
    let route = snapshot.routes.iter().find(|route| &*route.ingress == "statuses/web").expect("its route is live");
    let endpoints = route.backend.as_ref().expect("its Service is there").endpoints.load();
    let expected = format!("10.244.1.1:{}", objects::APP_PORT);
    assert_eq!(endpoints.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
}

async fn an_expired_certificate_is_told_and_stays(bed: &Bed, first: &mut InProcess) {
    let expired = bed.authority.issue_until(&[HOST], 2021);
    bed.cluster.apply(&[objects::tls_secret(NAMESPACE, "web", &expired)]);
    event(bed, NAMESPACE, "web", "2021-01-01").await;
    let reader = first.pending.clone().first().await.expect("it runs");
    let snapshot = reader.load();
    let shown = snapshot.certificates.find(Some(HOST)).expect("it is shown");
    assert_eq!(shown.not_after.to_string(), "2021-01-01T00:00:00Z");
    has_address(bed, "web").await;
}

async fn an_address_that_somebody_removes_comes_back(bed: &Bed) {
    let patch = json!({"status": {"loadBalancer": null}}).to_string();
    bed.cluster.kubectl(&[
        "patch",
        "ingress",
        "web",
        "--namespace",
        NAMESPACE,
        "--subresource",
        "status",
        "--type",
        "merge",
        "--patch",
        &patch,
    ]);
    has_address(bed, "web").await;
}

async fn a_policy_says_what_became_of_it(bed: &Bed) {
    bed.cluster.apply(&[objects::policy(NAMESPACE, "idle", &objects::allow_group("staff"))]);
    condition(bed, "policies.portcullis.dev", "idle", "Programmed", "False", "NoTargets").await;
    condition(bed, "policies.portcullis.dev", "idle", "Accepted", "True", "Accepted").await;
    bed.cluster.apply(&[objects::policy(
        NAMESPACE,
        "idle",
        &json!([{"name": "open", "effect": "Deny", "unknown": true}]),
    )]);
    let said = condition(bed, "policies.portcullis.dev", "idle", "Accepted", "False", "").await;
    assert!(said.starts_with("spec.rules[0]"), "{said}");
    event(bed, NAMESPACE, "idle", "spec.rules[0]").await;
}

async fn a_portcullis_says_whether_it_can_be_used(bed: &Bed) {
    let accepted = async |status: &str, reason: &str| {
        condition(bed, "portcullises.portcullis.dev", "default", "Accepted", status, reason).await
    };
    let patch = |access: Value| {
        let patch = json!({"spec": {"access": access}}).to_string();
        bed.cluster.kubectl(&["patch", "portcullises.portcullis.dev", "default", "--type", "merge", "--patch", &patch]);
    };
    accepted("True", "Accepted").await;
    patch(json!({"required": "x"}));
    let said = accepted("False", "ParametersInvalid").await;
    assert!(said.starts_with("spec.access.required"), "{said}");
    patch(json!({"required": null}));
    accepted("True", "Accepted").await;
}

async fn a_provider_says_why_nobody_can_sign_in(bed: &Bed) {
    condition(bed, "identityproviders.portcullis.dev", "corp", "Accepted", "True", "Accepted").await;
    bed.cluster.kubectl(&["delete", "secret", "corp-client", "--namespace", INSTALLATION]);
    let said = condition(bed, "identityproviders.portcullis.dev", "corp", "Accepted", "False", "").await;
    assert!(said.contains("corp-client"), "{said}");
    condition(bed, "identityproviders.portcullis.dev", "corp", "Ready", "False", "Invalid").await;
    event(bed, "default", "corp", "corp-client").await;
}

async fn of_two_that_claim_a_host_the_younger_is_told(bed: &Bed, first: &mut InProcess) {
    let public = json!({"portcullis.dev/access": "public"});
    bed.cluster.apply(&[objects::service("elsewhere", "thief"), objects::ingress("elsewhere", "thief", HOST, &public)]);
    event(bed, "elsewhere", "thief", "statuses").await;
    let reader = first.pending.clone().first().await.expect("it runs");
    assert!(reader.load().routes.iter().all(|route| &*route.ingress != "elsewhere/thief"));
    let thief = bed.cluster.read(&["ingress", "thief", "--namespace", "elsewhere"]);
    assert_eq!(thief["status"]["loadBalancer"], json!({}), "who is refused gets no address");
    has_address(bed, "web").await;
}

async fn who_ends_gives_the_lease_back_and_takes_nothing_away(
    bed: &Bed,
    client: &kube::Client,
    first: InProcess,
) -> InProcess {
    let mut second = InProcess::start(client, &[], "second");
    second.until("a first compile", |_| Some(())).await;
    assert!(!*second.leading.borrow(), "one leads at a time");
    first.end().await;
    let holder = || {
        let lease = bed.cluster.read(&["lease", "portcullis", "--namespace", INSTALLATION]);
        lease["spec"]["holderIdentity"].clone()
    };
    assert_ne!(holder(), "first", "the lease is given back, and does not have to run out");
    has_address(bed, "web").await;
    tokio::time::timeout(SOON, second.leading.wait_for(|leading| *leading))
        .await
        .expect("a lease that was given back is taken")
        .expect("it runs");
    assert_eq!(holder(), "second");

    // An Ingress that is no longer ours loses the address that it has from us.
    let patch = json!({"spec": {"ingressClassName": "another"}}).to_string();
    bed.cluster.kubectl(&["patch", "ingress", "web", "--namespace", NAMESPACE, "--type", "merge", "--patch", &patch]);
    eventually("an address that is given up", SOON, async || (addresses(bed, "web") == json!(null)).then_some(()))
        .await;
    second
}

async fn who_is_killed_is_followed_soon(client: &kube::Client, second: InProcess) -> InProcess {
    let mut third = InProcess::start(client, &[], "third");
    third.until("a first compile", |_| Some(())).await;
    second.kill().await;
    assert!(!*third.leading.borrow(), "one leads at a time");
    tokio::time::timeout(HAND_OVER, third.leading.wait_for(|leading| *leading))
        .await
        .expect("a lease whose holder is gone is taken when it runs out")
        .expect("it runs");
    third
}

/// The Service whose addresses Ingresses get in the last part.
const FRONT: &str = "front";

async fn the_addresses_of_a_service_come_and_stay(bed: &Bed, client: &kube::Client) {
    let service = ObjectName::new(NAMESPACE, FRONT);
    for (namespace, name) in [(NAMESPACE, "web"), ("elsewhere", "thief")] {
        bed.cluster.kubectl(&["delete", "ingress", name, "--namespace", namespace]);
    }
    let public = json!({"portcullis.dev/access": "public"});
    bed.cluster.apply(&[objects::ingress(NAMESPACE, "web", HOST, &public)]);
    let mut first = InProcess::start_publishing(client, &service, "first");
    first.until("a first compile", |_| Some(())).await;
    event(bed, NAMESPACE, FRONT, "does not exist").await;
    bed.cluster.apply(&[front()]);
    event(bed, NAMESPACE, FRONT, "status.loadBalancer").await;
    assert_eq!(addresses(bed, "web"), json!(null), "there is none yet");

    let entries = json!([
        {"ip": "203.0.113.20"},
        {"hostname": "lb.example.com", "ports": [{"port": 443, "protocol": "TCP"}]},
    ]);
    balance(bed, &entries);
    have_addresses(bed, &entries).await;
    balance(bed, &json!([{"ip": "203.0.113.21"}]));
    have_addresses(bed, &json!([{"ip": "203.0.113.21"}])).await;

    // Whoever comes anew has the address too: what is kept is known, and not only left alone.
    let stays = async |why: &str, said: &str, name: &str| {
        event(bed, NAMESPACE, FRONT, said).await;
        bed.cluster.apply(&[objects::ingress(NAMESPACE, name, &format!("{name}.localhost"), &public)]);
        bed.cluster.apply(&[objects::tls_secret(
            NAMESPACE,
            name,
            &bed.authority.issue(&[&format!("{name}.localhost")]),
        )]);
        eventually(why, SOON, async || (addresses(bed, name) == json!([{"ip": "203.0.113.21"}])).then_some(())).await;
        have_addresses(bed, &json!([{"ip": "203.0.113.21"}])).await;
    };
    let forget = || bed.cluster.kubectl(&["delete", "events.events.k8s.io", "--all", "--namespace", NAMESPACE]);
    forget();
    balance(bed, &json!(null));
    stays("the address, though the Service has none", "status.loadBalancer", "emptied").await;
    forget();
    bed.cluster.kubectl(&["delete", "service", FRONT, "--namespace", NAMESPACE]);
    stays("the address, though the Service is gone", "does not exist", "gone").await;
    first.end().await;

    // A process that has never seen the address leaves it where it is.
    let mut second = InProcess::start_publishing(client, &service, "second");
    second.until("a first compile", |_| Some(())).await;
    second.leading.wait_for(|leading| *leading).await.expect("it runs");
    bed.cluster.apply(&[objects::policy(NAMESPACE, "later", &objects::allow_group("staff"))]);
    condition(bed, "policies.portcullis.dev", "later", "Accepted", "True", "Accepted").await;
    have_addresses(bed, &json!([{"ip": "203.0.113.21"}])).await;
    bed.cluster.apply(&[front()]);
    balance(bed, &json!([{"ip": "203.0.113.22"}]));
    have_addresses(bed, &json!([{"ip": "203.0.113.22"}])).await;
    second.end().await;
}

fn front() -> Value {
    let mut service = objects::service(NAMESPACE, FRONT);
    service["spec"]["type"] = json!("LoadBalancer");
    service
}

/// Does what a controller of load balancers does.
fn balance(bed: &Bed, entries: &Value) {
    let patch = json!({"status": {"loadBalancer": {"ingress": entries}}}).to_string();
    let service = ["patch", "service", FRONT, "--namespace", NAMESPACE, "--subresource", "status"];
    bed.cluster.kubectl(&[&service[..], &["--type", "merge", "--patch", &patch]].concat());
}

async fn have_addresses(bed: &Bed, entries: &Value) {
    eventually("the addresses of the Service on an Ingress", SOON, async || {
        (addresses(bed, "web") == *entries).then_some(())
    })
    .await;
}

fn addresses(bed: &Bed, ingress: &str) -> Value {
    bed.cluster.read(&["ingress", ingress, "--namespace", NAMESPACE])["status"]["loadBalancer"]["ingress"].clone()
}

async fn has_address(bed: &Bed, ingress: &str) {
    let wanted = json!([{"ip": PUBLISHED}]);
    eventually("the address of an Ingress", SOON, async || {
        let entries = addresses(bed, ingress);
        (entries[0]["ip"] == wanted[0]["ip"]).then_some(())
    })
    .await;
}

/// Waits for a condition of the newest generation; gives its message.
async fn condition(bed: &Bed, kind: &str, name: &str, type_: &str, status: &str, reason: &str) -> String {
    eventually(&format!("{type_}={status} ({reason}) of {kind}/{name}"), SOON, async || {
        let object = bed.cluster.read(&[kind, name, "--namespace", NAMESPACE]);
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|condition| {
            condition["type"] == type_
                && condition["status"] == status
                && (reason.is_empty() || condition["reason"] == reason)
                && condition["observedGeneration"] == object["metadata"]["generation"]
        })?;
        found["message"].as_str().map(str::to_owned)
    })
    .await
}

/// Waits for an Event about an object that says `text`.
async fn event(bed: &Bed, namespace: &str, object: &str, text: &str) {
    eventually(&format!("an Event about {object} with `{text}`"), SOON, async || {
        let events = bed.cluster.read(&["events.events.k8s.io", "--namespace", namespace]);
        let mut all = events["items"].as_array().expect("a list").iter();
        all.any(|event| {
            event["regarding"]["name"] == object && event["note"].as_str().is_some_and(|note| note.contains(text))
        })
        .then_some(())
    })
    .await;
}
