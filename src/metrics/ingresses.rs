//! Requests by Ingress: counters that routes hold, so that counting is one addition and nothing is looked up.
//!
//! As many Ingresses as are granted have series of their own, the first to ask; all others share one more, `other`. Which
//! one an Ingress has does not change while it is there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

/// What was decided of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Decision {
    /// It was answered before any decision, as a redirect to HTTPS is.
    #[default]
    None,
    /// It went on to the upstream.
    Allowed,
    /// The caller must sign in first.
    Challenged,
    /// It was refused.
    Denied,
}

/// The counts of one Ingress, or of those that share. Cheap to clone. All are equal: what was counted is no configuration.
#[derive(Clone, Debug, Default)]
pub struct RequestCounts(Arc<[[AtomicU64; CLASSES.len()]; DECISIONS.len()]>);

/// Who has which counts. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Ingresses(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    granted: usize,
    own: BTreeMap<Arc<str>, RequestCounts>,
    others: RequestCounts,
}

const DECISIONS: [&str; 4] = ["none", "allowed", "challenged", "denied"];

/// By the first digit of the status; the first one is of those that no standard knows.
const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl RequestCounts {
    /// One answered request.
    pub fn count(&self, decision: Decision, status: u16) {
        let class = usize::from(status / 100);
        let class = if class < CLASSES.len() { class } else { 0 };
        self.0[decision as usize][class].fetch_add(1, Ordering::Relaxed);
    }
}

impl PartialEq for RequestCounts {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for RequestCounts {}

impl Ingresses {
    /// How many may have series of their own from now on.
    pub fn grant(&self, granted: usize) {
        self.lock().granted = granted;
    }

    /// The counts of an Ingress, by `namespace/name`: its own where there is room, else those that all others share.
    pub fn counts_of(&self, ingress: &Arc<str>) -> RequestCounts {
        let Book { granted, own, others } = &mut *self.lock();
        match own.get(ingress) {
            Some(counts) => counts.clone(),
            None if own.len() < *granted => own.entry(Arc::clone(ingress)).or_default().clone(),
            None => others.clone(),
        }
    }

    /// Forgets the Ingresses that are gone, whose room the next ones get.
    pub fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.lock().own.retain(|ingress, _| is_there(ingress));
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Ingresses {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let book = self.lock();
        let own = book.own.iter().map(|(ingress, counts)| (&**ingress, counts));
        let help = "Requests answered, by Ingress, decision and class of the status.";
        let mut family = encoder.encode_descriptor("ingress_requests", help, None, MetricType::Counter)?;
        for (ingress, counts) in own.chain([("other", &book.others)]) {
            for (decision, by_class) in DECISIONS.iter().zip(&*counts.0) {
                for (class, count) in CLASSES.iter().zip(by_class) {
                    let count = count.load(Ordering::Relaxed);
                    if count > 0 {
                        let labels = [("ingress", ingress), ("decision", decision), ("code", class)];
                        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;

    #[test]
    fn beyond_what_is_granted_ingresses_share_until_there_is_room() {
        let metrics = Metrics::new();
        let ingresses = metrics.ingresses();
        ingresses.grant(1);
        let request = |name: &str| ingresses.counts_of(&name.into()).count(super::Decision::Allowed, 200);
        let of = |name: &str, count| {
            let line = format!(
                "portcullis_ingress_requests_total{{ingress=\"{name}\",decision=\"allowed\",code=\"2xx\"}} {count}\n"
            );
            metrics.encode().contains(&line)
        };
        request("shop/a");
        request("shop/b");
        request("shop/a");
        request("shop/c");
        assert!(of("shop/a", 2) && of("other", 2), "{}", metrics.encode());
        ingresses.retain(|name| name != "shop/a");
        request("shop/b");
        assert!(of("shop/b", 1) && of("other", 2) && !metrics.encode().contains("shop/a"), "{}", metrics.encode());
    }

    #[test]
    fn whatever_a_status_is_it_has_a_class() {
        let metrics = Metrics::new();
        let counts = metrics.ingresses().counts_of(&"shop/a".into());
        for status in [0, 101, 200, 399, 418, 503, 600, 999, u16::MAX] {
            counts.count(super::Decision::Denied, status);
        }
        let text = metrics.encode();
        for (class, count) in [("other", 4), ("1xx", 1), ("2xx", 1), ("3xx", 1), ("4xx", 1), ("5xx", 1)] {
            assert!(text.contains(&format!("decision=\"denied\",code=\"{class}\"}} {count}\n")), "{text}");
        }
    }
}
