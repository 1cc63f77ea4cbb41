//! One file a journey, in the order in which they run.

mod api_outage;
mod certificate;
mod endpoints;
mod etcd_dump;
mod install;
mod issuers;
mod keys;
mod policy;
mod refresh;
mod roles;
mod sign_in;
mod stalled;
mod statuses;
mod stored_sessions;
mod watch;

use std::pin::Pin;

use crate::support::bed::Bed;

/// A journey.
pub struct Journey {
    /// Its name, and that of its namespace and its folder.
    pub name: &'static str,
    /// The journey itself; it panics where it goes wrong.
    pub run: for<'a> fn(&'a Bed) -> Run<'a>,
}

type Run<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// All of them.
pub const JOURNEYS: &[Journey] = &[
    Journey { name: "statuses", run: |bed| Box::pin(statuses::journey(bed)) },
    Journey { name: "issuers", run: |bed| Box::pin(issuers::journey(bed)) },
    Journey { name: "roles", run: |bed| Box::pin(roles::journey(bed)) },
    Journey { name: "sign-in", run: |bed| Box::pin(sign_in::journey(bed)) },
    Journey { name: "watch", run: |bed| Box::pin(watch::journey(bed)) },
    Journey { name: "certificate", run: |bed| Box::pin(certificate::journey(bed)) },
    Journey { name: "policy", run: |bed| Box::pin(policy::journey(bed)) },
    Journey { name: "endpoints", run: |bed| Box::pin(endpoints::journey(bed)) },
    Journey { name: "refresh", run: |bed| Box::pin(refresh::journey(bed)) },
    Journey { name: "stored-sessions", run: |bed| Box::pin(stored_sessions::journey(bed)) },
    Journey { name: "keys", run: |bed| Box::pin(keys::journey(bed)) },
    Journey { name: "etcd-dump", run: |bed| Box::pin(etcd_dump::journey(bed)) },
    Journey { name: "install", run: |bed| Box::pin(install::journey(bed)) },
    Journey { name: "stalled", run: |bed| Box::pin(stalled::journey(bed)) },
    Journey { name: "api-outage", run: |bed| Box::pin(api_outage::journey(bed)) },
];
