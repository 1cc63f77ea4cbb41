//! The certificate authority of `dev`: kept in the user's state directory, so that it need be trusted once. It gives each
//! host a certificate of its own (browsers refuse wildcards under `localhost`).

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use jiff::SignedDuration;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::clock::Clock;
use crate::host::{Host, HostMatch};
use crate::snapshot::Snapshot;
use crate::tls::Certificate;

/// How long a host's certificate is good: what browsers accept at most, with room.
const LEAF_DAYS: i64 = 390;

/// How long the authority is good.
const AUTHORITY_DAYS: i64 = 3650;

/// The authority, with the certificates that it has given.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: PathBuf,
    clock: Clock,
    given: BTreeMap<Host, Arc<Certificate>>,
}

impl Authority {
    /// Reads the authority from `folder`, or makes it there.
    pub fn open(folder: &Path, clock: Clock) -> anyhow::Result<Self> {
        let (certificate, key) = (folder.join("ca.crt"), folder.join("ca.key"));
        if !key.exists() {
            create(&certificate, &key, &clock)
                .with_context(|| format!("cannot make a certificate authority in {}", folder.display()))?;
        }
        let remedy =
            || format!("cannot use the certificate authority in {0}; remove {0} to get a new one", folder.display());
        let key = KeyPair::from_pem(&fs::read_to_string(&key).with_context(remedy)?).with_context(remedy)?;
        let pem = fs::read_to_string(&certificate).with_context(remedy)?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key).with_context(remedy)?;
        Ok(Self { issuer, certificate, clock, given: BTreeMap::new() })
    }

    /// The file to trust, in PEM.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Gives every exact host of a snapshot that has no certificate of its own one of ours.
    pub fn complete(&mut self, mut snapshot: Snapshot) -> Snapshot {
        let mut entries = Vec::new();
        for route in snapshot.routes.iter() {
            let HostMatch::Exact(host) = &route.host else { continue };
            if snapshot.certificates.find(Some(host.as_str())).is_some_and(|found| found.covers(host)) {
                continue;
            }
            match self.leaf(host) {
                Ok(certificate) => entries.push((route.host.clone(), certificate)),
                Err(error) => tracing::error!(%host, %error, "the host gets no certificate"),
            }
        }
        snapshot.certificates = snapshot.certificates.with(entries);
        snapshot
    }

    /// The certificate of a host, made once.
    fn leaf(&mut self, host: &Host) -> anyhow::Result<Arc<Certificate>> {
        if let Some(certificate) = self.given.get(host) {
            return Ok(Arc::clone(certificate));
        }
        let mut params = CertificateParams::new(vec![host.as_str().to_owned()])?;
        params.distinguished_name = named(host.as_str());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        validity(&mut params, &self.clock, LEAF_DAYS)?;
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        let certificate = Arc::new(Certificate::from_pem(leaf.pem().as_bytes(), key.serialize_pem().as_bytes())?);
        self.given.insert(host.clone(), Arc::clone(&certificate));
        Ok(certificate)
    }
}

fn create(certificate: &Path, key: &Path, clock: &Clock) -> anyhow::Result<()> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Portcullis dev authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params, clock, AUTHORITY_DAYS)?;
    let pair = KeyPair::generate()?;
    let made = params.self_signed(&pair)?;
    fs::create_dir_all(certificate.parent().context("the folder has a name")?)?;
    fs::write(certificate, made.pem())?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(key)?;
    file.write_all(pair.serialize_pem().as_bytes())?;
    Ok(())
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// From a day ago, since clocks differ.
fn validity(params: &mut CertificateParams, clock: &Clock, days: i64) -> anyhow::Result<()> {
    let day = |offset: i64| {
        let date = (clock.now() + SignedDuration::from_hours(24 * offset)).to_zoned(jiff::tz::TimeZone::UTC).date();
        anyhow::Ok(rcgen::date_time_ymd(date.year().into(), u8::try_from(date.month())?, u8::try_from(date.day())?))
    };
    params.not_before = day(-1)?;
    params.not_after = day(days)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_made_once_and_gives_each_host_its_own_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-01-02T03:04:05Z".parse().unwrap());
        let mut first = Authority::open(folder.path(), clock.clone()).unwrap();
        let staff = Host::parse("staff.localhost").unwrap();
        let leaf = first.leaf(&staff).unwrap();
        assert!(leaf.covers(&staff) && !leaf.covers(&Host::parse("finance.localhost").unwrap()));
        assert_eq!(first.leaf(&staff).unwrap().fingerprint, leaf.fingerprint);
        let before = fs::read(first.certificate()).unwrap();
        let again = Authority::open(folder.path(), clock).unwrap();
        assert_eq!(fs::read(again.certificate()).unwrap(), before);
    }

    #[test]
    fn a_broken_authority_names_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.key"), "no key").unwrap();
        let error = Authority::open(folder.path(), Clock::system()).err().unwrap();
        assert!(format!("{error:#}").contains("remove"), "{error:#}");
    }
}
