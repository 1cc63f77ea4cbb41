use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

fn name() -> ObjectName {
    ObjectName::new("portcullis-system", "portcullis")
}

fn stored(spec: &Value, status: &Value) -> Stored<Service> {
    Stored::Decoded(Arc::new(serde_json::from_value(json!({"spec": spec, "status": status})).unwrap()))
}

fn read_of(spec: &Value, status: &Value) -> Result<Vec<Entry>, Box<Finding>> {
    read(&name(), Some(&stored(spec, status)))
}

#[test]
fn each_type_of_service_has_its_addresses() {
    let balancer = json!({"loadBalancer": {"ingress": [
        {"ip": "203.0.113.1", "ipMode": "VIP"},
        {"hostname": "lb.example", "ports": [{"port": 443, "protocol": "TCP", "error": "NotReady"}]},
    ]}});
    let ips = ["203.0.113.1", "203.0.113.9"];
    let cases = [
        (
            json!({"type": "LoadBalancer", "clusterIPs": ["10.96.0.9"], "externalIPs": ips}),
            json!([
                {"ip": "203.0.113.1"},
                {"hostname": "lb.example", "ports": [{"port": 443, "protocol": "TCP", "error": "NotReady"}]},
                {"ip": "203.0.113.9"},
            ]),
        ),
        (
            json!({"type": "NodePort", "clusterIPs": ["10.96.0.9"], "externalIPs": ips}),
            json!([{"ip": "203.0.113.1"}, {"ip": "203.0.113.9"}]),
        ),
        (
            json!({"type": "ClusterIP", "clusterIPs": ["10.96.0.9", "fd00::9"]}),
            json!([{"ip": "10.96.0.9"}, {"ip": "fd00::9"}]),
        ),
        (
            json!({"type": "ClusterIP", "clusterIPs": ["10.96.0.9"], "externalIPs": ["203.0.113.9"]}),
            json!([{"ip": "203.0.113.9"}]),
        ),
        (json!({"type": "ExternalName", "externalName": "in.example."}), json!([{"hostname": "in.example"}])),
    ];
    for (spec, expected) in cases {
        assert_eq!(json!(read_of(&spec, &balancer).unwrap()), expected, "{spec}");
    }
}

#[test]
fn a_service_without_an_address_is_a_finding_with_field_and_remedy() {
    let without = [
        (json!({"type": "LoadBalancer", "clusterIPs": ["10.96.0.9"]}), "/status/loadBalancer", "--publish-address"),
        (json!({"type": "NodePort", "clusterIPs": ["10.96.0.9"]}), "/spec/externalIPs", "`externalIPs`"),
        (json!({"type": "ClusterIP", "clusterIPs": ["None"]}), "/spec/clusterIP", "leave `clusterIP` out"),
        (json!({"type": "ExternalName", "externalName": "."}), "/spec/externalName", "write the host name"),
    ];
    for (spec, field, remedy) in without {
        let finding = read_of(&spec, &json!({})).unwrap_err();
        assert_eq!((&*finding.field, finding.reason, finding.object.name.clone()), (field, "NoAddress", name()));
        assert!(finding.remedy.contains(remedy), "{}", finding.remedy);
    }
    assert_eq!(read(&name(), None).unwrap_err().reason, "ServiceNotFound");
    let undecodable = read(&name(), Some(&Stored::Undecodable("invalid type: string".into()))).unwrap_err();
    assert!(undecodable.reason == "Undecodable" && undecodable.message.contains("invalid type"), "{undecodable:?}");
}

fn addresses(given: &[&str], told: Option<Told>) -> Addresses {
    let service = told.map(|told| watch::channel(told).1);
    Addresses { service, ..Addresses::given(&given.iter().map(|&it| it.to_owned()).collect::<Vec<_>>()) }
}

fn told(entries: &[&str]) -> Told {
    Told { entries: entries.iter().map(|it| entry(it)).collect(), finding: None }
}

#[test]
fn an_ingress_gets_what_is_given_then_what_the_service_has_and_nothing_twice() {
    let addresses = addresses(&["a.example", "192.0.2.1"], Some(told(&["192.0.2.1", "192.0.2.2"])));
    let expected = ["a.example", "192.0.2.1", "192.0.2.2"].map(entry);
    assert_eq!(addresses.now().instead_of(&[]), Some(&expected[..]));
    assert_eq!(addresses.now().instead_of(&[entry("192.0.2.9")]), Some(&expected[..]));
    assert_eq!(addresses.now().instead_of(&expected), None);
}

#[test]
fn an_ingress_keeps_what_it_has_until_the_service_has_told_an_address() {
    let held = [entry("192.0.2.1"), entry("192.0.2.2")];
    let given = [entry("192.0.2.1")];
    let unknown = addresses(&["192.0.2.1"], Some(Told::default()));
    assert_eq!(unknown.now().instead_of(&held), None);
    assert_eq!(unknown.now().instead_of(&[]), Some(&given[..]));
    assert_eq!(addresses(&[], Some(Told::default())).now().instead_of(&[]), None);
    assert_eq!(addresses(&["192.0.2.1"], None).now().instead_of(&held), Some(&given[..]));
}
