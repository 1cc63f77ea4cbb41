//! `portcullis keys`: what an administrator does with the key ring. A rotation signs nobody out; what it begins, the
//! leading replica ends.

use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use kube::{Api, Client};

use crate::api::{Portcullis, parse_duration};
use crate::clock::Clock;
use crate::controller::watch;
use crate::output::columns;
use crate::route::SessionLimits;
use crate::run::{self, keys::SECRET};
use crate::seal::{KeyInfo, KeyState, StoredRing};

/// From one replica's use of new keys to the last one's.
const SPREAD: Duration = Duration::from_secs(60);

/// What can be done with the keys.
#[derive(clap::Subcommand, Clone, Copy, Debug)]
pub enum Action {
    /// Show each key, but not the key itself: its epoch, where it stands in its life and since when
    List,
    /// Make new keys, which seal once every replica has read them; the ones before open what they have sealed
    Rotate,
    /// Take away the keys that only open, once nothing that they sealed can still be in use
    Retire {
        /// At once, which signs out everybody whose session one of them has sealed
        #[arg(long)]
        now: bool,
    },
}

/// Does it, with the ring of the installation in `namespace`.
pub fn main(namespace: &str, action: Action) -> anyhow::Result<()> {
    run::on_control_runtime(async {
        let config = kube::Config::infer().await.context("no cluster: set KUBECONFIG, or run in a pod")?;
        let client = watch::client(config).context("cannot make a client of the API server")?;
        let stored = StoredRing::read(client.clone(), namespace, SECRET).await?;
        let now = Clock::system().now();
        match action {
            Action::List => print!("{}", table(&stored.ring.keys())),
            Action::Rotate => rotate(&client, stored, now).await?,
            Action::Retire { now: true } => retire(&client, stored, Timestamp::MAX).await?,
            Action::Retire { now: false } => {
                let needed = longest_session(&client).await? + SPREAD;
                let before = now.checked_sub(SignedDuration::try_from(needed)?)?;
                retire(&client, stored, before).await?;
            }
        }
        Ok(())
    })
}

async fn rotate(client: &Client, stored: StoredRing, now: Timestamp) -> anyhow::Result<()> {
    let next = stored.ring.with_pending(now)?;
    stored.replace(client.clone(), &next).await?;
    print!("{}", table(&next.keys()));
    println!("\nThe leading replica begins to use the pending keys in about half a minute.");
    Ok(())
}

async fn retire(client: &Client, stored: StoredRing, before: Timestamp) -> anyhow::Result<()> {
    let next = stored.ring.retired(before);
    let retired = stored.ring.keys().len() - next.keys().len();
    if retired > 0 {
        stored.replace(client.clone(), &next).await?;
    }
    print!("{}", table(&next.keys()));
    println!("\nKeys retired: {retired}");
    if next.keys().iter().any(|key| key.state == KeyState::DecryptOnly) {
        println!("A key that only opens is kept until the longest session that it sealed is over.");
    }
    Ok(())
}

/// The longest that a session of any class may last.
async fn longest_session(client: &Client) -> anyhow::Result<Duration> {
    let all = Api::<Portcullis>::all(client.clone()).list(&Default::default()).await;
    let all = all.context("cannot read how long sessions last in the Portcullis objects")?;
    let lifetimes = all.iter().filter_map(|it| parse_duration(it.spec.session.as_ref()?.lifetime.as_ref()?).ok());
    Ok(lifetimes.fold(SessionLimits::default().lifetime, Duration::max))
}

/// The keys in columns.
fn table(keys: &[KeyInfo]) -> String {
    let row = |key: &KeyInfo| {
        let state = match key.state {
            KeyState::Pending => "pending",
            KeyState::Active => "active",
            KeyState::DecryptOnly => "opens only",
        };
        let since = key.since.map_or_else(|| "-".to_owned(), |since| format!("{since:.0}"));
        [key.kind.to_owned(), key.epoch.to_string(), state.to_owned(), since]
    };
    columns(["KIND", "EPOCH", "STATE", "SINCE"], keys.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::KeyRing;

    #[test]
    fn the_table_tells_each_key_by_epoch_state_and_time() {
        let at = |text: &str| text.parse().unwrap();
        let ring = KeyRing::generate().with_pending(at("2026-03-01T12:00:00Z")).unwrap();
        let ring = ring.promoted(at("2026-03-01T12:00:30.5Z"));
        let expected = "\
KIND     EPOCH  STATE       SINCE
sealing  1      opens only  2026-03-01T12:00:30Z
sealing  2      active      2026-03-01T12:00:30Z
mac      1      opens only  2026-03-01T12:00:30Z
mac      2      active      2026-03-01T12:00:30Z
";
        assert_eq!(table(&ring.keys()), expected);
        assert!(table(&KeyRing::generate().keys()).ends_with("mac      1      active  -\n"));
    }
}
