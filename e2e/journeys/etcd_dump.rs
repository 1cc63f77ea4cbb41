//! No session datum rests in the clear: whoever reads etcd finds neither who is signed in nor anything to sign in with.

use serde_json::json;

use crate::support::bed::Bed;
use crate::support::dump;
use crate::support::objects::INSTALLATION;
use crate::support::scene::Scene;

pub async fn journey(bed: &Bed) {
    let scene = Scene::open(bed, "etcd-dump", 300).await;
    let stranger = dump::stranger(&scene).await;
    assert!(!scene.session_secrets().is_empty(), "the session rests in a Secret");
    plant(bed);

    dump::shows_nothing(&bed.cluster.etcd_dump(), &scene, &stranger).await;
    only_the_administrator_wrote_the_client(&scene).await;
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

/// The client is in one object, into which the administrator wrote it, and in no other.
async fn only_the_administrator_wrote_the_client(scene: &Scene<'_>) {
    let objects = scene.bed.cluster.etcd_objects(&scene.visitor()).await;
    let with_client = objects.iter().filter(|(_, object)| dump::names_the_client(object));
    let keys: Vec<_> = with_client.map(|(key, _)| &**key).collect();
    assert_eq!(keys, ["/registry/secrets/portcullis-system/corp-client"]);
}
