//! The same world gives the same result, in whatever order its objects came, with equal ages and conflicting owners.

use std::collections::BTreeMap;

use portcullis::controller::Guard;
use portcullis::controller::compile::{Compiled, compile};
use portcullis::controller::folder::Folder;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::{defaults, ingress, service};

const HOSTS: [&str; 4] = ["a.example.com", "*.example.com", "b.example.com", ""];

/// Ingresses of three namespaces that fight over few hosts and paths, most of them of one age.
fn fighting() -> impl Strategy<Value = Vec<Value>> {
    let one = (0..3usize, 0..6usize, 0..HOSTS.len(), 0..3usize, any::<bool>(), 0..8usize);
    prop::collection::vec(one, 1..12).prop_map(|drafts| {
        let mut ingresses = BTreeMap::new();
        for (namespace, name, host, path, default, age) in drafts {
            let age = if age == 0 { "01-01" } else { "01-02" };
            let mut object = ingress(&format!("n{namespace}/i{name}"), age, HOSTS[host]);
            object["spec"]["rules"][0]["http"]["paths"][0]["path"] = json!(["/", "/x", "/x/"][path]);
            if default {
                object["spec"]["defaultBackend"] = json!({"service": {"name": "web", "port": {"number": 80}}});
            }
            ingresses.insert((namespace, name), object);
        }
        ingresses.into_values().collect()
    })
}

/// One file an object, so that the order of the files is the order in which the objects come.
fn compiled_in_order(objects: &[Value]) -> Compiled {
    let files: Vec<_> =
        objects.iter().enumerate().map(|(at, object)| (format!("{at:04}.yaml"), object.to_string())).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let (world, pages) = Folder::embedded(&files).world(Guard::default());
    assert!(pages.complaints(&[]).is_empty(), "the objects are read");
    compile(&world, &defaults())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn any_order_gives_the_same_result(ingresses in fighting(), seed in any::<u64>()) {
        let class = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "portcullis"},
            "spec": {"controller": "portcullis.dev/ingress-controller"},
        });
        let mut objects = ingresses;
        objects.extend((0..3).map(|namespace| service(&format!("n{namespace}"), "web", 80)));
        objects.push(class);
        let first = compiled_in_order(&objects);
        let mut state = seed;
        objects.sort_by_cached_key(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 32
        });
        prop_assert_eq!(first, compiled_in_order(&objects));
    }
}
