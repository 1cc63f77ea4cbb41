//! One file a journey, in the order in which they run.

mod api_faults;
mod api_outage;
mod audit_sink;
mod ceiling;
mod certificate;
mod chart;
mod endpoints;
mod etcd_dump;
mod fleet;
mod install;
mod issuers;
mod keys;
mod long_outage;
mod operator;
mod pages;
mod policy;
mod quickstart;
mod redis;
mod refresh;
mod refresher_killed;
mod roles;
mod sign_in;
mod stalled;
mod statuses;
mod stored_sessions;
mod tasks;
mod two_installations;
mod validation;
mod watch;

use std::pin::Pin;

use crate::support::bed::Bed;
use crate::support::replicas::Replicas;

/// A journey.
pub struct Journey {
    /// Its name, and that of its namespace and its folder.
    pub name: &'static str,
    /// Where it can run.
    pub needs: Needs,
    /// The journey itself; it panics where it goes wrong.
    pub run: for<'a> fn(&'a Bed) -> Run<'a>,
}

/// What a journey needs.
#[derive(Clone, Copy, PartialEq)]
pub enum Needs {
    /// Any cluster.
    Cluster,
    /// etcd and an API server that it may read, kill and start again.
    OwnControlPlane,
}

type Run<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// All of them.
pub const JOURNEYS: &[Journey] = &[
    Journey { name: "statuses", needs: Needs::Cluster, run: |bed| Box::pin(statuses::journey(bed)) },
    Journey { name: "two-installations", needs: Needs::Cluster, run: |bed| Box::pin(two_installations::journey(bed)) },
    Journey { name: "validation", needs: Needs::Cluster, run: |bed| Box::pin(async { validation::journey(bed) }) },
    Journey { name: "issuers", needs: Needs::Cluster, run: |bed| Box::pin(issuers::journey(bed)) },
    Journey { name: "roles", needs: Needs::Cluster, run: |bed| Box::pin(roles::journey(bed)) },
    Journey {
        name: "sign-in",
        needs: Needs::Cluster,
        run: |bed| Box::pin(sign_in::journey(bed, "sign-in", Replicas::One)),
    },
    Journey { name: "watch", needs: Needs::OwnControlPlane, run: |bed| Box::pin(watch::journey(bed)) },
    Journey {
        name: "certificate",
        needs: Needs::Cluster,
        run: |bed| Box::pin(certificate::journey(bed, "certificate", Replicas::One)),
    },
    Journey {
        name: "policy",
        needs: Needs::Cluster,
        run: |bed| Box::pin(policy::journey(bed, "policy", Replicas::One)),
    },
    Journey {
        name: "endpoints",
        needs: Needs::Cluster,
        run: |bed| Box::pin(endpoints::journey(bed, "endpoints", Replicas::One)),
    },
    Journey {
        name: "refresh",
        needs: Needs::Cluster,
        run: |bed| Box::pin(refresh::journey(bed, "refresh", Replicas::One)),
    },
    Journey {
        name: "stored-sessions",
        needs: Needs::Cluster,
        run: |bed| Box::pin(stored_sessions::journey(bed, "stored-sessions", Replicas::One)),
    },
    Journey { name: "keys", needs: Needs::Cluster, run: |bed| Box::pin(keys::journey(bed)) },
    Journey {
        name: "operator",
        needs: Needs::Cluster,
        run: |bed| Box::pin(operator::journey(bed, "operator", Replicas::One)),
    },
    Journey { name: "quickstart", needs: Needs::OwnControlPlane, run: |bed| Box::pin(quickstart::journey(bed)) },
    Journey { name: "tasks", needs: Needs::Cluster, run: |bed| Box::pin(tasks::journey(bed)) },
    Journey { name: "pages", needs: Needs::Cluster, run: |bed| Box::pin(pages::journey(bed)) },
    Journey { name: "etcd-dump", needs: Needs::OwnControlPlane, run: |bed| Box::pin(etcd_dump::journey(bed)) },
    Journey { name: "ceiling", needs: Needs::OwnControlPlane, run: |bed| Box::pin(ceiling::journey(bed)) },
    Journey { name: "redis", needs: Needs::Cluster, run: |bed| Box::pin(redis::journey(bed)) },
    Journey { name: "chart", needs: Needs::Cluster, run: |bed| Box::pin(async { chart::journey(bed) }) },
    Journey { name: "install", needs: Needs::Cluster, run: |bed| Box::pin(install::journey(bed)) },
    Journey {
        name: "sign-in-secrets",
        needs: Needs::Cluster,
        run: |bed| Box::pin(sign_in::journey(bed, "sign-in-secrets", Replicas::TwoOnSecrets)),
    },
    Journey {
        name: "sign-in-redis",
        needs: Needs::Cluster,
        run: |bed| Box::pin(sign_in::journey(bed, "sign-in-redis", Replicas::TwoOnRedis)),
    },
    Journey {
        name: "certificate-secrets",
        needs: Needs::Cluster,
        run: |bed| Box::pin(certificate::journey(bed, "certificate-secrets", Replicas::TwoOnSecrets)),
    },
    Journey {
        name: "certificate-redis",
        needs: Needs::Cluster,
        run: |bed| Box::pin(certificate::journey(bed, "certificate-redis", Replicas::TwoOnRedis)),
    },
    Journey {
        name: "policy-secrets",
        needs: Needs::Cluster,
        run: |bed| Box::pin(policy::journey(bed, "policy-secrets", Replicas::TwoOnSecrets)),
    },
    Journey {
        name: "policy-redis",
        needs: Needs::Cluster,
        run: |bed| Box::pin(policy::journey(bed, "policy-redis", Replicas::TwoOnRedis)),
    },
    Journey {
        name: "endpoints-secrets",
        needs: Needs::Cluster,
        run: |bed| Box::pin(endpoints::journey(bed, "endpoints-secrets", Replicas::TwoOnSecrets)),
    },
    Journey {
        name: "endpoints-redis",
        needs: Needs::Cluster,
        run: |bed| Box::pin(endpoints::journey(bed, "endpoints-redis", Replicas::TwoOnRedis)),
    },
    Journey {
        name: "refresh-secrets",
        needs: Needs::Cluster,
        run: |bed| Box::pin(refresh::journey(bed, "refresh-secrets", Replicas::TwoOnSecrets)),
    },
    Journey {
        name: "refresh-redis",
        needs: Needs::Cluster,
        run: |bed| Box::pin(refresh::journey(bed, "refresh-redis", Replicas::TwoOnRedis)),
    },
    Journey {
        name: "refresher-killed-secrets",
        needs: Needs::Cluster,
        run: |bed| Box::pin(refresher_killed::journey(bed, "refresher-killed-secrets", Replicas::TwoOnSecrets)),
    },
    Journey {
        name: "refresher-killed-redis",
        needs: Needs::Cluster,
        run: |bed| Box::pin(refresher_killed::journey(bed, "refresher-killed-redis", Replicas::TwoOnRedis)),
    },
    Journey {
        name: "stored-sessions-secrets",
        needs: Needs::Cluster,
        run: |bed| Box::pin(stored_sessions::journey(bed, "stored-sessions-secrets", Replicas::TwoOnSecrets)),
    },
    Journey {
        name: "operator-redis",
        needs: Needs::Cluster,
        run: |bed| Box::pin(operator::journey(bed, "operator-redis", Replicas::TwoOnRedis)),
    },
    Journey {
        name: "fleet-redis",
        needs: Needs::Cluster,
        run: |bed| Box::pin(fleet::journey(bed, "fleet-redis", Replicas::TwoOnRedis, 700)),
    },
    Journey {
        name: "fleet-secrets",
        needs: Needs::Cluster,
        run: |bed| Box::pin(fleet::journey(bed, "fleet-secrets", Replicas::TwoOnSecrets, 300)),
    },
    Journey { name: "stalled", needs: Needs::Cluster, run: |bed| Box::pin(stalled::journey(bed)) },
    Journey { name: "audit-sink", needs: Needs::OwnControlPlane, run: |bed| Box::pin(audit_sink::journey(bed)) },
    Journey { name: "api-faults", needs: Needs::OwnControlPlane, run: |bed| Box::pin(api_faults::journey(bed)) },
    Journey {
        name: "api-outage-secrets",
        needs: Needs::OwnControlPlane,
        run: |bed| Box::pin(api_outage::journey(bed, "api-outage-secrets", Replicas::TwoOnSecrets)),
    },
    Journey {
        name: "api-outage-redis",
        needs: Needs::OwnControlPlane,
        run: |bed| Box::pin(api_outage::journey(bed, "api-outage-redis", Replicas::TwoOnRedis)),
    },
    Journey { name: "long-outage", needs: Needs::OwnControlPlane, run: |bed| Box::pin(long_outage::journey(bed)) },
];
