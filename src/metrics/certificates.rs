//! When certificates end, by Secret: of those that end first, for they are the ones that somebody must look after.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// How many are told.
const TOLD: usize = 10;

/// The Secrets, as `namespace/name`, whose certificates end first, and when, in seconds since 1970. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Certificates(Arc<Mutex<Vec<(String, i64)>>>);

impl Certificates {
    /// All that are served now.
    pub(super) fn set(&self, mut all: Vec<(String, i64)>) {
        all.sort_by(|(a_name, a_end), (b_name, b_end)| (a_end, a_name).cmp(&(b_end, b_name)));
        all.truncate(TOLD);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }
}

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let name = "certificate_expiry_timestamp_seconds";
        let help = "When a certificate that is served ends, in seconds since 1970, of the ten that end first.";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (secret, end) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            ConstGauge::new(*end).encode(family.encode_family(&[("secret", secret.as_str())])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;

    #[test]
    fn the_ten_that_end_first_are_told_and_none_that_is_gone() {
        let metrics = Metrics::new();
        metrics.certificates((0..20).rev().map(|at| (format!("shop/tls-{at}"), 1_800_000_000 + at)).collect());
        let told = || {
            let text = metrics.encode();
            let lines =
                text.lines().filter_map(|line| line.strip_prefix("portcullis_certificate_expiry_timestamp_seconds"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let expected = |at: i64| format!("{{secret=\"shop/tls-{at}\"}} {}", 1_800_000_000 + at);
        assert_eq!(told(), (0..10).map(expected).collect::<Vec<_>>());
        metrics.certificates(vec![("shop/tls-3".into(), 1_800_000_003)]);
        assert_eq!(told(), [expected(3)]);
    }
}
