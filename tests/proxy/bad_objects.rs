//! Bad input, by name, from the objects to the sockets: whatever is wrong with an app's objects, not one byte reaches its
//! upstream, its neighbour never notices, and what the admin reads names object, field and remedy.

use std::fs;
use std::sync::Arc;

use data_encoding::BASE64;
use portcullis::controller::Live;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::plane::Plane;
use crate::tls::{ask, connect, ordinary, shown};
use crate::upstream::Upstream;

/// One thing that is wrong.
pub struct Row {
    pub name: &'static str,
    /// What stands in `objects.yaml`, and what stands there instead.
    pub broken: &'static [(&'static str, &'static str)],
    /// What a client gets.
    pub answer: Answer,
    /// Object with field, and remedy, of all that the admin reads.
    pub findings: &'static [(&'static str, &'static str)],
}

#[derive(PartialEq, Eq, Debug)]
pub enum Answer {
    /// A response.
    Status(u16),
    /// None: the client does not trust the certificate that is shown.
    Untrusted,
}

use Answer::{Status, Untrusted};

/// An older Ingress of another namespace for the same host.
const RIVAL: &str = "kind: Ingress
metadata: {namespace: team, name: rival, creationTimestamp: '2026-01-01T00:00:00Z'}
spec:
  ingressClassName: control
  tls: [{secretName: site-tls}]
  rules:
  - host: shop.test
    http: {paths: [{path: /rival, pathType: Prefix, backend: {service: {name: site, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {namespace: shop, name: web,";

/// Without a provider nobody who must sign in arrives; who need not is no concern of it.
pub const SIGNED_IN: (&str, &str) = ("anyone: true", "authenticated: true");

pub const CERTIFICATE: &str = "Ingress shop/web: spec.tls[0].secretName";
pub const CLASS: (&str, &str) =
    ("Ingress shop/web: spec.ingressClassName", "correct the Portcullis, or the parameters of the IngressClass");
const POLICY: (&str, &str) = ("Ingress shop/web: spec", "see the status of the Policy `shop/guests`");
pub const PROVIDER: (&str, &str) =
    ("Ingress shop/web: spec.ingressClassName", "see the status of the IdentityProvider `corp`");

const ROWS: &[Row] = &[
    Row {
        name: "missing Service",
        broken: &[(
            "kind: Service\nmetadata: {namespace: shop, name: web}",
            "kind: Service\nmetadata: {namespace: shop, name: wbe}",
        )],
        answer: Status(503),
        findings: &[(
            "Ingress shop/web: spec.rules[0].http.paths[0].backend.service.name",
            "create the Service `web`, or name one that exists",
        )],
    },
    Row {
        name: "missing port",
        broken: &[("port: {name: http}", "port: {name: htpt}")],
        answer: Status(503),
        findings: &[(
            "Ingress shop/web: spec.rules[0].http.paths[0].backend.service.port",
            "name one of the Service's ports",
        )],
    },
    Row {
        name: "missing Secret",
        broken: &[("secretName: web-tls", "secretName: wbe-tls")],
        answer: Untrusted,
        findings: &[(CERTIFICATE, "create the Secret `shop/wbe-tls` of type `kubernetes.io/tls`")],
    },
    Row {
        name: "key that does not fit",
        broken: &[("WEB_KEY", "SITE_KEY")],
        answer: Untrusted,
        findings: &[(CERTIFICATE, "put a certificate chain and its key into the Secret")],
    },
    Row {
        name: "unparsable certificate",
        broken: &[("WEB_CRT", "bm8gY2VydGlmaWNhdGU=")],
        answer: Untrusted,
        findings: &[(CERTIFICATE, "put a certificate chain and its key into the Secret")],
    },
    Row {
        name: "missing class",
        broken: &[("ingressClassName: portcullis", "ingressClassName: portcullsi")],
        answer: Status(404),
        findings: &[(
            "Ingress shop/web: spec.ingressClassName",
            "create the IngressClass `portcullsi`, or name one that exists",
        )],
    },
    Row {
        name: "missing parameters",
        broken: &[("kind: Portcullis, name: default", "kind: Portcullis, name: defualt")],
        answer: Status(503),
        findings: &[
            (
                "IngressClass portcullis: spec.parameters.name",
                "create the Portcullis `defualt`, or name one that exists",
            ),
            CLASS,
        ],
    },
    Row {
        name: "host of another namespace",
        broken: &[("kind: Ingress\nmetadata: {namespace: shop, name: web,", RIVAL)],
        answer: Status(404),
        findings: &[(
            "Ingress shop/web: spec.rules[0].host",
            "use another host, or give the host to this namespace with a claim in the Portcullis",
        )],
    },
    Row {
        name: "misspelt annotation",
        broken: &[("annotations: {}", "annotations: {portcullis.dev/alowed-groups: staff}")],
        answer: Status(503),
        findings: &[(
            "Ingress shop/web: metadata.annotations[portcullis.dev/alowed-groups]",
            "correct its name or remove it",
        )],
    },
    Row {
        name: "Policy with an unknown field",
        broken: &[("methods: [GET]", "mehtods: [POST]")],
        answer: Status(503),
        findings: &[POLICY, ("Policy shop/guests: spec.rules[0].request.mehtods", "correct its name or remove it")],
    },
    Row {
        name: "Allow without principal",
        broken: &[("    principal: {anyone: true}\n", "")],
        answer: Status(503),
        findings: &[
            POLICY,
            ("Policy shop/guests: spec.rules[0].principal", "name groups or people, or write `anyone: true`"),
        ],
    },
    Row {
        name: "empty rule list",
        broken: &[(
            "  rules:\n  - name: anybody\n    effect: Allow\n    request: {methods: [GET]}\n    principal: {anyone: true}\n",
            "  rules: []\n",
        )],
        answer: Status(503),
        findings: &[
            POLICY,
            ("Policy shop/guests: spec.rules", "write a rule; to let nobody pass, one with `effect: Deny`"),
        ],
    },
    Row {
        name: "target that does not exist",
        broken: &[("kind: Ingress, name: web}]", "kind: Ingress, name: wbe}]")],
        answer: Status(403),
        findings: &[(
            "Policy shop/guests: spec.targetRefs[0].name",
            "create the Ingress `wbe`, or name one that exists",
        )],
    },
    Row {
        name: "client secret without its key",
        broken: &[
            SIGNED_IN,
            ("client_id: portcullis, client_secret: hunter2", "client_id: portcullis, secret: hunter2"),
        ],
        answer: Status(503),
        findings: &[
            ("IdentityProvider corp: spec.clientSecretRef.name", "add the key `client_secret` to the Secret"),
            PROVIDER,
        ],
    },
    Row {
        name: "issuer over http",
        broken: &[SIGNED_IN, ("issuer: https://id.test", "issuer: http://id.test")],
        answer: Status(503),
        findings: &[
            ("IdentityProvider corp: spec.issuer", "write the issuer identifier, such as `https://id.example.com`"),
            PROVIDER,
        ],
    },
    Row {
        name: "missing client Secret",
        broken: &[SIGNED_IN, ("name: corp-client}\n---", "name: corp-cleint}\n---")],
        answer: Status(503),
        findings: &[
            ("IdentityProvider corp: spec.clientSecretRef.name", "create the Secret `portcullis-system/corp-cleint`"),
            PROVIDER,
        ],
    },
];

/// The two teams at work.
struct Ground {
    folder: TempDir,
    plane: Plane,
    live: watch::Receiver<Option<Arc<Live>>>,
    names: Names,
    web: Upstream,
    site: Upstream,
}

/// What the names in capitals of `objects.yaml` stand for.
struct Names {
    values: Vec<(&'static str, String)>,
    /// Trusts the authority that has issued the certificates, and nobody else.
    trust: Arc<ClientConfig>,
}

impl Ground {
    /// Serves the objects with one thing other than it should be.
    fn with(broken: &[(&str, &str)]) -> Self {
        let (web, site) = (Upstream::ok(), Upstream::ok());
        let names = Names::new(&web, &site);
        let folder = tempfile::tempdir().unwrap();
        save(&folder, &names.objects(broken));
        let (plane, live) = Plane::follow(folder.path());
        Self { folder, plane, live, names, web, site }
    }

    /// Saves the objects with another thing broken.
    fn save(&self, broken: &[(&str, &str)]) {
        save(&self.folder, &self.names.objects(broken));
    }

    /// What a client that trusts the authority gets at a host.
    fn trusting(&self, host: &str) -> Answer {
        self.get(host, Arc::clone(&self.names.trust))
    }

    fn get(&self, host: &str, client: Arc<ClientConfig>) -> Answer {
        self.plane.block_on(async {
            match connect(self.plane.https, host, client).await {
                Ok(mut stream) => {
                    let line = ask(&mut stream, host).await;
                    Status(line.split(' ').nth(1).unwrap().parse().unwrap())
                }
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
                    Untrusted
                }
            }
        })
    }

    /// The control request arrives, and nothing of another one has.
    fn only_the_control_arrives(&self, row: &str) {
        assert_eq!((self.web.bytes(), self.site.bytes()), (0, 0), "{row}");
        assert_eq!(self.trusting("control.test"), Status(200), "{row}");
        assert_eq!((self.web.bytes(), self.site.seen().len()), (0, 1), "{row}");
    }

    /// Waits until something is said of an object and field.
    fn says(&mut self, subject: &str) {
        let says = |live: &Option<Arc<Live>>| {
            live.iter().flat_map(|live| live.complaints.iter()).any(|complaint| complaint.subject() == subject)
        };
        self.plane.block_on(async { self.live.wait_for(says).await.map(|_| ()) }).unwrap();
    }

    /// Objects with their fields, and remedies, of all that the admin reads; each with its place.
    fn findings(&self) -> Vec<(String, String)> {
        let live = self.live.borrow().clone().unwrap();
        let told = live.complaints.iter().map(|complaint| {
            assert!(complaint.place.is_some() && !complaint.message.is_empty(), "{complaint}");
            (complaint.subject(), complaint.remedy.clone())
        });
        told.collect()
    }
}

/// Saves the objects in one step: nobody reads half of them.
fn save(folder: &TempDir, objects: &str) {
    let whole = folder.path().join(".whole");
    fs::write(&whole, objects).unwrap();
    fs::rename(whole, folder.path().join("objects.yaml")).unwrap();
}

impl Names {
    fn new(web: &Upstream, site: &Upstream) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let mut roots = RootCertStore::empty();
        roots.add(params.self_signed(&key).unwrap().der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let trust = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let authority = Issuer::new(params, key);
        let issue = |hosts: &[&str], until, key: &KeyPair| {
            let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
            let mut params = CertificateParams::new(hosts).unwrap();
            params.not_after = date_time_ymd(until, 1, 1);
            params.signed_by(key, &authority).unwrap().pem()
        };
        let (web_key, site_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let files = [
            ("WEB_CRT", issue(&["shop.test"], 2120, &web_key)),
            ("OLD_CRT", issue(&["shop.test"], 2020, &web_key)),
            ("SITE_CRT", issue(&["control.test", "shop.test"], 2120, &site_key)),
            ("WEB_KEY", web_key.serialize_pem()),
            ("SITE_KEY", site_key.serialize_pem()),
        ];
        let ports = [("WEB_PORT", web), ("SITE_PORT", site)];
        let ports = ports.map(|(name, upstream)| (name, upstream.address.port().to_string()));
        let files = files.map(|(name, pem)| (name, BASE64.encode(pem.as_bytes())));
        let trust = Arc::new(trust.with_root_certificates(roots).with_no_client_auth());
        Self { values: files.into_iter().chain(ports).collect(), trust }
    }

    /// The objects, with one thing other than it should be.
    fn objects(&self, broken: &[(&str, &str)]) -> String {
        let broken = broken.iter().fold(include_str!("objects.yaml").to_owned(), |text, (good, bad)| {
            assert_eq!(text.matches(good).count(), 1, "{good}");
            text.replace(good, bad)
        });
        self.values.iter().fold(broken, |text, (name, value)| text.replace(name, value))
    }
}

#[test]
fn with_good_objects_anybody_arrives() {
    let ground = Ground::with(&[]);
    assert_eq!((ground.trusting("shop.test"), ground.trusting("control.test")), (Status(200), Status(200)));
    assert_eq!((ground.web.seen().len(), ground.site.seen().len()), (1, 1));
    assert_eq!(ground.findings(), []);
}

#[test]
fn with_bad_objects_nothing_arrives_but_the_neighbours_requests() {
    each_is_closed_and_said(ROWS);
}

/// Whatever is broken, `shop` is closed, its neighbour served, and the admin told.
pub fn each_is_closed_and_said(rows: &[Row]) {
    for row in rows {
        let ground = Ground::with(row.broken);
        let client = if row.answer == Untrusted { Arc::clone(&ground.names.trust) } else { ordinary(&[]) };
        assert_eq!(ground.get("shop.test", client), row.answer, "{}", row.name);
        ground.only_the_control_arrives(row.name);
        let findings = ground.findings();
        let findings: Vec<_> = findings.iter().map(|(subject, remedy)| (&**subject, &**remedy)).collect();
        assert_eq!(findings, row.findings, "{}", row.name);
    }
}

#[test]
fn an_expired_certificate_is_shown_and_its_end_is_known() {
    let ground = Ground::with(&[("WEB_CRT", "OLD_CRT")]);
    assert_eq!(ground.trusting("shop.test"), Untrusted);
    ground.only_the_control_arrives("expired");
    let leaf = ground.plane.block_on(shown(ground.plane.https, "shop.test"));
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    assert_eq!(leaf.validity().not_after.to_string(), "Jan  1 00:00:00 2020 +00:00");
    // The status writer compares it with the clock.
    let live = ground.live.borrow().clone().unwrap();
    let ends: Vec<_> = live.report.certificates.iter().map(|(name, end)| format!("{name} {end}")).collect();
    assert_eq!(ends, ["shop/web-tls 2020-01-01T00:00:00Z", "team/site-tls 2120-01-01T00:00:00Z"]);
}

#[test]
fn the_last_good_certificate_is_shown_when_a_broken_one_comes() {
    for broken in [("WEB_CRT", "bm8gY2VydGlmaWNhdGU="), ("WEB_KEY", "SITE_KEY")] {
        let mut ground = Ground::with(&[]);
        ground.save(&[broken]);
        ground.says(CERTIFICATE);
        assert_eq!(ground.trusting("shop.test"), Status(200));
    }
}
