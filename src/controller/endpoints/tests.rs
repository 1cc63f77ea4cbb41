use serde_json::{Value, json};

use super::*;

fn service(spec: &Value) -> Service {
    serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).unwrap()
}

fn http() -> Service {
    service(&json!({"ports": [{"name": "http", "port": 80, "targetPort": 9999}]}))
}

/// A slice of these endpoints, with the port `http` 8080.
fn slice(address_type: &str, endpoints: &Value) -> Value {
    json!({"metadata": {}, "addressType": address_type, "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints})
}

fn united(service: &Service, slices: &[Value]) -> United {
    let slices = slices.iter().enumerate().map(|(at, slice)| {
        let slice: EndpointSlice = serde_json::from_value(slice.clone()).unwrap();
        (ObjectName::new("shop", &format!("web-{at}")), Stored::Decoded(slice.into()))
    });
    unite(Some(service), &slices.collect(), &Guard::default())
}

/// The addresses of port 80, with nothing refused.
fn addresses(service: &Service, slices: &[Value]) -> Vec<String> {
    let united = united(service, slices);
    assert_eq!(united.findings, []);
    united.by_port[&80].iter().map(ToString::to_string).collect()
}

fn endpoint(address: &str, conditions: &Value) -> Value {
    json!({"addresses": [address], "conditions": conditions})
}

#[test]
fn slices_are_united_and_an_endpoint_counts_once() {
    let one = slice("IPv4", &json!([endpoint("10.0.0.2", &json!({})), endpoint("10.0.0.1", &json!({"ready": false}))]));
    let two =
        slice("IPv4", &json!([endpoint("10.0.0.1", &json!({"ready": true})), endpoint("10.0.0.2", &json!(null))]));
    assert_eq!(addresses(&http(), &[one, two]), ["10.0.0.1:8080", "10.0.0.2:8080"]);
}

#[test]
fn the_better_of_two_readinesses_counts_whatever_the_order() {
    let ready = slice("IPv4", &json!([endpoint("10.0.0.1", &json!({"ready": true}))]));
    let ending =
        slice("IPv4", &json!([endpoint("10.0.0.1", &json!({"ready": false, "serving": true, "terminating": true}))]));
    let other = slice("IPv4", &json!([endpoint("10.0.0.2", &json!({"ready": true}))]));
    let both = ["10.0.0.1:8080", "10.0.0.2:8080"];
    assert_eq!(addresses(&http(), &[ready.clone(), ending.clone(), other.clone()]), both);
    assert_eq!(addresses(&http(), &[ending, ready, other]), both);
}

#[test]
fn one_that_ends_serves_only_while_none_is_ready() {
    let ending = json!({"ready": false, "serving": true, "terminating": true});
    let cases = [
        (json!({"ready": true}), vec!["10.0.0.2:8080"]),
        (json!({}), vec!["10.0.0.2:8080"]),
        (json!({"ready": false}), vec!["10.0.0.1:8080"]),
        (json!({"ready": false, "serving": true}), vec!["10.0.0.1:8080"]),
        (json!({"ready": false, "serving": false, "terminating": true}), vec!["10.0.0.1:8080"]),
        (json!({"ready": false, "terminating": true}), vec!["10.0.0.1:8080"]),
        (ending.clone(), vec!["10.0.0.1:8080", "10.0.0.2:8080"]),
    ];
    for (conditions, expected) in cases {
        let slice = slice("IPv4", &json!([endpoint("10.0.0.1", &ending), endpoint("10.0.0.2", &conditions)]));
        assert_eq!(addresses(&http(), &[slice]), expected, "{conditions}");
    }
}

#[test]
fn a_port_is_found_by_its_name_and_never_by_a_number() {
    let mut named = slice("IPv4", &json!([endpoint("10.0.0.1", &json!({}))]));
    named["ports"] = json!([{"name": "http", "port": 8080}, {"name": "http", "port": 81, "protocol": "UDP"}, {"name": "admin", "port": 80}]);
    assert_eq!(addresses(&http(), &[named.clone()]), ["10.0.0.1:8080"]);

    let unnamed = service(&json!({"ports": [{"port": 80}]}));
    assert_eq!(addresses(&unnamed, &[named.clone()]), [""; 0]);
    named["ports"] = json!([{"name": "", "port": 8081}]);
    assert_eq!(addresses(&unnamed, &[named.clone()]), ["10.0.0.1:8081"]);

    for null in [json!(null), json!([]), json!([{"name": "http", "port": null}]), json!([{"name": "http", "port": 0}])]
    {
        named["ports"] = null;
        assert_eq!(addresses(&http(), &[named.clone()]), [""; 0]);
    }
}

#[test]
fn a_port_that_is_not_tcp_is_no_backend() {
    let service =
        service(&json!({"ports": [{"name": "http", "port": 80}, {"name": "quic", "port": 443, "protocol": "UDP"}]}));
    assert_eq!(united(&service, &[]).by_port, BTreeMap::from([(80, Vec::new())]));
}

#[test]
fn one_family_is_used_and_the_first_of_the_service_goes_first() {
    let v4 = slice("IPv4", &json!([endpoint("10.0.0.1", &json!({}))]));
    let v6 = slice("IPv6", &json!([endpoint("fd00::1", &json!({}))]));
    let dual = |families: Value| service(&json!({"ipFamilies": families, "ports": [{"name": "http", "port": 80}]}));
    let both = [v4.clone(), v6];
    assert_eq!(addresses(&dual(json!(["IPv6", "IPv4"])), &both), ["[fd00::1]:8080"]);
    assert_eq!(addresses(&dual(json!(["IPv4", "IPv6"])), &both), ["10.0.0.1:8080"]);
    assert_eq!(addresses(&dual(json!(["IPv6", "IPv4"])), &[v4]), ["10.0.0.1:8080"]);
}

#[test]
fn addresses_that_a_slice_must_not_lead_to_are_refused_by_name() {
    let refused = [
        ("127.0.0.1", "a loopback address"),
        ("::1", "a loopback address"),
        ("::ffff:127.0.0.1", "a loopback address"),
        ("0.0.0.0", "the unspecified address"),
        ("::", "the unspecified address"),
        ("169.254.169.254", "a link-local address"),
        ("::ffff:169.254.169.254", "a link-local address"),
        ("255.255.255.255", "a link-local address"),
        ("fe80::1", "a link-local address"),
        ("224.0.0.1", "a multicast address"),
        ("ff02::1", "a multicast address"),
        ("169.254.0.1", "a link-local address"),
        ("febf::1", "a link-local address"),
        ("fd00:ec2::254", "the metadata service of the cloud"),
        ("fd20:ce::254", "the metadata service of the cloud"),
        ("100.100.100.200", "the metadata service of the cloud"),
        ("::ffff:100.100.100.200", "the metadata service of the cloud"),
        ("168.63.129.16", "the metadata service of the cloud"),
        ("192.0.0.192", "the metadata service of the cloud"),
        ("64:ff9b::127.0.0.1", "a loopback address"),
        ("64:ff9b::169.254.169.254", "a link-local address"),
        ("64:ff9b::100.100.100.200", "the metadata service of the cloud"),
        ("64:ff9b::", "the unspecified address"),
        ("::127.0.0.1", "a loopback address"),
        ("::169.254.169.254", "a link-local address"),
    ];
    for (address, why) in refused {
        let united = united(
            &http(),
            &[slice("IPv4", &json!([endpoint(address, &json!({})), endpoint("10.0.0.1", &json!({}))]))],
        );
        assert_eq!(united.by_port[&80], ["10.0.0.1:8080".parse().unwrap()], "the neighbour goes on");
        let [finding] = &united.findings[..] else { panic!("one finding for {address}: {:?}", united.findings) };
        assert_eq!(
            (&*finding.field, finding.message.clone()),
            ("/endpoints/0/addresses/0", format!("`{address}` is {why}"))
        );
    }
}

#[test]
fn our_own_address_is_refused_and_loopback_is_not_in_dev() {
    let guard = Guard { loopback_allowed: true, own: ["10.0.0.9".parse().unwrap()].into() };
    assert_eq!(guard.refuses("10.0.0.9".parse().unwrap()), Some("an address of Portcullis itself"));
    assert_eq!(guard.refuses("::ffff:10.0.0.9".parse().unwrap()), Some("an address of Portcullis itself"));
    assert_eq!(guard.refuses("64:ff9b::10.0.0.9".parse().unwrap()), Some("an address of Portcullis itself"));
    assert_eq!(guard.refuses("64:ff9b::10.0.0.10".parse().unwrap()), None);
    assert_eq!(guard.refuses("127.0.0.1".parse().unwrap()), None);
    assert_eq!(guard.refuses("10.0.0.10".parse().unwrap()), None);
}

#[test]
fn what_is_no_address_is_said() {
    let united = united(
        &http(),
        &[
            slice("IPv4", &json!([endpoint("nonsense", &json!({})), {"addresses": []}])),
            slice("FQDN", &json!([endpoint("example.com", &json!({}))])),
        ],
    );
    assert_eq!(united.by_port[&80], []);
    let said: Vec<_> = united.findings.iter().map(|finding| (&*finding.field, &*finding.message)).collect();
    let expected = [
        ("/endpoints/0/addresses/0", "`nonsense` is no IP address"),
        ("/endpoints/1/addresses/0", "the endpoint has no address"),
        ("/addressType", "endpoints of type `FQDN` are not supported"),
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_slice_that_moves_or_goes_touches_both_services() {
    let slice = |service: &str| {
        let slice = json!({"metadata": {"labels": {"kubernetes.io/service-name": service}}, "addressType": "IPv4", "endpoints": []});
        Some(Stored::Decoded(serde_json::from_value::<EndpointSlice>(slice).unwrap().into()))
    };
    let name = ObjectName::new("shop", "slice");
    let touched = |touched: BTreeSet<ObjectName>| touched.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut slices = Slices::default();
    assert_eq!(touched(slices.put(name.clone(), slice("a"))), ["shop/a"]);
    assert_eq!(touched(slices.put(name.clone(), slice("b"))), ["shop/a", "shop/b"]);
    assert!(slices.of(&ObjectName::new("shop", "a")).is_empty());
    assert_eq!(touched(slices.put(name.clone(), Some(Stored::Undecodable("broken".into())))), ["shop/b"]);
    assert_eq!(slices.of(&ObjectName::new("shop", "b")).len(), 1);
    assert_eq!(touched(slices.put(name, None)), ["shop/b"]);
    assert!(slices.by_service.is_empty() && slices.service_of.is_empty());
}
