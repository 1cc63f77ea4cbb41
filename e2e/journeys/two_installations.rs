//! Two installations with different classes in one cluster: each writes what is its own, and neither writes what the other
//! has written, also where one Policy is for Ingresses of both.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::bed::Bed;
use crate::support::controller::{InProcess, PORTCULLIS, SECOND, client};
use crate::support::eventually::{SOON, eventually};
use crate::support::objects::{self, allow_group};
use crate::support::portcullis::PUBLISHED;

const NAMESPACE: &str = "two-installations";

/// An Ingress of each installation.
const MINE: &str = "mine";
const THEIRS: &str = "theirs";

/// How long nothing may be written once everything is said.
const QUIET: Duration = Duration::from_secs(3);

pub async fn journey(bed: &Bed) {
    bed.clear();
    bed.cluster.apply(&objects::installation(&bed.authority.pem));
    bed.cluster.apply(&[objects::namespace(NAMESPACE), objects::namespace(SECOND.namespace)]);
    bed.cluster.apply(&second_installation());
    let client = client(&bed.cluster, PORTCULLIS).await;
    let mut first = InProcess::start_leading(&client, &[], "first");
    let mut second = InProcess::start_second(&client, "second");
    for installation in [&mut first, &mut second] {
        installation.until("a first compile", |_| Some(())).await;
    }
    bed.cluster.apply(&apps(bed));

    for (kind, name, said) in [
        ("policies.portcullis.dev", MINE, "Programmed=True mine"),
        ("policies.portcullis.dev", THEIRS, "Programmed=True theirs"),
        ("policies.portcullis.dev", "both", "Programmed=True mine,theirs"),
        ("identityproviders.portcullis.dev", "corp", "Accepted=True "),
        ("identityproviders.portcullis.dev", "partner", "Accepted=True "),
    ] {
        eventually(&format!("{said} of {kind}/{name}"), SOON, async || says(bed, kind, name, said).then_some(())).await;
    }
    for (name, address) in [(MINE, json!({"ip": PUBLISHED})), (THEIRS, json!({"hostname": SECOND.address}))] {
        let expected = json!([address]);
        eventually(&format!("the address of {name}"), SOON, async || {
            let ingress = bed.cluster.read(&["ingress", name, "--namespace", NAMESPACE]);
            (ingress["status"]["loadBalancer"]["ingress"] == expected).then_some(())
        })
        .await;
    }
    let versions = || {
        let kinds = "ingresses,policies.portcullis.dev,identityproviders.portcullis.dev,portcullises.portcullis.dev";
        let all = bed.cluster.read(&[kinds, "--all-namespaces"]);
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        all["items"].as_array().expect("a list").iter().map(version).collect::<Vec<_>>()
    };
    // The last of both may still be under way.
    eventually("an end of writing", SOON, async || {
        let before = versions();
        tokio::time::sleep(QUIET).await;
        (versions() == before).then_some(())
    })
    .await;
    first.end().await;
    second.end().await;
}

/// Whether a condition is so, and a status names these targets.
fn says(bed: &Bed, kind: &str, name: &str, said: &str) -> bool {
    let object = bed.cluster.read(&[kind, name, "--namespace", NAMESPACE]);
    let targets = object["status"]["targets"].as_str().unwrap_or_default();
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    conditions.iter().any(|it| format!("{}={} {targets}", text(it, "type"), text(it, "status")) == said)
}

fn second_installation() -> Vec<Value> {
    let reference = json!({"namespace": SECOND.namespace, "name": "client"});
    vec![
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "second"},
            "spec": {
                "controller": SECOND.controller,
                "parameters": {"apiGroup": "portcullis.dev", "kind": "Portcullis", "name": "second"},
            },
        }),
        json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "Portcullis", "metadata": {"name": "second"},
            "spec": {"providers": ["partner"], "access": {"default": "Deny"}},
        }),
        json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "IdentityProvider", "metadata": {"name": "partner"},
            "spec": {"issuer": "https://partner.localhost", "clientSecretRef": reference},
        }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": SECOND.namespace, "name": "client"},
            "stringData": {"client_id": "portcullis", "client_secret": "secret"},
        }),
    ]
}

fn apps(bed: &Bed) -> Vec<Value> {
    let policy = |name: &str| objects::policy(NAMESPACE, name, &allow_group("staff"));
    let app = |name: &str| {
        let host = format!("{name}.localhost");
        [
            objects::tls_secret(NAMESPACE, name, &bed.authority.issue(&[&host])),
            objects::service(NAMESPACE, name),
            objects::endpoints(NAMESPACE, name, &["10.244.1.1"]),
            objects::attached(name, policy(name)),
            objects::ingress(NAMESPACE, name, &host, &json!({"portcullis.dev/policies": "both"})),
        ]
    };
    let mut all: Vec<_> = app(MINE).into_iter().chain(app(THEIRS)).chain([policy("both")]).collect();
    for ingress in all.iter_mut().filter(|it| it["kind"] == "Ingress" && it["metadata"]["name"] == THEIRS) {
        ingress["spec"]["ingressClassName"] = json!("second");
    }
    all
}
