//! `docs/tasks.md` as an administrator follows it in a cluster: its files are applied and its commands are run, as they are
//! written there. `tests/docs` runs those that need no cluster.

use std::fs;

use serde_json::json;

use crate::support::authority::Pair;
use crate::support::bed::Bed;
use crate::support::client::presented_serial;
use crate::support::cluster::in_repository;
use crate::support::eventually::{SOON, eventually};
use crate::support::objects;
use crate::support::provider::{GUEST, STAFF};
use crate::support::scene::{ENDPOINT, Scene, TASKS};
use crate::support::shell::Shell;
use crate::support::steps::{Step, steps};

/// The namespace of the tasks.
const SHOP: &str = "shop";

const BACKOFFICE: &str = "https://backoffice.localhost:8443";
const REPORTS: &str = "https://reports.localhost:8443";

/// What every command for the cluster must print, by how it begins.
const PRINTED: &[(&str, &str)] = &[
    ("portcullis routes --unprotected", "anyone, for GET on exact:/healthz"),
    ("kubectl get policies,ingresses --all-namespaces", "policy.portcullis.dev/backoffice"),
    ("kubectl get identityproviders", "corp"),
    ("kubectl --namespace shop create secret tls backoffice-tls", "secret/backoffice-tls configured"),
    ("kubectl --namespace shop get events", "the private key does not fit"),
    ("portcullis keys rotate", "pending"),
    ("portcullis keys list", "active"),
    ("portcullis keys retire", "Keys retired: "),
    ("kubectl --namespace portcullis-system logs", r#""reason":"no_rule_allows""#),
    ("portcullis sessions list", STAFF.email),
    ("portcullis sessions revoke --user", "USER"),
    ("portcullis sessions revoke --all", STAFF.email),
];

/// The administrator.
struct Reader<'a> {
    scene: &'a Scene<'a>,
    shell: Shell,
}

pub async fn journey(bed: &Bed) {
    let scene = Scene { namespace: SHOP, ..Scene::open(bed, "tasks", 300).await };
    bed.cluster.apply(&[objects::namespace(SHOP)]);
    let reader = Reader { scene: &scene, shell: Shell::open(&scene) };
    let text = fs::read_to_string(in_repository("docs/tasks.md")).expect("the document is there");
    let mut run = Vec::new();
    for step in steps(&text) {
        match step {
            Step::Save { file, text } => reader.save(file, text).await,
            Step::Run { .. } => {}
            Step::Cluster(commands) => {
                for command in commands.lines() {
                    reader.follow(command).await;
                    run.push(command);
                }
            }
        }
    }
    let missed: Vec<_> = PRINTED.iter().filter(|(begin, _)| !run.iter().any(|line| line.starts_with(begin))).collect();
    assert!(missed.is_empty(), "the document has no such command any more: {missed:?}");
    scene.portcullis.stop().await;
}

impl Reader<'_> {
    /// Saves a file and applies it, with what a cluster asks for beside it.
    async fn save(&self, file: &str, text: &str) {
        let applied = match file {
            "apps/shop.yaml" => {
                self.issue("backoffice");
                let [service, _, ingress] = text.split("---\n").collect::<Vec<_>>()[..] else { panic!("{text}") };
                // No pod has the address of the document.
                self.scene.bed.cluster.apply(&[objects::endpoints(SHOP, "backoffice", &[ENDPOINT])]);
                format!("{service}---\n{}", with_tls("backoffice", ingress))
            }
            "apps/moved.yaml" => {
                self.issue("reports");
                with_tls("reports", text)
            }
            _ => text.to_owned(),
        };
        self.shell.save(file, &applied);
        // The provider of the journeys has the same name, and another issuer.
        let dry = if file == "apps/provider.yaml" { "--dry-run=server" } else { "--dry-run=none" };
        self.shell.run(&format!("kubectl apply --validate=strict {dry} --filename {file}"));
        let visitor = self.scene.visitor();
        match file {
            "apps/shop.yaml" => {
                self.scene.live("backoffice").await;
                assert_eq!(visitor.status(BACKOFFICE).await, 403, "what nothing allows is denied");
            }
            "apps/policy.yaml" => {
                let challenged = async || (visitor.status(BACKOFFICE).await == 401).then_some(());
                eventually("the policy to be in force", SOON, challenged).await;
                self.scene.signed_in(BACKOFFICE, &STAFF).await;
            }
            "apps/health.yaml" => visitor.comes_to(&format!("{BACKOFFICE}/healthz"), 200).await,
            "apps/provider.yaml" => {}
            "apps/moved.yaml" => {
                self.scene.live("reports").await;
                self.scene.signed_in(REPORTS, &STAFF).await;
            }
            other => panic!("no journey follows `{other}`"),
        }
    }

    /// Runs a command and sees what comes of it.
    async fn follow(&self, command: &str) {
        let row = PRINTED.iter().find(|(begin, _)| command.starts_with(begin));
        let (begin, expected) = row.unwrap_or_else(|| panic!("no journey follows `{command}`"));
        let (scene, staff) = (self.scene, self.scene.signed_in(BACKOFFICE, &STAFF).await);
        match *begin {
            "kubectl --namespace shop create secret tls backoffice-tls" => {
                let next = scene.bed.authority.issue(&[TASKS[0]]);
                self.shell.save("tls.crt", &next.certificate);
                self.shell.save("tls.key", &next.key);
                assert!(self.shell.run(command).contains(expected));
                let shown = async || (self.shown().await == next.serial).then_some(());
                eventually("the new certificate in a handshake", SOON, shown).await;
                // And one that does not fit, which the next command must tell.
                let broken = Pair { key: next.key, ..scene.bed.authority.issue(&[TASKS[0]]) };
                scene.bed.cluster.apply(&[objects::tls_secret(SHOP, "backoffice-tls", &broken)]);
            }
            "kubectl --namespace portcullis-system logs" => {
                let guest = scene.visitor();
                guest.sign_in_only(BACKOFFICE, &GUEST).await;
                let denied = guest.browse(BACKOFFICE).await;
                let id = denied.headers["x-request-id"].to_str().expect("hex digits");
                assert_eq!(denied.status, 403);
                self.shell.prints(&command.replace("REQUEST-NUMBER", id), expected).await;
            }
            "portcullis sessions revoke --all" => {
                assert!(self.shell.run(command).contains(expected));
                let ended = async || (staff.status(BACKOFFICE).await == 401).then_some(());
                return eventually("the end of the session", SOON, ended).await;
            }
            _ => self.shell.prints(command, expected).await,
        }
        assert_eq!(staff.status(BACKOFFICE).await, 200, "nobody was signed out by `{command}`");
    }

    /// Applies a certificate of its own for `{name}.localhost`.
    fn issue(&self, name: &str) {
        let pair = self.scene.bed.authority.issue(&[&format!("{name}.localhost")]);
        self.scene.bed.cluster.apply(&[objects::tls_secret(SHOP, &format!("{name}-tls"), &pair)]);
    }

    /// The serial number that a new handshake shows.
    async fn shown(&self) -> u64 {
        let visitor = self.scene.visitor();
        presented_serial(&visitor.tls(TASKS[0], 8443, &[b"http/1.1"]).await.expect("the handshake succeeds"))
    }
}

/// An Ingress with the `tls` that it has in a cluster.
fn with_tls(name: &str, ingress: &str) -> String {
    let tls = json!([{"hosts": [format!("{name}.localhost")], "secretName": format!("{name}-tls")}]);
    format!("{ingress}  tls: {tls}\n")
}
