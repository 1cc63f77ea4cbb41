//! Issuers that cannot be used, each for a reason of its own: the admin is told which field to look at and what to do,
//! nobody is let in, and the neighbours go on.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::bed::Bed;
use crate::support::client::Ask;
use crate::support::eventually::eventually;
use crate::support::liar::Liar;
use crate::support::objects::INSTALLATION;
use crate::support::provider::STAFF;
use crate::support::scene::{APP, Scene};

/// An issuer's deadline, the next look of the status writer, and a busy machine.
const TOLD: Duration = Duration::from_secs(150);

/// An issuer, the reason that its provider gets, what is wrong, and what to do.
const ISSUERS: [[&str; 4]; 4] = [
    ["silent", "IssuerUnreachable", "no answer within 10 s", "see that the issuer runs"],
    [
        "another",
        "IssuerMismatch",
        "the metadata is of the issuer `https://liar.localhost:9445/elsewhere`",
        "as its metadata has it",
    ],
    ["big", "DocumentTooLarge", "the answer is larger than 1048576 bytes", "publish less"],
    ["keyless", "NoUsableKeys", "the issuer has no key that can verify a signature", "publish its signing keys"],
];

pub async fn journey(bed: &Bed) {
    let scene = Scene::open(bed, "issuers", 300).await;
    let _liar = Liar::start(&bed.authority).await;
    let names = ISSUERS.map(|[name, ..]| name);
    bed.cluster.apply(&names.map(provider));
    let offered = json!({"spec": {"providers": ["corp", names[0], names[1], names[2], names[3]]}}).to_string();
    bed.cluster.kubectl(&["patch", "portcullis", "default", "--type", "merge", "--patch", &offered]);
    scene.publish_for_staff().await;
    for name in names {
        let annotations = json!({"portcullis.dev/provider": name, "portcullis.dev/access": "authenticated"});
        scene.publish(name, &host(name), annotations).await;
    }
    let neighbour = scene.visitor();
    assert_eq!(neighbour.sign_in(APP, &STAFF).await.status, 200);

    for [name, reason, wrong, remedy] in ISSUERS {
        let said = not_ready(bed, name, reason).await;
        assert!(said.starts_with("spec.issuer: ") && said.contains(wrong) && said.contains(remedy), "{said}");
        let note = event(bed, name, reason).await;
        assert!(note.starts_with("spec.issuer: ") && note.contains(wrong) && note.contains(remedy), "{note}");

        let before = scene.app.received().len();
        let asked = scene.visitor().browse(&format!("https://{}:8443/", host(name))).await;
        assert_eq!(asked.status, 503, "{}", asked.text());
        assert_eq!(scene.app.received().len(), before, "nothing reaches the app");
        assert_eq!(neighbour.send(Ask::get(APP)).await.status, 200, "the neighbour goes on");
        assert_eq!(scene.app.received().len(), before + 1);
    }
    scene.portcullis.stop().await;
}

fn host(name: &str) -> String {
    format!("{name}.localhost")
}

fn provider(name: &str) -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "IdentityProvider",
        "metadata": {"name": name},
        "spec": {
            "issuer": Liar::issuer(name),
            "clientSecretRef": {"namespace": INSTALLATION, "name": "corp-client"},
            "caBundleRef": {"namespace": INSTALLATION, "name": "corp-ca"},
        },
    })
}

/// What `kubectl get -o wide` says of a provider, once it gives this reason.
async fn not_ready(bed: &Bed, name: &str, reason: &str) -> String {
    eventually(&format!("{name} to be refused as {reason}"), TOLD, async || {
        let row = bed.cluster.kubectl(&["get", "identityproviders.portcullis.dev", name, "-o", "wide", "--no-headers"]);
        let (_, message) = row.split_once(" False ")?.1.trim_start().split_once(reason)?;
        Some(message.trim_start().to_owned())
    })
    .await
}

/// The note of the Event about a provider with this reason.
async fn event(bed: &Bed, name: &str, reason: &str) -> String {
    eventually(&format!("an Event about {name} as {reason}"), TOLD, async || {
        let events = bed.cluster.read(&["events.events.k8s.io", "--namespace", "default"]);
        let mut all = events["items"].as_array().expect("a list").iter();
        let found = all.find(|event| {
            event["regarding"]["kind"] == "IdentityProvider"
                && event["regarding"]["name"] == name
                && event["reason"] == reason
        })?;
        found["note"].as_str().map(str::to_owned)
    })
    .await
}
