use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn stored<T: DeserializeOwned>(object: Value) -> Option<Stored<T>> {
    Some(Stored::Decoded(Arc::new(serde_json::from_value(object).unwrap())))
}

fn web() -> ObjectName {
    ObjectName::new("shop", "web")
}

fn ingress(metadata: &Value, spec: &Value, status: &Value) -> Change {
    Change::Ingress(web(), stored(json!({"metadata": metadata, "spec": spec, "status": status})))
}

fn service() -> Change {
    Change::Service(web(), stored(json!({"metadata": {}, "spec": {"ports": [{"name": "http", "port": 80}]}})))
}

fn slice(address: &str) -> Change {
    let slice = json!({
        "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": [address]}],
    });
    Change::Slice(ObjectName::new("shop", "web-1"), stored(slice))
}

fn set(keeper: &Keeper) -> EndpointSet {
    keeper.world().endpoints.values().next().unwrap().clone()
}

fn addresses(set: &EndpointSet) -> Vec<String> {
    set.load().iter().map(ToString::to_string).collect()
}

fn tls_secret(certificate: &str, key: &str) -> Change {
    let data = |text: &str| data_encoding::BASE64.encode(text.as_bytes());
    let data = json!({"tls.crt": data(certificate), "tls.key": data(key)});
    Change::secret(web(), stored(json!({"metadata": {}, "type": "kubernetes.io/tls", "data": data})))
}

fn pair() -> (String, String) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["web.example".to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

#[test]
fn a_status_that_somebody_writes_asks_for_no_compile() {
    let mut keeper = Keeper::default();
    let object = |version: &str, ip: &str| {
        let status = json!({"loadBalancer": {"ingress": [{"ip": ip}]}});
        ingress(
            &json!({"resourceVersion": version, "generation": 1}),
            &json!({"ingressClassName": "portcullis"}),
            &status,
        )
    };
    assert_eq!(keeper.apply(object("1", "192.0.2.1")), Effect::Compile);
    assert_eq!(keeper.apply(object("2", "192.0.2.2")), Effect::Status);
    let live = keeper.world().ingresses[&web()].decoded().unwrap();
    assert_eq!(live.metadata.resource_version.as_deref(), Some("2"), "what is compared with is the live one");
}

#[test]
fn whatever_compile_reads_asks_for_a_compile() {
    let before = ingress(&json!({"uid": "1"}), &json!({"ingressClassName": "a"}), &json!({}));
    let annotated = json!({"uid": "1", "annotations": {"portcullis.dev/access": "public"}});
    let ending = json!({"uid": "1", "deletionTimestamp": "2026-01-01T00:00:00Z"});
    let others = [
        ingress(&json!({"uid": "1"}), &json!({"ingressClassName": "b"}), &json!({})),
        ingress(&annotated, &json!({"ingressClassName": "a"}), &json!({})),
        ingress(&ending, &json!({"ingressClassName": "a"}), &json!({})),
        ingress(&json!({"uid": "2"}), &json!({"ingressClassName": "a"}), &json!({})),
        Change::Ingress(web(), Some(Stored::Undecodable("broken".into()))),
        Change::Ingress(web(), None),
        Change::Namespace("shop".into(), true),
    ];
    for other in others {
        let mut keeper = Keeper::default();
        keeper.apply(before.clone());
        let what = format!("{other:?}");
        assert_eq!(keeper.apply(other), Effect::Compile, "{what}");
    }
    assert_eq!(Keeper::default().apply(Change::Ingress(web(), None)), Effect::Nothing);
    assert_eq!(Keeper::default().apply(Change::Namespace("shop".into(), false)), Effect::Nothing);
}

#[test]
fn endpoints_change_beside_the_routes() {
    let mut keeper = Keeper::default();
    assert_eq!(keeper.apply(service()), Effect::Compile);
    let held_by_a_route = set(&keeper);
    assert_eq!(keeper.apply(slice("10.0.0.1")), Effect::Nothing);
    assert_eq!(addresses(&held_by_a_route), ["10.0.0.1:8080"]);
    assert_eq!(keeper.apply(slice("10.0.0.2")), Effect::Nothing);
    assert_eq!(addresses(&held_by_a_route), ["10.0.0.2:8080"]);
    assert_eq!(keeper.apply(Change::Slice(ObjectName::new("shop", "web-1"), None)), Effect::Nothing);
    assert_eq!(addresses(&held_by_a_route), [""; 0]);
}

#[test]
fn a_refused_endpoint_is_reported_and_the_report_ends_with_it() {
    let mut keeper = Keeper::default();
    keeper.apply(service());
    assert_eq!(keeper.apply(slice("127.0.0.1")), Effect::Compile);
    assert_eq!(keeper.world().slice_findings[&web()].len(), 1);
    assert_eq!(keeper.apply(slice("10.0.0.1")), Effect::Compile);
    assert!(keeper.world().slice_findings.is_empty());
}

#[test]
fn a_service_that_comes_back_before_a_compile_keeps_the_set_that_routes_read() {
    let mut keeper = Keeper::default();
    keeper.apply(service());
    keeper.apply(slice("10.0.0.1"));
    let held_by_a_route = set(&keeper);
    keeper.apply(Change::Service(web(), None));
    assert_eq!(addresses(&held_by_a_route), [""; 0]);
    keeper.apply(service());
    keeper.apply(slice("10.0.0.2"));
    assert_eq!(addresses(&held_by_a_route), ["10.0.0.2:8080"]);

    keeper.apply(Change::Service(web(), None));
    keeper.prune();
    assert!(keeper.world().endpoints.is_empty());
}

#[test]
fn a_reader_keeps_the_world_that_it_has() {
    let mut keeper = Keeper::default();
    keeper.apply(service());
    let before = Arc::clone(keeper.world());
    keeper.apply(Change::Service(web(), None));
    assert_eq!((before.services.len(), keeper.world().services.len()), (1, 0));
}

#[test]
fn the_last_good_certificate_stays_until_its_secret_goes() {
    let (certificate, key) = pair();
    let other_key = pair().1;
    let mut keeper = Keeper::default();
    keeper.apply(tls_secret(&certificate, &key));
    let StoredCertificate::Current(good) = keeper.world().certificates[&web()].clone() else { panic!("it is whole") };
    for (certificate, key) in [(&*certificate, &*other_key), ("garbage", &*key), ("", "")] {
        assert_eq!(keeper.apply(tls_secret(certificate, key)), Effect::Compile);
        let StoredCertificate::LastGood(kept, _) = &keeper.world().certificates[&web()] else {
            panic!("the good one stays")
        };
        assert_eq!(*kept, good);
    }
    keeper.apply(Change::Secret(web(), Some(Stored::Undecodable("broken".into()))));
    assert!(keeper.world().certificates[&web()].certificate().is_some());
    keeper.apply(Change::Secret(web(), None));
    assert!(keeper.world().certificates.is_empty());
    keeper.apply(tls_secret(&certificate, &other_key));
    assert!(matches!(keeper.world().certificates[&web()], StoredCertificate::Broken(_)));
}

#[test]
fn a_secret_that_is_told_of_again_is_read_once() {
    let (certificate, key) = pair();
    let mut keeper = Keeper::default();
    keeper.apply(tls_secret(&certificate, &key));
    let StoredCertificate::Current(first) = keeper.world().certificates[&web()].clone() else { panic!("it is whole") };
    assert_eq!(keeper.apply(tls_secret(&certificate, &key)), Effect::Status);
    let StoredCertificate::Current(second) = &keeper.world().certificates[&web()] else { panic!("it is whole") };
    assert!(Arc::ptr_eq(&first, second));
}

#[test]
fn nobody_holds_a_secret_that_another_version_has_replaced() {
    let (certificate, key) = pair();
    let mut keeper = Keeper::default();
    keeper.apply(tls_secret(&certificate, &key));
    let held = |keeper: &Keeper| Arc::downgrade(keeper.world().secrets[&web()].decoded().unwrap());
    let first = held(&keeper);
    keeper.apply(tls_secret(&certificate, &pair().1));
    let second = held(&keeper);
    assert_eq!((first.strong_count(), second.strong_count()), (0, 1));
    keeper.apply(Change::Secret(web(), None));
    assert_eq!(second.strong_count(), 0);
}

#[test]
fn no_debug_print_shows_what_a_secret_holds() {
    let (certificate, key) = pair();
    let mut keeper = Keeper::default();
    let change = tls_secret(&certificate, &key);
    let printed = format!("{change:?} ");
    keeper.apply(change);
    let printed = printed + &format!("{:?} {:?} {keeper:?}", keeper.world(), keeper.world().secrets);
    let held = &keeper.world().secrets[&web()].decoded().unwrap().entry("tls.key").unwrap();
    assert!(!printed.contains("PRIVATE") && !printed.contains(&format!("{:?}", &held[..8])[1..20]), "{printed}");
}

#[test]
fn what_a_portcullis_claims_that_never_decoded_counts_until_one_does() {
    let name = || ObjectName::new("", "default");
    let unread = |pattern: &str| {
        let spec = json!({"providers": 7, "hosts": {"claims": [{"pattern": pattern, "namespaces": ["a"]}]}});
        Change::unread_portcullis(name(), "broken".into(), Some(&spec))
    };
    let mut keeper = Keeper::default();
    assert_eq!(keeper.apply(unread("a.test")), Effect::Compile);
    assert_eq!(keeper.apply(unread("a.test")), Effect::Status);
    assert_eq!(keeper.apply(unread("b.test")), Effect::Compile, "the same defect, other claims");
    assert_eq!(keeper.apply(Change::Portcullis(name(), None)), Effect::Compile);
    assert!(keeper.world().unread_claims[&name()].is_some(), "a class may name it still");

    let object = serde_json::from_value(json!({"metadata": {"name": "default"}, "spec": {}})).unwrap();
    keeper.apply(Change::Portcullis(name(), Some(Stored::Decoded(Arc::new(object)))));
    assert_eq!(keeper.apply(unread("c.test")), Effect::Compile);
    assert!(keeper.world().unread_claims.is_empty(), "what it claimed when it decoded holds");
}
