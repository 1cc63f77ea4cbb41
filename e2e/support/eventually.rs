//! Waiting for what other programs do in their own time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Between two looks.
pub const PAUSE: Duration = Duration::from_millis(50);

/// Looks until there is a value to give.
///
/// # Panics
/// Where there is none within `limit`; the message says what was waited for.
pub async fn eventually<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(Instant::now() < deadline, "within {limit:?} not seen: {what}");
        sleep(PAUSE).await;
    }
}

/// What most things take at most on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// From the first exec of a program to its first answer, on a machine that is busy.
pub const START: Duration = Duration::from_secs(90);
