//! Sentinel and Cluster, and what a fail-over does.

use std::fmt::Write as _;

use super::server::{PORT, until};
use super::*;

/// A Sentinel that soon calls a master down.
const SENTINEL: &str = "sentinel down-after-milliseconds sessions 500\nsentinel failover-timeout sessions 2000\n";

#[tokio::test]
async fn sentinel_fails_over_and_sessions_go_on_at_the_new_master() {
    let mut master = Server::start(&[]).await;
    let host = server::address();
    let follows = ["--replicaof", &master.host.to_string(), "6379", "--repl-diskless-sync-delay", "0"];
    let announced = ["--replica-announce-ip", &host.to_string()];
    let replica = Server::start_at(host, &[&follows[..], &announced].concat()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sentinel.conf").display().to_string();
    std::fs::write(&file, format!("sentinel monitor sessions {} {PORT} 1\n{SENTINEL}", master.host)).unwrap();
    let sentinel = Server::start(&[&file, "--sentinel"]).await;
    let keys = [
        ("url", &*format!("{} redis://{}:{PORT}", "redis://127.0.0.1:1", sentinel.host)),
        ("sentinel-master", "sessions"),
    ];
    let (here, there, ticket) = two_replicas([store(&keys), store(&keys)]).await;
    let Lookup::Live(session) = here.lookup(&ticket) else { panic!("it is live") };
    until("the record at the replica", async || replica.ask::<bool>(&["EXISTS", &name(session.key)]).await).await;
    until("the replica at the Sentinel", async || {
        sentinel.ask::<Vec<Value>>(&["SENTINEL", "REPLICAS", "sessions"]).await.len() == 1
    })
    .await;

    master.kill();
    until("a sign-in at the new master", async || here.begin(sign_in()).await.is_ok()).await;
    assert!(replica.ask::<i64>(&["DBSIZE"]).await >= 2);
    assert!(is_live(&here, &ticket) && is_live(&there, &ticket));
    until("a sign-out", async || here.end(&ticket).await.is_ok()).await;
    until("word of a sign-out", async || is_gone(&there, &ticket)).await;
}

#[tokio::test]
async fn a_sentinel_that_knows_no_such_master_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sentinel.conf").display().to_string();
    std::fs::write(&file, "").unwrap();
    let sentinel = Server::start(&[&file, "--sentinel"]).await;
    let url = format!("redis://{}:{PORT}", sentinel.host);
    let lost = store(&[("url", &url), ("sentinel-master", "sessions")]);
    let error = lost.read(RecordKey([1; 32])).await.unwrap_err().to_string();
    assert!(error.contains("knows no master `sessions`"), "{error}");
}

#[tokio::test]
async fn what_a_fail_over_brought_back_is_removed_again_and_what_it_lost_is_written_again() {
    let server = Server::start(&[]).await;
    let store = reached(server.store()).await;
    let (signed_out, refreshed) = (RecordKey([1; 32]), RecordKey([2; 32]));
    let first = store.create(signed_out, b"first".to_vec(), later()).await.unwrap();
    store.create(refreshed, b"first".to_vec(), later()).await.unwrap();
    let dumps = [signed_out, refreshed].map(name);
    server.ask::<()>(&["COPY", &dumps[0], "old-0"]).await;
    server.ask::<()>(&["COPY", &dumps[1], "old-1"]).await;
    store.remove(signed_out).await.unwrap();
    let old = store.read(refreshed).await.unwrap().unwrap().version;
    let newest = store.replace(refreshed, old, b"second".to_vec(), later()).await.unwrap();
    assert!(newest > first);

    // As a replica that lagged behind would have it.
    server.ask::<()>(&["COPY", "old-0", &dumps[0], "REPLACE"]).await;
    server.ask::<()>(&["COPY", "old-1", &dumps[1], "REPLACE"]).await;
    server.ask::<()>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    until("the removal", async || matches!(store.read(signed_out).await, Ok(None))).await;
    let third = store.replace(refreshed, newest, b"third".to_vec(), later()).await.unwrap();
    assert!(third > newest);
    assert_eq!(store.read(refreshed).await.unwrap().unwrap().sealed, b"third");
}

/// A node that soon calls another down, and a replica that does not wait to take over the data.
const NODE: [&str; 6] =
    ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"];

struct Cluster {
    masters: Vec<Server>,
}

impl Cluster {
    /// Three masters with a third of the slots each.
    async fn start() -> Self {
        let mut masters = Vec::new();
        for _ in 0..3 {
            let host = server::address();
            let announced = ["--cluster-announce-ip", &host.to_string()];
            masters.push(Server::start_at(host, &[&NODE[..], &announced].concat()).await);
        }
        let slots = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        for (master, (first, last)) in masters.iter().zip(slots) {
            master.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", first, last]).await;
            master.ask::<()>(&["CLUSTER", "MEET", &masters[0].host.to_string(), "6379"]).await;
        }
        for master in &masters {
            until("the cluster", async || {
                let told: String = master.ask(&["CLUSTER", "INFO"]).await;
                told.contains("cluster_state:ok") && told.contains("cluster_known_nodes:3")
            })
            .await;
        }
        Self { masters }
    }

    /// A replica of each master that would take over its slots, in the order of the masters.
    async fn replicas(&self) -> Vec<Server> {
        let mut replicas = Vec::new();
        for master in &self.masters {
            let host = server::address();
            let replica =
                Server::start_at(host, &[&NODE[..], &["--cluster-announce-ip", &host.to_string()]].concat()).await;
            let id: String = master.ask(&["CLUSTER", "MYID"]).await;
            replica.ask::<()>(&["CLUSTER", "MEET", &master.host.to_string(), "6379"]).await;
            until("the master at its replica", async || {
                replica.ask::<String>(&["CLUSTER", "NODES"]).await.contains(&id)
            })
            .await;
            replica.ask::<()>(&["CLUSTER", "REPLICATE", &id]).await;
            until("the data at the replica", async || {
                replica.ask::<String>(&["INFO", "replication"]).await.contains("master_link_status:up")
            })
            .await;
            replicas.push(replica);
        }
        for server in self.masters.iter().chain(&replicas) {
            until("all six", async || {
                server.ask::<String>(&["CLUSTER", "INFO"]).await.contains("cluster_known_nodes:6")
            })
            .await;
        }
        replicas
    }

    fn store(&self) -> RedisStore {
        let urls = self.masters.iter().fold(String::new(), |mut urls, master| {
            write!(urls, "{} ", master.url()).unwrap();
            urls
        });
        store(&[("url", &urls), ("cluster", "true")])
    }

    /// A key at each master.
    async fn keys(&self, store: &RedisStore) -> [RecordKey; 3] {
        let mut found = [None; 3];
        for first in 0..=u8::MAX {
            let key = RecordKey([first; 32]);
            store.create(key, b"sealed".to_vec(), later()).await.unwrap();
            for (number, master) in self.masters.iter().enumerate() {
                let keys: Vec<String> = master.ask(&["KEYS", &name(key)]).await;
                found[number] = found[number].or((!keys.is_empty()).then_some(key));
            }
            if let [Some(one), Some(two), Some(three)] = found {
                return [one, two, three];
            }
        }
        panic!("256 keys are spread over three masters");
    }
}

#[tokio::test]
async fn the_contract_holds_in_a_cluster_and_replicas_hear_from_every_master() {
    let cluster = Cluster::start().await;
    contract::holds_for(&reached(cluster.store()).await, now()).await;
    for _ in 0..4 {
        let (here, there, ticket) = two_replicas([cluster.store(), cluster.store()]).await;
        until("a sign-out", async || here.end(&ticket).await.is_ok()).await;
        until("word of a sign-out", async || is_gone(&there, &ticket)).await;
    }
}

#[tokio::test]
async fn a_slot_on_its_way_and_one_that_has_moved_are_found() {
    let cluster = Cluster::start().await;
    let store = reached(cluster.store()).await;
    let [key, ..] = cluster.keys(&store).await;
    let [from, to, _] = &cluster.masters[..] else { panic!("there are three") };
    let (source, target): (String, String) = (from.ask(&["CLUSTER", "MYID"]).await, to.ask(&["CLUSTER", "MYID"]).await);
    let slot = from.ask::<u16>(&["CLUSTER", "KEYSLOT", &name(key)]).await.to_string();
    to.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]).await;
    from.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]).await;
    from.ask::<()>(&["MIGRATE", &to.host.to_string(), "6379", &name(key), "0", "5000"]).await;
    let record = store.read(key).await.unwrap().expect("it is on its way");
    let next = store.replace(key, record.version, b"next".to_vec(), later()).await.unwrap();

    for server in [to, from] {
        server.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]).await;
    }
    let moved = store.read(key).await.unwrap().expect("it has moved");
    assert_eq!((moved.sealed, moved.version), (b"next".to_vec(), next));
}

#[tokio::test]
async fn without_one_master_the_sessions_of_the_others_go_on() {
    let mut cluster = Cluster::start().await;
    for master in &cluster.masters {
        master.ask::<()>(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]).await;
    }
    let store = reached(cluster.store()).await;
    let [lost, kept, _] = cluster.keys(&store).await;
    cluster.masters[0].kill();
    until("the loss to be known", async || store.read(lost).await.is_err()).await;
    until("the rest", async || store.read(kept).await.is_ok_and(|record| record.is_some())).await;
}

#[tokio::test]
async fn a_cluster_fails_over_and_sessions_go_on_at_the_replica_that_took_over() {
    let mut cluster = Cluster::start().await;
    let replicas = cluster.replicas().await;
    let (here, there, ticket) = two_replicas([cluster.store(), cluster.store()]).await;
    let Lookup::Live(session) = here.lookup(&ticket) else { panic!("it is live") };
    let mut others = Vec::new();
    for _ in 0..20 {
        others.push(answered(async || here.begin(sign_in()).await).await.session.key);
    }
    let mut holder = 0;
    for (number, master) in cluster.masters.iter().enumerate() {
        if !master.ask::<Vec<String>>(&["KEYS", &name(session.key)]).await.is_empty() {
            holder = number;
        }
        let stored: i64 = master.ask(&["DBSIZE"]).await;
        until("all of it at the replica", async || replicas[number].ask::<i64>(&["DBSIZE"]).await == stored).await;
    }

    cluster.masters[holder].kill();
    until("the replica in its place", async || {
        replicas[holder].ask::<Vec<Value>>(&["ROLE"]).await.first() == Some(&Value::BulkString(b"master".to_vec()))
    })
    .await;
    assert!(is_live(&here, &ticket) && is_live(&there, &ticket), "nobody notices");
    let fresh = cluster.store();
    for key in others.into_iter().chain([session.key]) {
        until("each record", async || fresh.read(key).await.is_ok_and(|record| record.is_some())).await;
    }
    let before = replicas[holder].ask::<i64>(&["DBSIZE"]).await;
    until("a sign-in at the new master", async || {
        let begun = here.begin(sign_in()).await;
        begun.is_ok() && replicas[holder].ask::<i64>(&["DBSIZE"]).await > before
    })
    .await;
    until("a sign-out", async || here.end(&ticket).await.is_ok()).await;
    until("word of the sign-out", async || is_gone(&there, &ticket)).await;

    cluster.masters[holder].restart().await;
    until("the former master as a replica", async || {
        cluster.masters[holder].ask::<String>(&["INFO", "replication"]).await.contains("master_link_status:up")
    })
    .await;
    assert!(here.begin(sign_in()).await.is_ok());
}
