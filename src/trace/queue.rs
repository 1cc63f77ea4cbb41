//! Spans that wait to be sent away: so many at most, and what does not fit is dropped and counted.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use tokio::sync::Notify;

use super::{Parent, Span, Trace};
use crate::metrics::Metrics;

/// How many spans wait at most, some hundred bytes each.
pub const CAPACITY: usize = 4096;

/// Where traces begin, and where their spans are left. Cheap to clone.
#[derive(Clone)]
pub struct Tracer(Arc<Inner>);

struct Inner {
    /// A trace is recorded where 63 bits of its id are below this.
    bound: u64,
    metrics: Metrics,
    waiting: Mutex<VecDeque<Span>>,
    filled: Notify,
}

impl Tracer {
    /// Of all traces, records this share, between 0 and 1.
    pub fn new(share: f64, metrics: Metrics) -> Self {
        // As others do by the same id, so that the parts of a trace that are recorded belong together.
        let bound = (share.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64;
        Self(Arc::new(Inner { bound, metrics, waiting: Mutex::default(), filled: Notify::new() }))
    }

    /// The trace of a request with these fields, which began at a time, in nanoseconds since 1970. `random` are ids for what
    /// begins here.
    ///
    /// What the caller does not record is not recorded. What it does is up to the share: nobody outside fills the queue.
    pub fn begin(&self, fields: &HeaderMap, random: (u128, [u64; 2]), start_ns: u64, mono_ns: u64) -> Box<Trace> {
        let (new_id, [own, exchange]) = random;
        let parent = Parent::of(fields);
        let trace_id = parent.map_or(new_id.max(1), |parent| parent.trace_id);
        let sampled = self.records(trace_id) && parent.is_none_or(|parent| parent.sampled);
        let ids = (trace_id, own.max(1), exchange.max(1));
        Trace::new(self.clone(), ids, parent.map(|parent| parent.span_id), sampled, (start_ns, mono_ns))
    }

    fn records(&self, trace_id: u128) -> bool {
        // The lower half, which is random in every id.
        let low = trace_id as u64;
        low >> 1 < self.0.bound
    }

    /// Leaves a span; drops it where there is no room.
    pub(super) fn leave(&self, span: Span) {
        let mut waiting = self.lock();
        if waiting.len() >= CAPACITY {
            drop(waiting);
            return self.0.metrics.spans("dropped", 1);
        }
        waiting.push_back(span);
        drop(waiting);
        self.0.filled.notify_one();
    }

    /// Waits until there is a span.
    pub async fn filled(&self) {
        while self.lock().is_empty() {
            self.0.filled.notified().await;
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.lock().len()
    }

    /// Takes the oldest, so many at most.
    pub fn take(&self, most: usize) -> Vec<Span> {
        let mut waiting = self.lock();
        let count = most.min(waiting.len());
        waiting.drain(..count).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Span>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::SpanKind;
    use super::*;

    fn span(id: u64) -> Span {
        let (name, attributes) = Default::default();
        let kind = SpanKind::Server;
        Span { trace_id: 1, id, parent: None, kind, name, start_ns: 0, end_ns: 0, attributes, failed: false }
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let metrics = Metrics::new();
        let tracer = Tracer::new(1.0, metrics.clone());
        (0..CAPACITY as u64 + 3).for_each(|id| tracer.leave(span(id)));
        assert_eq!(tracer.waiting(), CAPACITY);
        assert!(metrics.encode().contains("portcullis_trace_spans_total{result=\"dropped\"} 3\n"));
        assert_eq!(tracer.take(2).iter().map(|span| span.id).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(tracer.take(usize::MAX).len(), CAPACITY - 2);
    }

    #[test]
    fn the_share_decides_and_a_caller_can_only_take_itself_out() {
        let sampled = |share: f64, low: u64, flags: Option<&str>| {
            let mut fields = HeaderMap::new();
            if let Some(flags) = flags {
                let parent = format!("00-{:032x}-0000000000000001-{flags}", u128::from(low) | 1 << 100);
                fields.insert("traceparent", parent.parse().unwrap());
            }
            let random = (u128::from(low), [1, 2]);
            Tracer::new(share, Metrics::new()).begin(&fields, random, 0, 0).is_recorded()
        };
        for flags in [None, Some("01")] {
            assert!(sampled(1.0, u64::MAX, flags) && !sampled(0.0, 1, flags));
            assert!(sampled(0.25, u64::MAX / 5, flags) && !sampled(0.25, u64::MAX / 3, flags));
        }
        assert!(!sampled(1.0, 1, Some("00")));
    }
}
