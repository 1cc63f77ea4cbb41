//! `docs/quickstart.md` from the second step on, as its reader follows it in a cluster that has Portcullis: what needs
//! Docker, kind or Helm is left out (journey `install` has the chart), and ports, provider and pods are those of the journeys.

use std::fs;

use crate::support::bed::Bed;
use crate::support::cluster::in_repository;
use crate::support::objects::{self, INSTALLATION};
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, ISSUER};
use crate::support::scene::{ENDPOINT, Scene};
use crate::support::shell::Shell;
use crate::support::steps::{Step, steps};

/// The namespace of the app.
const SHOP: &str = "shop";

/// Commands for what is there already.
const ELSEWHERE: &[&str] = &["docker ", "kind ", "helm ", "kubectl --namespace portcullis-system rollout "];

/// What commands must print that only look, by how they begin.
const PRINTED: &[(&str, &str)] = &[
    ("curl --cacert", "web.localhost"),
    ("portcullis routes --unprotected", "web.localhost"),
    ("kubectl get identityproviders", "True"),
    ("curl --include", "401"),
];

pub async fn journey(bed: &Bed) {
    let scene = Scene { namespace: SHOP, ..Scene::open(bed, "quickstart", 300).await };
    // The reader makes them.
    bed.cluster.kubectl(&["delete", "identityprovider/corp"]);
    bed.cluster.kubectl(&["delete", "secret/corp-client", "--namespace", INSTALLATION]);
    let shell = Shell::open(&scene);
    let text = fs::read_to_string(in_repository("docs/quickstart.md")).expect("the document is there");
    let mut printed = 0;
    for step in steps(&text) {
        match step {
            Step::Save { file: "corp.yaml", text } => {
                let trusted = format!("  caBundleRef: {{namespace: {INSTALLATION}, name: corp-ca}}\n");
                shell.save("corp.yaml", &(text.replace("https://login.example.com", ISSUER) + &trusted));
            }
            Step::Save { file, text } => shell.save(file, text),
            Step::Run { commands, .. } => panic!("no journey follows `{commands}`"),
            Step::Cluster(commands) => {
                let commands = commands.replace("\\\n", "");
                let here = commands.lines().filter(|line| !ELSEWHERE.iter().any(|begin| line.starts_with(begin)));
                for command in here {
                    printed += usize::from(follow(&scene, &shell, command).await);
                }
            }
        }
    }
    assert_eq!(printed, PRINTED.len());
    // Else the node of a later journey is given its pods.
    bed.cluster.kubectl(&["delete", "deployment/web", "--namespace", SHOP]);
    scene.portcullis.stop().await;
}

/// Runs a command as it is here; gives whether it is one that looks.
async fn follow(scene: &Scene<'_>, shell: &Shell, command: &str) -> bool {
    let here = command
        .replace(
            "web.localhost:443:127.0.0.1 https://web.localhost/",
            "web.localhost:8443:127.0.0.1 https://web.localhost:8443/",
        )
        .replace("client_id=ID", &format!("client_id={CLIENT_ID}"))
        .replace("client_secret=SECRET", &format!("client_secret={CLIENT_SECRET}"));
    if let Some((_, expected)) = PRINTED.iter().find(|(begin, _)| command.starts_with(begin)) {
        shell.prints(&here, expected).await;
        return true;
    }
    shell.run(&here);
    if command.contains(" expose deployment ") {
        // As its pods would have them; the one port of such a Service has no name.
        let mut slice = objects::endpoints(SHOP, "web", &[ENDPOINT]);
        slice["ports"][0]["name"] = "".into();
        scene.bed.cluster.apply(&[slice]);
    }
    if command == "kubectl apply --filename web.yaml" {
        scene.live("web").await;
    }
    false
}
