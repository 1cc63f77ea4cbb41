//! No session datum rests in the clear: whoever reads etcd finds neither who is signed in nor anything to sign in with.

use data_encoding::BASE64;
use serde_json::json;

use crate::support::bed::Bed;
use crate::support::dump::{self, contains, spellings};
use crate::support::objects::INSTALLATION;
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, STAFF};
use crate::support::scene::{APP, Scene};

pub async fn journey(bed: &Bed) {
    let scene = Scene::open(bed, "etcd-dump", 300).await;
    scene.publish_for_staff().await;
    let person = scene.visitor();
    assert_eq!(person.sign_in(APP, &STAFF).await.status, 200);
    assert!(!scene.session_secrets().is_empty(), "the session rests in a Secret");
    plant(bed);

    dump::shows_nothing(&bed.cluster.etcd_dump(), &scene, &person).await;
    only_the_administrator_wrote_the_client(bed);
    scene.portcullis.stop().await;
}

/// Puts each spelling of the canary into an object.
fn plant(bed: &Bed) {
    bed.cluster.apply(&[json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": INSTALLATION, "name": "canary"},
        "data": {"spellings": dump::canary()},
    })]);
}

/// The client is in one Secret, into which the administrator wrote it, and in no other.
fn only_the_administrator_wrote_the_client(bed: &Bed) {
    let secrets = bed.cluster.read(&["secrets", "--namespace", INSTALLATION]);
    let with_client = secrets["items"].as_array().expect("a list").iter().filter(|secret| {
        let values = secret["data"].as_object().into_iter().flat_map(|data| data.values());
        let values = values.map(|value| BASE64.decode(value.as_str().expect("base64").as_bytes()).expect("base64"));
        let bytes = [secret["metadata"].to_string().into_bytes(), values.collect::<Vec<_>>().concat()].concat();
        let data = [CLIENT_ID, CLIENT_SECRET].map(|datum| spellings(datum.as_bytes())).concat();
        data.iter().any(|spelling| contains(&bytes, spelling))
    });
    let names: Vec<_> = with_client.map(|secret| secret["metadata"]["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["corp-client"]);
}
