//! Deadlines of one data thread that hardly ever pass. To set one takes a slot in a table, and to look at it one comparison:
//! a timer each would cost a request more than its routing. One task looks through the table at every beat and wakes
//! who is due, so a deadline ends up to a beat late and never early.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often the table is looked through.
const BEAT: Duration = Duration::from_millis(50);

/// The deadlines of a data thread. Cheap to clone within it.
#[derive(Clone, Default)]
pub(super) struct Deadlines(Rc<Table>);

struct Table {
    waiting: RefCell<Slab<Waiting>>,
    beaten: Cell<Instant>,
    stopping: Cell<bool>,
}

impl Default for Table {
    fn default() -> Self {
        Self { waiting: RefCell::default(), beaten: Instant::now().into(), stopping: false.into() }
    }
}

struct Waiting {
    at: Instant,
    passed: bool,
    waker: Option<Waker>,
}

/// Ready when its time has come. Also wakes whoever polled it when the thread begins to stop, but is not ready by that.
pub(super) struct Deadline {
    table: Rc<Table>,
    slot: usize,
}

impl Deadlines {
    /// A deadline at a time.
    pub(super) fn at(&self, at: Instant) -> Deadline {
        let slot = self.0.waiting.borrow_mut().insert(Waiting { at, passed: false, waker: None });
        Deadline { table: Rc::clone(&self.0), slot }
    }

    /// A deadline after a time.
    pub(super) fn after(&self, wait: Duration) -> Deadline {
        self.at(Instant::now() + wait)
    }

    /// The time of the last beat, which costs nothing: what is counted from it may end that much earlier, so it is for what is
    /// measured in seconds.
    pub(super) fn now(&self) -> Instant {
        self.0.beaten.get()
    }

    /// Whether the thread has begun to stop.
    pub(super) fn stopping(&self) -> bool {
        self.0.stopping.get()
    }

    /// Looks through the table for ever.
    pub(super) async fn beat(self, stop: CancellationToken) {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(beat.tick()).await.is_some() {
            self.look(Instant::now(), false);
        }
        self.0.stopping.set(true);
        self.look(Instant::now(), true);
        loop {
            beat.tick().await;
            self.look(Instant::now(), false);
        }
    }

    /// Wakes who is due, or everybody.
    fn look(&self, now: Instant, everybody: bool) {
        self.0.beaten.set(now);
        for (_, waiting) in self.0.waiting.borrow_mut().iter_mut() {
            waiting.passed |= waiting.at <= now;
            if (waiting.passed || everybody)
                && let Some(waker) = waiting.waker.take()
            {
                waker.wake();
            }
        }
    }
}

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waiting = &mut self.table.waiting.borrow_mut()[self.slot];
        if waiting.passed {
            return Poll::Ready(());
        }
        if !waiting.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            waiting.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.table.waiting.borrow_mut().remove(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_deadline_is_ready_when_it_was_seen_to_pass_and_wakes_once() {
        let (deadlines, woken) = (Deadlines::default(), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let start = Instant::now();
        let mut early = deadlines.at(start + Duration::from_secs(1));
        let mut late = deadlines.at(start + Duration::from_secs(9));
        let mut poll = |deadline: &mut Deadline| Pin::new(deadline).poll(&mut cx).is_ready();
        assert!(!poll(&mut early) && !poll(&mut late));
        deadlines.look(start, false);
        assert!(!poll(&mut early) && woken.0.load(Ordering::Relaxed) == 0);
        deadlines.look(start + Duration::from_secs(1), false);
        assert!(poll(&mut early) && !poll(&mut late) && woken.0.load(Ordering::Relaxed) == 1);
        drop(early);
        deadlines.look(start, true);
        assert!(!poll(&mut late) && woken.0.load(Ordering::Relaxed) == 2);
        drop(late);
        assert!(deadlines.0.waiting.borrow().is_empty());
    }

    #[tokio::test]
    async fn the_beat_lets_deadlines_pass_and_tells_that_the_thread_stops() {
        let (deadlines, stop) = (Deadlines::default(), CancellationToken::new());
        let beat = deadlines.clone().beat(stop.clone());
        let test = async {
            deadlines.after(Duration::from_millis(1)).await;
            assert!(!deadlines.stopping());
            let mut asleep = deadlines.after(Duration::from_secs(3600));
            stop.cancel();
            std::future::poll_fn(|cx| {
                assert!(Pin::new(&mut asleep).poll(cx).is_pending());
                if deadlines.stopping() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        };
        tokio::select! {
            () = beat => unreachable!("it beats for ever"),
            () = test => {}
        }
    }
}
