//! How long a body may stand still.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline for waiting that starts anew with each frame; its timer is armed only when there is something to wait for.
pub(in crate::proxy) struct Idle {
    pub(super) limit: Duration,
    since: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    pub(in crate::proxy) fn new(limit: Duration) -> Self {
        Self { limit, since: None, sleep: None }
    }

    /// Something moved; tells since when it was waited for.
    pub(in crate::proxy) fn touch(&mut self) -> Option<Instant> {
        self.since.take()
    }

    /// Ready when it was waited for the limit, less what is owed of it, and nothing moved.
    pub(in crate::proxy) fn poll(&mut self, cx: &mut Context<'_>, debt: Duration) -> Poll<()> {
        let due = *self.since.get_or_insert_with(Instant::now) + self.limit.saturating_sub(debt);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if due < sleep.deadline() {
            sleep.as_mut().reset(due);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }
}
