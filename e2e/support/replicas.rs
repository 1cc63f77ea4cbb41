//! How Portcullis runs under a journey: alone, or as two replicas that share sessions, behind a balancer.

use std::path::{Path, PathBuf};

use super::balancer::Balancer;
use super::bed::Bed;
use super::portcullis::{HERE, Place, Portcullis};
use super::redis::Redis;

/// How many there are, and where their sessions rest.
#[derive(Clone, Copy)]
pub enum Replicas {
    /// One, with sessions in Secrets.
    One,
    /// Two, with sessions in Secrets.
    TwoOnSecrets,
    /// Two, with sessions in Redis.
    TwoOnRedis,
}

/// The Secret by which Redis is reached.
const REDIS_SECRET: &str = "portcullis-redis";

const ON_SECRETS: &[&str] = &["secrets"];
const ON_REDIS: &[&str] = &["redis", "--redis-secret", "portcullis-system/portcullis-redis"];

/// The addresses of two replicas.
pub const ADDRESSES: [&str; 2] = ["127.0.0.2", "127.0.0.3"];

/// What there is beside the one replica.
pub struct Beside {
    /// The other.
    pub portcullis: Portcullis,
    /// Leads whoever comes to one of both.
    pub balancer: Balancer,
    /// Where their sessions rest, if not in Secrets.
    pub redis: Option<Redis>,
}

impl Replicas {
    /// What a journey's name has at its end.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::One => "",
            Self::TwoOnSecrets => "-secrets",
            Self::TwoOnRedis => "-redis",
        }
    }

    /// Where one of them runs.
    pub fn place(self, index: usize) -> Place<'static> {
        let store = match self {
            Self::One => return HERE,
            Self::TwoOnSecrets => ON_SECRETS,
            Self::TwoOnRedis => ON_REDIS,
        };
        Place { data: ADDRESSES[index], admin: ADDRESSES[index], store }
    }

    /// Starts one of them, with its files beneath those of the journey.
    pub fn start(self, bed: &Bed, folder: &Path, index: usize) -> Portcullis {
        let own = [folder.to_owned(), folder.join("other")];
        std::fs::create_dir_all(&own[index]).expect("the folder can be made");
        Portcullis::start_at(&self.place(index), &own[index], &bed.cluster.portcullis, &bed.authority)
    }

    /// Starts where their sessions rest.
    pub async fn store(self, bed: &Bed, folder: &Path) -> Option<Redis> {
        let Self::TwoOnRedis = self else { return None };
        let own: PathBuf = folder.join("redis");
        std::fs::create_dir_all(&own).expect("the folder can be made");
        let redis = Redis::start(&own, &bed.authority).await;
        bed.cluster.apply(&[redis.secret(REDIS_SECRET)]);
        Some(redis)
    }

    /// Starts what there is beside the first.
    pub async fn beside(self, bed: &Bed, folder: &Path, redis: Option<Redis>) -> Option<Beside> {
        if let Self::One = self {
            return None;
        }
        let mut portcullis = self.start(bed, folder, 1);
        portcullis.ready().await;
        let targets = ADDRESSES.map(|address| format!("{address}:8443").parse().expect("an address"));
        let balancer = Balancer::start("127.0.0.1:8443", targets.to_vec()).await;
        Some(Beside { portcullis, balancer, redis })
    }
}
