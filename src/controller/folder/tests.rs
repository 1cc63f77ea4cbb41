use std::fs;

use serde_json::json;

use super::*;
use crate::controller::report::Kind;
use crate::controller::world::{ObjectName, Stored};

const SERVICE: &str =
    "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec:\n  ports:\n  - port: 80\n";

fn said(pages: &Pages) -> Vec<String> {
    pages.complaints.iter().map(Complaint::to_string).collect()
}

fn texts(files: &[(&str, &str)]) -> io::Result<Texts> {
    Folder::embedded(files).files.read()
}

/// What changed, as `+` or `-` with the kind and name.
fn names(changes: &[Change]) -> Vec<String> {
    changes.iter().map(|change| format!("{change:?}")).collect()
}

#[test]
fn a_folder_of_objects_becomes_a_world() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: idp}\nstringData: {client_id: portcullis}\n";
    let several = format!("{SERVICE}---\n{secret}---\nkind: Namespace\napiVersion: v1\nmetadata: {{name: shop}}\n");
    let (world, pages) = Folder::embedded(&[("all.yaml", &several)]).world(Guard::default());
    assert_eq!(said(&pages), [""; 0]);
    assert_eq!(world.services.keys().collect::<Vec<_>>(), [&ObjectName::new("shop", "web")]);
    let Some(Stored::Decoded(secret)) = world.secrets.get(&ObjectName::new("default", "idp")) else {
        panic!("the Secret is there, in the namespace `default`")
    };
    assert_eq!(secret.entry("client_id"), Some(&b"portcullis"[..]));
    assert_eq!((&secret.object.data, &secret.object.string_data), (&None, &None));
}

#[test]
fn a_broken_file_is_said_and_its_objects_stay() {
    let mut reading = Reading::default();
    assert_eq!(reading.update(texts(&[("a.yaml", SERVICE)])).len(), 1);
    let changes =
        reading.update(texts(&[("a.yaml", "spec: [1\nkind: x\n"), ("b.yaml", &SERVICE.replace("web", "api"))]));
    assert_eq!(changes.len(), 1, "the other file goes on: {:?}", names(&changes));
    let expected = "a.yaml:2:5: error: illegal placement of ':' indicator; correct the file; until then what was last \
                    read from it stays in force";
    assert_eq!(said(&reading.pages), [expected]);
    assert!(reading.update(texts(&[("a.yaml", SERVICE), ("b.yaml", &SERVICE.replace("web", "api"))])).is_empty());
    assert!(reading.pages.complaints.is_empty());
    let gone = reading.update(texts(&[("a.yaml", SERVICE)]));
    assert!(matches!(&gone[..], [Change::Service(name, None)] if &*name.name == "api"), "{:?}", names(&gone));
}

#[test]
fn a_value_of_the_wrong_type_is_placed_and_the_object_held_as_undecodable() {
    let wrong = SERVICE.replace("port: 80", "port: eighty");
    let (world, pages) = Folder::embedded(&[("a.yaml", &wrong)]).world(Guard::default());
    assert!(matches!(world.services[&ObjectName::new("shop", "web")], Stored::Undecodable(_)));
    let said = said(&pages);
    assert!(said[0].starts_with("a.yaml:6:5: error: Service shop/web: spec.ports[0].port: "), "{said:?}");
    let mut reading = Reading::default();
    reading.update(texts(&[("a.yaml", SERVICE)]));
    assert!(reading.update(texts(&[("a.yaml", &wrong)])).is_empty(), "what ran before goes on");
}

#[test]
fn a_field_that_the_kind_does_not_know_is_said() {
    let misspelt = SERVICE.replace("  - port: 80", "  - port: 80\n    protocoll: TCP");
    let (world, pages) = Folder::embedded(&[("a.yaml", &misspelt)]).world(Guard::default());
    assert_eq!(world.services.len(), 1);
    assert_eq!(
        said(&pages),
        [
            "a.yaml:7:5: warning: Service shop/web: spec.ports[0].protocoll: this kind has no such field, so it is without \
             effect; correct its name or its place"
        ]
    );
}

#[test]
fn what_a_secret_holds_is_never_said() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: idp}\ndata: {client_secret: hunter2!}\n";
    let (world, pages) = Folder::embedded(&[("a.yaml", secret)]).world(Guard::default());
    let said = said(&pages);
    assert!(said[0].starts_with("a.yaml:4:8: error: Secret default/idp: data.client_secret: "), "{said:?}");
    assert!(!format!("{said:?}{world:?}{:?}", world.secrets).contains("hunter2"), "{said:?}");
}

#[test]
fn documents_that_cannot_be_named_are_refused_with_what_to_write() {
    let cases = [
        ("a: 1\n", "a.yaml:1:1: error: the document has no `kind`; write a whole Kubernetes object"),
        (
            "kind: Ingress\napiVersion: extensions/v1beta1\n",
            "a.yaml:2:1: error: a `Ingress` of this API version is not read; write `apiVersion: networking.k8s.io/v1`",
        ),
        (
            "kind: Service\napiVersion: v1\nmetadata: {}\n",
            "a.yaml:3:1: error: the object has no `metadata.name`; give it a name",
        ),
        (
            "kind: Deployment\napiVersion: apps/v1\n",
            "a.yaml:1:1: warning: objects of kind `Deployment` are not read; remove it, or leave it as it is",
        ),
    ];
    for (text, expected) in cases {
        let (_, pages) = Folder::embedded(&[("a.yaml", text)]).world(Guard::default());
        assert_eq!(said(&pages), [expected]);
    }
}

/// As `kubectl get service,namespace -o yaml` writes it.
const LIST: &str = "apiVersion: v1
items:
- apiVersion: v1
  kind: Service
  metadata:
    creationTimestamp: \"2026-01-01T00:00:00Z\"
    name: web
    namespace: shop
    resourceVersion: \"7\"
    uid: 0b9bd7b4-93e3-4f8b-8d3a-1b2c3d4e5f60
  spec:
    ports:
    - port: 80
  status:
    loadBalancer: {}
- apiVersion: v1
  kind: Namespace
  metadata: {name: shop}
- apiVersion: v1
  kind: Service
  metadata: {name: api, namespace: shop}
  spec:
    ports:
    - port: eighty
kind: List
metadata:
  resourceVersion: \"\"
";

#[test]
fn the_objects_of_a_list_are_read_each_with_its_places() {
    let (world, pages) = Folder::embedded(&[("all.yaml", LIST)]).world(Guard::default());
    assert!(matches!(world.services[&ObjectName::new("shop", "web")], Stored::Decoded(_)));
    assert!(matches!(world.services[&ObjectName::new("shop", "api")], Stored::Undecodable(_)));
    let [complaint] = &said(&pages)[..] else { panic!("one complaint: {:?}", pages.complaints) };
    assert!(complaint.starts_with("all.yaml:24:7: error: Service shop/api: spec.ports[0]"), "{complaint}");
    let reference = ObjectRef { kind: Kind::Service, name: ObjectName::new("shop", "web") };
    let spots = &pages.spots[&reference];
    let places = ["", "/metadata/name", "/spec/ports/0"].map(|pointer| spots.place(pointer).unwrap().to_string());
    assert_eq!(places, ["all.yaml:3:3", "all.yaml:7:5", "all.yaml:13:7"]);
}

#[test]
fn a_list_in_a_list_is_read_and_one_without_items_refused() {
    let nested = json!({"kind": "List", "items": [{"kind": "List", "items": [{"kind": "Namespace"}]}, {"a": 1}]});
    let bare = json!({"kind": "List", "items": {}});
    for (list, expected) in [
        (nested, "a.json:1:58: error: the document has no `kind`; write a whole Kubernetes object"),
        (bare, "a.json:1:1: error: the `List` has no `items`; write its objects under `items`"),
    ] {
        let (_, pages) = Folder::embedded(&[("a.json", &list.to_string())]).world(Guard::default());
        assert_eq!(said(&pages), [expected]);
    }
}

#[test]
fn of_two_objects_of_one_name_the_first_file_counts() {
    let (world, pages) =
        Folder::embedded(&[("b.yaml", SERVICE), ("a.yaml", &SERVICE.replace("80", "81"))]).world(Guard::default());
    let Stored::Decoded(service) = &world.services[&ObjectName::new("shop", "web")] else { panic!("it decodes") };
    assert_eq!(service.spec.as_ref().unwrap().ports.as_ref().unwrap()[0].port, 81);
    assert!(said(&pages)[0].starts_with("b.yaml:3:12: error: Service shop/web: there is one of this kind and name"));
}

#[tokio::test]
async fn a_saved_file_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), SERVICE).unwrap();
    fs::write(folder.path().join(".hidden.yaml"), "kind: [").unwrap();
    let (sender, mut batches) = mpsc::channel(4);
    let following = tokio::spawn(Folder::open(folder.path()).unwrap().follow(sender));
    let first = batches.recv().await.unwrap();
    assert!(first.first_list && first.changes.len() == 1);
    fs::create_dir(folder.path().join("more")).unwrap();
    fs::write(folder.path().join("more/b.yml"), SERVICE.replace("web", "api")).unwrap();
    let second = batches.recv().await.unwrap();
    assert!(!second.first_list);
    assert!(matches!(&second.changes[..], [Change::Service(name, Some(_))] if &*name.name == "api"));
    let reference = ObjectRef { kind: Kind::Service, name: ObjectName::new("shop", "api") };
    let place = second.pages.unwrap().spots[&reference].place("/spec/ports/0").unwrap();
    assert_eq!(place.to_string(), "more/b.yml:6:5");
    drop(batches);
    following.await.unwrap();
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    assert!(Folder::open(Path::new("/no/such/folder")).is_err());
}
