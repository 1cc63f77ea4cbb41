//! The test bed: one cluster and one authority, for all journeys.

use std::fs;
use std::path::{Path, PathBuf};

use super::authority::Authority;
use super::cluster::{Cluster, Ground};
use super::objects::INSTALLATION;

/// What the journeys share.
pub struct Bed {
    folder: PathBuf,
    /// The control plane.
    pub cluster: Cluster,
    /// Whom everybody trusts.
    pub authority: Authority,
}

impl Bed {
    /// Takes the cluster, with the files of this run in a folder `name`, and installs the kinds and the RBAC.
    pub async fn start(ground: Ground<'_>, name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("what an earlier run left can be removed");
        }
        fs::create_dir_all(&folder).expect("the folder can be made");
        let authority = Authority::new(&folder);
        let cluster = Cluster::start(ground, &folder).await;
        cluster.apply_folder("crds");
        cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=300s"]);
        cluster.apply_folder("manifests");
        // Where pods run, none may serve beside the program under test.
        cluster.kubectl(&["scale", "deployment/portcullis", "--replicas=0", "--namespace", INSTALLATION]);
        cluster.let_portcullis_in();
        Self { folder, cluster, authority }
    }

    /// A folder for the files of one journey.
    pub fn folder(&self, journey: &str) -> PathBuf {
        let folder = self.folder.join(journey);
        fs::create_dir_all(&folder).expect("the folder can be made");
        folder
    }

    /// Takes away what earlier journeys applied, so that each begins in the same cluster.
    pub fn clear(&self) {
        let kinds = "ingresses,ingressclasses,policies.portcullis.dev,identityproviders.portcullis.dev,portcullises.portcullis.dev";
        self.cluster.kubectl(&["delete", kinds, "--all", "--all-namespaces", "--ignore-not-found"]);
    }
}
