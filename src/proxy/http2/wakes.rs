//! Who of a connection was woken: its socket, the frames that wait to be sent, or one of its streams. All of them run in the
//! connection's own task, which is woken once for whatever happens until it runs, and not for what happens while it does.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;

/// What was woken since it was last looked at.
#[derive(Default)]
pub(super) struct Wakes {
    task: AtomicWaker,
    /// Whether the task runs, and so looks by itself.
    running: AtomicBool,
    socket: AtomicBool,
    frames: AtomicBool,
    streams: Mutex<Vec<usize>>,
}

/// A part of a connection that can be woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Socket,
    Frames,
    Stream(usize),
}

/// What the waker of a part points to.
struct Bell {
    wakes: Arc<Wakes>,
    part: Part,
}

impl Wakes {
    /// The waker of a part.
    pub(super) fn waker(self: &Arc<Self>, part: Part) -> Waker {
        Waker::from(Arc::new(Bell { wakes: Arc::clone(self), part }))
    }

    /// The task begins to run.
    pub(super) fn begin(&self, task: &Waker) {
        self.task.register(task);
        self.running.store(true, SeqCst);
    }

    /// The task has run; tells whether anything was woken meanwhile.
    pub(super) fn end(&self) -> bool {
        self.running.store(false, SeqCst);
        self.socket.load(SeqCst) || self.frames.load(SeqCst) || !self.streams().is_empty()
    }

    /// Whether the socket was woken.
    pub(super) fn take_socket(&self) -> bool {
        self.socket.swap(false, SeqCst)
    }

    /// Whether frames wait to be sent.
    pub(super) fn take_frames(&self) -> bool {
        self.frames.swap(false, SeqCst)
    }

    /// Exchanges `woken`, which is empty, with the streams that were woken.
    pub(super) fn take_streams(&self, woken: &mut Vec<usize>) {
        mem::swap(&mut *self.streams(), woken);
    }

    /// A stream has ended; what it woke of itself on the way means nobody.
    pub(super) fn forget(&self, number: usize) {
        self.streams().pop_if(|last| *last == number);
    }

    fn streams(&self) -> MutexGuard<'_, Vec<usize>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let wakes = &self.wakes;
        match self.part {
            Part::Socket => wakes.socket.store(true, SeqCst),
            Part::Frames => wakes.frames.store(true, SeqCst),
            Part::Stream(number) => {
                let mut streams = wakes.streams();
                // Most often it is woken again before it runs by the one that woke it.
                if streams.last() != Some(&number) {
                    streams.push(number);
                }
            }
        }
        if !wakes.running.load(SeqCst) {
            wakes.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn the_task_is_woken_once_for_all_and_not_while_it_runs() {
        let (wakes, count) = (Arc::new(Wakes::default()), Arc::new(Count::default()));
        let task = Waker::from(Arc::clone(&count));
        let parts = [Part::Socket, Part::Frames, Part::Stream(3), Part::Stream(3), Part::Stream(1)];
        let wakers = parts.map(|part| wakes.waker(part));
        wakes.begin(&task);
        assert!(!wakes.end());
        wakers.iter().for_each(Waker::wake_by_ref);
        assert_eq!(count.0.load(SeqCst), 1);
        wakes.begin(&task);
        let mut streams = Vec::new();
        wakes.take_streams(&mut streams);
        assert_eq!((wakes.take_socket(), wakes.take_frames(), streams), (true, true, vec![3, 1]));
        assert!(!wakes.end());
        wakes.begin(&task);
        wakers[2].wake_by_ref();
        wakes.forget(3);
        assert!(!wakes.end());
        wakes.begin(&task);
        wakers[1].wake_by_ref();
        assert!(wakes.end());
        assert_eq!(count.0.load(SeqCst), 1);
    }
}
