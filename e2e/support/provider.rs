//! The OpenID Provider that people sign in at: `oidc-provider`, by `e2e/provider/provider.mjs`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::authority::Authority;
use super::client::{Ask, Client};
use super::eventually::START;
use super::program::Program;

/// The issuer.
pub const ISSUER: &str = "https://idp.localhost:9443";

/// The client that Portcullis is there; no other text looks like it.
pub const CLIENT_ID: &str = "portcullis-client-7f2a91c4";

/// Its secret.
pub const CLIENT_SECRET: &str = "client-secret-53e0d8b6a1";

/// The tests' own door.
const ADMIN: &str = "http://127.0.0.1:9444";

/// Somebody with an account.
pub struct Person {
    /// What they type at the provider; also their subject.
    pub login: &'static str,
    /// Their verified address.
    pub email: &'static str,
    /// What they are called.
    pub name: &'static str,
    /// Their one group.
    pub group: &'static str,
}

/// Of the staff.
pub const STAFF: Person =
    Person { login: "ada", email: "ada.mondragon@staff.example", name: "Ada Mondragon", group: "staff" };

/// Not of the staff.
pub const GUEST: Person =
    Person { login: "gus", email: "gus.quillfeather@guests.example", name: "Gus Quillfeather", group: "guests" };

/// Somebody of whom no object speaks, in words that nothing else has.
pub const STRANGER: Person = Person {
    login: "person-of-no-object-6d01f3",
    email: "zenobia.thistlewood@nowhere.example",
    name: "Zenobia Thistlewood",
    group: "group-of-no-object-7ae04b",
};

/// So many people more have accounts, see [`login`].
const CROWD: usize = 1_500;

/// Of the crowd, so many people in a row are one team.
pub const TEAM: usize = 20;

/// What somebody of the crowd types at the provider. All are of the staff, and of their team.
pub fn login(number: usize) -> String {
    format!("person-{number}")
}

/// What a team is called.
pub fn team(number: usize) -> String {
    format!("team-{number}")
}

/// A refresh token that was used twice.
#[derive(Debug, Deserialize)]
pub struct Reused {
    /// Whose.
    pub account: String,
    /// When it was used for the first time, in milliseconds of the system's clock.
    pub first: i64,
}

/// The running provider.
pub struct Provider {
    _program: Program,
    door: Client,
}

impl Provider {
    /// Starts it for the people above and the hosts that may be returned to; access tokens live for so many seconds.
    pub async fn start(folder: &Path, authority: &Authority, hosts: &[&str], access_token_seconds: u32) -> Self {
        Self::start_for(folder, authority, hosts, &[], access_token_seconds).await
    }

    /// The same for further addresses that may be returned to, of programs that are not Portcullis.
    pub async fn start_for(
        folder: &Path,
        authority: &Authority,
        hosts: &[&str],
        further: &[String],
        access_token_seconds: u32,
    ) -> Self {
        let pair = authority.issue(&["idp.localhost", "127.0.0.1"]);
        let (certificate, key) = (folder.join("idp.crt"), folder.join("idp.key"));
        fs::write(&certificate, pair.certificate).expect("the folder is there");
        fs::write(&key, pair.key).expect("the folder is there");
        let at = |path: &str| hosts.iter().map(|host| format!("https://{host}:8443{path}")).collect::<Vec<_>>();
        let redirect_uris = [at("/.portcullis/callback/corp"), further.to_vec()].concat();
        let known = [STAFF, GUEST, STRANGER].map(|person| {
            json!({
                "login": person.login,
                "email": person.email,
                "email_verified": true,
                "name": person.name,
                "groups": [person.group],
            })
        });
        let crowd = (0..CROWD).map(|number| json!({"login": login(number), "groups": ["staff", team(number / TEAM)]}));
        let accounts: Vec<_> = known.into_iter().chain(crowd).collect();
        let config = json!({
            "listen": "127.0.0.1:9443",
            "admin": "127.0.0.1:9444",
            "issuer": ISSUER,
            "tls": {"cert": certificate, "key": key},
            "clients": [{
                "client_id": CLIENT_ID,
                "client_secret": CLIENT_SECRET,
                "redirect_uris": redirect_uris,
                "post_logout_redirect_uris": at("/.portcullis/signed-out"),
                "grant_types": ["authorization_code", "refresh_token"],
            }],
            "accounts": accounts,
            "ttl": {"AccessToken": access_token_seconds},
        });
        let path = folder.join("provider.json");
        fs::write(&path, config.to_string()).expect("the folder is there");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/provider/provider.mjs");
        let log = folder.join("provider.log");
        let mut program = Program::start("the provider", Command::new("node").arg(script).arg(path), &log);
        program.prints(&format!("ready {ISSUER}"), START).await;
        Self { _program: program, door: Client::new(authority) }
    }

    /// How often the token endpoint was asked for a grant type, by outcome.
    pub async fn outcomes(&self, grant_type: &str) -> Value {
        self.door.send(Ask::get(&format!("{ADMIN}/counts"))).await.json()[grant_type].clone()
    }

    /// Every token that was issued.
    pub async fn issued(&self) -> Vec<String> {
        let tokens = self.door.send(Ask::get(&format!("{ADMIN}/issued"))).await.json();
        serde_json::from_value(tokens).expect("a list of texts")
    }

    /// Every refresh token that was used twice.
    pub async fn reused(&self) -> Vec<Reused> {
        let tokens = self.door.send(Ask::get(&format!("{ADMIN}/reused"))).await.json();
        serde_json::from_value(tokens).expect("the provider's own words")
    }

    /// Holds back each later answer of the token endpoint.
    pub async fn delay(&self, delay: Duration) {
        self.set_delay(json!({"ms": delay.as_millis()})).await;
    }

    /// Holds back each later request to the token endpoint, and drops it if whoever sent it has gone meanwhile.
    pub async fn delay_before(&self, delay: Duration) {
        self.set_delay(json!({"ms": delay.as_millis(), "before": true})).await;
    }

    async fn set_delay(&self, delay: Value) {
        let body = delay.to_string();
        let answer = self.door.send(Ask::post(&format!("{ADMIN}/delay"), body)).await;
        assert_eq!(answer.status, 200);
    }
}
