//! Certificates: from the `tls` of Ingresses to the hosts that they serve. A broken one takes nothing else with it.
//!
//! A certificate is shown for the hosts that its own Ingress serves, never for another namespace's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::networking::v1::IngressTLS;

use super::class::Ours;
use super::defaults::Defaults;
use super::fields::Pointer;
use super::hosts::Hosts;
use super::ingress::refusal_text;
use crate::controller::report::{Kind, Notes, Report};
use crate::controller::world::{ObjectName, StoredCertificate, World};
use crate::host::HostMatch;
use crate::tls::Certificate;

/// The certificates so far.
pub(super) struct Certificates<'c> {
    world: &'c World,
    hosts: &'c Hosts,
    entries: BTreeMap<HostMatch, (ObjectName, Arc<Certificate>)>,
    default: Option<Arc<Certificate>>,
}

impl<'c> Certificates<'c> {
    /// No certificates yet but the default, which is the given Secret's, else the one of last resort.
    pub fn new(world: &'c World, defaults: &Defaults, hosts: &'c Hosts, report: &mut Report) -> Self {
        let given = defaults.default_certificate.as_ref().and_then(|name| {
            let mut notes = Notes::on(Kind::Secret, name);
            let found = find(world, name, "", &mut notes, report);
            report.take(notes);
            found
        });
        Self { world, hosts, entries: BTreeMap::new(), default: given.or_else(|| defaults.self_signed.clone()) }
    }

    /// Adds the certificates of an Ingress that serves these hosts; tells whether all that it names are there.
    pub fn add(&mut self, it: &Ours<'_>, served: &BTreeSet<HostMatch>, report: &mut Report) -> bool {
        if served.is_empty() {
            return true;
        }
        let mut notes = Notes::on(Kind::Ingress, it.name);
        let tls = it.ingress.spec.as_ref().and_then(|spec| spec.tls.as_deref()).unwrap_or_default();
        let mut complete = true;
        for (index, entry) in tls.iter().enumerate() {
            let at = Pointer::spec().to("tls").to(index);
            let hosts = self.hosts_of(&at, entry, it, served, &mut notes);
            // Without a name it is the default certificate's business.
            let Some(secret) = entry.secret_name.as_deref().filter(|name| !name.is_empty()) else { continue };
            let name = ObjectName { namespace: Arc::clone(&it.name.namespace), name: secret.into() };
            match find(self.world, &name, at.to("secretName"), &mut notes, report) {
                Some(certificate) => self.show(&at, &name, &certificate, hosts, &mut notes),
                None => complete = false,
            }
        }
        report.take(notes);
        complete
    }

    /// The entries, and the default.
    pub fn finish(self) -> (impl Iterator<Item = (HostMatch, Arc<Certificate>)>, Option<Arc<Certificate>>) {
        let entries = self.entries.into_iter().map(|(host, (_, certificate))| (host, certificate));
        (entries, self.default)
    }

    fn show(
        &mut self,
        at: &Pointer,
        secret: &ObjectName,
        certificate: &Arc<Certificate>,
        hosts: BTreeSet<HostMatch>,
        notes: &mut Notes,
    ) {
        for host in hosts {
            if !certificate.covers_all(&host) {
                let message =
                    format!("the certificate of the Secret `{}` is not good for the host `{host}`", secret.name);
                let remedy = "issue it with this host among its names";
                notes.warning(at.to("secretName"), "CertificateMismatch", message, remedy);
            }
            match self.entries.get(&host) {
                Some((other, shown)) if shown != certificate => {
                    let message = format!(
                        "the host `{host}` is shown with the certificate of the Secret `{other}`, which an older Ingress names"
                    );
                    notes.warning(at.to("secretName"), "Conflict", message, "name one Secret for the host");
                }
                Some(_) => {}
                None => {
                    self.entries.insert(host, (secret.clone(), Arc::clone(certificate)));
                }
            }
        }
    }

    /// The hosts that an entry is for: those served that it covers; without `hosts`, all that are served. An Ingress
    /// that serves every host may name hosts that nobody else serves.
    fn hosts_of(
        &self,
        at: &Pointer,
        entry: &IngressTLS,
        it: &Ours<'_>,
        served: &BTreeSet<HostMatch>,
        notes: &mut Notes,
    ) -> BTreeSet<HostMatch> {
        let named = entry.hosts.as_deref().unwrap_or_default();
        if named.is_empty() {
            return served.iter().filter(|host| **host != HostMatch::Any).cloned().collect();
        }
        let mut hosts = BTreeSet::new();
        for (index, text) in named.iter().enumerate() {
            let at = at.to("hosts").to(index);
            let host = match HostMatch::parse(text) {
                Ok(HostMatch::Any) | Err(_) => {
                    let message = format!("`{}` is not a host name", text.escape_debug());
                    notes.error(at, "HostInvalid", message, "write a DNS name, or `*.` and a DNS name");
                    continue;
                }
                Ok(host) => host,
            };
            let covered: Vec<_> = served.iter().filter(|served| covers(&host, served)).cloned().collect();
            if !covered.is_empty() {
                hosts.extend(covered);
            } else if !served.contains(&HostMatch::Any) {
                let message =
                    format!("no rule of this Ingress serves the host `{host}`, so its certificate is not shown");
                notes.warning(at, "HostNotServed", message, "add a rule for the host, or remove it here");
            } else if let Err(refusal) = self.hosts.allow(&host, &it.name.namespace, &it.class) {
                let (message, remedy) = refusal_text(&host, &refusal);
                notes.error(at, "Conflict", format!("{message}, so the certificate is not shown for it"), remedy);
            } else {
                hosts.insert(host);
            }
        }
        hosts
    }
}

/// Whether a host of `tls` is meant for a host of a rule: the same, or the wildcard above an exact one.
fn covers(named: &HostMatch, served: &HostMatch) -> bool {
    named == served || matches!(served, HostMatch::Exact(host) if named.matches(host))
}

/// The certificate of a Secret, the last good one where the present one is broken.
fn find(
    world: &World,
    name: &ObjectName,
    at: impl Into<String>,
    notes: &mut Notes,
    report: &mut Report,
) -> Option<Arc<Certificate>> {
    let (message, remedy, reason) = match world.certificates.get(name) {
        Some(StoredCertificate::Current(certificate)) => {
            report.certificates.insert(name.clone(), certificate.not_after);
            return Some(Arc::clone(certificate));
        }
        Some(StoredCertificate::LastGood(certificate, defect)) => {
            report.certificates.insert(name.clone(), certificate.not_after);
            let message = format!("the Secret `{name}` cannot be used, so its last good certificate stays: {defect}");
            notes.error(at, "SecretInvalid", message, "put a certificate chain and its key into the Secret");
            return Some(Arc::clone(certificate));
        }
        Some(StoredCertificate::Broken(defect)) => {
            let message = format!("the Secret `{name}` cannot be used, so the default certificate is shown: {defect}");
            (message, "put a certificate chain and its key into the Secret".to_owned(), "SecretInvalid")
        }
        None => {
            let message = format!("there is no TLS Secret `{name}`, so the default certificate is shown");
            (message, format!("create the Secret `{name}` of type `kubernetes.io/tls`"), "SecretNotFound")
        }
    };
    notes.error(at, reason, message, remedy);
    None
}
