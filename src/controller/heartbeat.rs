//! Asks the API server, where there is a limit on the age of what is served, whether it is still there: a connection that
//! died in silence lets a watch look well for minutes.

use std::time::Duration;

use kube::{Client, Error};
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::snapshot::Freshness;

/// Between two questions, and for an answer: so many to a limit, but no longer than [`LONGEST`].
const TO_A_LIMIT: u32 = 10;

const LONGEST: Duration = Duration::from_secs(10);

/// Asks until dropped, and says when the limit is passed; without a limit it asks nothing.
pub async fn run(client: Client, freshness: Freshness, clock: Clock) {
    let Some(limit) = freshness.limit() else { return };
    let pause = LONGEST.min(limit / TO_A_LIMIT);
    let sight = freshness.sight();
    let (mut heard, mut stale) = (clock.monotonic_ns(), false);
    loop {
        let asked = clock.monotonic_ns();
        if timeout(pause, is_there(&client)).await == Ok(true) {
            heard = asked;
            sight.seen();
        } else {
            sight.lost_since(heard);
        }
        if std::mem::replace(&mut stale, freshness.is_stale()) != stale {
            if stale {
                tracing::error!(?limit, "what is known is older than `--max-policy-age`: all routes are closed");
            } else {
                tracing::info!("what is known is new again: routes are open as before");
            }
        }
        sleep(pause).await;
    }
}

/// Whether it answers, if only that we may not ask. Trouble that it may have itself, or whoever stands before it, is no
/// answer.
async fn is_there(client: &Client) -> bool {
    match client.apiserver_version().await {
        Ok(_) => true,
        Err(Error::Api(status)) => status.code < 500 && status.code != 429,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering};

    use http::{Request, Response};
    use jiff::{SignedDuration, Timestamp};
    use kube::client::Body;

    use super::*;

    /// An API server that answers with a status, or where that is 0 with nothing at all.
    fn api(status: Arc<AtomicU16>) -> Client {
        let answer = move |_: Request<Body>| {
            let status = status.load(Ordering::Relaxed);
            async move {
                if status == 0 {
                    std::future::pending::<()>().await;
                }
                let body = if status == 200 {
                    r#"{"major":"1","minor":"36","gitVersion":"","gitCommit":"","gitTreeState":"","buildDate":"",
                        "goVersion":"","compiler":"","platform":""}"#
                        .to_owned()
                } else {
                    format!(r#"{{"status":"Failure","message":"","reason":"","code":{status}}}"#)
                };
                let body = Body::from(body.into_bytes());
                Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
            }
        };
        Client::new(tower::service_fn(answer), "default")
    }

    #[tokio::test]
    async fn an_api_server_that_says_nothing_of_use_is_out_of_sight_since_its_last_word() {
        let clock = Clock::manual(Timestamp::from_second(1_700_000_000).unwrap());
        let freshness = Freshness::limited(Duration::from_millis(200), clock.clone());
        let status = Arc::new(AtomicU16::new(200));
        let asking = tokio::spawn(run(api(Arc::clone(&status)), freshness.clone(), clock.clone()));
        let until = async |stale: bool| {
            let seen = async {
                while freshness.is_stale() != stale {
                    clock.advance(SignedDuration::from_millis(i64::from(stale)));
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(Duration::from_secs(20), seen).await.expect("it is noticed");
        };
        for trouble in [0, 500, 429] {
            status.store(trouble, Ordering::Relaxed);
            until(true).await;
            status.store(if trouble == 0 { 403 } else { 200 }, Ordering::Relaxed);
            until(false).await;
        }
        asking.abort();
    }
}
