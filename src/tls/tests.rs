use rcgen::{CertificateParams, KeyPair};

use super::*;

fn pair(names: &[&str]) -> (String, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    (CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem(), key)
}

fn certificate(names: &[&str]) -> Arc<Certificate> {
    let (chain, key) = pair(names);
    Arc::new(Certificate::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes()).unwrap())
}

fn refused(chain: &str, key: &str) -> BadCertificate {
    Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err()
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

#[test]
fn a_pair_that_fits_is_good_for_the_names_of_its_leaf() {
    let good = certificate(&["shop.example.com", "*.team.example.com", "192.0.2.7"]);
    assert_eq!(
        good.names.as_ref(),
        [
            HostMatch::Exact(host("shop.example.com")),
            HostMatch::Wildcard(host("team.example.com")),
            HostMatch::Exact(host("192.0.2.7")),
        ]
    );
    assert!(good.covers(&host("a.team.example.com")));
    assert!(!good.covers(&host("a.b.team.example.com")));
    assert!(good.covers_all(&HostMatch::Wildcard(host("team.example.com"))));
    assert!(!good.covers_all(&HostMatch::Wildcard(host("example.com"))));
}

#[test]
fn equal_chains_are_equal_and_others_are_not() {
    let (chain, key) = pair(&["a.example.com"]);
    let read = || Certificate::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    assert_eq!(read(), read());
    assert_ne!(read(), *certificate(&["a.example.com"]));
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (chain, _) = pair(&["a.example.com"]);
    let (_, other) = pair(&["a.example.com"]);
    assert_eq!(refused(&chain, &other.serialize_pem()), BadCertificate::KeyMismatch);
}

#[test]
fn what_is_no_certificate_is_refused_by_name() {
    let (chain, key) = pair(&["a.example.com"]);
    let key = key.serialize_pem();
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let truncated = &chain[..chain.len() / 2];
    assert_eq!(refused("", &key), BadCertificate::NoCertificate);
    assert_eq!(refused(&key, &key), BadCertificate::NoCertificate);
    assert_eq!(refused(truncated, &key), BadCertificate::BrokenChain);
    assert_eq!(refused(nonsense, &key), BadCertificate::BrokenLeaf);
}

#[test]
fn what_is_no_key_is_refused_by_name() {
    let (chain, key) = pair(&["a.example.com"]);
    let key = key.serialize_pem();
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let nonsense = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_eq!(refused(&chain, ""), BadCertificate::NoKey);
    assert_eq!(refused(&chain, &key[..key.len() / 2]), BadCertificate::BrokenKey);
    assert_eq!(refused(&chain, encrypted), BadCertificate::EncryptedKey);
    assert_eq!(refused(&chain, nonsense), BadCertificate::UnsupportedKey);
}

#[test]
fn a_bundle_needs_one_readable_certificate() {
    let (chain, _) = pair(&["ca.example.com"]);
    assert_eq!(check_bundle(chain.as_bytes()), Ok(()));
    assert_eq!(check_bundle(b"nothing"), Err(BadCertificate::NoCertificate));
    assert_eq!(
        check_bundle(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        Err(BadCertificate::BrokenLeaf)
    );
}

#[test]
fn exact_beats_wildcard_beats_default_in_any_case() {
    let [exact, wildcard, default] = [certificate(&["e"]), certificate(&["w"]), certificate(&["d"])];
    let store = CertStore::new(
        [
            (HostMatch::Wildcard(host("example.com")), Arc::clone(&wildcard)),
            (HostMatch::Exact(host("a.example.com")), Arc::clone(&exact)),
            (HostMatch::Any, Arc::clone(&exact)),
        ],
        Some(Arc::clone(&default)),
    );
    let found = |name: Option<&str>| store.find(name).unwrap();
    assert_eq!(found(Some("A.Example.com")), &exact);
    assert_eq!(found(Some("b.example.com")), &wildcard);
    assert_eq!(found(Some("a.b.example.com")), &default);
    assert_eq!(found(Some("example.com")), &default);
    assert_eq!(found(Some(".example.com")), &default);
    let long = "x".repeat(300);
    assert_eq!(found(Some(&long)), &default);
    assert_eq!(found(None), &default);
    assert_eq!(CertStore::default().find(Some("a.example.com")), None);
}

#[test]
fn the_first_entry_of_a_host_wins() {
    let [first, second] = [certificate(&["a"]), certificate(&["a"])];
    let entries = [&first, &second].map(|it| (HostMatch::Exact(host("a.example.com")), Arc::clone(it)));
    assert_eq!(CertStore::new(entries, None).find(Some("a.example.com")), Some(&first));
}
