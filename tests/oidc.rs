//! Sign-in against a provider that lies: every refusal has a case that provokes it, and each is the only lie of its sign-in.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/provider.rs"]
mod provider;

#[path = "oidc/claims.rs"]
mod claims;
#[path = "oidc/discovery.rs"]
mod discovery;
#[path = "oidc/id_token.rs"]
mod id_token;
#[path = "oidc/login.rs"]
mod login;
#[path = "oidc/refresh.rs"]
mod refresh;

use std::sync::Arc;

use portcullis::clock::Clock;
use portcullis::oidc::{Callback, LoginAttempt, LoginError, LoginStart, Oidc, Provider, VerifiedLogin};
use serde_json::Value;

use provider::{Tamper, TestProvider};

const REDIRECT_URI: &str = "https://app.example.com/.portcullis/callback/corp";

/// A tamper of one thing.
fn tamper(turn: impl Fn(&mut Value) + Send + Sync + 'static) -> Tamper {
    Arc::new(turn)
}

/// A provider, and the product's client of it.
struct House {
    provider: TestProvider,
    oidc: Oidc,
    settings: Arc<Provider>,
}

impl House {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(turn: impl FnOnce(&mut Provider)) -> Self {
        let clock = Clock::system();
        let provider = TestProvider::start(clock.clone()).await;
        Self::around(provider, clock, turn)
    }

    fn around(provider: TestProvider, clock: Clock, turn: impl FnOnce(&mut Provider)) -> Self {
        let mut settings = provider.settings();
        turn(&mut settings);
        let oidc = Oidc::new(clock, tokio::runtime::Handle::current());
        Self { provider, oidc, settings: Arc::new(settings) }
    }

    async fn begin(&self) -> LoginStart {
        let begun = self.oidc.begin(self.settings.clone(), REDIRECT_URI.to_owned(), "/reports?year=1".to_owned());
        begun.await.unwrap()
    }

    async fn finish(&self, attempt: LoginAttempt, query: &str) -> Result<VerifiedLogin, LoginError> {
        let callback = Callback::parse(query)?;
        self.oidc.finish(self.settings.clone(), REDIRECT_URI.to_owned(), attempt, callback).await
    }

    /// From the redirect to the verdict.
    async fn sign_in(&self) -> Result<VerifiedLogin, LoginError> {
        let start = self.begin().await;
        let query = self.provider.approve(start.authorization_url.expose());
        self.finish(start.attempt, &query).await
    }
}
