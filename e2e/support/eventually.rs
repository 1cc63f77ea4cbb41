//! Waiting for what other programs do in their own time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Between two looks.
pub const PAUSE: Duration = Duration::from_millis(50);

/// Looks until there is a value to give.
///
/// # Panics
/// Where there is none within `limit`; the message says what was waited for.
pub async fn eventually<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = ran() + limit;
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(ran() < deadline, "within {limit:?} not seen: {what}");
        sleep(PAUSE).await;
    }
}

/// What has passed since the first call, less the times in which this machine stood still: a tick counts twice at most.
pub fn ran() -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    static MICROSECONDS: LazyLock<Arc<AtomicU64>> = LazyLock::new(|| {
        let counter = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&counter);
        thread::spawn(move || {
            let mut from = Instant::now();
            loop {
                thread::sleep(TICK);
                let passed = from.elapsed();
                from += passed;
                counted.fetch_add(passed.min(2 * TICK).as_micros() as u64, Ordering::Relaxed);
            }
        });
        counter
    });
    Duration::from_micros(MICROSECONDS.load(Ordering::Relaxed))
}

/// What most things take at most on a busy machine.
pub const SOON: Duration = Duration::from_secs(120);

/// From the first exec of a program to its first answer, on a machine that is busy.
pub const START: Duration = Duration::from_secs(240);
