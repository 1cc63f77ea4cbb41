//! `portcullis sessions`: who is signed in, and the end of chosen sessions. A revoked session is removed from the store, and
//! every replica learns that as it learns of any other change there.

use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::clock::Clock;
use crate::config::{NAMESPACE, SessionPlace, SessionStore};
use crate::controller::watch;
use crate::identity::GroupKey;
use crate::output::{Choice, columns};
use crate::run::{self, keys::SECRET};
use crate::seal::StoredRing;
use crate::session::{RecordKey, Resting, Roster, Store};

/// Where the sessions are.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The namespace of the installation
    #[arg(long, value_name = "NAMESPACE", default_value = NAMESPACE, env = "PORTCULLIS_NAMESPACE")]
    namespace: String,
    /// Where the sessions rest.
    #[command(flatten)]
    store: SessionPlace,
}

/// What can be done with sessions.
#[derive(Subcommand, Clone, Debug)]
pub enum Action {
    /// Show the sessions that are not over: whose, where, since when and until when
    List {
        /// Which ones.
        #[command(flatten)]
        which: Which,
        /// How they are printed.
        #[command(flatten)]
        choice: Choice,
    },
    /// End the sessions that all of these describe, on every replica
    #[command(group = clap::ArgGroup::new("chosen").required(true).multiple(true).args(["user", "group", "provider", "id", "all"]))]
    Revoke {
        /// Which ones.
        #[command(flatten)]
        which: Which,
        /// Every session there is
        #[arg(long, conflicts_with_all = ["user", "group", "provider", "id"])]
        all: bool,
        /// How they are printed.
        #[command(flatten)]
        choice: Choice,
    },
}

/// Which sessions: all that is given must hold.
#[derive(Args, Clone, Debug, Default)]
pub struct Which {
    /// Of the person with this subject or verified e-mail address
    #[arg(long, value_name = "SUBJECT|EMAIL")]
    user: Option<String>,
    /// Of the members of this group
    #[arg(long)]
    group: Option<String>,
    /// Begun at this IdentityProvider
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// The one with this id
    #[arg(long, value_parser = id)]
    id: Option<RecordKey>,
}

/// A session in words.
#[derive(Serialize)]
struct Row {
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    groups: Vec<String>,
    provider: String,
    host: String,
    issued: String,
    expires: String,
    id: String,
}

/// Does it.
pub fn main(place: &Place, action: &Action) -> anyhow::Result<()> {
    run::on_control_runtime(async {
        let config = kube::Config::infer().await.context("no cluster: set KUBECONFIG, or run in a pod")?;
        let client = watch::client(config).context("cannot make a client of the API server")?;
        if place.store.session_store == SessionStore::Memory {
            bail!("sessions in the memory of a process end with it and are seen by nobody else");
        }
        let store = run::store(&client, &place.store, &place.namespace).await?;
        let ring = StoredRing::read(client, &place.namespace, SECRET).await?.ring;
        let Roster { sessions, unreadable } = Roster::read(&*store, &ring, Clock::system().now()).await?;
        if unreadable > 0 {
            eprintln!("{unreadable} records do not open with the keys of the ring: they are nobody's sessions");
        }
        let (Action::List { which, choice } | Action::Revoke { which, choice, .. }) = action;
        let chosen: Vec<_> = sessions.iter().filter(|session| which.means(session)).collect();
        let failed = match action {
            Action::List { .. } => None,
            Action::Revoke { .. } => revoke(&store, &chosen).await.err(),
        };
        choice.print(&chosen.iter().map(|session| Row::of(session)).collect::<Vec<_>>(), table)?;
        failed.map_or(Ok(()), Err)
    })
}

/// Removes them from the store; one that stays does not keep the others.
async fn revoke(store: &Arc<dyn Store>, chosen: &[&Resting]) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for session in chosen {
        if let Err(error) = store.remove(session.key).await {
            failed.push(format!("{}: {error}", session.key));
        }
    }
    eprintln!("Sessions revoked: {}", chosen.len() - failed.len());
    if failed.is_empty() {
        return Ok(());
    }
    bail!("not revoked, so try again: {}", failed.join("; "))
}

fn table(rows: &[Row]) -> String {
    let row = |row: &Row| {
        let user = row.email.as_ref().unwrap_or(&row.subject);
        [user, &row.provider, &row.host, &row.issued, &row.expires, &row.id].map(Clone::clone)
    };
    columns(["USER", "PROVIDER", "HOST", "SINCE", "UNTIL", "ID"], rows.iter().map(row))
}

fn id(text: &str) -> Result<RecordKey, &'static str> {
    RecordKey::parse(text).ok_or("give an id as `portcullis sessions list` prints it")
}

impl Which {
    fn means(&self, session: &Resting) -> bool {
        let Self { user, group, provider, id } = self;
        let person = &session.principal;
        let is_user = |user: &String| {
            *user == *person.identity.subject.0
                || person.email.as_ref().is_some_and(|email| email.as_str().eq_ignore_ascii_case(user))
        };
        user.as_ref().is_none_or(is_user)
            && group.as_ref().is_none_or(|group| person.groups.contains(GroupKey::of(group)))
            && provider.as_ref().is_none_or(|provider| *provider == session.provider)
            && id.is_none_or(|id| id == session.key)
    }
}

impl Row {
    fn of(session: &Resting) -> Self {
        let Resting { key, principal, provider, host, issued, expires } = session;
        Self {
            subject: principal.identity.subject.to_string(),
            email: principal.email.as_ref().map(|email| email.as_str().to_owned()),
            groups: principal.groups.names().iter().map(ToString::to_string).collect(),
            provider: provider.clone(),
            host: host.to_string(),
            issued: format!("{issued:.0}"),
            expires: format!("{expires:.0}"),
            id: key.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::identity::{Email, Groups, Identity, Issuer, Principal, Subject};

    fn session() -> Resting {
        Resting {
            key: RecordKey([7; 32]),
            principal: Principal {
                identity: Identity { issuer: Issuer("https://id.test".into()), subject: Subject("ada".into()) },
                email: Email::parse("ada@example.com"),
                name: None,
                preferred_username: None,
                groups: Groups::new(["staff", "finance"]),
                claims: Default::default(),
            },
            provider: "corp".to_owned(),
            host: Host::parse("app.test").unwrap(),
            issued: "2026-03-01T12:00:00.5Z".parse().unwrap(),
            expires: "2026-03-01T20:00:00Z".parse().unwrap(),
        }
    }

    /// Which sessions a command line means.
    fn which(arguments: &[&str]) -> Which {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            which: Which,
        }
        <Line as clap::Parser>::try_parse_from([&["sessions"], arguments].concat()).unwrap().which
    }

    #[test]
    fn everything_that_is_given_must_hold() {
        let id = RecordKey([7; 32]).to_string();
        for (arguments, meant) in [
            (&[][..], true),
            (&["--user", "ada"], true),
            (&["--user", "Ada@Example.com"], true),
            (&["--user", "ad"], false),
            (&["--group", "finance"], true),
            (&["--group", "Finance"], false),
            (&["--provider", "corp"], true),
            (&["--provider", "other"], false),
            (&["--id", &id], true),
            (&["--user", "ada", "--group", "guests"], false),
            (&["--user", "ada", "--group", "staff", "--provider", "corp", "--id", &id], true),
        ] {
            assert_eq!(which(arguments).means(&session()), meant, "{arguments:?}");
        }
    }

    #[test]
    fn a_row_tells_whose_session_it_is() {
        let expected = "\
USER             PROVIDER  HOST      SINCE                 UNTIL                 ID
ada@example.com  corp      app.test  2026-03-01T12:00:00Z  2026-03-01T20:00:00Z  ";
        assert_eq!(table(&[Row::of(&session())]), format!("{expected}{}\n", RecordKey([7; 32])));
    }
}
