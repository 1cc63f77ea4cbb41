//! The certificate authority of the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SerialNumber, date_time_ymd,
};

/// An authority that browser, curl and Portcullis are told to trust.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, in PEM.
    pub pem: String,
    /// The file with it.
    pub file: PathBuf,
    serial: AtomicU64,
}

/// A certificate and its key, both in PEM.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
    /// The serial number of the certificate.
    pub serial: u64,
}

impl Authority {
    /// Makes one; its certificate is also written to `ca.crt` in `folder`.
    pub fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Portcullis test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid(&mut params);
        let key = KeyPair::generate().expect("the random source works");
        let pem = params.self_signed(&key).expect("the parameters are sound").pem();
        let file = folder.join("ca.crt");
        fs::write(&file, &pem).expect("the folder is there");
        Self { issuer: Issuer::new(params, key), pem, file, serial: AtomicU64::new(1000) }
    }

    /// A new certificate for host names.
    pub fn issue(&self, hosts: &[&str]) -> Pair {
        self.issue_until(hosts, 2120)
    }

    /// The same, good until a year begins.
    pub fn issue_until(&self, hosts: &[&str], year: i32) -> Pair {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let names: Vec<_> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("host names");
        params.distinguished_name.push(DnType::CommonName, hosts[0]);
        params.serial_number = Some(SerialNumber::from(serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        valid(&mut params);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("the random source works");
        let certificate = params.signed_by(&key, &self.issuer).expect("the parameters are sound").pem();
        Pair { certificate, key: key.serialize_pem(), serial }
    }
}

/// From long before to long after any run of the tests.
fn valid(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
}
